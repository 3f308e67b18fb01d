//! Packets that do not fit their way: rare, so they are sent at once and one by one, by sockets of their own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use flow::Bearing;
use flow::compose::Outgoing;
use rustix::io::Errno;
use rustix::net::{SendFlags, sendto};

use crate::fragment::fragments;
use crate::socket;

/// What every way takes (RFC 8200 5), and what those of IPv4 take that anybody still has: what is no longer needs no look at the route.
const ALWAYS_FITS: usize = 1280;

/// Sends packets in fragments.
#[derive(Default)]
pub(crate) struct Oversize {
    /// A raw socket for each local address that has had such a packet.
    sockets: HashMap<IpAddr, OwnedFd>,
    last_id: u32,
}

impl Oversize {
    /// The longest packet that the way takes, when one of `len` bytes does not fit. `known`: what the next hop says, where there is one.
    pub(crate) fn exceeded(&self, bearing: &Bearing, len: usize, known: Option<u16>) -> Option<u16> {
        let mtu = match known {
            Some(mtu) => mtu,
            None if len <= ALWAYS_FITS => return None,
            // Without a route the packet cannot be sent anyway, and that is said when it is.
            None => socket::path_mtu(bearing.from, bearing.to).ok()?,
        };
        (len > usize::from(mtu)).then_some(mtu)
    }

    /// Sends a datagram in fragments of this size.
    ///
    /// # Errors
    /// What the kernel says, or that the way takes nothing at all.
    pub(crate) fn send(&mut self, from: IpAddr, headers: &Outgoing, payload: &[u8], mtu: u16) -> io::Result<()> {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let packets = fragments(headers, payload, mtu, self.last_id);
        if packets.is_empty() {
            return Err(Errno::MSGSIZE.into());
        }
        let socket = match self.sockets.entry(from) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(socket::raw(from)?),
        };
        // To a raw socket a port would be a protocol.
        let to = SocketAddr::new(headers.to().ip(), 0);
        for packet in packets {
            sendto(&*socket, &packet, SendFlags::DONTWAIT, &to)?;
        }
        Ok(())
    }
}
