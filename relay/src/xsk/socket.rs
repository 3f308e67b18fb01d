//! One AF_XDP socket: the frames of one queue of one device, in memory of its own.
//!
//! In copy mode, whatever the driver can: where the queue's frames were in this memory from the start, the XDP program would have to copy those
//! that it sends on. A chunk to receive into is in one of three places: with the kernel to be filled, in the ring of those that came, or lent to the worker's
//! loop; it leaves the last only by going back to the first.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_UMEM_PGOFF_FILL_RING, XdpDesc, XdpUmemReg,
    XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::xsk::rings::{CHUNK, Chunks, Consumer, Producer};
use crate::xsk::transmit::{self, Transmit};

/// Chunks of a socket. All of them can wait in either ring, so that neither is ever full: frames are lost only when the worker has left so many
/// lie, 40 ms of 100,000 packets a second.
const CHUNKS: u32 = 4096;
/// Where nothing is sent by the socket, the kernel wants the ring of what was sent all the same.
const COMPLETIONS: u32 = 64;

/// What others may look at.
#[derive(Clone)]
pub(crate) struct View {
    fd: Arc<OwnedFd>,
    pulse: Arc<AtomicU32>,
}

/// A socket that receives the frames of a queue that the XDP program hands over.
pub(crate) struct Socket {
    // Closed before its memory goes.
    view: View,
    fill: Producer<u64>,
    received: Consumer<XdpDesc>,
    transmit: Option<Transmit>,
    /// The device's index (`ifindex`).
    device: u32,
    chunks: Chunks,
    /// The chunks that the worker's loop has.
    lent: Box<[bool]>,
}

