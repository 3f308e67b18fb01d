//! NG over TCP, as drachtio speaks it: frames with cookies, one after another, on connections that stay.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::CLIENTS;
use crate::daemon::Daemon;
use crate::ng::{Frame, MAX_MESSAGE, Proxy};

/// How long a client may take to read a reply.
const PATIENCE: Duration = Duration::from_secs(30);
/// When a connection is silent for so long the kernel asks whether the client still lives. Clients of this kind do not connect again when they
/// are disconnected, so silence alone ends nothing.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A bound TCP socket.
///
/// # Errors
/// When the address is not this host's, or its port in use.
pub(super) async fn bind(addr: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(addr).await.with_context(|| {
        format!("{key} cannot listen on {addr}: is it an address of this host, and is the port free (`ss -ltnp sport = :{}`)?", addr.port())
    })?;
    if !addr.ip().is_loopback() {
        tracing::warn!(%addr, "NG is reachable from the network: whoever reaches it can end calls");
    }
    Ok(listener)
}

/// A bound TCP socket of NG.
#[derive(Debug)]
pub struct NgTcp(TcpListener);

/// NG over TCP.
///
/// # Errors
/// When the address is not this host's, or its port in use.
pub async fn tcp(addr: SocketAddr) -> anyhow::Result<NgTcp> {
    Ok(NgTcp(bind(addr, "listen-tcp-ng").await?))
}

impl NgTcp {
    /// Serves the socket until the daemon ends.
    pub async fn serve(self, daemon: Arc<Daemon>) {
        let places = Arc::new(tokio::sync::Semaphore::new(CLIENTS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.0.accept().await {
                Ok((stream, client)) => {
                    let daemon = Arc::clone(&daemon);
                    tokio::spawn(async move {
                        if let Err(error) = serve_client(stream, client.ip(), &daemon).await {
                            tracing::debug!(%error, %client, "an NG client's connection ended");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "an NG connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve_client(mut stream: TcpStream, client: IpAddr, daemon: &Daemon) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let mut received = Vec::with_capacity(4096);
    loop {
        let mut done = 0;
        while let Some(frame) = received.get(done..).map(Frame::prefix_with_cookie) {
            match frame {
                Ok(Some(len)) => {
                    let frame = received.get(done..done + len).unwrap_or_default().trim_ascii_start();
                    // One write for each reply: clients take what comes together as one.
                    if let Some(reply) = daemon.datagram(frame, Proxy::Host(client)) {
                        tokio::time::timeout(PATIENCE, stream.write_all(&reply))
                            .await
                            .map_err(|_| io::ErrorKind::TimedOut)??;
                    }
                    done += len;
                }
                Ok(None) => break,
                // Where the next frame would begin nobody knows.
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
            }
        }
        received.drain(..done);
        if received.len() > 2 * MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    }
}
