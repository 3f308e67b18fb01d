//! The control sockets.

mod addressed;
mod guests;
mod http;
mod places;
mod tcp;
mod udp;

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixDatagram, UnixListener, UnixStream};

pub use self::guests::Guests;
pub(crate) use self::http::{Client, serve_http};
pub use self::http::{Http, Scraped, http, scraped};
use self::places::clients;
pub(crate) use self::places::{Place, Places};
pub(crate) use self::tcp::{Door, bind};
pub use self::tcp::{NgTcp, tcp};
pub use self::udp::{NgUdp, udp};
use crate::daemon::{Daemon, Reply, Spoken};
use calls::ng::{Frame, MAX_MESSAGE, Proxy, Scan, Transport};

/// A client that says nothing for so long has gone, or never meant anything.
const IDLE: Duration = Duration::from_secs(30);

/// Where a unix socket is, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// Its path.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// The number of its owner, where it shall be another than the daemon.
    pub owner: Option<u32>,
    /// The number of its group, likewise.
    pub group: Option<u32>,
}

impl SocketFile {
    /// Makes way for the socket: removes one that nobody listens on any more.
    fn clear(&self) -> anyhow::Result<()> {
        let path = self.path.display();
        match std::fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("the socket {path} cannot be made")),
            Ok(file) if !file.file_type().is_socket() => {
                bail!("{path} is in the way of the socket: it is a file of another kind")
            }
            Ok(_) => {}
        }
        // A socket whose process has ended refuses; a live one of the other type says that the types differ.
        let refused =
            |connected: io::Result<()>| connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        let is_dead = refused(std::os::unix::net::UnixStream::connect(&self.path).map(drop))
            || refused(std::os::unix::net::UnixDatagram::unbound()?.connect(&self.path));
        if !is_dead {
            bail!("the socket {path} is in use by another process: stop it, or choose another path");
        }
        std::fs::remove_file(&self.path).with_context(|| format!("the old socket {path} cannot be removed"))
    }

    /// Makes the socket. It gets its name when it has its permissions, so that nobody else can connect in between.
    fn bind<T>(&self, bind: impl Fn(&Path) -> io::Result<T>) -> anyhow::Result<(T, Bound)> {
        self.clear()?;
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let new = PathBuf::from(new);
        // Left by a start that was killed at this very point.
        let _gone = std::fs::remove_file(&new);
        let socket = bind(&new).with_context(|| bind_error(&self.path))?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(self.mode))
            .and_then(|()| std::os::unix::fs::chown(&new, self.owner, self.group))
            .with_context(|| format!("the owner and mode of {} cannot be set", self.path.display()))?;
        std::fs::rename(&new, &self.path).with_context(|| bind_error(&self.path))?;
        Ok((socket, Bound(self.path.clone())))
    }
}

/// A unix socket's file, removed with its owner.
#[derive(Debug)]
struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, socket = %self.0.display(), "a control socket could not be removed");
        }
    }
}

/// A bound unix datagram socket of NG.
#[derive(Debug)]
pub struct NgUnixgram {
    socket: UnixDatagram,
    _file: Bound,
}

/// NG over unix datagrams.
///
/// # Errors
/// When the socket cannot be made.
pub fn unixgram(file: &SocketFile) -> anyhow::Result<NgUnixgram> {
    let (socket, bound) = file.bind(|path| UnixDatagram::bind(path))?;
    Ok(NgUnixgram { socket, _file: bound })
}

fn bind_error(path: &Path) -> String {
    format!("the socket {} cannot be made: does its folder exist, and may the daemon write there?", path.display())
}

