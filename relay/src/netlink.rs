//! rtnetlink: a socket, requests, and what the kernel's messages mean to the `resolver`.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "rtnetlink's enums are open, and nearly all of their variants somebody else's business"
)]

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use flow::Mac;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::resolver::{Event, Neighbour, Route};

/// The groups of news that next hops depend on: links, neighbours, addresses, routes (`RTNLGRP_*` of linux/rtnetlink.h).
pub(crate) const NEWS: [u32; 4] = [1, 3, 5, 7];

/// A burst of route changes must not overflow the socket; if it does all the same, everything is read anew.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A device of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Device {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) is_loopback: bool,
}

/// The devices that hold IPv4 addresses, by address.
pub(crate) fn addresses() -> io::Result<HashMap<Ipv4Addr, Device>> {
    let mut netlink = Netlink::open(&[])?;
    let mut devices = HashMap::new();
    netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), |message| {
        if let RouteNetlinkMessage::NewLink(link) = message {
            let name = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            let is_loopback = link.header.flags.contains(LinkFlags::Loopback);
            let device = Device { index: link.header.index, name: name.unwrap_or_default(), is_loopback };
            devices.insert(link.header.index, device);
        }
    })?;
    let mut found = HashMap::new();
    netlink.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()), |message| {
        let RouteNetlinkMessage::NewAddress(address) = message else { return };
        // On a point-to-point link `Address` is the far end; `Local`, where there is one, is ours.
        let local = address.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(std::net::IpAddr::V4(addr)) => Some(*addr),
            _ => None,
        });
        if let (Some(local), Some(device)) = (local, devices.get(&address.header.index)) {
            found.insert(local, device.clone());
        }
    })?;
    Ok(found)
}

/// The request for the devices, as news.
pub(crate) fn all_devices() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(LinkMessage::default())
}

/// The request for the IPv4 neighbours, as news.
pub(crate) fn all_neighbours() -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header = neighbour_header(0, NeighbourFlags::empty());
    RouteNetlinkMessage::GetNeighbour(message)
}

/// What a message of the kernel's tells, unless it is the answer to a request.
pub(crate) fn event(message: &RouteNetlinkMessage) -> Option<Event> {
    match message {
        RouteNetlinkMessage::NewLink(link) => Some(device(link)),
        RouteNetlinkMessage::DelLink(link) => Some(Event::Device { index: link.header.index, mac: None }),
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
    let is_up = link.header.flags.contains(LinkFlags::Up | LinkFlags::Running);
    Event::Device { index: link.header.index, mac: mac.filter(|_| is_up) }
}

fn neighbour(message: &NeighbourMessage, exists: bool) -> Option<Event> {
    let addr = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => Some(*addr),
        _ => None,
    })?;
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac::from),
        _ => None,
    });
    let is_valid = match message.header.state {
        NeighbourState::Reachable
        | NeighbourState::Stale
        | NeighbourState::Delay
        | NeighbourState::Probe
        | NeighbourState::Permanent => exists,
        // Incomplete and failed have no MAC; a device without ARP has no neighbours that a frame could be addressed to.
        _ => false,
    };
    Some(Event::Neighbour {
        neighbour: Neighbour { device: message.header.ifindex, addr },
        mac: mac.filter(|_| is_valid),
    })
}

/// The way to a destination, when the route leaves this host by a single device.
pub(crate) fn usable(dest: Ipv4Addr, route: &RouteMessage) -> Option<Route> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    let device = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(device) => Some(*device),
        _ => None,
    })?;
    let gateway = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(addr)) => Some(*addr),
        _ => None,
    });
    // A gateway of the other family (RTA_VIA) is none that the neighbour table of this family knows.
    let via = route.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Via(_)));
    (!via).then_some(Route { neighbour: Neighbour { device, addr: gateway.unwrap_or(dest) } })
}

fn neighbour_header(device: u32, flags: NeighbourFlags) -> netlink_packet_route::neighbour::NeighbourHeader {
    netlink_packet_route::neighbour::NeighbourHeader {
        family: AddressFamily::Inet,
        ifindex: device,
        state: NeighbourState::None,
        flags,
        kind: RouteType::Unspec,
    }
}

/// A netlink socket.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl AsRawFd for Netlink {
    fn as_raw_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl std::os::fd::AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Netlink {
    /// A socket that gets the news of these groups; without groups, one for dumps.
    pub(crate) fn open(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        if !groups.is_empty() {
            socket.set_non_blocking(true)?;
        }
        Ok(Self { socket, sequence: 0 })
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(self.sequence)
    }

    /// The next datagram, if there is one.
    pub(crate) fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        match self.socket.recv_from_full() {
            Ok((datagram, _)) => Ok(Some(datagram)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a whole table; for blocking sockets.
    pub(crate) fn dump(
        &mut self,
        request: RouteNetlinkMessage,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        self.send(request, NLM_F_DUMP)?;
        let mut outcome = None;
        while outcome.is_none() {
            let (datagram, _) = self.socket.recv_from_full()?;
            for_each_message(&datagram, |_, payload| match payload {
                NetlinkPayload::InnerMessage(message) => each(message),
                NetlinkPayload::Done(_) => outcome = Some(Ok(())),
                NetlinkPayload::Error(error) => outcome = Some(Err(error.to_io())),
                _ => {}
            });
        }
        outcome.unwrap_or(Ok(()))
    }

    /// Asks for the route to a destination; returns the sequence number of the answer.
    pub(crate) fn lookup(&mut self, dest: Ipv4Addr) -> io::Result<u32> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 32;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(dest)));
        self.send(RouteNetlinkMessage::GetRoute(message), 0)
    }

    /// Sets or clears `NTF_EXT_MANAGED` (Linux 5.16): the kernel resolves the neighbour now and keeps it so.
    pub(crate) fn manage(&mut self, neighbour: Neighbour, managed: bool) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header = neighbour_header(neighbour.device, NeighbourFlags::Use);
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(neighbour.addr)));
        let flags = if managed { NeighbourExtFlags::Managed } else { NeighbourExtFlags::empty() };
        message.attributes.push(NeighbourAttribute::ExtFlags(flags));
        self.send(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK)?;
        Ok(())
    }
}

/// Takes a datagram apart. What cannot be parsed ends it: the length of the rest is not known then.
pub(crate) fn for_each_message(
    datagram: &[u8],
    mut each: impl FnMut(NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>),
) {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = match NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) {
            Ok(message) => message,
            Err(error) => return tracing::debug!(%error, "a netlink message that is not understood"),
        };
        let length = message.header.length as usize;
        // Messages are padded to a multiple of four.
        let next = length.next_multiple_of(4);
        if length == 0 {
            return;
        }
        let (header, payload) = message.into_parts();
        each(header, payload);
        rest = rest.get(next..).unwrap_or(&[]);
    }
}
