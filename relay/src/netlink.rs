//! rtnetlink: a socket, requests, and what the kernel's messages mean to the `resolver`.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "rtnetlink's enums are open, and nearly all of their variants somebody else's business"
)]

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use flow::Mac;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::resolver::{Entry, Event, Link, Neighbour, Route, Way};
use crate::trust::{HostAddresses, Prefix};

/// The groups of news that next hops depend on: links, neighbours, and the addresses and routes of both families (`RTNLGRP_*` of
/// linux/rtnetlink.h).
pub(crate) const NEWS: [u32; 6] = [1, 3, 5, 7, 9, 11];

/// A burst of route changes must not overflow the socket; if it does all the same, everything is read anew.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How long the kernel may take to answer. It answers at once; this is for an answer that was lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// Length of a netlink message's header.
const HEADER_LEN: usize = 16;
/// The bits of a type of service that routing looks at (RFC 2474 3).
const DSCP: u8 = 0xfc;
/// An interrupted dump is not consistent and is repeated, so often.
const DUMPS: usize = 5;

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

fn described(link: &LinkMessage) -> Device {
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

/// The addresses of this host, by the table that the kernel keeps of them (`ip route show table local`).
///
/// # Errors
/// When the kernel does not answer.
pub(crate) fn host_addresses() -> io::Result<HostAddresses> {
    /// `RT_TABLE_LOCAL` of linux/rtnetlink.h.
    const LOCAL: u8 = 255;
    let mut netlink = Netlink::open(&[])?;
    // A table is named by a request only when the request is checked strictly; else all routes there are would come (Linux 4.20).
    netlink.socket.set_netlink_get_strict_chk(true)?;
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

/// The gateways of the default routes.
pub(crate) fn gateways() -> io::Result<Vec<Neighbour>> {
    let mut netlink = Netlink::open(&[])?;
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        netlink.dump(&RouteNetlinkMessage::GetRoute(request), |message| {
            let RouteNetlinkMessage::NewRoute(route) = message else { return };
            let device = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(device) => Some(*device),
                _ => None,
            });
            let gateway = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Gateway(RouteAddress::Inet(addr)) => Some(IpAddr::V4(*addr)),
                RouteAttribute::Gateway(RouteAddress::Inet6(addr)) => Some(IpAddr::V6(*addr)),
                _ => None,
            });
            if let (0, Some(device), Some(addr)) = (route.header.destination_prefix_length, device, gateway) {
                found.push(Neighbour { device, addr });
            }
        })?;
    }
    Ok(found)
}

/// All devices that are up and all neighbours.
pub(crate) fn everything() -> io::Result<Event> {
    let mut netlink = Netlink::open(&[])?;
    let (mut devices, mut neighbours) = (HashMap::new(), HashMap::new());
    netlink.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()), |message| {
        if let RouteNetlinkMessage::NewLink(link) = message
            && let Event::Device { index, link: Some(link) } = device(&link)
        {
            devices.insert(index, link);
        }
    })?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = NeighbourMessage::default();
        request.header = neighbour_header(family, 0, NeighbourFlags::empty());
        netlink.dump(&RouteNetlinkMessage::GetNeighbour(request), |message| {
            if let RouteNetlinkMessage::NewNeighbour(message) = message {
                neighbours.extend(entry(&message));
            }
        })?;
    }
    Ok(Event::Everything { devices, neighbours })
}

/// What a message of the kernel's tells, unless it is the answer to a request.
pub(crate) fn event(message: &RouteNetlinkMessage) -> Option<Event> {
    match message {
        RouteNetlinkMessage::NewLink(link) => Some(device(link)),
        RouteNetlinkMessage::DelLink(link) => Some(Event::Device { index: link.header.index, link: None }),
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(message, true),
        RouteNetlinkMessage::DelNeighbour(message) => neighbour(message, false),
        RouteNetlinkMessage::NewRoute(_)
        | RouteNetlinkMessage::DelRoute(_)
        | RouteNetlinkMessage::NewAddress(_)
        | RouteNetlinkMessage::DelAddress(_) => Some(Event::RoutesChanged),
        _ => None,
    }
}

