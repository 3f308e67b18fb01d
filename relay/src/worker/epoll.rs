//! The slow path's plain loop, for hosts where io_uring is forbidden: wait, receive a batch, send each datagram on from the buffer it came in.
//!
//! It carries whatever the ring carries, by the same [`Handler`].
#![expect(
    unsafe_code,
    reason = "system calls that no wrapper has: recvmmsg with control messages, and sendmmsg to a device"
)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use border::Intake;
use flow::SlotIndex;
use media::{HEAD_ROOM, Packet, TAIL_ROOM};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use crate::host::Wake;
use crate::worker::bound::Change;
use crate::worker::departure::{Departure, Exit, HEADERS_MAX, NAME_MAX};
use crate::worker::frames::{self, FRAMES};
use crate::worker::handler::{Arrival, CONTROL_LEN, Control, Handler, NAME_LEN, PAYLOAD_MAX, endpoint};
use crate::worker::outbox::{Outbox, Own};
use crate::worker::sockets::Sockets;
use crate::xsk::{FramesChange, Inlet};

/// Datagrams that one system call receives.
const BATCH: usize = 64;
/// Batches of one turn: a flood must not keep the loop from seeing that it shall stop.
const BATCHES: usize = 16;

/// Sockets that one turn looks at.
const EVENTS: usize = 64;

/// What an event is of: a slot's port, or one of these.
const STEERED: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;
const TIMER: u64 = u64::MAX - 2;
/// With the number of an AF_XDP socket.
const FRAMES_OF: u64 = 1 << 32;

/// A loop with its sockets and buffers.
pub(crate) struct Epoll {
    epoll: OwnedFd,
    /// Ends a wait to the microsecond, which knows milliseconds only.
    timer: OwnedFd,
    wake: Arc<Wake>,
    sockets: Sockets,
    /// What comes past the stack.
    inlet: Option<Inlet>,
    arrivals: Box<[Place]>,
    /// What is sent beside what came.
    outbox: Outbox,
}

