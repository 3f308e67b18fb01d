//! The devices of this host, and its addresses.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "rtnetlink's enums are open, and nearly all of their variants somebody else's business"
)]

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::host::netlink::Netlink;
use crate::host::prefix::Prefix;

/// A device of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Device {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) is_loopback: bool,
    /// The largest packet, in bytes.
    pub(crate) mtu: u32,
    /// Receive and transmit queues.
    pub(crate) queues: (u32, u32),
    /// The number of the XDP program that is attached.
    pub(crate) program: Option<u32>,
    /// Whether VLAN devices stand on it.
    pub(crate) has_vlans: bool,
}

/// The addresses of this host, as its routing has them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HostAddresses {
    /// Packets for these stay here.
    pub(crate) own: HashSet<IpAddr>,
    /// The same, of whole networks.
    pub(crate) networks: Vec<Prefix>,
    /// Packets for these go to everybody on a link.
    pub(crate) broadcast: HashSet<IpAddr>,
}

/// The devices that hold addresses, by address.
pub(crate) fn addresses() -> io::Result<HashMap<IpAddr, Device>> {
    let mut netlink = Netlink::open(&[])?;
    let (mut devices, mut below) = (HashMap::new(), Vec::new());
    netlink.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()), |message| {
        if let RouteNetlinkMessage::NewLink(link) = message {
            let device = described(&link);
            below.extend(vlan_of(&link));
            devices.insert(device.index, device);
        }
    })?;
    for index in below {
        if let Some(device) = devices.get_mut(&index) {
            device.has_vlans = true;
        }
    }
    let mut found = HashMap::new();
    netlink.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()), |message| {
        let RouteNetlinkMessage::NewAddress(address) = message else { return };
        // On a point-to-point link `Address` is the far end; `Local`, where there is one, is ours. IPv6 has no `Local` on other links.
        let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| address.attributes.iter().find_map(wanted);
        let local = find(|attribute| match attribute {
            AddressAttribute::Local(addr) => Some(*addr),
            _ => None,
        });
        let local = local.or_else(|| {
            find(|attribute| match attribute {
                AddressAttribute::Address(addr @ IpAddr::V6(_)) => Some(*addr),
                _ => None,
            })
        });
        if let (Some(local), Some(device)) = (local, devices.get(&address.header.index)) {
            found.insert(local, device.clone());
        }
    })?;
    Ok(found)
}

/// What a message tells of a device.
pub(crate) fn described(link: &LinkMessage) -> Device {
    let mut device = Device {
        index: link.header.index,
        name: String::new(),
        is_loopback: link.header.flags.contains(LinkFlags::Loopback),
        mtu: 0,
        queues: (0, 0),
        program: None,
        has_vlans: false,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            LinkAttribute::NumRxQueues(queues) => device.queues.0 = *queues,
            LinkAttribute::NumTxQueues(queues) => device.queues.1 = *queues,
            LinkAttribute::Xdp(facts) => {
                device.program = facts.iter().find_map(|fact| match fact {
                    LinkXdp::ProgId(id) => Some(*id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    device
}

/// The device that a VLAN device stands on.
fn vlan_of(link: &LinkMessage) -> Option<u32> {
    let is_vlan = link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Vlan))),
        _ => false,
    });
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(below) if is_vlan => Some(*below),
        _ => None,
    })
}

/// Whether a device is up and has a link.
pub(crate) fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up | LinkFlags::Running)
}

/// The addresses of this host, by the table that the kernel keeps of them (`ip route show table local`).
///
/// # Errors
/// When the kernel does not answer.
pub(crate) fn host_addresses() -> io::Result<HostAddresses> {
    /// `RT_TABLE_LOCAL` of linux/rtnetlink.h.
    const LOCAL: u8 = 255;
    let mut netlink = Netlink::open(&[])?;
    // A table is named by a request only when the request is checked strictly; else all routes there are would come (Linux 4.20).
    netlink.be_strict()?;
    let mut host = HostAddresses::default();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        (request.header.address_family, request.header.table) = (family, LOCAL);
        netlink.dump(&RouteNetlinkMessage::GetRoute(request), |message| {
            let RouteNetlinkMessage::NewRoute(route) = message else { return };
            let to = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(addr)) => Some(IpAddr::V4(*addr)),
                RouteAttribute::Destination(RouteAddress::Inet6(addr)) => Some(IpAddr::V6(*addr)),
                _ => None,
            });
            let (Some(to), bits) = (to, route.header.destination_prefix_length) else { return };
            let is_whole = bits == if to.is_ipv4() { 32 } else { 128 };
            match route.header.kind {
                RouteType::Local | RouteType::Anycast if is_whole => drop(host.own.insert(to)),
                RouteType::Local | RouteType::Anycast => host.networks.push(Prefix::new(to, bits)),
                RouteType::Broadcast => drop(host.broadcast.insert(to)),
                _ => {}
            }
        })?;
    }
    Ok(host)
}

/// A device, and whether its link is up; `None` when there is none of this number.
///
/// # Errors
/// When the kernel does not answer.
pub(crate) fn device(netlink: &mut Netlink, index: u32) -> io::Result<Option<(Device, bool)>> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    netlink.answer(&RouteNetlinkMessage::GetLink(message), 0, |_, payload| match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
            Some(Ok(Some((described(&link), is_up(&link)))))
        }
        NetlinkPayload::Error(error) => Some(match error.to_io() {
            error if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            error => Err(error),
        }),
        _ => None,
    })
}
