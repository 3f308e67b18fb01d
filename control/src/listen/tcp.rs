//! NG over TCP, as drachtio speaks it: frames with cookies, one after another, on connections that stay.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::IDLE;
use super::guests::Guests;
use super::places::{Place, Places, clients};
use crate::daemon::{Daemon, Spoken};
use calls::ng::{Frame, MAX_MESSAGE, Proxy, Scan, Transport};

/// How long a client may take to read a reply.
const PATIENCE: Duration = Duration::from_secs(30);
/// When a connection is silent for so long the kernel asks whether the client still lives. Clients of this kind do not connect again when they
/// are disconnected, so silence alone ends nothing for those that have asked for something.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A bound TCP socket, and who may use it.
///
/// # Errors
/// When the address is not this host's, or its port in use.
pub(crate) async fn bind(addr: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| {
        format!("{key} cannot listen on {addr}: is it an address of this host, and is the port free (`ss -ltnp sport = :{}`)?", addr.port())
    })
}

/// A listener's door: who may come in, and how many.
pub(crate) struct Door {
    listener: TcpListener,
    guests: Guests,
    places: Arc<Places>,
    turned_away: u64,
}

impl Door {
    pub(crate) fn new(listener: TcpListener, guests: Guests) -> Self {
        Self { listener, guests, places: Places::new(clients()), turned_away: 0 }
    }

    /// The next connection of a client that may come, its address, and its place.
    pub(crate) async fn accept(&mut self) -> (TcpStream, SocketAddr, Place) {
        loop {
            match self.listener.accept().await {
                Ok((stream, client)) if self.guests.admit(client.ip()) => {
                    return (stream, client, self.places.take(Instant::now()));
                }
                Ok((_, client)) => {
                    self.turned_away += 1;
                    // Whoever tries for ever shall not fill the log.
                    if self.turned_away.is_power_of_two() {
                        let turned_away = self.turned_away;
                        tracing::warn!(%client, turned_away, "a client was turned away: it is not allowed for this listener");
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely: connections that end make room.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// A bound TCP socket of NG.
#[derive(Debug)]
pub struct NgTcp(TcpListener, Guests);

/// NG over TCP.
///
/// # Errors
/// When the address is not this host's, or its port in use.
pub async fn tcp(addr: SocketAddr, guests: Guests) -> anyhow::Result<NgTcp> {
    Ok(NgTcp(bind(addr, "listen-tcp-ng").await?, guests))
}

impl NgTcp {
    /// Serves the socket until the daemon ends.
    pub async fn serve(self, daemon: Arc<Daemon>) {
        let mut door = Door::new(self.0, self.1);
        loop {
            let (stream, client, place) = door.accept().await;
            let daemon = Arc::clone(&daemon);
            tokio::spawn(async move {
                let served = tokio::select! {
                    served = serve_client(stream, client.ip(), &place, &daemon) => served,
                    () = place.lost() => Err(io::Error::other("others needed the place")),
                };
                if let Err(error) = served {
                    tracing::debug!(%error, %client, "an NG client's connection ended");
                }
            });
        }
    }
}

async fn serve_client(mut stream: TcpStream, client: IpAddr, place: &Place, daemon: &Daemon) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let ends = (stream.peer_addr()?, stream.local_addr()?);
    let spoken = || Spoken { client: ends.0, local: ends.1, is_stream: true, has_cookie: true, at: SystemTime::now() };
    let (mut received, mut scan, mut has_asked) = (Vec::with_capacity(4096), Scan::default(), false);
    loop {
        let mut done = 0;
        while let Some(rest) = received.get(done..)
            && scan.is_due(rest, true)
        {
            // Where the next frame would begin nobody knows.
            let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
            let len = Frame::prefix_with_cookie(rest).map_err(|error| invalid(error.to_string()))?;
            let Some(len) = len else { break };
            (scan, has_asked) = (Scan::default(), true);
            place.asked(Instant::now());
            let frame = rest.get(..len).unwrap_or_default().trim_ascii_start();
            // One write for each reply: clients take what comes together as one.
            let spoken = spoken();
            let reply = daemon.datagram(frame, Proxy::host(client, Transport::Tcp)).await;
            daemon.spoken(&spoken, frame, reply.as_ref());
            if let Some(reply) = reply {
                tokio::time::timeout(PATIENCE, stream.write_all(&reply))
                    .await
                    .map_err(|_| io::ErrorKind::TimedOut)??;
            }
            done += len;
        }
        received.drain(..done);
        if received.len() > 2 * MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
        }
        // A first request, and the rest of one that has begun, must not take for ever.
        let is_free = has_asked && received.is_empty();
        let read = stream.read_buf(&mut received);
        let count = match is_free {
            true => read.await?,
            false => tokio::time::timeout(IDLE, read).await.map_err(|_| io::ErrorKind::TimedOut)??,
        };
        if count == 0 {
            return Ok(());
        }
    }
}
