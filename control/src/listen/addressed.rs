//! A UDP socket that answers from the address that it was asked at: on a wildcard address the kernel would choose another one, and a connected
//! client hears nothing from there.
#![expect(
    unsafe_code,
    reason = "the address is told and chosen by control messages (ip(7), ipv6(7)), which no wrapper has"
)]

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;

use socket2::SockAddr;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Room for one control message with an address, aligned as control messages are.
#[repr(align(8))]
struct Control([u8; 64]);

/// The socket.
#[derive(Debug)]
pub(super) struct Addressed {
    socket: UdpSocket,
    local: SocketAddr,
    /// Whether it is bound to no address of its own.
    is_wildcard: bool,
}

impl Addressed {
    /// The socket, of either kind.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let addr = local.ip();
        let is_wildcard = addr.is_unspecified();
        if is_wildcard {
            let (level, option) = match addr {
                IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
                IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            };
            let on: libc::c_int = 1;
            let len = size_of_val(&on) as libc::socklen_t;
            // SAFETY: the kernel reads `len` bytes of `on`, which is that long.
            let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), len) };
            if set < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self { socket, local, is_wildcard })
    }

    /// The next datagram: its length, who sent it, and the address that it was for, where that is not the socket's own.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
        if !self.is_wildcard {
            return self.socket.recv_from(buffer).await.map(|(len, client)| (len, client, None));
        }
        self.socket.async_io(Interest::READABLE, || receive(&self.socket, buffer)).await
    }

    /// The socket's own address.
    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends a datagram from this address, or from the socket's own.
    pub(super) async fn send(&self, payload: &[u8], client: SocketAddr, from: Option<IpAddr>) -> io::Result<usize> {
        match from {
            Some(from) => self.socket.async_io(Interest::WRITABLE, || send(&self.socket, payload, client, from)).await,
            None => self.socket.send_to(payload, client).await,
        }
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
    let mut control = Control([0; 64]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a message header of zeros is an empty one.
    let mut message: libc::msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut vector, 1);
    (message.msg_control, message.msg_controllen) = (control.0.as_mut_ptr().cast(), control.0.len());
    // SAFETY: the storage is that of a socket address of any family, and the message's pointers are to buffers of the lengths beside them,
    // which outlive the call.
    let (len, client) = unsafe {
        SockAddr::try_init(|storage, storage_len| {
            (message.msg_name, message.msg_namelen) = (storage.cast(), *storage_len);
            let len = libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0);
            *storage_len = message.msg_namelen;
            if len < 0 { Err(io::Error::last_os_error()) } else { Ok(len) }
        })
    }?;
    let client = client.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has filled the control buffer as the message header says.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: a header that is not null lies within the buffer.
    let asked = unsafe { header.as_ref() }.and_then(|found| match (found.cmsg_level, found.cmsg_type) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            // SAFETY: a message of this type has this content; it may lie unaligned.
            let info = unsafe { libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().read_unaligned() };
            Some(IpAddr::V4(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes())))
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            // SAFETY: as above.
            let info = unsafe { libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().read_unaligned() };
            Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
        }
        _ => None,
    });
    Ok((len as usize, client, asked))
}

fn send(socket: &UdpSocket, payload: &[u8], client: SocketAddr, from: IpAddr) -> io::Result<usize> {
    let (mut control, name) = (Control([0; 64]), SockAddr::from(client));
    let mut vector = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: a message header of zeros is an empty one.
    let mut message: libc::msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut vector, 1);
    (message.msg_name, message.msg_namelen) = (name.as_ptr().cast_mut().cast(), name.len());
    message.msg_control = control.0.as_mut_ptr().cast();
    let (level, kind, size) = match from {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, size_of::<libc::in_pktinfo>()),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, size_of::<libc::in6_pktinfo>()),
    };
    // SAFETY: only arithmetic.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size as libc::c_uint) } as usize;
    // SAFETY: the buffer is longer than the space of either message, aligned, and zeroed; the header and what follows it lie within.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(size as libc::c_uint) as usize;
        match from {
            IpAddr::V4(from) => {
                let mut info: libc::in_pktinfo = zeroed();
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(from.octets());
                libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().write_unaligned(info);
            }
            IpAddr::V6(from) => {
                let mut info: libc::in6_pktinfo = zeroed();
                info.ipi6_addr.s6_addr = from.octets();
                libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().write_unaligned(info);
            }
        }
    }
    // SAFETY: every pointer of the message is to a buffer of the length beside it, and outlives the call; the kernel only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_connected_client_hears_from_the_address_that_it_asked_at() {
        for (wildcard, asked) in
            [("0.0.0.0:0", "127.0.0.7"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.7"), ("127.0.0.7:0", "127.0.0.7")]
        {
            let Ok(socket) = UdpSocket::bind(wildcard).await else { continue };
            let port = socket.local_addr().unwrap().port();
            let socket = Addressed::new(socket).unwrap();
            let asked: IpAddr = asked.parse().unwrap();
            let own = if asked.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let client = UdpSocket::bind(own).await.unwrap();
            client.connect((asked, port)).await.unwrap();
            client.send(b"question").await.unwrap();
            let mut buffer = [0; 100];
            let (len, from, to) = socket.receive(&mut buffer).await.unwrap();
            assert_eq!(
                (&buffer[..len], from.ip().to_canonical()),
                (&b"question"[..], client.local_addr().unwrap().ip())
            );
            socket.send(b"answer", from, to).await.unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(2), client.recv(&mut buffer)).await;
            assert_eq!(heard.unwrap().unwrap(), 6, "{wildcard} {asked}");
        }
    }
}