impl NgUnixgram {
    /// Serves the socket until the daemon ends.
    pub async fn serve(self, daemon: Arc<Daemon>) {
        let this = Arc::new(self);
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            match this.socket.recv_from(&mut buffer).await {
                Ok((len, client)) => {
                    let Some(path) = client.as_pathname() else {
                        tracing::warn!("an NG client has no address to reply to: it must bind its own socket first");
                        continue;
                    };
                    let request = buffer.get(..len).unwrap_or_default();
                    let spoken = Spoken::here(false, true);
                    match daemon.try_datagram(request, Proxy::unix(Transport::UnixDatagram)) {
                        Reply::Done(reply) => {
                            daemon.spoken(&spoken, request, reply.as_ref());
                            this.reply(reply, path);
                        }
                        Reply::Waits(lacked) => {
                            let (this, daemon) = (Arc::clone(&this), Arc::clone(&daemon));
                            let (request, path) = (request.to_vec(), path.to_owned());
                            tokio::spawn(async move {
                                let reply = daemon.finish(&request, Proxy::unix(Transport::UnixDatagram), lacked).await;
                                daemon.spoken(&spoken, &request, reply.as_ref());
                                this.reply(reply, &path);
                            });
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "the NG socket reports an error"),
            }
        }
    }

    /// Not waiting: a client that does not read must not keep the others from being served. It will ask again.
    fn reply(&self, reply: Option<Bytes>, client: &Path) {
        if let Some(reply) = reply
            && let Err(error) = self.socket.try_send_to(&reply, client)
        {
            tracing::warn!(%error, client = %client.display(), "a reply could not be sent");
        }
    }
}

/// A bound unix stream socket.
#[derive(Debug)]
pub(crate) struct BoundUnix {
    listener: UnixListener,
    _file: Bound,
}

impl BoundUnix {
    /// Makes the socket.
    pub(crate) fn new(file: &SocketFile) -> anyhow::Result<Self> {
        let (listener, bound) = file.bind(|path| UnixListener::bind(path))?;
        Ok(Self { listener, _file: bound })
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    // Out of descriptors, most likely: connections that end make room.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// A bound unix stream socket of NG.
#[derive(Debug)]
pub struct NgUnix(BoundUnix);

/// NG over unix streams, without cookies.
///
/// # Errors
/// When the socket cannot be made.
pub fn unix(file: &SocketFile) -> anyhow::Result<NgUnix> {
    Ok(NgUnix(BoundUnix::new(file)?))
}

impl NgUnix {
    /// Serves the socket until the daemon ends.
    pub async fn serve(self, daemon: Arc<Daemon>) {
        let places = Places::new(clients());
        loop {
            let stream = self.0.accept().await;
            let (daemon, place) = (Arc::clone(&daemon), places.take(Instant::now()));
            tokio::spawn(async move {
                let served = tokio::select! {
                    served = client(stream, &place, &daemon) => served,
                    () = place.lost() => Err(io::Error::other("others needed the place")),
                };
                if let Err(error) = served {
                    tracing::debug!(%error, "an NG client's connection ended");
                }
            });
        }
    }
}

/// One connection: requests one after another, each answered in one write.
async fn client(mut stream: UnixStream, place: &Place, daemon: &Daemon) -> io::Result<()> {
    let (mut received, mut scan) = (Vec::with_capacity(4096), Scan::default());
    loop {
        // White space between requests means nothing, and must not pile up.
        if received.trim_ascii_start().is_empty() {
            received.clear();
            scan = Scan::default();
        }
        while scan.is_due(&received, false) {
            let (spoken, proxy) = (Spoken::here(true, false), Proxy::unix(Transport::Unix));
            let (reply, consumed, is_last) = match Frame::prefix(&received) {
                Ok(Some((frame, consumed))) => (daemon.message(&frame, proxy).await, consumed, false),
                Ok(None) => break,
                // Where the next request would begin nobody knows.
                Err(_) => (daemon.message(&Frame::without_cookie(&received), proxy).await, received.len(), true),
            };
            let request = received.get(..consumed).unwrap_or_default();
            daemon.spoken(&spoken, request, Some(&reply));
            tokio::time::timeout(IDLE, stream.write_all(&reply)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            received.drain(..consumed);
            scan = Scan::default();
            place.asked(Instant::now());
            if is_last {
                return Ok(());
            }
        }
        if received.len() > 2 * MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a request is too long"));
        }
        let read = tokio::time::timeout(IDLE, stream.read_buf(&mut received)).await;
        match read {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
