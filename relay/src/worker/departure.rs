//! A packet on its way out: its headers, and to which socket it goes. Both of a worker's loops send what is written here.

use flow::compose::{Outgoing, Outgoing6};
use flow::headers::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet};
use flow::{Be16, Hop, SlotIndex};
use zerocopy::IntoBytes;

/// Room for the longest headers of a departure.
pub(crate) const HEADERS_MAX: usize = size_of::<Ethernet>() + size_of::<Outgoing6>();
/// Room for a socket address of any kind.
pub(crate) const NAME_MAX: usize = size_of::<libc::sockaddr_in6>();

/// A packet to send.
#[derive(Debug)]
pub(crate) struct Departure {
    /// How it gets onto the wire.
    pub(crate) way: Way,
    /// The packet's headers.
    pub(crate) headers: Outgoing,
    /// The slot that it is counted at if it cannot be sent; `None` for a copy, which no call misses.
    pub(crate) slot: Option<SlotIndex>,
}

/// How a packet gets onto the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// As a frame by a device.
    Link(Link),
    /// The kernel's routing finds it, from the local address of this number.
    Stack(u32),
    /// By the socket that is bound to the port of this slot; headers and way are the kernel's.
    Port(SlotIndex),
}

/// The next hop of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The device's index (`ifindex`).
    device: u32,
    macs: [u16; 6],
}

impl From<Hop> for Link {
    fn from(hop: Hop) -> Self {
        let (flow::Mac([a, b, c]), flow::Mac([d, e, g])) = (hop.to, hop.from);
        Self { device: hop.device, macs: [a, b, c, d, e, g] }
    }
}

/// By which of the sockets a packet leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// The packet socket: to the device.
    Packet,
    /// The raw socket of the local address of this number: to the IP stack.
    Raw(u32),
    /// The socket of a media port.
    Port(SlotIndex),
}

/// A socket address as the kernel reads it.
pub(crate) struct Name {
    bytes: [u8; NAME_MAX],
    len: usize,
}

impl Name {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn new<const FIELDS: usize>(family: libc::c_int, fields: [(usize, &[u8]); FIELDS], len: usize) -> Self {
        let mut bytes = [0; NAME_MAX];
        for (start, field) in [(0, (family as u16).to_ne_bytes().as_slice())].into_iter().chain(fields) {
            if let Some(place) = bytes.get_mut(start..start + field.len()) {
                place.copy_from_slice(field);
            }
        }
        Self { bytes, len }
    }
}

impl Departure {
    /// By which socket it leaves, and the address to send to.
    pub(crate) fn exit(&self) -> (Exit, Name) {
        use std::mem::offset_of;
        match (&self.way, &self.headers) {
            (Way::Link(link), headers) => {
                let protocol = ethertype(headers);
                let fields = [
                    (offset_of!(libc::sockaddr_ll, sll_protocol), protocol.as_bytes()),
                    (offset_of!(libc::sockaddr_ll, sll_ifindex), &link.device.to_ne_bytes()),
                ];
                (Exit::Packet, Name::new(libc::AF_PACKET, fields, size_of::<libc::sockaddr_ll>()))
            }
            // The ports stay zero: to a raw socket they would be protocols.
            (Way::Stack(local), Outgoing::V4(headers)) => {
                let fields = [(offset_of!(libc::sockaddr_in, sin_addr), headers.ip.to.as_bytes())];
                (Exit::Raw(*local), Name::new(libc::AF_INET, fields, size_of::<libc::sockaddr_in>()))
            }
            (Way::Stack(local), Outgoing::V6(headers)) => {
                let fields = [(offset_of!(libc::sockaddr_in6, sin6_addr), headers.ip.to.as_bytes())];
                (Exit::Raw(*local), Name::new(libc::AF_INET6, fields, size_of::<libc::sockaddr_in6>()))
            }
            (Way::Port(slot), Outgoing::V4(headers)) => {
                let fields = [
                    (
                        offset_of!(libc::sockaddr_in, sin_port),
                        headers.udp.ports.as_bytes().get(2..).unwrap_or_default(),
                    ),
                    (offset_of!(libc::sockaddr_in, sin_addr), headers.ip.to.as_bytes()),
                ];
                (Exit::Port(*slot), Name::new(libc::AF_INET, fields, size_of::<libc::sockaddr_in>()))
            }
            (Way::Port(slot), Outgoing::V6(headers)) => {
                let fields = [
                    (
                        offset_of!(libc::sockaddr_in6, sin6_port),
                        headers.udp.ports.as_bytes().get(2..).unwrap_or_default(),
                    ),
                    (offset_of!(libc::sockaddr_in6, sin6_addr), headers.ip.to.as_bytes()),
                ];
                (Exit::Port(*slot), Name::new(libc::AF_INET6, fields, size_of::<libc::sockaddr_in6>()))
            }
        }
    }

