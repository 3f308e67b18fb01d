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
    socket: Option<Socket>,
    /// Not before then.
    again: Instant,
    is_reached: bool,
}

impl Collector {
    pub(super) fn new(address: Address, transport: Transport, now: Instant) -> Self {
        Self { address, transport, socket: None, again: now, is_reached: true }
    }

    /// Sends a packet; whether that was done. Of UDP nobody knows more than that nothing was wrong.
    pub(super) fn send(&mut self, packet: &[u8], now: Instant) -> bool {
        if self.socket.is_none() {
            if now < self.again {
                return false;
            }
            match self.connect() {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => {
                    self.fail(&error, now);
                    return false;
                }
            }
        }
        let sent = match &mut self.socket {
            Some(Socket::Udp(socket)) => socket.send(packet).map(drop),
            Some(Socket::Tcp(stream)) => still_open(stream).and_then(|()| stream.write_all(packet)),
            None => return false,
        };
        match sent {
            Ok(()) => {
                if !std::mem::replace(&mut self.is_reached, true) {
                    tracing::info!(homer = %self.address, "Homer is reached again");
                }
                true
            }
            Err(error) => {
                // Half a packet may have gone: whoever reads could not tell where the next one begins. An address may have become another one.
                self.socket = None;
                self.fail(&error, now);
                false
            }
        }
    }

    fn connect(&self) -> io::Result<Socket> {
        let addr = (self.address.host.as_str(), self.address.port).to_socket_addrs()?.next();
        let addr = addr.ok_or_else(|| io::Error::other("there is no address of that name"))?;
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
                let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Socket::Tcp(stream)
            }
        })
    }

    fn fail(&mut self, error: &io::Error, now: Instant) {
        self.again = now + PAUSE;
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

    #[test]
    fn a_connection_that_was_closed_is_made_again_after_a_pause() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let now = Instant::now();
        let mut collector = Collector::new(address, Transport::Tcp, now);
        assert!(collector.send(b"one", now));
        drop(listener.accept().unwrap());
        std::thread::sleep(Duration::from_millis(50));
        assert!(!collector.send(b"two", now) && !collector.send(b"three", now));
        assert!(collector.send(b"four", now + PAUSE));
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = [0; 4];
        stream.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"four");
    }
}
