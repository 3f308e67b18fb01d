//! What a worker's loop hands over and gets back, whichever loop it is: the border between how packets come and go and what is done with them.

use std::io;
use std::mem::offset_of;
use std::net::{IpAddr, SocketAddr};

use flow::SlotIndex;

use crate::departure::Departure;

/// Room for the sender's address, as the kernel writes it.
pub(crate) const NAME_LEN: usize = size_of::<libc::sockaddr_in6>();
/// Room for one control message, with the address that the datagram was for.
pub(crate) const CONTROL_LEN: usize = 48;

/// Room for the largest Ethernet payload and what the ring puts before it.
pub(crate) const BUFFER_LEN: usize = 2048;
/// The longest payload, of either loop: what a buffer has left after the ring's header, address and control message.
pub(crate) const PAYLOAD_MAX: usize = BUFFER_LEN - 16 - NAME_LEN - CONTROL_LEN;

const _: () = assert!(CONTROL_LEN >= size_of::<libc::cmsghdr>() + size_of::<libc::sockaddr_in6>());

/// Where what happens in a worker's loop is decided.
pub(crate) trait Handler {
    /// A datagram; returns how it leaves, if it does.
    fn arrived(&mut self, source: SocketAddr, local: SocketAddr, payload: &[u8]) -> Option<Departure>;
    /// A datagram that was longer than a buffer.
    fn oversized(&mut self);
    /// The kernel refused to send a departure.
    fn refused(&mut self, slot: SlotIndex, error: &io::Error);
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
