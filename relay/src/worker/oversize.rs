//! Packets that do not fit their way: rare, so they are sent at once and one by one, by sockets of their own.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use flow::Bearing;
use flow::compose::Outgoing;
use rustix::io::Errno;
use rustix::net::{SendFlags, sendto};

use crate::worker::fragment::fragments;
use crate::worker::socket;

/// What every way takes (RFC 8200 5), and what those of IPv4 take that anybody still has: what is no longer needs no look at the route.
const ALWAYS_FITS: usize = 1280;

/// So long a way is taken to be as it was, and so many are kept.
const KNOWN: Duration = Duration::from_secs(1);
const WAYS: usize = 4096;

/// Sends packets in fragments.
pub(crate) struct Oversize {
    /// A raw socket for each local address that has had such a packet.
    sockets: HashMap<IpAddr, OwnedFd>,
    /// Begins anywhere, so that no two workers, nor two runs, number alike: fragments of two packets of one number would be put together.
    last_id: u32,
    /// What the ways took lately: a call sends fifty packets a second, and asking about each costs a socket.
    mtus: HashMap<Bearing, (Instant, Option<u16>)>,
}

impl Default for Oversize {
    fn default() -> Self {
        let last_id = RandomState::new().build_hasher().finish() as u32;
        Self { sockets: HashMap::new(), last_id, mtus: HashMap::new() }
    }
}

impl Oversize {
    /// The longest packet that the way takes, when one of `len` bytes does not fit. `known`: what the next hop says, where there is one.
    pub(crate) fn exceeded(&mut self, bearing: &Bearing, len: usize, known: Option<u16>) -> Option<u16> {
        let mtu = match known {
            Some(mtu) => mtu,
            None if len <= ALWAYS_FITS => return None,
            None => self.path_mtu(bearing, Instant::now())?,
        };
        (len > usize::from(mtu)).then_some(mtu)
    }

    /// What the kernel says that a way takes. Without a route the packet cannot be sent anyway, and that is said when it is.
    fn path_mtu(&mut self, bearing: &Bearing, now: Instant) -> Option<u16> {
        if self.mtus.len() >= WAYS {
            self.mtus.clear();
        }
        let ask = || (now, socket::path_mtu(bearing.from, bearing.to).ok());
        let known = self.mtus.entry(*bearing).or_insert_with(ask);
        if now.saturating_duration_since(known.0) >= KNOWN {
            *known = ask();
        }
        known.1
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