    /// The index of the device that it leaves by as a frame.
    pub(crate) const fn device(&self) -> Option<u32> {
        match self.way {
            Way::Link(link) => Some(link.device),
            Way::Stack(_) | Way::Port(_) => None,
        }
    }

    /// Writes the address to the beginning of a buffer, and the headers before the payload that starts there: the length of the address, and where
    /// the packet begins. `None` when there is no room for them.
    pub(crate) fn write(&self, buffer: &mut [u8], payload: usize) -> Option<(Exit, usize, usize)> {
        let (exit, name) = self.exit();
        let name = name.as_bytes();
        buffer.get_mut(..name.len())?.copy_from_slice(name);
        let headers = self.write_before(buffer.get_mut(NAME_MAX..payload)?)?;
        Some((exit, name.len(), payload - headers))
    }

    /// Writes the headers to the end of a place, where the payload follows; returns their length, or `None` when they do not fit.
    pub(crate) fn write_before(&self, place: &mut [u8]) -> Option<usize> {
        if matches!(self.way, Way::Port(_)) {
            return Some(0);
        }
        let headers = self.headers.as_bytes();
        let (before, end) = place.split_at_mut_checked(place.len().checked_sub(headers.len())?)?;
        end.copy_from_slice(headers);
        let Way::Link(link) = &self.way else { return Some(headers.len()) };
        let ethernet = Ethernet { macs: link.macs, kind: ethertype(&self.headers) };
        let start = before.len().checked_sub(size_of::<Ethernet>())?;
        before.get_mut(start..)?.copy_from_slice(ethernet.as_bytes());
        Some(headers.len() + size_of::<Ethernet>())
    }
}

const fn ethertype(headers: &Outgoing) -> Be16 {
    match headers {
        Outgoing::V4(_) => ETHERTYPE_IPV4,
        Outgoing::V6(_) => ETHERTYPE_IPV6,
    }
}

#[cfg(test)]
mod tests {
    use flow::Bearing;

    use super::*;

    fn departure(to: &str, way: Way) -> Departure {
        let to: std::net::IpAddr = to.parse().unwrap();
        let from = if to.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap();
        let headers =
            Outgoing::new(&Bearing { from, to, tos: None }, [30000, 6000].map(Be16::new), flow::headers::TTL, &[])
                .unwrap();
        Departure { way, headers, slot: None }
    }

    fn link() -> Way {
        Way::Link(
            Hop {
                to: [2, 0, 0, 0, 0, 9].into(),
                from: [2, 0, 0, 0, 0, 1].into(),
                device: 7,
                port: 0,
                reflects: true,
                mtu: 1500,
            }
            .into(),
        )
    }

    #[test]
    fn a_packet_whose_way_is_known_leaves_as_a_frame_for_its_device() {
        let departure = departure("198.51.100.10", link());
        let (exit, name) = departure.exit();
        assert_eq!(exit, Exit::Packet);
        assert_eq!(name.as_bytes()[..8], [17, 0, 0x08, 0x00, 7, 0, 0, 0]);
        assert_eq!(name.as_bytes().len(), 20);
        let mut place = [0xff; 62];
        assert_eq!(departure.write_before(&mut place), Some(42));
        assert_eq!(place[20..34], [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x08, 0x00]);
        assert_eq!(place[34], 0x45);
    }

    #[test]
    fn a_packet_whose_way_is_not_known_is_left_to_the_stack_of_its_family() {
        let (exit, name) = departure("198.51.100.10", Way::Stack(1)).exit();
        assert_eq!((exit, name.as_bytes()[..8].to_vec()), (Exit::Raw(1), vec![2, 0, 0, 0, 198, 51, 100, 10]));
        let (exit, name) = departure("2001:db8::2", Way::Stack(2)).exit();
        assert_eq!((exit, name.as_bytes().len(), name.as_bytes()[23]), (Exit::Raw(2), 28, 2));
    }

    #[test]
    fn a_packet_of_a_bound_port_is_addressed_and_its_headers_are_left_to_the_kernel() {
        let slot = SlotIndex(5);
        let v4 = departure("198.51.100.10", Way::Port(slot));
        let (exit, name) = v4.exit();
        assert_eq!(exit, Exit::Port(slot));
        assert_eq!(name.as_bytes()[..8], [2, 0, 0x17, 0x70, 198, 51, 100, 10]);
        assert_eq!(v4.write_before(&mut []), Some(0));
        let (_, name) = departure("2001:db8::2", Way::Port(slot)).exit();
        assert_eq!((name.as_bytes().len(), name.as_bytes()[3], name.as_bytes()[23]), (28, 0x70, 2));
    }

    #[test]
    fn headers_that_do_not_fit_are_not_written() {
        assert_eq!(departure("2001:db8::2", link()).write_before(&mut [0; 61]), None);
        assert_eq!(departure("2001:db8::2", link()).write_before(&mut [0; 62]), Some(62));
    }
}