/// A frame in its chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) chunk: u32,
    /// Where in the chunk it is.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Socket {
    /// Opens one for a queue of a device, by which frames can be sent as well, or not.
    ///
    /// # Errors
    /// When the kernel refuses; for a moment after another one of the same queue was closed (`EBUSY`).
    pub(crate) fn open(device: u32, queue: u32, sends: bool) -> io::Result<Self> {
        let fd = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        let sent = if sends { transmit::FRAMES } else { 0 };
        let chunks = Chunks::new((CHUNKS + sent) as usize, CHUNK)?;
        let (addr, len) = chunks.place();
        let memory = XdpUmemReg {
            addr,
            len,
            chunk_size: CHUNK as u32,
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        };
        sockopt::set_xdp_umem_reg(&fd, memory)?;
        sockopt::set_xdp_umem_fill_ring_size(&fd, CHUNKS)?;
        sockopt::set_xdp_umem_completion_ring_size(&fd, sent.max(COMPLETIONS))?;
        sockopt::set_xdp_rx_ring_size(&fd, CHUNKS)?;
        if sends {
            sockopt::set_xdp_tx_ring_size(&fd, sent)?;
            // For as many packets as can be under way, beyond the system's limit where this process may.
            let bytes = sent as usize * CHUNK;
            sockopt::set_socket_send_buffer_size_force(&fd, bytes)
                .or_else(|_| sockopt::set_socket_send_buffer_size(&fd, bytes))?;
        }
        let offsets = sockopt::xdp_mmap_offsets(&fd)?;
        let mut fill = Producer::map(fd.as_fd(), XDP_UMEM_PGOFF_FILL_RING, offsets.fr, CHUNKS)?;
        let received = Consumer::map(fd.as_fd(), XDP_PGOFF_RX_RING, offsets.rx, CHUNKS)?;
        let transmit = sends.then(|| Transmit::map(fd.as_fd(), &offsets, CHUNKS..CHUNKS + sent)).transpose()?;
        // Before it is bound: some drivers want that.
        for chunk in 0..CHUNKS {
            fill.give(u64::from(chunk) * CHUNK as u64);
        }
        fill.publish();
        bind(&fd, &SocketAddrXdp::new(SocketAddrXdpFlags::XDP_COPY, device, queue))?;
        let view = View { fd: Arc::new(fd), pulse: Arc::default() };
        Ok(Self { view, fill, received, transmit, device, chunks, lent: vec![false; CHUNKS as usize].into() })
    }

    /// What others may look at.
    pub(crate) fn view(&self) -> View {
        self.view.clone()
    }

    /// The next frame that has come. Its chunk is lent until it is [given back](Self::give).
    pub(crate) fn take(&mut self) -> Option<Frame> {
        let entry = self.received.take()?;
        let (chunk, start) = ((entry.addr / CHUNK as u64) as u32 % CHUNKS, entry.addr as usize % CHUNK);
        let end = (start + entry.len as usize).min(CHUNK);
        if let Some(lent) = self.lent.get_mut(chunk as usize) {
            *lent = true;
        }
        Some(Frame { chunk, start, end })
    }

    /// A chunk that is lent.
    pub(crate) fn chunk(&mut self, chunk: u32) -> &mut [u8] {
        self.chunks.chunk(chunk)
    }

    /// Gives a chunk back that was lent. The kernel has it after [`Socket::publish`].
    pub(crate) fn give(&mut self, chunk: u32) {
        if let Some(lent) = self.lent.get_mut(chunk as usize)
            && std::mem::take(lent)
        {
            self.fill.give(u64::from(chunk) * CHUNK as u64);
        }
    }

    /// The index of its device.
    pub(crate) const fn device(&self) -> u32 {
        self.device
    }

    /// Whether frames can be sent by it.
    pub(crate) const fn sends(&self) -> bool {
        self.transmit.is_some()
    }

    /// Sends a frame; `false` when it cannot, or not now. It leaves with [`Socket::publish`].
    pub(crate) fn send(&mut self, frame: &[u8]) -> bool {
        let Some(transmit) = &mut self.transmit else { return false };
        if frame.len() > CHUNK {
            return false;
        }
        let Some(chunk) = transmit.chunk() else { return false };
        if let Some(place) = self.chunks.chunk(chunk).get_mut(..frame.len()) {
            place.copy_from_slice(frame);
        }
        transmit.give(chunk, frame.len());
        true
    }

    /// The same with what is in a chunk that is lent.
    pub(crate) fn send_back(&mut self, chunk: u32, frame: Range<usize>) -> bool {
        let Some(transmit) = &mut self.transmit else { return false };
        let Some(copy) = transmit.chunk() else { return false };
        let len = self.chunks.copy(chunk, frame, copy);
        transmit.give(copy, len);
        true
    }

    /// Gives everything back that a loop had which has ended.
    pub(crate) fn give_all(&mut self) {
        for chunk in 0..CHUNKS {
            self.give(chunk);
        }
        self.publish();
    }

    /// Gives the kernel what was given back, and the places of what was taken.
    pub(crate) fn publish(&mut self) {
        let place = self.received.release();
        self.view.pulse.store(place, Ordering::Relaxed);
        self.fill.publish();
        if let Some(transmit) = &mut self.transmit {
            transmit.tell(&self.view.fd);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.view.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.view.fd.as_raw_fd()
    }
}

impl View {
    /// How many frames the worker has taken, modulo 2^32.
    pub(crate) fn pulse(&self) -> u32 {
        self.pulse.load(Ordering::Relaxed)
    }

    /// How many frames were lost because the worker had left too many lie, or there was no room for one.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn losses(&self) -> io::Result<u64> {
        let counts = sockopt::xdp_statistics(&self.fd)?;
        // A frame for which there is no chunk is among those that were dropped.
        Ok(counts.rx_dropped + counts.rx_ring_full.unwrap_or(0))
    }
}

impl AsRawFd for View {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Whether this process may have AF_XDP sockets, as far as that can be tried without a device.
///
/// # Errors
/// Why not.
pub(crate) fn probe() -> io::Result<()> {
    Ok(socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None).map(drop)?)
}

/// Why there is no socket, and what to do about it.
pub(crate) fn explain(error: &io::Error) -> String {
    let remedy = match Errno::from_io_error(error) {
        Some(Errno::PERM) => "it takes CAP_NET_RAW",
        Some(Errno::AFNOSUPPORT) => {
            "the kernel has no AF_XDP (CONFIG_XDP_SOCKETS), or the unit file does not allow it (RestrictAddressFamilies=)"
        }
        Some(Errno::NOBUFS) => {
            "each queue takes 16 MB of locked memory, 20 MB with output = \"xsk\": raise the limit (LimitMEMLOCK= in the unit file)"
        }
        Some(Errno::BUSY) => "another program has an AF_XDP socket on the queue",
        Some(_) | None => "the driver or the kernel cannot do it",
    };
    format!("{error}: {remedy}")
}