impl Epoll {
    /// A loop that receives from and sends by these sockets, and turns when it is woken.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub(crate) fn new(mut sockets: Sockets, wake: Arc<Wake>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        watch(&epoll, &*wake, WAKE)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        watch(&epoll, &timer, TIMER)?;
        if let Sockets::Steered(receiver, ..) = &sockets {
            watch(&epoll, receiver, STEERED)?;
        }
        let mut inlet = sockets.take_inlet();
        for (number, socket) in inlet.iter_mut().flat_map(Inlet::sockets) {
            watch(&epoll, &*socket, FRAMES_OF | u64::from(number))?;
        }
        if let Sockets::Bound(inbox) = &sockets {
            for (slot, generation) in inbox.mine() {
                inbox.port(slot, generation).map_or(Ok(()), |socket| watch(&epoll, socket, u64::from(slot.0)))?;
            }
        }
        let arrivals = (0..BATCH).map(|_| Place::default()).collect();
        Ok(Self { epoll, timer, wake, sockets, inlet, arrivals, outbox: Outbox::default() })
    }

    /// Ends the loop.
    pub(crate) fn into_sockets(self) -> Sockets {
        let Self { mut sockets, inlet, .. } = self;
        sockets.put_inlet(inlet);
        sockets
    }

    /// Waits for datagrams or the time-out, and handles what there is.
    ///
    /// # Errors
    /// When the sockets themselves fail.
    pub(crate) fn turn(&mut self, timeout: Duration, handler: &mut impl Handler) -> io::Result<()> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        if timeout.tv_nsec % 1_000_000 != 0 {
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: timeout };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        }
        let none = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [none; EVENTS];
        let count = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let is_of = |source: u64| {
            events.iter().take(count).any(|event| {
                let data = event.data;
                data.u64() == source
            })
        };
        if is_of(TIMER) {
            let _is_over = rustix::io::read(&self.timer, &mut [0; 8]);
        }
        if is_of(WAKE) {
            self.wake.hush();
        }
        // In every turn: a departure may leave by a port whose opening nobody woke this worker for, and one that is closed must be let go of.
        self.hear();
        for event in events.iter().take(count) {
            let data = event.data;
            match data.u64() {
                WAKE | TIMER => {}
                STEERED => self.serve(STEERED, handler)?,
                source if source >= FRAMES_OF => self.serve_frames(source as u32, event.flags, handler),
                source => self.serve(source, handler)?,
            }
        }
        handler.turned(&mut self.outbox);
        self.send_own(Vec::new(), handler);
        Ok(())
    }

    /// Takes the news of ports that were opened and closed.
    fn hear(&mut self) {
        if let Some(inlet) = &mut self.inlet {
            while let Some(change) = inlet.next() {
                match change {
                    FramesChange::Opened(number) => {
                        let socket = inlet.socket(number);
                        let watched = socket.map(|socket| watch(&self.epoll, &*socket, FRAMES_OF | u64::from(number)));
                        if let Some(Err(error)) = watched {
                            tracing::error!(%error, "a device's queue cannot be waited for");
                        }
                    }
                    // One that is closed is watched no more, if nobody else has it: the guard lets go of it first.
                    FramesChange::Closing(number) => inlet.close(number),
                }
            }
        }
        let Sockets::Bound(inbox) = &mut self.sockets else { return };
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

    /// Handles frames that have come past the stack by a socket.
    fn serve_frames(&mut self, number: u32, flags: epoll::EventFlags, handler: &mut impl Handler) {
        let Some(inlet) = &mut self.inlet else { return };
        if flags.contains(epoll::EventFlags::ERR) {
            // Its device is gone, which it would say again and again: it will be closed.
            if let Some(socket) = inlet.socket(number) {
                let _is_watched_no_more = epoll::delete(&self.epoll, &*socket);
            }
            return;
        }
        let mut left = FRAMES;
        while left > 0 {
            let Some(inlet) = &mut self.inlet else { return };
            let mut letters = Vec::with_capacity(BATCH);
            let mut count = 0;
            while count < BATCH
                && let Some(frame) = inlet.take(number)
            {
                count += 1;
                let Some((departure, start, end)) = frames::handle(inlet, number, frame, handler, &mut self.outbox)
                else {
                    inlet.give(number, frame.chunk);
                    continue;
                };
                let chunk = inlet.chunk(number, frame.chunk).unwrap_or_default();
                letters.push(Letter::new(&departure, chunk, start, end, Stock::Frame(number, frame.chunk)));
            }
            self.send_own(letters, handler);
            left = if count < BATCH { 0 } else { left.saturating_sub(count) };
        }
    }

    /// Handles what a socket has received.
    fn serve(&mut self, source: u64, handler: &mut impl Handler) -> io::Result<()> {
        for _ in 0..BATCHES {
            let (socket, local) = match &self.sockets {
                Sockets::Steered(receiver, ..) => (&**receiver, None),
                Sockets::Bound(inbox) => {
                    let slot = SlotIndex(source as u32);
                    // One that was closed after its event was told has nothing for us any more.
                    let Some(socket) = inbox.socket(slot) else { return Ok(()) };
                    (socket, inbox.local(slot))
                }
            };
            let count = match (receive(socket, &mut self.arrivals), local) {
                (Ok(count), _) => count,
                // It is one source's alone, and the others go on.
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
            let mut letters = Vec::with_capacity(count);
            for (number, arrival) in self.arrivals.iter_mut().enumerate().take(count) {
                if let Some(departure) = arrival.handle(local, handler, &mut self.outbox) {
                    let (start, end) = arrival.range;
                    letters.push(Letter::new(&departure, &mut arrival.bytes, start, end, Stock::Arrival(number)));
                }
            }
            self.send_own(letters, handler);
            if count < BATCH {
                break;
            }
        }
        Ok(())
    }
}

fn watch(epoll: &OwnedFd, socket: impl AsFd, source: u64) -> io::Result<()> {
    Ok(epoll::add(epoll, socket, epoll::EventData::new_u64(source), epoll::EventFlags::IN)?)
}

/// Receives as many datagrams as there are, up to a batch.
fn receive(socket: &OwnedFd, arrivals: &mut [Place]) -> io::Result<usize> {
    // SAFETY: zeros are empty vectors and empty message headers.
    let (mut vectors, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    for ((arrival, vector), message) in arrivals.iter_mut().zip(&mut vectors).zip(&mut messages) {
        let (_, payload) = arrival.bytes.split_at_mut(PAYLOAD);
        vector.iov_base = payload.as_mut_ptr().cast();
        // Room behind the payload stays.
        vector.iov_len = PAYLOAD_MAX;
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

/// Where the bytes of a letter are.
enum Stock {
    /// Among the arrivals.
    Arrival(usize),
    /// In this chunk of the AF_XDP socket of this number.
    Frame(u32, u32),
    /// In a buffer of their own.
    Own(Own),
}

/// A packet that is ready to be sent.
struct Letter {
    /// As [`Departure::slot`].
    slot: Option<SlotIndex>,
    /// `None`: there was no room for its headers.
    written: Option<(Exit, usize, usize)>,
    end: usize,
    stock: Stock,
}

impl Letter {
    /// Writes address and headers before a payload.
    fn new(departure: &Departure, buffer: &mut [u8], start: usize, end: usize, stock: Stock) -> Self {
        Self { slot: departure.slot, written: departure.write(buffer, start), end, stock }
    }
}

/// The socket of an exit.
fn socket_of(exit: Exit, sockets: &Sockets) -> Option<&OwnedFd> {
    match (exit, sockets) {
        (Exit::Packet, Sockets::Steered(_, senders, _)) => senders.packet.as_ref(),
        (Exit::Raw(local), Sockets::Steered(_, senders, _)) => senders.raws.get(local as usize),
        (Exit::Port(slot), Sockets::Bound(inbox)) => inbox.socket(slot),
        (Exit::Packet | Exit::Raw(_), Sockets::Bound(_)) | (Exit::Port(_), Sockets::Steered(..)) => None,
    }
}

impl Epoll {
    /// Sends these and what is to be sent beside them, as many at a time as leave by one socket.
    fn send_own(&mut self, mut letters: Vec<Letter>, handler: &mut impl Handler) {
        while let Some((departure, mut packet)) = self.outbox.next() {
            let (buffer, start, end) = packet.parts();
            let mut letter = Letter::new(&departure, buffer, start, end, Stock::Arrival(usize::MAX));
            letter.stock = Stock::Own(packet);
            letters.push(letter);
        }
        let mut rest = letters.as_mut_slice();
        while let Some(first) = rest.first() {
            let exit = first.written.map(|(exit, ..)| exit);
            let same =
                rest.iter().take(BATCH).take_while(|letter| letter.written.map(|(exit, ..)| exit) == exit).count();
            let (now, after) = rest.split_at_mut(same.max(1));
            self.send_by(exit, now, handler);
            rest = after;
        }
        for letter in letters {
            match letter.stock {
                Stock::Own(packet) => self.outbox.recycle(packet),
                Stock::Frame(number, chunk) => self.inlet.iter_mut().for_each(|inlet| inlet.give(number, chunk)),
                Stock::Arrival(_) => {}
            }
        }
        self.inlet.iter_mut().for_each(Inlet::publish);
    }

    /// Sends letters by one socket. One that is refused does not keep the others.
    fn send_by(&mut self, exit: Option<Exit>, mut letters: &mut [Letter], handler: &mut impl Handler) {
        let Some(socket) = exit.and_then(|exit| socket_of(exit, &self.sockets)) else {
            let error = if exit.is_none() { Errno::MSGSIZE } else { Errno::NOTCONN };
            return letters.iter().for_each(|letter| handler.refused(letter.slot, &error.into()));
        };
        while let Some(first) = letters.first() {
            let (refused, error) = (first.slot, send_batch(socket, letters, &mut self.arrivals, self.inlet.as_mut()));
            let sent = match error {
                Ok(sent) => sent,
                Err(error) => {
                    handler.refused(refused, &error);
                    1
                }
            };
            letters = letters.split_at_mut(sent.clamp(1, letters.len())).1;
        }
    }
}

/// Sends a batch; tells how many the kernel took. An error is the first one's.
fn send_batch(
    socket: &OwnedFd,
    letters: &mut [Letter],
    arrivals: &mut [Place],
    mut inlet: Option<&mut Inlet>,
) -> io::Result<usize> {
    // SAFETY: zeros are empty vectors and empty message headers.
    let (mut vectors, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let count = letters.len().min(BATCH);
    for ((letter, vector), message) in letters.iter_mut().zip(&mut vectors).zip(&mut messages) {
        let buffer = match &mut letter.stock {
            Stock::Arrival(number) => arrivals.get_mut(*number).map(|arrival| arrival.bytes.as_mut_slice()),
            Stock::Frame(number, chunk) => inlet.as_mut().and_then(|inlet| inlet.chunk(*number, *chunk)),
            Stock::Own(packet) => Some(packet.parts().0),
        };
        let (Some(buffer), Some((_, name_len, start))) = (buffer, letter.written) else { continue };
        let Some(packet) = buffer.get_mut(start..letter.end) else { continue };
        vector.iov_base = packet.as_mut_ptr().cast();
        vector.iov_len = packet.len();
        let header = &mut message.msg_hdr;
        header.msg_name = buffer.as_mut_ptr().cast();
        header.msg_namelen = name_len as libc::socklen_t;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
    }
    // Not waiting for room in the socket's buffer: a packet that is late is worth less than the next one in time.
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: every pointer is to a letter's buffer or to an array above, of the length beside it; they outlive the call, and the kernel keeps none.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count as libc::c_uint, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Where the payload begins: behind the address that it is sent to, its headers, and the room before it.
const PAYLOAD: usize = NAME_MAX + HEADERS_MAX + HEAD_ROOM;

/// A datagram as the kernel hands it over, with room for the address and the headers of its departure. Aligned as control messages are.
#[repr(C, align(8))]
struct Place {
    control: [u8; CONTROL_LEN],
    name: [u8; NAME_LEN],
    /// Room for address and headers, then the payload, and room behind it.
    bytes: [u8; PAYLOAD + PAYLOAD_MAX + TAIL_ROOM],
    len: usize,
    control_len: usize,
    is_truncated: bool,
    /// Where the payload is that leaves.
    range: (usize, usize),
}

impl Default for Place {
    fn default() -> Self {
        Self {
            control: [0; CONTROL_LEN],
            name: [0; NAME_LEN],
            bytes: [0; PAYLOAD + PAYLOAD_MAX + TAIL_ROOM],
            len: 0,
            control_len: 0,
            is_truncated: false,
            range: (0, 0),
        }
    }
}

impl Place {
    /// What the kernel tells of it.
    fn control(&self) -> Control {
        Control::parse(self.control.get(..self.control_len).unwrap_or_default())
    }

    /// Has the datagram handled; returns how it leaves, if it does.
    fn handle(
        &mut self,
        local: Option<SocketAddr>,
        handler: &mut impl Handler,
        outbox: &mut Outbox,
    ) -> Option<Departure> {
        if self.is_truncated {
            handler.oversized();
            return None;
        }
        let (sender, control) = (endpoint(&self.name)?, self.control());
        // Where it was for: known by the socket, or told by the kernel.
        let intake = if local.is_some() { Intake::Bound } else { Intake::Steered };
        let local = local.or(control.local)?;
        let packet = Packet::new(&mut self.bytes, PAYLOAD, PAYLOAD + self.len)?;
        let mut arrival = Arrival { sender, local, ttl: control.ttl, intake, packet };
        let departure = handler.arrived(&mut arrival, outbox)?;
        self.range = arrival.packet.range();
        Some(departure)
    }
}
