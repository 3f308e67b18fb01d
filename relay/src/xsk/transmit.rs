//! The sending half of an AF_XDP socket: frames are copied into chunks of its own, and the kernel is told of them once for many.
//!
//! Off by default. In copy mode the kernel makes a packet of each frame, as with a packet socket, but takes all that wait in one call. Linux 6.6 to
//! 6.17 has faults there, of which one ends in a panic where the other end of a veth device is a stack: who starts the relay refuses those.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::xdp::{XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XdpDesc, XdpDescOptions, XdpMmapOffsets};
use rustix::net::{SendFlags, send};

use crate::xsk::rings::{CHUNK, Consumer, Producer};

/// Frames that can be under way by one socket.
pub(super) const FRAMES: u32 = 1024;
/// As many as the kernel takes in one call before Linux 6.17.
const OF_A_CALL: u32 = 32;
/// After so many calls in a row of which it took nothing, frames leave otherwise until it takes some: the device is down, has no such transmit queue, or is
/// gone. What waits then is old when it leaves, if it does.
const FUTILE: u32 = 3;

/// Why frames cannot be sent by AF_XDP.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoTransmit {
    /// There are no sockets.
    #[error("output = \"xsk\" sends by the sockets that packets come by: choose intake = \"xsk\" as well")]
    Intake,
    /// By its version.
    #[error("Linux {0} may panic when frames are sent by AF_XDP, as all from 6.6 to 6.17: use another one")]
    Kernel(String),
}

/// Whether frames may be sent, where that is wanted: by sockets that there are, and on a kernel that is known to do so without fault.
///
/// # Errors
/// Why not.
pub(crate) fn may_transmit(is_wanted: bool, has_sockets: bool) -> Result<(), NoTransmit> {
    if !is_wanted {
        return Ok(());
    }
    if !has_sockets {
        return Err(NoTransmit::Intake);
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if is_sound(release.trim()) { Ok(()) } else { Err(NoTransmit::Kernel(release.trim().to_owned())) }
}

/// Fixes have come to versions between as well, and to which of a distribution's nobody can tell by the number.
fn is_sound(release: &str) -> bool {
    let mut numbers = release.split(|other: char| !other.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => !((6, 6)..=(6, 17)).contains(&(major, minor)),
        _ => false,
    }
}

/// The sending half.
pub(super) struct Transmit {
    ring: Producer<XdpDesc>,
    completed: Consumer<u64>,
    /// The socket's chunks for sending, and which of them nothing is in.
    chunks: Range<u32>,
    free: Vec<u32>,
    is_waiting: bool,
    futile: u32,
}

impl Transmit {
    /// Of a socket whose rings have been sized. These chunks, of its memory, are its own from now on.
    pub(super) fn map(socket: BorrowedFd<'_>, offsets: &XdpMmapOffsets, chunks: Range<u32>) -> io::Result<Self> {
        let ring = Producer::map(socket, XDP_PGOFF_TX_RING, offsets.tx, FRAMES)?;
        let completed = Consumer::map(socket, XDP_UMEM_PGOFF_COMPLETION_RING, offsets.cr, FRAMES)?;
        Ok(Self { ring, completed, free: chunks.clone().collect(), chunks, is_waiting: false, futile: 0 })
    }

    /// A chunk to write a frame to; `None` while all are under way, or the kernel takes none.
    pub(super) fn chunk(&mut self) -> Option<u32> {
        if self.futile >= FUTILE { None } else { self.free.pop() }
    }

    /// Has the kernel send what was written to a chunk, when it is [told](Self::tell).
    pub(super) fn give(&mut self, chunk: u32, len: usize) {
        let addr = u64::from(chunk) * CHUNK as u64;
        self.ring.give(XdpDesc { addr, len: len as u32, options: XdpDescOptions::empty() });
        self.is_waiting = true;
    }

    /// Tells the kernel of what was given, and takes back the chunks of what has left.
    pub(super) fn tell(&mut self, socket: impl AsFd) {
        if self.is_waiting {
            self.ring.publish();
            let before = self.ring.waiting();
            self.is_waiting = !self.send(socket);
            let has_taken = self.ring.waiting() != before;
            self.futile = if has_taken || !self.is_waiting { 0 } else { self.futile.saturating_add(1) };
        }
        while let Some(addr) = self.completed.take() {
            let chunk = (addr / CHUNK as u64) as u32;
            // Any other would be one that is received into, or that somebody else has.
            if self.chunks.contains(&chunk) && self.free.len() < self.chunks.len() {
                self.free.push(chunk);
            } else {
                tracing::debug!(chunk, "the kernel says that it has sent what it was not given");
            }
        }
        self.completed.release();
    }

    /// Whether all has been taken. What is left goes with the next: a device that is down takes nothing until it is up.
    fn send(&self, socket: impl AsFd) -> bool {
        for _ in 0..FRAMES / OF_A_CALL * 2 {
            let before = self.ring.waiting();
            if before == 0 {
                return true;
            }
            match send(&socket, &[], SendFlags::DONTWAIT) {
                // It has taken some, or has no room for more just now.
                Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => {}
                Err(error) => {
                    tracing::debug!(error = %io::Error::from(error), "a device takes no frames");
                    return false;
                }
            }
            if self.ring.waiting() == before {
                return false;
            }
        }
        self.ring.waiting() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_the_faults_are_refused_and_such_as_are_none() {
        for (release, expected) in [
            ("5.15.0-107-generic", true),
            ("6.1.0-37-amd64", true),
            ("6.5.13", true),
            ("6.6.0", false),
            ("6.12.41+deb13-amd64", false),
            ("6.17.2", false),
            ("6.18.44-fc", true),
            ("7.0-rc1", true),
            ("", false),
            ("6", false),
        ] {
            assert_eq!(is_sound(release), expected, "{release}");
        }
    }
}
