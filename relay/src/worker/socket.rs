//! The workers' sockets: one that receives for all media ports, and those that send with headers of our own.
#![expect(unsafe_code, reason = "socket options that no wrapper has")]

use std::io;
use std::mem::size_of_val;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, ipproto, socket_with};

use crate::engine::Output;

/// One socket takes the bursts of all calls: at 100,000 packets a second this is 150 ms of them.
const RECEIVE_BUFFER: libc::c_int = 32 << 20;
/// A socket that is one source's alone takes a second of 1,000 packets.
const BOUND_BUFFER: libc::c_int = 1 << 20;
/// Departures of a whole turn of the ring at once.
const SEND_BUFFER: libc::c_int = 8 << 20;

/// The socket that the steering program assigns datagrams to, of both families where the kernel has IPv6.
///
/// It is bound to loopback, where nobody outside can reach it directly: its own port is not a media port.
pub(crate) fn receiver() -> io::Result<OwnedFd> {
    let (socket, is_dual) = match socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None) {
        Ok(socket) => (socket, true),
        Err(Errno::AFNOSUPPORT) => {
            (socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?, false)
        }
        Err(error) => return Err(error.into()),
    };
    if is_dual {
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
        // Loopback of IPv4, which is there even where IPv6 has no addresses.
        bind(&socket, &SocketAddrV6::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 0, 0, 0))?;
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR, 1)?;
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
    } else {
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    }
    // Which of all media ports a datagram was for (Linux 2.6.29).
    set(&socket, libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR, 1)?;
    // How often it may still go round.
    set(&socket, libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
    set_buffer(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
    Ok(socket)
}

/// The sockets that send whole IP packets (raw(7), `IP_HDRINCL`) and whole frames.
pub(crate) struct Senders {
    /// One for each local address, in their order, because the kernel chooses a packet's route by the address that its socket is bound to, and not
    /// by the one in its header: a host with two uplinks has a route for each (`ip rule add from`).
    pub(crate) raws: Vec<OwnedFd>,
    /// Sends whole frames to a device (packet(7)); none where all is left to the stack.
    pub(crate) packet: Option<OwnedFd>,
}

/// One sending socket of each kind.
pub(crate) fn senders(output: Output, locals: &[IpAddr]) -> io::Result<Senders> {
    let packet = match output {
        // Without a protocol it receives nothing.
        Output::Device | Output::Xsk => {
            Some(socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
        }
        Output::Stack => None,
    };
    let senders = Senders { raws: locals.iter().map(|local| raw(*local)).collect::<Result<_, _>>()?, packet };
    for socket in senders.raws.iter().chain(&senders.packet) {
        set_buffer(socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER)?;
    }
    Ok(senders)
}

/// A socket that sends whole IP packets from a local address.
pub(crate) fn raw(local: IpAddr) -> io::Result<OwnedFd> {
    // IPPROTO_RAW implies IP_HDRINCL and receives nothing.
    let raw: Option<Protocol> = Some(ipproto::RAW);
    let socket = socket_with(family(local), SocketType::RAW, SocketFlags::CLOEXEC, raw)?;
    set_freebind(&socket, local)?;
    bind(&socket, &SocketAddr::new(local, 0))?;
    Ok(socket)
}

/// The longest IP packet that goes from a local address to another one in one piece, as far as the kernel knows.
pub(crate) fn path_mtu(local: IpAddr, to: IpAddr) -> io::Result<u16> {
    let socket = socket_with(family(local), SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    set_freebind(&socket, local)?;
    bind(&socket, &SocketAddr::new(local, 0))?;
    // No packet is sent: the kernel looks the route up, and keeps it. The port of "discard".
    rustix::net::connect(&socket, &SocketAddr::new(to, 9))?;
    let (level, option) =
        if to.is_ipv6() { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
    let (mut mtu, mut len): (libc::c_int, _) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the kernel writes at most `len` bytes to the number, which is that long.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut mtu).cast(), &raw mut len) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(u16::try_from(mtu).unwrap_or(u16::MAX)) }
}

fn family(addr: IpAddr) -> AddressFamily {
    if addr.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET }
}

/// Lets a socket have an address that is not on this host (yet).
fn set_freebind(socket: &OwnedFd, local: IpAddr) -> io::Result<()> {
    let (level, option) =
        if local.is_ipv6() { (libc::IPPROTO_IPV6, libc::IPV6_FREEBIND) } else { (libc::IPPROTO_IP, libc::IP_FREEBIND) };
    set(socket, level, option, 1)
}

/// A socket for one media port. Its own buffer is large enough for a second of one source of video.
pub(crate) fn bound(local: SocketAddr) -> io::Result<OwnedFd> {
    let socket = socket_with(family(local.ip()), SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    if local.is_ipv6() {
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    set_freebind(&socket, local.ip())?;
    bind(&socket, &local)?;
    // What is lost is told with the next datagram, so that nobody has to ask.
    set(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    set_buffer(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, BOUND_BUFFER)?;
    Ok(socket)
}

/// Has a socket's packets bear a type of service (IPv6: traffic class).
pub(crate) fn set_tos(socket: &OwnedFd, is_ipv6: bool, tos: u8) -> io::Result<()> {
    let (level, option) =
        if is_ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) } else { (libc::IPPROTO_IP, libc::IP_TOS) };
    set(socket, level, option, libc::c_int::from(tos))
}

/// How many datagrams the socket has lost because its buffer was full.
pub(crate) fn drops(socket: &impl AsFd) -> io::Result<u32> {
    // `SK_MEMINFO_DROPS` is the ninth of the counters (linux/sock_diag.h).
    let mut counters = [0u32; 9];
    let mut len = size_of_val(&counters) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `len` bytes to the array, which is that long.
    let done =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, counters.as_mut_ptr().cast(), &raw mut len) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(counters[8]) }
}

/// A buffer beyond the system's limit where the process may (`CAP_NET_ADMIN`), or else as large as the limit allows.
fn set_buffer(socket: &OwnedFd, forced: libc::c_int, ordinary: libc::c_int, bytes: libc::c_int) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, forced, bytes).or_else(|_| set(socket, libc::SOL_SOCKET, ordinary, bytes))
}

fn set(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`, which is that long.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