fn device(link: &LinkMessage) -> Event {
    let mac = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac::from),
        _ => None,
    });
    let mtu = described(link).mtu;
    Event::Device { index: link.header.index, link: mac.filter(|_| is_up(link)).map(|mac| Link { mac, mtu }) }
}

fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up | LinkFlags::Running)
}

fn neighbour(message: &NeighbourMessage, exists: bool) -> Option<Event> {
    let (neighbour, entry) = entry(message)?;
    Some(Event::Neighbour { neighbour, entry: if exists { entry } else { Entry::Gone } })
}

fn entry(message: &NeighbourMessage) -> Option<(Neighbour, Entry)> {
    let addr = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => Some(IpAddr::V4(*addr)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => Some(IpAddr::V6(*addr)),
        _ => None,
    })?;
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac::from),
        _ => None,
    });
    let entry = match (message.header.state, mac) {
        (NeighbourState::Permanent, Some(mac)) => Entry::Permanent(mac),
        (
            NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe,
            Some(mac),
        ) => Entry::Resolved(mac),
        // Incomplete and failed have no MAC; a device without ARP has no neighbours that a frame could be addressed to.
        (_, _) => Entry::Unresolved,
    };
    Some((Neighbour { device: message.header.ifindex, addr }, entry))
}

/// The next hop of a route that leaves this host by a single device, its packets being sent as they are.
fn usable(to: IpAddr, route: &RouteMessage) -> Option<Route> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    let device = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(device) => Some(*device),
        _ => None,
    })?;
    let gateway = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(addr)) => Some(IpAddr::V4(*addr)),
        RouteAttribute::Gateway(RouteAddress::Inet6(addr)) => Some(IpAddr::V6(*addr)),
        _ => None,
    });
    // A gateway of the other family is none that the neighbour table of this family knows; a tunnel wants more than a MAC.
    let is_plain = !route
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, RouteAttribute::Via(_) | RouteAttribute::Encap(_)));
    // That of the route, or of the path where a router has told a shorter one; else the device's holds.
    let mtu = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
            RouteMetric::Mtu(mtu) => Some(*mtu),
            _ => None,
        }),
        _ => None,
    });
    is_plain.then_some(Route { neighbour: Neighbour { device, addr: gateway.unwrap_or(to) }, mtu })
}

fn neighbour_header(
    family: AddressFamily,
    device: u32,
    flags: NeighbourFlags,
) -> netlink_packet_route::neighbour::NeighbourHeader {
    netlink_packet_route::neighbour::NeighbourHeader {
        family,
        ifindex: device,
        state: NeighbourState::None,
        flags,
        kind: RouteType::Unspec,
    }
}

