//! The io_uring of one worker: receives datagrams into a ring of buffers and sends each on from the buffer it came in.
//!
//! The contract of a turn, in order: submit what is queued and wait; take every completion; give back each buffer that is done; arm the
//! receive again if it has ended, whatever ended it. A buffer is in one of three places: with the kernel to receive into, in a departure
//! that the kernel has not completed, or in the hands of [`Ring::turn`]; it leaves the last two only by going back to the first.
#![expect(unsafe_code, reason = "the ring's memory is shared with the kernel")]

use std::collections::VecDeque;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use flow::SlotIndex;
use io_uring::types::{BufRingEntry, CancelBuilder, Fixed, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::departure::{Exit, HEADERS_MAX, NAME_MAX};
use crate::handler::{CONTROL_LEN, Handler, NAME_LEN, endpoint};
use crate::socket::Senders;

/// Datagrams that can be on their way through one worker at once. A power of two; 20 ms of 50,000 packets a second.
pub(crate) const BUFFERS: u16 = 1024;
/// Room for the largest Ethernet payload and what the kernel puts before it. Longer datagrams are lost, and counted.
const BUFFER_LEN: usize = 2048;
/// Where the payload begins. The address and the headers of a departure fit before it, over what was read already.
const PAYLOAD: usize = 16 + NAME_LEN + CONTROL_LEN;

const _: () = assert!(PAYLOAD >= NAME_MAX + HEADERS_MAX && BUFFERS.is_power_of_two());

const RECEIVE: u64 = u64::MAX;
const GROUP: u16 = 0;
const RECEIVER: Fixed = Fixed(0);

/// The place of a socket among the registered files.
const fn sender(exit: Exit) -> Fixed {
    Fixed(match exit {
        Exit::Packet => 1,
        Exit::Raw4 => 2,
        Exit::Raw6 => 3,
    })
}

/// A ring with its sockets and buffers.
pub(crate) struct Ring {
    uring: IoUring,
    memory: Memory,
    /// What a receive asks for: only the lengths matter.
    request: Box<libc::msghdr>,
    /// What was queued since the last submission, in order: the buffer of a departure, or `None` for a receive.
    queued: VecDeque<Option<u16>>,
    armed: bool,
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
    /// A ring that receives from one socket and sends by the others. It belongs to the thread that makes it.
    ///
    /// # Errors
    /// When the kernel has no io_uring, forbids it, or is older than 6.1.
    pub(crate) fn new(receiver: &OwnedFd, senders: &Senders) -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            // A departure and an arrival for every buffer, and some to spare: an overflow would end the receive.
            .setup_cqsize(u32::from(BUFFERS) * 4)
            .build(u32::from(BUFFERS))?;
        // -1 is a place without a file: where there is no socket of a kind, there are no departures for it.
        let place = |sender: &Option<OwnedFd>| sender.as_ref().map_or(-1, OwnedFd::as_raw_fd);
        let files = [receiver.as_raw_fd(), place(&senders.packet), senders.v4.as_raw_fd(), place(&senders.v6)];
        uring.submitter().register_files(&files)?;
        let mut memory = Memory::new()?;
        // SAFETY: the entries are a page-aligned mapping of BUFFERS entries that lives until `self` is dropped, which ends all requests first.
        unsafe { uring.submitter().register_buf_ring_with_flags(memory.entries.as_ptr() as u64, BUFFERS, GROUP, 0) }?;
        for buffer in 0..BUFFERS {
            memory.give(buffer);
        }
        memory.publish();
        // SAFETY: a message header of zeros is an empty one.
        let mut request: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        request.msg_namelen = NAME_LEN as u32;
        request.msg_controllen = CONTROL_LEN;
        Ok(Self { uring, memory, request, queued: VecDeque::with_capacity(usize::from(BUFFERS)), armed: false })
    }

    /// Submits, waits for completions or the time-out, and handles what there is.
    ///
    /// # Errors
    /// When the ring itself fails.
    pub(crate) fn turn(&mut self, timeout: Duration, handler: &mut impl Handler) -> io::Result<()> {
        if !self.armed {
            self.arm()?;
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
        let taken = self.take(handler);
        // Also when something failed: what is not published would never be used again.
        self.memory.publish();
        taken
    }

    fn take(&mut self, handler: &mut impl Handler) -> io::Result<()> {
        while let Some(entry) = self.complete() {
            if entry.user_data() == RECEIVE {
                self.received(&entry, handler)?;
            } else if entry.result() < 0 {
                let error = io::Error::from_raw_os_error(-entry.result());
                handler.refused(SlotIndex(entry.user_data() as u32), &error);
            }
        }
        Ok(())
    }

    /// The kernel has taken so many of the queued requests. It does not wait to send, so the departures among them are sent or refused by now.
    fn submitted(&mut self, count: usize) {
        for buffer in self.queued.drain(..count.min(self.queued.len())).flatten() {
            self.memory.give(buffer);
        }
    }

    fn complete(&mut self) -> Option<cqueue::Entry> {
        self.uring.completion().next()
    }

    fn arm(&mut self) -> io::Result<()> {
        let receive = opcode::RecvMsgMulti::new(RECEIVER, &raw const *self.request, GROUP).build().user_data(RECEIVE);
        self.push(&receive, None)?;
        self.armed = true;
        Ok(())
    }

    fn push(&mut self, entry: &squeue::Entry, buffer: Option<u16>) -> io::Result<()> {
        loop {
            // SAFETY: what the entry points to - the request, a buffer - is on the heap or mapped, and lives until `self` is dropped, which ends
            // all requests first.
            let pushed = unsafe { self.uring.submission().push(entry) };
            if pushed.is_ok() {
                self.queued.push_back(buffer);
                return Ok(());
            }
            let submitted = self.uring.submit()?;
            self.submitted(submitted);
        }
    }

    /// Handles one completion of the receive.
    fn received(&mut self, entry: &cqueue::Entry, handler: &mut impl Handler) -> io::Result<()> {
        if !cqueue::more(entry.flags()) {
            // It has ended: out of buffers, an error of the socket, or the kernel's own reasons. The next turn arms it again.
            self.armed = false;
        }
        let Some(buffer) = cqueue::buffer_select(entry.flags()) else {
            if entry.result() < 0 && entry.result() != -libc::ENOBUFS {
                tracing::debug!(error = %io::Error::from_raw_os_error(-entry.result()), "a receive ended");
            }
            return Ok(());
        };
        if let Some(send) = self.handle(buffer, entry.result(), handler) {
            let pushed = self.push(&send, Some(buffer));
            if pushed.is_err() {
                self.memory.give(buffer);
            }
            return pushed;
        }
        self.memory.give(buffer);
        Ok(())
    }

    /// Has a received datagram handled; returns the departure to submit from the same buffer.
    fn handle(&mut self, buffer: u16, result: i32, handler: &mut impl Handler) -> Option<squeue::Entry> {
        let filled = usize::try_from(result).ok()?.min(BUFFER_LEN);
        let bytes = self.memory.bytes(buffer);
        let (departure, payload_len) = {
            let message = RecvMsgOut::parse(bytes.get(..filled)?, &self.request).ok()?;
            if message.is_payload_truncated() {
                handler.oversized();
                return None;
            }
            let source = endpoint(message.name_data())?;
            let local = endpoint(message.control_data().get(size_of::<libc::cmsghdr>()..)?)?;
            let payload = message.payload_data();
            (handler.arrived(source, local, payload)?, payload.len())
        };
        let (exit, name) = departure.exit();
        let name = name.as_bytes();
        let (place, rest) = bytes.split_at_mut_checked(NAME_MAX)?;
        place.get_mut(..name.len())?.copy_from_slice(name);
        let headers = departure.write_before(rest.get_mut(..PAYLOAD - NAME_MAX)?)?;
        let packet = bytes.get(PAYLOAD - headers..PAYLOAD + payload_len)?;
        let send = opcode::Send::new(sender(exit), packet.as_ptr(), packet.len() as u32)
            // Not waiting for room in the socket's buffer: a packet that is late is worth less than the next one in time.
            .flags(libc::MSG_DONTWAIT)
            .dest_addr(bytes.as_ptr().cast())
            .dest_addr_len(name.len() as libc::socklen_t)
            .build();
        Some(send.flags(squeue::Flags::SKIP_SUCCESS).user_data(u64::from(departure.slot.0)))
    }
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

/// The buffers, and the ring of entries by which they are given to the kernel.
struct Memory {
    entries: NonNull<BufRingEntry>,
    buffers: NonNull<u8>,
    /// Buffers that stand in the ring beyond its tail, where the kernel does not look yet.
    given: u16,
    leaked: bool,
}

// SAFETY: the mappings are its own and not tied to a thread.
unsafe impl Send for Memory {}

const ENTRIES_BYTES: usize = BUFFERS as usize * size_of::<BufRingEntry>();
const BUFFERS_BYTES: usize = BUFFERS as usize * BUFFER_LEN;

impl Memory {
    fn new() -> io::Result<Self> {
        let map = |bytes| -> io::Result<NonNull<u8>> {
            // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
            let start = unsafe {
                mmap_anonymous(
                    std::ptr::null_mut(),
                    bytes,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::POPULATE,
                )
            }?;
            NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))
        };
        Ok(Self { entries: map(ENTRIES_BYTES)?.cast(), buffers: map(BUFFERS_BYTES)?, given: 0, leaked: false })
    }

    fn buffer(&self, buffer: u16) -> NonNull<u8> {
        // SAFETY: buffer numbers come from the kernel or from 0..BUFFERS and are reduced to that range, so the offset is within the mapping.
        unsafe { self.buffers.add(usize::from(buffer % BUFFERS) * BUFFER_LEN) }
    }

    /// A buffer that the kernel has filled. Its number came with a completion, so it is in nobody else's hands until it is given back.
    fn bytes(&mut self, buffer: u16) -> &mut [u8] {
        // SAFETY: the buffer is within the mapping and, by the rule above, not with the kernel; `&mut self` keeps others off.
        unsafe { std::slice::from_raw_parts_mut(self.buffer(buffer).as_ptr(), BUFFER_LEN) }
    }

    fn tail(&self) -> &AtomicU16 {
        // SAFETY: the tail lies within the first entry, is aligned to 2 and is written by this process only; the kernel reads it.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) }
    }

    /// Writes a buffer into the ring. The kernel has it after [`Memory::publish`].
    fn give(&mut self, buffer: u16) {
        let place = self.tail().load(Ordering::Relaxed).wrapping_add(self.given) & (BUFFERS - 1);
        // SAFETY: the place is within the ring, and beyond the tail the kernel does not look.
        let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(place)) };
        entry.set_addr(self.buffer(buffer).as_ptr() as u64);
        entry.set_len(BUFFER_LEN as u32);
        entry.set_bid(buffer);
        self.given += 1;
    }

    fn publish(&mut self) {
        let given = std::mem::take(&mut self.given);
        let tail = self.tail();
        tail.store(tail.load(Ordering::Relaxed).wrapping_add(given), Ordering::Release);
    }

    /// Leaves the memory mapped for ever.
    fn leak(&mut self) {
        self.leaked = true;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        // SAFETY: the mappings are ours and of these lengths; the ring has ended all requests before its memory is dropped.
        let unmapped = unsafe {
            munmap(self.entries.as_ptr().cast(), ENTRIES_BYTES).and(munmap(self.buffers.as_ptr().cast(), BUFFERS_BYTES))
        };
        debug_assert!(unmapped.is_ok());
    }
}
