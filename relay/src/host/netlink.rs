//! rtnetlink: a socket, requests and their answers, and the kernel's messages one by one.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "rtnetlink's enums are open, and nearly all of their variants somebody else's business"
)]

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// A burst of route changes must not overflow the socket; if it does all the same, everything is read anew.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How long the kernel may take to answer. It answers at once; this is for an answer that was lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// Length of a netlink message's header.
const HEADER_LEN: usize = 16;
/// An interrupted dump is not consistent and is repeated, so often.
const DUMPS: usize = 5;

/// A netlink socket: one that gets news, or one for requests and their answers.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl std::os::fd::AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Netlink {
    /// A socket that gets the news of these groups and never waits; without groups, one for requests.
    pub(crate) fn open(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Beyond the system's limit where the process may.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            socket.set_rx_buf_sz(RECEIVE_BUFFER as libc::c_int)?;
        }
        for group in groups {
            socket.add_membership(*group)?;
        }
        if groups.is_empty() {
            rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))?;
        } else {
            socket.set_non_blocking(true)?;
        }
        Ok(Self { socket, sequence: 0 })
    }

    /// Has the kernel check requests strictly: a dump is only of what the request names (Linux 4.20).
    pub(crate) fn be_strict(&mut self) -> io::Result<()> {
        self.socket.set_netlink_get_strict_chk(true)
    }

    fn send(&mut self, message: &RouteNetlinkMessage, flags: u16) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message.clone()));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(self.sequence)
    }

    /// The next datagram of news, if there is one.
    ///
    /// # Errors
    /// When news were lost (`ENOBUFS`). The kernel sends none from then on until all that are queued have been taken.
    pub(crate) fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        match self.socket.recv_from_full() {
            Ok((datagram, _)) => Ok(Some(datagram)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes all news that are queued and forgets them: older than what is read after.
    pub(crate) fn discard(&self) {
        // An error says again that news were lost. The bound is for a kernel that says so for ever.
        for _ in 0..1 << 20 {
            if matches!(self.receive(), Ok(None)) {
                return;
            }
        }
    }

    /// The answer to the last request: `each` says when it has what it wants.
    pub(crate) fn answer<T>(
        &mut self,
        request: &RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>) -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        let sequence = self.send(request, flags)?;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut outcome = None;
            for_each_message(&datagram, |header, payload| {
                // An answer that came too late for an earlier request is nobody's now.
                if outcome.is_none() && header.sequence_number == sequence {
                    outcome = each(header, payload);
                }
            });
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// Reads a whole table.
    pub(crate) fn dump(
        &mut self,
        request: &RouteNetlinkMessage,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        for _ in 0..DUMPS {
            let mut is_consistent = true;
            self.answer(request, NLM_F_DUMP, |header, payload| {
                is_consistent &= header.flags & NLM_F_DUMP_INTR == 0;
                match payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Done(_) => return Some(Ok(())),
                    NetlinkPayload::Error(error) => return Some(Err(error.to_io())),
                    _ => {}
                }
                None
            })?;
            if is_consistent {
                break;
            }
        }
        Ok(())
    }
}

/// Takes a datagram apart. A message that is not understood is skipped; its header tells where the next one begins.
pub(crate) fn for_each_message(
    datagram: &[u8],
    mut each: impl FnMut(NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>),
) {
    let mut rest = datagram;
    while let Some(length) = rest.first_chunk().map(|length| u32::from_ne_bytes(*length) as usize) {
        let Some(message) = rest.get(..length).filter(|message| message.len() >= HEADER_LEN) else { return };
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) {
            Ok(message) => {
                let (header, payload) = message.into_parts();
                each(header, payload);
            }
            Err(error) => tracing::debug!(%error, "a netlink message that is not understood"),
        }
        // Messages are padded to a multiple of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
}
