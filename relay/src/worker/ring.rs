//! The io_uring of one worker: receives datagrams into a ring of buffers and sends each on from the buffer it came in.
//!
//! The contract of a turn, in order: submit what is queued and wait; take every completion; give back each buffer that is done; arm the
//! receive again if it has ended, whatever ended it. A buffer is in one of three places: with the kernel to receive into, in a departure
//! that the kernel has not completed, or in the hands of [`Ring::turn`]; it leaves the last two only by going back to the first.
#![expect(unsafe_code, reason = "the ring's memory is shared with the kernel")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use border::Intake;
use io_uring::types::{CancelBuilder, Fd, Fixed, Napi, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use media::{HEAD_ROOM, Packet};

use crate::host::Wake;
use crate::worker::bound::Change;
use crate::worker::buffers::Buffers;
use crate::worker::departure::{Departure, Exit, HEADERS_MAX, NAME_MAX};
use crate::worker::frames::{self, FRAMES};
use crate::worker::handler::{Arrival, CONTROL_LEN, Control, FILLED_MAX, Handler, NAME_LEN, PAYLOAD_MAX, endpoint};
use crate::worker::outbox::{Outbox, Own};
use crate::worker::request::Request;
use crate::worker::sockets::Sockets;
use crate::xsk::{FramesChange, Inlet};

/// Datagrams that can be on their way through one worker at once: 20 ms of 50,000 packets a second.
pub(crate) const BUFFERS: u16 = 1024;
/// Where the payload begins. The address and the headers of a departure fit before it, over what was read already.
const PAYLOAD: usize = FILLED_MAX - PAYLOAD_MAX;

const _: () = assert!(PAYLOAD >= NAME_MAX + HEADERS_MAX + HEAD_ROOM);

const GROUP: u16 = 0;
/// The place of the steered socket among the registered files.
const RECEIVER: Fixed = Fixed(0);

/// What a request that is queued needs until the kernel has taken it.
enum Queued {
    /// A departure from the buffer that it came in.
    Buffer(u16),
    /// A packet in a buffer of its own.
    Own(Own),
    /// A departure from the chunk that its frame came in, of the AF_XDP socket of this number.
    Frame(u32, u32),
    /// Anything else needs nothing.
    Other,
}

/// A ring with its sockets and buffers.
pub(crate) struct Ring {
    uring: IoUring,
    memory: Buffers,
    wake: Arc<Wake>,
    sockets: Sockets,
    /// What comes past the stack.
    inlet: Option<Inlet>,
    /// Departures of frames that are to be queued.
    ready: VecDeque<(squeue::Entry, Queued)>,
    /// Whether there may be more frames than one turn handles.
    has_frames: bool,
    /// What a receive asks for: only the lengths matter.
    request: Box<libc::msghdr>,
    /// What was queued since the last submission, in order.
    queued: VecDeque<Queued>,
    /// What is sent beside what came.
    outbox: Outbox,
    /// What is to be armed in the next turn, because it never was or has ended.
    unarmed: Vec<Request>,
    /// Whether it was woken: there may be news of ports.
    is_woken: bool,
}

/// Whether this process may have a ring of the kind that workers use.
///
/// # Errors
/// As [`Ring::new`].
pub(crate) fn probe() -> io::Result<()> {
    let made: io::Result<IoUring> = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(8);
    made.map(drop)
}

impl Ring {
    /// A ring that receives from and sends by these sockets, and turns when it is woken. It belongs to the thread that makes it.
    ///
    /// # Errors
    /// When the kernel has no io_uring, forbids it, or is older than 6.1.
    pub(crate) fn new(mut sockets: Sockets, wake: Arc<Wake>, buffers: u16) -> io::Result<Self> {
        let mut memory = Buffers::new(buffers)?;
        let entries = u32::from(memory.count()).max(8);
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            // A departure and an arrival for every buffer, and some to spare: an overflow would end the receive.
            .setup_cqsize(entries * 4)
            .build(entries)?;
        let mut unarmed = vec![Request::Wake];
        if let Sockets::Steered(receiver, senders, _) = &sockets {
            // -1 is a place without a file: where there is no socket of a kind, there are no departures for it.
            let place = |sender: &Option<OwnedFd>| sender.as_ref().map_or(-1, OwnedFd::as_raw_fd);
            let mut files = vec![receiver.as_raw_fd(), place(&senders.packet)];
            files.extend(senders.raws.iter().map(OwnedFd::as_raw_fd));
            uring.submitter().register_files(&files)?;
            unarmed.push(Request::Receive);
        }
        if let Sockets::Bound(inbox) = &sockets {
            unarmed.extend(inbox.mine().map(|(slot, generation)| Request::ReceivePort(slot, generation)));
        }
        let mut inlet = sockets.take_inlet();
        if let Some(inlet) = &mut inlet {
            unarmed.extend(inlet.sockets().map(|(number, _)| Request::Frames(number)));
        }
        // SAFETY: the entries are a page-aligned mapping of so many that lives until `self` is dropped, which ends all requests first.
        unsafe { uring.submitter().register_buf_ring_with_flags(memory.entries(), memory.count(), GROUP, 0) }?;
        for buffer in 0..memory.count() {
            memory.give(buffer);
        }
        memory.publish();
        // SAFETY: a message header of zeros is an empty one.
        let mut request: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        request.msg_namelen = NAME_LEN as u32;
        request.msg_controllen = CONTROL_LEN;
        Ok(Self {
            uring,
            memory,
            wake,
            sockets,
            inlet,
            ready: VecDeque::new(),
            has_frames: false,
            request,
            queued: VecDeque::new(),
            outbox: Outbox::default(),
            unarmed,
            is_woken: false,
        })
    }

    /// Ends the ring.
    pub(crate) fn into_sockets(mut self) -> Sockets {
        let mut sockets = std::mem::replace(&mut self.sockets, Sockets::none());
        sockets.put_inlet(self.inlet.take());
        sockets
    }

    /// Has the kernel ask the network card's driver for packets while the ring waits (NAPI), for so long.
    pub(crate) fn poll_card(&self, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        if let Err(error) = self.uring.submitter().register_napi(&mut Napi::new().set_busy_poll_timeout(micros)) {
            tracing::info!(%error, "the network card is not polled for packets: that takes Linux 6.9 and a kernel with busy polling");
        }
    }

    /// Submits, waits for completions or the time-out, and handles what there is.
    ///
    /// # Errors
    /// When the ring itself fails.
    pub(crate) fn turn(&mut self, timeout: Duration, handler: &mut impl Handler) -> io::Result<()> {
        // What it was woken for may have come before that is forgotten: then it is not waited for.
        let timeout = if self.is_woken || self.has_frames { Duration::ZERO } else { timeout };
        match self.prepare() {
            Ok(()) => {}
            // Completions want to be taken first; what is left to arm is armed in the next turn.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error),
        }
        let timeout = Timespec::from(timeout);
        match self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout)) {
            Ok(submitted) => self.submitted(submitted),
            Err(error) => match error.raw_os_error() {
                // Time-out, a signal, or completions that want to be taken first: all are turns like any other.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY) => {}
                _ => return Err(error),
            },
        }
        if matches!(self.sockets, Sockets::Bound(_)) {
            // A departure may leave by a port whose opening nobody woke this worker for.
            self.hear()?;
        }
        let taken = self.take(handler).and_then(|()| self.take_frames(handler));
        handler.turned(&mut self.outbox);
        let sent = self.send_own(handler);
        // Also when something failed: what is not published would never be used again.
        self.memory.publish();
        taken.and(sent)
    }

    /// Takes news, and arms what is not armed. After an error the rest is for the next turn.
    fn prepare(&mut self) -> io::Result<()> {
        if self.is_woken {
            self.hear()?;
        }
        if self.unarmed.is_empty() {
            return Ok(());
        }
        // A receive that ended for want of buffers would end again: those of the departures come back first.
        self.flush()?;
        self.memory.publish();
        // The last that ended first: were they armed in the order in which they end, one that floods would take all buffers again and again
        // (before Linux 6.6.17 a receive goes on as long as there are datagrams and buffers).
        while let Some(request) = self.unarmed.pop() {
            if let Err(error) = self.arm(request) {
                self.unarmed.push(request);
                return Err(error);
            }
        }
        Ok(())
    }

    fn take(&mut self, handler: &mut impl Handler) -> io::Result<()> {
        while let Some(entry) = self.complete() {
            let request = Request::of(entry.user_data());
            match request {
                Request::Receive | Request::ReceivePort(..) => self.received(request, &entry, handler)?,
                Request::Send(slot) if entry.result() < 0 => {
                    handler.refused(slot, &io::Error::from_raw_os_error(-entry.result()));
                }
                Request::Wake => {
                    if !cqueue::more(entry.flags()) {
                        self.unarmed.push(request);
                    }
                    self.is_woken = true;
                }
                // The frames of all sockets are taken in each turn. One whose device is gone would say so again and again: it will be closed.
                Request::Frames(_) if !cqueue::more(entry.flags()) => {
                    let is_gone = entry.result() < 0 || entry.result() & i32::from(libc::POLLERR) != 0;
                    if !is_gone {
                        self.unarmed.push(request);
                    }
                }
                Request::Frames(_) | Request::CancelFrames(_) => {}
                Request::Send(_) | Request::Cancel(..) => {}
            }
        }
        Ok(())
    }

    /// Has the kernel take everything that is queued.
    fn flush(&mut self) -> io::Result<()> {
        while !self.queued.is_empty() {
            match self.uring.submit() {
                Ok(submitted) => self.submitted(submitted),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes the news of ports that were opened and closed.
    fn hear(&mut self) -> io::Result<()> {
        // A queued departure names its socket by a number that may be another's once the socket is closed.
        self.flush()?;
        if std::mem::take(&mut self.is_woken) {
            self.wake.hush();
        }
        if let Some(inlet) = &mut self.inlet {
            while let Some(change) = inlet.next() {
                self.unarmed.push(match change {
                    FramesChange::Opened(number) => Request::Frames(number),
                    FramesChange::Closing(number) => {
                        // Nothing that is queued is in its memory any more.
                        self.ready.retain(|(_, queued)| !matches!(queued, Queued::Frame(of, _) if *of == number));
                        inlet.close(number);
                        Request::CancelFrames(number)
                    }
                });
            }
        }
        let Sockets::Bound(inbox) = &mut self.sockets else { return Ok(()) };
        while let Some(change) = inbox.next() {
            self.unarmed.push(match change {
                Change::Opened(slot, generation) => Request::ReceivePort(slot, generation),
                Change::Closed(slot, generation) => Request::Cancel(slot, generation),
            });
        }
        Ok(())
    }

    /// The kernel has taken so many of the queued requests. It does not wait to send, so the departures among them are sent or refused by now.
    fn submitted(&mut self, count: usize) {
        for queued in self.queued.drain(..count.min(self.queued.len())) {
            match queued {
                Queued::Buffer(buffer) => self.memory.give(buffer),
                Queued::Own(packet) => self.outbox.recycle(packet),
                Queued::Frame(number, chunk) => self.inlet.iter_mut().for_each(|inlet| inlet.give(number, chunk)),
                Queued::Other => {}
            }
        }
    }

    fn complete(&mut self) -> Option<cqueue::Entry> {
        self.uring.completion().next()
    }

    fn arm(&mut self, request: Request) -> io::Result<()> {
        let header = &raw const *self.request;
        let entry = match (request, &self.sockets) {
            (Request::ReceivePort(slot, generation), Sockets::Bound(inbox)) => {
                // One that was closed meanwhile is not received from any more.
                let Some(socket) = inbox.port(slot, generation) else { return Ok(()) };
                opcode::RecvMsgMulti::new(Fd(socket.as_raw_fd()), header, GROUP).build()
            }
            (Request::Cancel(slot, generation), _) => {
                opcode::AsyncCancel::new(Request::ReceivePort(slot, generation).data()).build()
            }
            (Request::Frames(number), _) => {
                // As above.
                let socket = self.inlet.iter_mut().find_map(|inlet| inlet.socket(number));
                let Some(fd) = socket.map(|socket| socket.as_raw_fd()) else { return Ok(()) };
                opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build()
            }
            (Request::CancelFrames(number), _) => opcode::AsyncCancel::new(Request::Frames(number).data()).build(),
            (Request::Wake, _) => {
                let events = libc::POLLIN as u32;
                opcode::PollAdd::new(Fd(self.wake.as_raw_fd()), events).multi(true).build()
            }
            _ => opcode::RecvMsgMulti::new(RECEIVER, header, GROUP).build(),
        };
        self.push(&entry.user_data(request.data()), Queued::Other).map_err(|(error, _)| error)
    }

    /// Queues a request; gives back what it needs when it cannot be.
    fn push(&mut self, entry: &squeue::Entry, queued: Queued) -> Result<(), (io::Error, Queued)> {
        loop {
            // SAFETY: what the entry points to - the request, a buffer, a packet of our own in `queued` - is on the heap or mapped, and lives
            // until the kernel has taken the entry, or, what a request goes on to use, until `self` is dropped, which ends all requests first.
            let pushed = unsafe { self.uring.submission().push(entry) };
            if pushed.is_ok() {
                self.queued.push_back(queued);
                return Ok(());
            }
            match self.uring.submit() {
                Ok(submitted) => self.submitted(submitted),
                Err(error) => return Err((error, queued)),
            }
        }
    }

    /// Handles frames that have come past the stack, of each socket some.
    fn take_frames(&mut self, handler: &mut impl Handler) -> io::Result<()> {
        let Self { inlet: Some(inlet), sockets, outbox, ready, .. } = self else { return Ok(()) };
        self.has_frames = false;
        for place in 0.. {
            let Some(number) = inlet.number(place) else { break };
            let mut left = FRAMES;
            while left > 0
                && let Some(frame) = inlet.take(number)
            {
                left -= 1;
                let Some((departure, start, end)) = frames::handle(inlet, number, frame, handler, outbox) else {
                    inlet.give(number, frame.chunk);
                    continue;
                };
                let chunk = inlet.chunk(number, frame.chunk).unwrap_or_default();
                match send(&departure, chunk, start, end, sockets) {
                    Some(send) => ready.push_back((send, Queued::Frame(number, frame.chunk))),
                    None => {
                        handler.refused(departure.slot, &io::ErrorKind::NotConnected.into());
                        inlet.give(number, frame.chunk);
                    }
                }
            }
            self.has_frames |= left == 0;
        }
        inlet.publish();
        while let Some((send, queued)) = self.ready.pop_front() {
            if let Err((error, queued)) = self.push(&send, queued) {
                self.ready.push_front((send, queued));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Handles one completion of a receive.
    fn received(&mut self, request: Request, entry: &cqueue::Entry, handler: &mut impl Handler) -> io::Result<()> {
        if !cqueue::more(entry.flags()) {
            // It has ended: out of buffers, an error of the socket, or the kernel's own reasons. The next turn arms it again.
            self.unarmed.push(request);
        }
        let Some(buffer) = cqueue::buffer_select(entry.flags()) else {
            if entry.result() < 0 && entry.result() != -libc::ENOBUFS {
                tracing::debug!(error = %io::Error::from_raw_os_error(-entry.result()), "a receive ended");
            }
            return Ok(());
        };
        if let Some(send) = self.handle(request, buffer, entry.result(), handler) {
            let pushed = self.push(&send, Queued::Buffer(buffer));
            if pushed.is_err() {
                self.memory.give(buffer);
            }
            pushed.map_err(|(error, _)| error)?;
        } else {
            self.memory.give(buffer);
        }
        self.send_own(handler)
    }

    /// Queues what is to be sent beside what came.
    fn send_own(&mut self, handler: &mut impl Handler) -> io::Result<()> {
        while let Some((departure, mut packet)) = self.outbox.next() {
            let (buffer, start, end) = packet.parts();
            let Some(send) = send(&departure, buffer, start, end, &self.sockets) else {
                handler.refused(departure.slot, &io::ErrorKind::NotConnected.into());
                self.outbox.recycle(packet);
                continue;
            };
            self.push(&send, Queued::Own(packet)).map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// Has a received datagram handled; returns the departure to submit from the same buffer.
    fn handle(
        &mut self,
        request: Request,
        buffer: u16,
        result: i32,
        handler: &mut impl Handler,
    ) -> Option<squeue::Entry> {
        let filled = usize::try_from(result).ok()?.min(FILLED_MAX);
        let bytes = self.memory.bytes(buffer);
        let (sender, control, payload_len) = {
            let message = RecvMsgOut::parse(bytes.get(..filled)?, &self.request).ok()?;
            if message.is_payload_truncated() {
                handler.oversized();
                return None;
            }
            (endpoint(message.name_data())?, Control::parse(message.control_data()), message.payload_data().len())
        };
        let (local, intake) = match (request, &mut self.sockets) {
            (Request::ReceivePort(slot, _), Sockets::Bound(inbox)) => {
                handler.overflowed(inbox.newly_lost(slot, control.lost));
                (inbox.local(slot)?, Intake::Bound)
            }
            _ => (control.local?, Intake::Steered),
        };
        let packet = Packet::new(bytes, PAYLOAD, PAYLOAD + payload_len)?;
        let mut arrival = Arrival { sender, local, ttl: control.ttl, intake, packet };
        let departure = handler.arrived(&mut arrival, &mut self.outbox)?;
        let (start, end) = arrival.packet.range();
        let sent = send(&departure, bytes, start, end, &self.sockets);
        if sent.is_none() {
            handler.refused(departure.slot, &io::ErrorKind::NotConnected.into());
        }
        sent
    }
}

/// The request to send a payload from its buffer, under headers that are written before it; `None` when there is no such socket, or no room.
fn send(
    departure: &Departure,
    buffer: &mut [u8],
    start: usize,
    end: usize,
    sockets: &Sockets,
) -> Option<squeue::Entry> {
    let (exit, name_len, start) = departure.write(buffer, start)?;
    let packet = buffer.get(start..end)?;
    let (start, len) = (packet.as_ptr(), packet.len() as u32);
    let send = match (exit, sockets) {
        (Exit::Packet, Sockets::Steered(..)) => opcode::Send::new(Fixed(1), start, len),
        (Exit::Raw(local), Sockets::Steered(..)) => opcode::Send::new(Fixed(2 + local), start, len),
        (Exit::Port(slot), Sockets::Bound(inbox)) => opcode::Send::new(Fd(inbox.socket(slot)?.as_raw_fd()), start, len),
        (Exit::Port(_), Sockets::Steered(..)) | (Exit::Packet | Exit::Raw(_), Sockets::Bound(_)) => return None,
    };
    let send = send
        // Not waiting for room in the socket's buffer: a packet that is late is worth less than the next one in time.
        .flags(libc::MSG_DONTWAIT)
        .dest_addr(buffer.as_ptr().cast())
        .dest_addr_len(name_len as libc::socklen_t)
        .build();
    Some(send.flags(squeue::Flags::SKIP_SUCCESS).user_data(Request::Send(departure.slot).data()))
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel must have let go of the buffers before they are unmapped.
        let cancelled = self.uring.submitter().register_sync_cancel(None, CancelBuilder::any());
        if let Err(error) =
            cancelled.or_else(|error| if error.raw_os_error() == Some(libc::ENOENT) { Ok(()) } else { Err(error) })
        {
            tracing::error!(%error, "requests of the ring could not be cancelled; their memory is kept");
            self.memory.leak();
            // SAFETY: a message header of zeros is an empty one.
            std::mem::forget(std::mem::replace(&mut self.request, Box::new(unsafe { std::mem::zeroed() })));
        }
    }
}

#[cfg(test)]
mod tests;