const fn family_of(addr: IpAddr) -> AddressFamily {
    match addr {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// A netlink socket: one that gets news, or one for requests and their answers.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl std::os::fd::AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Netlink {
    /// A socket that gets the news of these groups and never waits; without groups, one for requests.
    pub(crate) fn open(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Beyond the system's limit where the process may.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            socket.set_rx_buf_sz(RECEIVE_BUFFER as libc::c_int)?;
        }
        for group in groups {
            socket.add_membership(*group)?;
        }
        if groups.is_empty() {
            rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))?;
        } else {
            socket.set_non_blocking(true)?;
        }
        Ok(Self { socket, sequence: 0 })
    }

    fn send(&mut self, message: &RouteNetlinkMessage, flags: u16) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message.clone()));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(self.sequence)
    }

    /// The next datagram of news, if there is one.
    ///
    /// # Errors
    /// When news were lost (`ENOBUFS`). The kernel sends none from then on until all that are queued have been taken.
    pub(crate) fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        match self.socket.recv_from_full() {
            Ok((datagram, _)) => Ok(Some(datagram)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes all news that are queued and forgets them: older than what is read after.
    pub(crate) fn discard(&self) {
        // An error says again that news were lost. The bound is for a kernel that says so for ever.
        for _ in 0..1 << 20 {
            if matches!(self.receive(), Ok(None)) {
                return;
            }
        }
    }

    /// The answer to the last request: `each` says when it has what it wants.
    fn answer<T>(
        &mut self,
        request: &RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>) -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        let sequence = self.send(request, flags)?;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut outcome = None;
            for_each_message(&datagram, |header, payload| {
                // An answer that came too late for an earlier request is nobody's now.
                if outcome.is_none() && header.sequence_number == sequence {
                    outcome = each(header, payload);
                }
            });
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// Reads a whole table.
    fn dump(&mut self, request: &RouteNetlinkMessage, mut each: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
        for _ in 0..DUMPS {
            let mut is_consistent = true;
            self.answer(request, NLM_F_DUMP, |header, payload| {
                is_consistent &= header.flags & NLM_F_DUMP_INTR == 0;
                match payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Done(_) => return Some(Ok(())),
                    NetlinkPayload::Error(error) => return Some(Err(error.to_io())),
                    _ => {}
                }
                None
            })?;
            if is_consistent {
                break;
            }
        }
        Ok(())
    }

    /// A device, and whether its link is up; `None` when there is none of this number.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub(crate) fn device(&mut self, index: u32) -> io::Result<Option<(Device, bool)>> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.answer(&RouteNetlinkMessage::GetLink(message), 0, |_, payload| match payload {
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

    /// The route of a way; `None` when there is none that leaves this host.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub(crate) fn lookup(&mut self, way: Way) -> io::Result<Option<Route>> {
        let mut message = RouteMessage::default();
        let (from, to, bits) = match (way.from, way.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => (RouteAddress::Inet(from), RouteAddress::Inet(to), 32),
            (IpAddr::V6(from), IpAddr::V6(to)) => (RouteAddress::Inet6(from), RouteAddress::Inet6(to), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Ok(None),
        };
        message.header.address_family = family_of(way.to);
        message.header.destination_prefix_length = bits;
        message.header.source_prefix_length = bits;
        message.header.tos = way.tos.unwrap_or(0) & DSCP;
        message.attributes.push(RouteAttribute::Destination(to));
        message.attributes.push(RouteAttribute::Source(from));
        self.answer(&RouteNetlinkMessage::GetRoute(message), 0, |_, payload| match payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => Some(Ok(usable(way.to, &route))),
            // "Network is unreachable" and its like are answers, too.
            NetlinkPayload::Error(_) => Some(Ok(None)),
            _ => None,
        })
    }

    /// Sets or clears `NTF_EXT_MANAGED` (Linux 5.16): the kernel resolves the neighbour now and keeps it so.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn manage(&mut self, neighbour: Neighbour, managed: bool) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header = neighbour_header(family_of(neighbour.addr), neighbour.device, NeighbourFlags::Use);
        let addr = match neighbour.addr {
            IpAddr::V4(addr) => NeighbourAddress::Inet(addr),
            IpAddr::V6(addr) => NeighbourAddress::Inet6(addr),
        };
        message.attributes.push(NeighbourAttribute::Destination(addr));
        let (ext, create) =
            if managed { (NeighbourExtFlags::Managed, NLM_F_CREATE) } else { (NeighbourExtFlags::empty(), 0) };
        message.attributes.push(NeighbourAttribute::ExtFlags(ext));
        let request = RouteNetlinkMessage::NewNeighbour(message);
        self.answer(&request, create | NLM_F_REPLACE | NLM_F_ACK, |_, payload| match payload {
            NetlinkPayload::Error(error) if error.code.is_some() => Some(Err(error.to_io())),
            NetlinkPayload::Error(_) => Some(Ok(())),
            _ => None,
        })
    }
}

/// Takes a datagram apart. A message that is not understood is skipped; its header tells where the next one begins.
pub(crate) fn for_each_message(
    datagram: &[u8],
    mut each: impl FnMut(NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>),
) {
    let mut rest = datagram;
    while let Some(length) = rest.first_chunk().map(|length| u32::from_ne_bytes(*length) as usize) {
        let Some(message) = rest.get(..length).filter(|message| message.len() >= HEADER_LEN) else { return };
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) {
            Ok(message) => {
                let (header, payload) = message.into_parts();
                each(header, payload);
            }
            Err(error) => tracing::debug!(%error, "a netlink message that is not understood"),
        }
        // Messages are padded to a multiple of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
}
