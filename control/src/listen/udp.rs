//! NG over UDP, as Kamailio speaks it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::net::UdpSocket;

use super::addressed::Addressed;
use super::guests::Guests;
use crate::daemon::{Daemon, Reply, Spoken};
use calls::ng::{MAX_MESSAGE, Proxy, Transport};

/// What the kernel keeps of requests that wait, in bytes: those of some thousand calls that come at once. A request that is lost is repeated
/// after a second, and a phone rings a second later.
const BACKLOG: usize = 8 << 20;

/// A bound UDP socket of NG.
#[derive(Debug)]
pub struct NgUdp(Addressed, Guests);

/// NG over UDP.
///
/// # Errors
/// When the address is not this host's, or its port in use.
pub async fn udp(addr: SocketAddr, guests: Guests) -> anyhow::Result<NgUdp> {
    let socket = UdpSocket::bind(addr).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            anyhow::anyhow!(
                "NG port {addr} is in use by another program (`ss -lunp sport = :{port}` shows which): stop it, or choose another with \
                 listen-ng",
                port = addr.port()
            )
        } else {
            anyhow::anyhow!("NG cannot listen on {addr}: {error}")
        }
    })?;
    // Beyond the system's limit where that is allowed.
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BACKLOG).is_err() {
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, BACKLOG)?;
    }
    Ok(NgUdp(Addressed::new(socket)?, guests))
}

impl NgUdp {
    /// Serves the socket until the daemon ends.
    pub async fn serve(self, daemon: Arc<Daemon>) {
        let Self(socket, guests) = self;
        let socket = Arc::new(socket);
        let mut buffer = vec![0; MAX_MESSAGE];
        let own = socket.local();
        let mut turned_away = 0_u64;
        loop {
            match socket.receive(&mut buffer).await {
                Ok((_, client, _)) if !guests.admit(client.ip()) => {
                    turned_away += 1;
                    // Anybody can send these, and the log is not theirs to fill.
                    if turned_away.is_power_of_two() {
                        tracing::warn!(%client, turned_away, "an NG datagram was turned away: its sender is not in allow-ng");
                    }
                }
                Ok((len, client, asked)) => {
                    let (request, proxy) =
                        (buffer.get(..len).unwrap_or_default(), Proxy::host(client.ip(), Transport::Udp));
                    let local = SocketAddr::new(asked.unwrap_or(own.ip()), own.port());
                    let spoken = Spoken { client, local, is_stream: false, has_cookie: true, at: SystemTime::now() };
                    match daemon.try_datagram(request, proxy) {
                        Reply::Done(reply) => {
                            daemon.spoken(&spoken, request, reply.as_ref());
                            send(&socket, reply, client, asked).await;
                        }
                        Reply::Waits(lacked) => {
                            let (socket, daemon) = (Arc::clone(&socket), Arc::clone(&daemon));
                            let request = request.to_vec();
                            tokio::spawn(async move {
                                let reply = daemon.finish(&request, proxy, lacked).await;
                                daemon.spoken(&spoken, &request, reply.as_ref());
                                send(&socket, reply, client, asked).await;
                            });
                        }
                    }
                }
                // An ICMP error of an earlier reply: the client has gone.
                Err(error) => tracing::debug!(%error, "the NG socket reports an error"),
            }
        }
    }
}

/// Sends a reply, where there is one, from the address that was asked.
async fn send(socket: &Addressed, reply: Option<Bytes>, client: SocketAddr, asked: Option<IpAddr>) {
    if let Some(reply) = reply
        && let Err(error) = socket.send(&reply, client, asked).await
    {
        tracing::warn!(%error, %client, len = reply.len(), "a reply could not be sent");
    }
}
