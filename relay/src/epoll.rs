//! The slow path's plain loop, for hosts where io_uring is forbidden: wait, receive a batch, send each datagram on from the buffer it came in.
//!
//! It carries whatever the ring carries, by the same [`Handler`]; it only costs a system call for each departure.
#![expect(
    unsafe_code,
    reason = "system calls that no wrapper has: recvmmsg with control messages, and sendto a device"
)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use flow::SlotIndex;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::bound::Change;
use crate::departure::{Departure, Exit, HEADERS_MAX};
use crate::handler::{Arrival, CONTROL_LEN, Control, Handler, NAME_LEN, PAYLOAD_MAX, endpoint};
use crate::socket::Sockets;

/// Datagrams that one system call receives.
const BATCH: usize = 64;
/// Batches of one turn: a flood must not keep the loop from seeing that it shall stop.
const BATCHES: usize = 16;

/// Sockets that one turn looks at.
const EVENTS: usize = 64;

/// What an event is of: a slot's port, or one of these.
const STEERED: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;

/// A loop with its sockets and buffers.
pub(crate) struct Epoll {
    epoll: OwnedFd,
    sockets: Sockets,
    arrivals: Box<[Place]>,
}

impl Epoll {
    /// A loop that receives from and sends by these sockets.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub(crate) fn new(sockets: Sockets) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        match &sockets {
            Sockets::Steered(receiver, _) => watch(&epoll, receiver, STEERED)?,
            Sockets::Bound(inbox) => watch(&epoll, inbox.wake(), WAKE)?,
        }
        let arrivals = (0..BATCH).map(|_| Place::default()).collect();
        Ok(Self { epoll, sockets, arrivals })
    }

    /// Waits for datagrams or the time-out, and handles what there is.
    ///
    /// # Errors
    /// When the sockets themselves fail.
    pub(crate) fn turn(&mut self, timeout: Duration, handler: &mut impl Handler) -> io::Result<()> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let none = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [none; EVENTS];
        let count = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let is_wake = |event: &epoll::Event| {
            let data = event.data;
            data.u64() == WAKE
        };
        // In every turn: a departure may leave by a port whose opening nobody woke this worker for, and one that is closed must be let go of.
        self.hear(events.iter().take(count).any(is_wake));
        for event in events.iter().take(count) {
            let data = event.data;
            match data.u64() {
                WAKE => {}
                source => self.serve(source, handler)?,
            }
        }
        Ok(())
    }

    /// Takes the news of ports that were opened and closed.
    fn hear(&mut self, is_woken: bool) {
        let Sockets::Bound(inbox) = &mut self.sockets else { return };
        if is_woken {
            inbox.awake();
        }
        while let Some(change) = inbox.next() {
            if let Change::Opened(slot, generation) = change
                && let Some(socket) = inbox.port(slot, generation)
            {
                // The rest of the news must not wait for a port that cannot be had.
                if let Err(error) = watch(&self.epoll, socket, u64::from(slot.0)) {
                    tracing::error!(%error, port = slot.port(), "a media port cannot be waited for, and hears nothing");
                }
            }
            // A socket that is closed is watched no more.
        }
    }

    /// Handles what a socket has received.
    fn serve(&mut self, source: u64, handler: &mut impl Handler) -> io::Result<()> {
        for _ in 0..BATCHES {
            let (socket, local) = match &self.sockets {
                Sockets::Steered(receiver, _) => (&**receiver, None),
                Sockets::Bound(inbox) => {
                    let slot = SlotIndex(source as u32);
                    // One that was closed after its event was told has nothing for us any more.
                    let Some(socket) = inbox.socket(slot) else { return Ok(()) };
                    (socket, inbox.local(slot))
                }
            };
            let count = match (receive(socket, &mut self.arrivals), local) {
                (Ok(count), _) => count,
                // It is one stream's alone, and the others go on.
                (Err(error), Some(local)) => {
                    tracing::debug!(%error, %local, "a receive failed");
                    return Ok(());
                }
                (Err(error), None) => return Err(error),
            };
            if let Sockets::Bound(inbox) = &mut self.sockets {
                let lost = self.arrivals.iter().take(count).filter_map(|arrival| arrival.control().lost).next_back();
                handler.overflowed(inbox.newly_lost(SlotIndex(source as u32), lost));
            }
            for arrival in self.arrivals.iter_mut().take(count) {
                let Some(departure) = arrival.handle(local, handler) else { continue };
                if let Err(error) = arrival.send(&self.sockets, &departure) {
                    handler.refused(departure.slot, &error);
                }
            }
            if count < BATCH {
                break;
            }
        }
        Ok(())
    }
}

