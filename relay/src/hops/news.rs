//! What the kernel's messages mean to the `resolver`, and what it is asked for it: routes, neighbours, links.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "rtnetlink's enums are open, and nearly all of their variants somebody else's business"
)]

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use flow::Mac;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NetlinkPayload};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::hops::resolver::{Entry, Event, Link, Neighbour, Route, Way};
use crate::host::devices::{described, is_up};
use crate::host::netlink::Netlink;

/// The groups of news that next hops depend on: links, neighbours, and the addresses and routes of both families (`RTNLGRP_*` of
/// linux/rtnetlink.h).
pub(crate) const NEWS: [u32; 6] = [1, 3, 5, 7, 9, 11];

/// The bits of a type of service that routing looks at (RFC 2474 3).
const DSCP: u8 = 0xfc;

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

/// The route of a way; `None` when there is none that leaves this host.
///
/// # Errors
/// When the kernel does not answer.
pub(crate) fn lookup(netlink: &mut Netlink, way: Way) -> io::Result<Option<Route>> {
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
    netlink.answer(&RouteNetlinkMessage::GetRoute(message), 0, |_, payload| match payload {
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
pub(crate) fn manage(netlink: &mut Netlink, neighbour: Neighbour, managed: bool) -> io::Result<()> {
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
    netlink.answer(&request, create | NLM_F_REPLACE | NLM_F_ACK, |_, payload| match payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Some(Err(error.to_io())),
        NetlinkPayload::Error(_) => Some(Ok(())),
        _ => None,
    })
}
