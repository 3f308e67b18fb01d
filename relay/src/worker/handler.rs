//! What a worker's loop hands over and gets back, whichever loop it is: the border between how packets come and go and what is done with them.

use std::io;
use std::mem::offset_of;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use border::Intake;
use flow::{Reason, SlotIndex};
use media::{Packet, TAIL_ROOM};

use crate::worker::departure::Departure;
use crate::worker::outbox::Outbox;

/// Room for the sender's address, as the kernel writes it.
pub(crate) const NAME_LEN: usize = size_of::<libc::sockaddr_in6>();
/// Room for the control messages of one datagram: where it was for, its time to live, and how many were lost before it.
pub(crate) const CONTROL_LEN: usize = 96;

/// Room for what may come put together from fragments, 2,400 bytes and some, and what the ring puts before it. An odd number of cache lines, so
/// that the beginnings of all buffers do not compete for the same few places of a cache.
pub(crate) const BUFFER_LEN: usize = 47 * 64;
/// As much of it is the kernel's to fill: the rest is room behind the payload.
pub(crate) const FILLED_MAX: usize = BUFFER_LEN - TAIL_ROOM;
/// The longest payload, of either loop: what a buffer has left after the ring's header, address and control messages.
pub(crate) const PAYLOAD_MAX: usize = FILLED_MAX - 16 - NAME_LEN - CONTROL_LEN;

/// What control messages of these lengths take.
const fn space(len: usize) -> usize {
    (size_of::<libc::cmsghdr>() + len).next_multiple_of(align_of::<libc::cmsghdr>())
}

const _: () = assert!(CONTROL_LEN >= space(size_of::<libc::sockaddr_in6>()) + 2 * space(4) && PAYLOAD_MAX > 2400);

/// Where what happens in a worker's loop is decided.
pub(crate) trait Handler {
    /// A datagram; returns how it leaves from its own buffer, if it does. What leaves beside it is put into the outbox.
    fn arrived(&mut self, arrival: &mut Arrival<'_>, outbox: &mut Outbox) -> Option<Departure>;
    /// Everything that arrived in this turn has been handled. What is to be sent beside that is put into the outbox.
    fn turned(&mut self, outbox: &mut Outbox);
    /// So many datagrams were lost before this one, for want of room in a socket's buffer.
    fn overflowed(&mut self, count: u32);
    /// A datagram that was longer than a buffer.
    fn oversized(&mut self);
    /// A frame that is no datagram which the stack would let through.
    fn lost(&mut self, reason: Reason);
    /// The kernel refused to send a departure.
    fn refused(&mut self, slot: Option<SlotIndex>, error: &io::Error);

    /// How long until there is something to do that nothing arrives for; `None`: never.
    fn wait(&self) -> Option<Duration> {
        None
    }

    /// Whether anything has arrived in the turn that is over. The next one begins.
    fn rest(&mut self) -> bool {
        false
    }
}

/// A datagram that has arrived.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) sender: SocketAddr,
    /// The media port that it was for.
    pub(crate) local: SocketAddr,
    /// How many routers it may still pass; `None` where the kernel did not tell.
    pub(crate) ttl: Option<u8>,
    /// How it has come.
    pub(crate) intake: Intake,
    pub(crate) packet: Packet<'a>,
}

/// What the kernel tells of a datagram beside its sender (cmsg(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Control {
    /// Where it was for.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) ttl: Option<u8>,
    /// How many the socket has lost in all, when this one was queued.
    pub(crate) lost: Option<u32>,
}

impl Control {
    /// Reads the control messages of a datagram.
    pub(crate) fn parse(mut bytes: &[u8]) -> Self {
        const HEADER: usize = size_of::<libc::cmsghdr>();
        let mut control = Self::default();
        let word = |bytes: &[u8], at| Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        while let Some(len) = bytes.first_chunk().map(|len| usize::from_ne_bytes(*len)) {
            let (level, kind) = (offset_of!(libc::cmsghdr, cmsg_level), offset_of!(libc::cmsghdr, cmsg_type));
            let (Some(data), Some(level), Some(kind)) = (bytes.get(HEADER..len), word(bytes, level), word(bytes, kind))
            else {
                break;
            };
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) | (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => {
                    control.local = endpoint(data);
                }
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    control.ttl = word(data, 0).and_then(|ttl| u8::try_from(ttl).ok());
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => control.lost = word(data, 0).map(i32::cast_unsigned),
                _ => {}
            }
            bytes = bytes.get(len.next_multiple_of(align_of::<libc::cmsghdr>())..).unwrap_or_default();
        }
        control
    }
}

/// The endpoint in a socket address, IPv4 ones in their own form.
pub(crate) fn endpoint(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let (port, addr): (_, IpAddr) = match libc::c_int::from(family) {
        libc::AF_INET => {
            let addr: [u8; 4] = *bytes.get(offset_of!(libc::sockaddr_in, sin_addr)..)?.first_chunk()?;
            (bytes.get(offset_of!(libc::sockaddr_in, sin_port)..)?, addr.into())
        }
        libc::AF_INET6 => {
            let addr: [u8; 16] = *bytes.get(offset_of!(libc::sockaddr_in6, sin6_addr)..)?.first_chunk()?;
            (bytes.get(offset_of!(libc::sockaddr_in6, sin6_port)..)?, addr.into())
        }
        _ => return None,
    };
    Some(SocketAddr::new(addr.to_canonical(), u16::from_be_bytes(*port.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let len = size_of::<libc::cmsghdr>() + data.len();
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(len.next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn control_messages_are_read_in_any_order() {
        let mut name = 2u16.to_ne_bytes().to_vec();
        name.extend([0x75, 0x30, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let ttl = message(libc::IPPROTO_IP, libc::IP_TTL, &63i32.to_ne_bytes());
        let local = message(libc::IPPROTO_IP, libc::IP_ORIGDSTADDR, &name);
        let lost = message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7u32.to_ne_bytes());
        let expected = Control { local: Some("192.0.2.1:30000".parse().unwrap()), ttl: Some(63), lost: Some(7) };
        assert_eq!(Control::parse(&[ttl.clone(), local.clone(), lost.clone()].concat()), expected);
        assert_eq!(Control::parse(&[lost, local, ttl].concat()), expected);
    }

    #[test]
    fn broken_control_messages_tell_nothing() {
        for bytes in [&[][..], &[0; 7], &[0; 16], &[255; 40], &8usize.to_ne_bytes()] {
            assert_eq!(Control::parse(bytes), Control::default());
        }
    }
}
