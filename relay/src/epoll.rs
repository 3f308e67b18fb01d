//! The slow path's plain loop, for hosts where io_uring is forbidden: wait, receive a batch, send each datagram on from the buffer it came in.
//!
//! It carries whatever the ring carries, by the same [`Handler`]; it only costs a system call for each departure.
#![expect(
    unsafe_code,
    reason = "system calls that no wrapper has: recvmmsg with control messages, and sendto a device"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::departure::{Departure, Exit, HEADERS_MAX};
use crate::handler::{CONTROL_LEN, Handler, NAME_LEN, endpoint};
use crate::socket::Senders;

/// Datagrams that one system call receives.
const BATCH: usize = 64;
/// Batches of one turn: a flood must not keep the loop from seeing that it shall stop.
const BATCHES: usize = 16;
/// Room for the payload of the largest Ethernet frame and more. Longer datagrams are lost, and counted.
const PAYLOAD_LEN: usize = 2000;

/// A loop with its sockets and buffers.
pub(crate) struct Epoll {
    epoll: OwnedFd,
    receiver: Arc<OwnedFd>,
    senders: Senders,
    arrivals: Box<[Arrival]>,
}

impl Epoll {
    /// A loop that receives from one socket and sends by the others.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub(crate) fn new(receiver: Arc<OwnedFd>, senders: Senders) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &*receiver, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        let arrivals = (0..BATCH).map(|_| Arrival::default()).collect();
        Ok(Self { epoll, receiver, senders, arrivals })
    }

    /// Waits for datagrams or the time-out, and handles what there is.
    ///
    /// # Errors
    /// When the sockets themselves fail.
    pub(crate) fn turn(&mut self, timeout: Duration, handler: &mut impl Handler) -> io::Result<()> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
        match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for _ in 0..BATCHES {
            let count = self.receive()?;
            for arrival in self.arrivals.iter_mut().take(count) {
                let Some(departure) = arrival.handle(handler) else { continue };
                if let Err(error) = arrival.send(&self.senders, &departure) {
                    handler.refused(departure.slot, &error);
                }
            }
            if count < BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Receives as many datagrams as there are, up to a batch.
    fn receive(&mut self) -> io::Result<usize> {
        // SAFETY: zeros are empty vectors and empty message headers.
        let (mut vectors, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        for ((arrival, vector), message) in self.arrivals.iter_mut().zip(&mut vectors).zip(&mut messages) {
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
        let (fd, none) = (self.receiver.as_raw_fd(), std::ptr::null_mut());
        // SAFETY: every pointer is to a field of an arrival or to an array above, of the length beside it; they outlive the call, and nobody
        // else uses them meanwhile.
        let count =
            unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), BATCH as libc::c_uint, libc::MSG_DONTWAIT, none) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            let is_empty = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            return if is_empty { Ok(0) } else { Err(error) };
        };
        for (arrival, message) in self.arrivals.iter_mut().zip(&messages).take(count) {
            arrival.len = message.msg_len as usize;
            arrival.is_truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        }
        Ok(count)
    }
}

/// A datagram as the kernel hands it over, with room for the headers of its departure. Aligned as control messages are.
#[repr(C, align(8))]
struct Arrival {
    control: [u8; CONTROL_LEN],
    name: [u8; NAME_LEN],
    /// Room for headers, then the payload.
    bytes: [u8; HEADERS_MAX + PAYLOAD_LEN],
    len: usize,
    is_truncated: bool,
}

impl Default for Arrival {
    fn default() -> Self {
        Self {
            control: [0; CONTROL_LEN],
            name: [0; NAME_LEN],
            bytes: [0; HEADERS_MAX + PAYLOAD_LEN],
            len: 0,
            is_truncated: false,
        }
    }
}

impl Arrival {
    /// Has the datagram handled; returns how it leaves, if it does.
    fn handle(&self, handler: &mut impl Handler) -> Option<Departure> {
        if self.is_truncated {
            handler.oversized();
            return None;
        }
        let source = endpoint(&self.name)?;
        let local = endpoint(self.control.get(size_of::<libc::cmsghdr>()..)?)?;
        handler.arrived(source, local, self.bytes.get(HEADERS_MAX..HEADERS_MAX + self.len)?)
    }

    /// Sends the datagram under new headers.
    fn send(&mut self, senders: &Senders, departure: &Departure) -> io::Result<()> {
        let no_room = || io::Error::from(Errno::MSGSIZE);
        let place = self.bytes.get_mut(..HEADERS_MAX).ok_or_else(no_room)?;
        let start = HEADERS_MAX - departure.write_before(place).ok_or_else(no_room)?;
        let packet = self.bytes.get(start..HEADERS_MAX + self.len).ok_or_else(no_room)?;
        let (exit, name) = departure.exit();
        let socket = match exit {
            Exit::Packet => senders.packet.as_ref().ok_or(Errno::AFNOSUPPORT)?,
            Exit::Raw4 => &senders.v4,
            Exit::Raw6 => senders.v6.as_ref().ok_or(Errno::AFNOSUPPORT)?,
        };
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
