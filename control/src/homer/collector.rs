//! The way to Homer: a socket that is made again when it has gone.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// By what packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// UDP.
    #[default]
    Udp,
    /// TCP.
    Tcp,
}

/// Where Homer is: a host by address or name, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no place: want ADDRESS:PORT or NAME:PORT, an IPv6 address in [ ]");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_good = match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains(':'),
        };
        is_good.then(|| Self { host: bare.unwrap_or(host).to_owned(), port }).ok_or_else(wrong)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How long a connection may take to be made, and to take a packet.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it is waited after a failure before the next connection.
const PAUSE: Duration = Duration::from_secs(1);

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// The way.
pub(super) struct Collector {
    address: Address,
    transport: Transport,
    /// With the time since when it is there.
    socket: Option<(Socket, Instant)>,
    /// Which of its addresses is next.
    turn: usize,
    /// When the last try has failed.
    failed: Option<Instant>,
    is_reached: bool,
}

impl Collector {
    pub(super) const fn new(address: Address, transport: Transport) -> Self {
        Self { address, transport, socket: None, turn: 0, failed: None, is_reached: true }
    }

    /// Sends a packet; whether that was done. Of UDP nobody knows more than that nothing was wrong.
    pub(super) fn send(&mut self, packet: &[u8]) -> bool {
        if self.socket.is_none() {
            if self.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
                return false;
            }
            match self.connect() {
                Ok(socket) => self.socket = Some((socket, Instant::now())),
                Err(error) => {
                    self.fail(&error);
                    return false;
                }
            }
        }
        let Some((socket, since)) = &mut self.socket else { return false };
        let sent = match socket {
            Socket::Udp(socket) => socket.send(packet).map(drop),
            Socket::Tcp(stream) => still_open(stream).and_then(|()| stream.write_all(packet)),
        };
        match sent {
            Ok(()) => {
                // Of the first datagrams nobody knows yet whether anybody takes them.
                if !self.is_reached && since.elapsed() >= PAUSE {
                    self.is_reached = true;
                    tracing::info!(homer = %self.address, "Homer is reached again");
                }
                true
            }
            // It is this packet's fault.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => false,
            Err(error) => {
                // Half a packet may have gone: whoever reads could not tell where the next one begins. An address may have become another one.
                self.socket = None;
                self.turn = self.turn.wrapping_add(1);
                let is_slow = error.kind() == io::ErrorKind::WouldBlock;
                let error =
                    if is_slow { io::Error::other(format!("it has taken nothing for {PATIENCE:?}")) } else { error };
                self.fail(&error);
                false
            }
        }
    }

    /// By the first of its addresses that will do. By UDP one hears of a failure only later, and goes on to the next.
    fn connect(&mut self) -> io::Result<Socket> {
        let addrs: Vec<_> = (self.address.host.as_str(), self.address.port).to_socket_addrs()?.collect();
        let (count, first) = (addrs.len(), self.turn);
        let mut failed = io::Error::other("there is no address of that name");
        for (number, addr) in addrs.iter().cycle().skip(first % count.max(1)).take(count).enumerate() {
            match self.connect_to(*addr, PATIENCE / count as u32) {
                Ok(socket) => {
                    self.turn = first + number;
                    return Ok(socket);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn connect_to(&self, addr: SocketAddr, patience: Duration) -> io::Result<Socket> {
        Ok(match self.transport {
            Transport::Udp => {
                let any: SocketAddr = match addr {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(addr)?;
                Socket::Udp(socket)
            }
            Transport::Tcp => {
                let stream = TcpStream::connect_timeout(&addr, patience)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Socket::Tcp(stream)
            }
        })
    }

    /// The pause begins when the try has failed, however long it took.
    fn fail(&mut self, error: &io::Error) {
        self.failed = Some(Instant::now());
        if std::mem::replace(&mut self.is_reached, false) {
            tracing::warn!(homer = %self.address, %error, "Homer is not reached: what it would be told is lost meanwhile, and counted");
        }
    }
}

/// Homer says nothing; an end is one.
fn still_open(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let read = stream.read(&mut [0; 64]);
    stream.set_nonblocking(false)?;
    match read {
        Ok(0) => Err(io::ErrorKind::ConnectionReset.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_place_is_a_host_and_a_port() {
        for text in ["192.0.2.1:9060", "[2001:db8::1]:9060", "homer.example:9060"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "192.0.2.1", "homer:0", "homer:70000", ":9060", "2001:db8::1:9060", "[homer]:9060", "a b"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains("want ADDRESS:PORT"), "{text}: {error}");
        }
    }

    fn address_of(addr: SocketAddr) -> Address {
        addr.to_string().parse().unwrap()
    }

    #[test]
    fn a_connection_that_was_closed_is_made_again_after_a_pause() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut collector = Collector::new(address_of(listener.local_addr().unwrap()), Transport::Tcp);
        assert!(collector.send(b"one"));
        drop(listener.accept().unwrap());
        std::thread::sleep(Duration::from_millis(50));
        assert!(!collector.send(b"two") && !collector.send(b"three"));
        std::thread::sleep(PAUSE);
        assert!(collector.send(b"four"));
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = [0; 4];
        stream.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"four");
    }

    #[test]
    fn who_takes_no_datagrams_is_not_reached_again_until_he_has_taken_some_for_a_while() {
        // A port that is nobody's any more.
        let addr = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut collector = Collector::new(address_of(addr), Transport::Udp);
        let refused = |collector: &mut Collector| {
            let sent = collector.send(b"one");
            std::thread::sleep(Duration::from_millis(20));
            sent && !collector.send(b"two")
        };
        assert!(refused(&mut collector) && !collector.is_reached);
        std::thread::sleep(PAUSE);
        assert!(refused(&mut collector) && !collector.is_reached);
        let there = UdpSocket::bind(addr).unwrap();
        std::thread::sleep(PAUSE);
        assert!(collector.send(b"three") && !collector.is_reached);
        std::thread::sleep(PAUSE);
        assert!(collector.send(b"four") && collector.is_reached);
        drop(there);
    }

    #[test]
    fn a_packet_that_is_too_long_is_lost_alone() {
        let there = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut collector = Collector::new(address_of(there.local_addr().unwrap()), Transport::Udp);
        assert!(!collector.send(&[0; 65_520]) && collector.send(b"next") && collector.is_reached);
    }
}