fn watch(epoll: &OwnedFd, socket: &OwnedFd, source: u64) -> io::Result<()> {
    Ok(epoll::add(epoll, socket, epoll::EventData::new_u64(source), epoll::EventFlags::IN)?)
}

/// Receives as many datagrams as there are, up to a batch.
fn receive(socket: &OwnedFd, arrivals: &mut [Place]) -> io::Result<usize> {
    // SAFETY: zeros are empty vectors and empty message headers.
    let (mut vectors, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    for ((arrival, vector), message) in arrivals.iter_mut().zip(&mut vectors).zip(&mut messages) {
        let (_, payload) = arrival.bytes.split_at_mut(HEADERS_MAX);
        vector.iov_base = payload.as_mut_ptr().cast();
        vector.iov_len = payload.len();
        let header = &mut message.msg_hdr;
        header.msg_name = arrival.name.as_mut_ptr().cast();
        header.msg_namelen = NAME_LEN as u32;
        header.msg_control = arrival.control.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_LEN;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
    }
    let (fd, none) = (socket.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: every pointer is to a field of an arrival or to an array above, of the length beside it; they outlive the call, and nobody
    // else uses them meanwhile.
    let count = unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), BATCH as libc::c_uint, libc::MSG_DONTWAIT, none) };
    let Ok(count) = usize::try_from(count) else {
        let error = io::Error::last_os_error();
        let is_empty = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
        return if is_empty { Ok(0) } else { Err(error) };
    };
    for (arrival, message) in arrivals.iter_mut().zip(&messages).take(count) {
        arrival.len = message.msg_len as usize;
        arrival.control_len = message.msg_hdr.msg_controllen;
        arrival.is_truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
    }
    Ok(count)
}

/// A datagram as the kernel hands it over, with room for the headers of its departure. Aligned as control messages are.
#[repr(C, align(8))]
struct Place {
    control: [u8; CONTROL_LEN],
    name: [u8; NAME_LEN],
    /// Room for headers, then the payload.
    bytes: [u8; HEADERS_MAX + PAYLOAD_MAX],
    len: usize,
    control_len: usize,
    is_truncated: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            control: [0; CONTROL_LEN],
            name: [0; NAME_LEN],
            bytes: [0; HEADERS_MAX + PAYLOAD_MAX],
            len: 0,
            control_len: 0,
            is_truncated: false,
        }
    }
}

impl Place {
    /// What the kernel tells of it.
    fn control(&self) -> Control {
        Control::parse(self.control.get(..self.control_len).unwrap_or_default())
    }

    /// Has the datagram handled; returns how it leaves, if it does.
    fn handle(&self, local: Option<SocketAddr>, handler: &mut impl Handler) -> Option<Departure> {
        if self.is_truncated {
            handler.oversized();
            return None;
        }
        let (source, control) = (endpoint(&self.name)?, self.control());
        // Where it was for: known by the socket, or told by the kernel.
        let local = local.or(control.local)?;
        let payload = self.bytes.get(HEADERS_MAX..HEADERS_MAX + self.len)?;
        handler.arrived(&Arrival { source, local, ttl: control.ttl, payload })
    }

    /// Sends the datagram under new headers.
    fn send(&mut self, sockets: &Sockets, departure: &Departure) -> io::Result<()> {
        let no_room = || io::Error::from(Errno::MSGSIZE);
        let place = self.bytes.get_mut(..HEADERS_MAX).ok_or_else(no_room)?;
        let start = HEADERS_MAX - departure.write_before(place).ok_or_else(no_room)?;
        let packet = self.bytes.get(start..HEADERS_MAX + self.len).ok_or_else(no_room)?;
        let (exit, name) = departure.exit();
        let socket = match (exit, sockets) {
            (Exit::Packet, Sockets::Steered(_, senders)) => senders.packet.as_ref(),
            (Exit::Raw(local), Sockets::Steered(_, senders)) => senders.raws.get(local as usize),
            (Exit::Port(slot), Sockets::Bound(inbox)) => inbox.socket(slot),
            _ => None,
        };
        let socket = socket.ok_or(Errno::NOTCONN)?;
        let name = name.as_bytes();
        // Not waiting for room in the socket's buffer: a packet that is late is worth less than the next one in time.
        // SAFETY: the kernel reads the packet and the address, both of the lengths beside them, and keeps neither.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                libc::MSG_DONTWAIT,
                name.as_ptr().cast(),
                name.len() as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
