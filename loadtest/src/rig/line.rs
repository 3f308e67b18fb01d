//! A proxy's line to the daemon's NG socket: what is asked need not be waited for, and can be asked again as it was.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use serde_json::Value;

use super::daemon::NG;
use super::host::{Host, in_namespace};

/// Cookies are the proxy's, and no two requests of one process have the same.
static COOKIES: AtomicU64 = AtomicU64::new(1);

/// The line.
#[derive(Debug)]
pub struct Line {
    socket: UdpSocket,
    cookie: String,
}

impl Line {
    /// A line from a host to the daemon on it.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn new(host: &Host) -> anyhow::Result<Self> {
        let socket = in_namespace(host, || Ok(UdpSocket::bind("127.0.0.1:0")?))?;
        socket.connect(NG.parse::<SocketAddr>()?)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, cookie: String::new() })
    }

    /// Asks; what was asked, with its cookie.
    ///
    /// # Errors
    /// When the socket fails. Where nobody listens is no failure.
    pub fn send(&mut self, command: &Value) -> anyhow::Result<String> {
        self.cookie = format!("line-{}-{}", std::process::id(), COOKIES.fetch_add(1, Ordering::Relaxed));
        let request = format!("{} {command}", self.cookie);
        self.send_again(&request)?;
        Ok(request)
    }

    /// Asks the same again.
    ///
    /// # Errors
    /// See [`Self::send`].
    pub fn send_again(&self, request: &str) -> anyhow::Result<()> {
        // That nobody listened a moment ago is told once, instead of sending.
        let sent = self.socket.send(request.as_bytes()).or_else(|_| self.socket.send(request.as_bytes()));
        match sent {
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => Err(error.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The reply to what was asked last, if it has come.
    ///
    /// # Errors
    /// When the socket fails, or it is none.
    pub fn hear(&self) -> anyhow::Result<Option<Value>> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let len = match self.socket.recv(&mut buffer) {
                Ok(len) => len,
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::ConnectionRefused].contains(&error.kind()) => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            let reply = std::str::from_utf8(buffer.get(..len).unwrap_or_default())?;
            let (cookie, dictionary) = reply.split_once(' ').context("a reply without a cookie")?;
            // What was asked twice is answered twice.
            if cookie == self.cookie {
                return Ok(Some(serde_json::from_str(dictionary)?));
            }
        }
    }
}
