//! The socket's listener.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::answer::{Answerer, Lines};
use crate::daemon::Daemon;
use crate::listen::{BoundUnix, Place, Places, SocketFile};
use crate::orders::Asks;
use crate::view::Itself;

/// Clients at once.
const CLIENTS: usize = 32;
/// A client that says nothing, or does not read, for so long has gone.
const IDLE: Duration = Duration::from_secs(60);
/// How often it is noted that an answer lasts.
const SIGN: Duration = Duration::from_secs(5);
/// The longest request.
const LONGEST: usize = 65_536;
/// Lines are sent together when there is so much of them.
const BATCH: usize = 32_768;

/// The bound socket.
pub struct Console(BoundUnix);

/// Makes the socket.
///
/// # Errors
/// When it cannot be made.
pub fn console(file: &SocketFile) -> anyhow::Result<Console> {
    Ok(Console(BoundUnix::new(file)?))
}

impl Console {
    /// Serves the socket until the daemon ends.
    pub async fn serve(self, daemon: Arc<Daemon>, itself: Arc<Itself>, asks: Asks, may_decrypt: bool) {
        let (places, answerer) = (Places::new(CLIENTS), Answerer { daemon, itself, asks, may_decrypt });
        loop {
            let stream = self.0.accept().await;
            let (place, answerer) = (places.take(Instant::now()), answerer.clone());
            tokio::spawn(async move {
                let served = tokio::select! {
                    served = client(stream, &place, &answerer) => served,
                    () = place.lost() => Err(io::Error::other("others needed the place")),
                };
                if let Err(error) = served {
                    tracing::debug!(%error, "a client of the console has gone");
                }
            });
        }
    }
}

async fn client(stream: UnixStream, place: &Place, answerer: &Answerer) -> io::Result<()> {
    let (mut reader, writer) = stream.into_split();
    let (mut received, mut writer) = (Vec::with_capacity(4096), Writer { stream: writer, waiting: Vec::new() });
    while let Some(line) = next_line(&mut reader, &mut received).await? {
        place.asked(Instant::now());
        // Others have a turn between two requests, of which a client may send very many at once.
        tokio::task::yield_now().await;
        while_asking(place, answerer.answer(&line, &mut writer)).await?;
        writer.flush().await?;
    }
    Ok(())
}

/// Waits for an answer that may last: who has one has not gone.
async fn while_asking(place: &Place, answer: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let (mut signs, mut answer) = (tokio::time::interval(SIGN), std::pin::pin!(answer));
    loop {
        tokio::select! {
            done = &mut answer => return done,
            _ = signs.tick() => place.asked(Instant::now()),
        }
    }
}

/// The next line; `None` at the end.
async fn next_line(reader: &mut OwnedReadHalf, received: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut seen = 0;
    loop {
        if let Some(end) = received.iter().skip(seen).position(|byte| *byte == b'\n') {
            let rest = received.split_off(seen + end + 1);
            return Ok(Some(std::mem::replace(received, rest)));
        }
        seen = received.len();
        if seen > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a request is too long"));
        }
        match tokio::time::timeout(IDLE, reader.read_buf(received)).await {
            // The last line may have no end.
            Ok(Ok(0)) => return Ok((!received.is_empty()).then(|| std::mem::take(received))),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

struct Writer {
    stream: OwnedWriteHalf,
    waiting: Vec<u8>,
}

impl Writer {
    async fn flush(&mut self) -> io::Result<()> {
        let written = tokio::time::timeout(IDLE, self.stream.write_all(&self.waiting)).await;
        written.map_err(|_| io::ErrorKind::TimedOut)??;
        self.waiting.clear();
        Ok(())
    }
}

impl Lines for Writer {
    async fn line(&mut self, line: Vec<u8>) -> io::Result<()> {
        self.waiting.extend_from_slice(&line);
        if self.waiting.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    async fn pause(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() { Ok(()) } else { self.flush().await }
    }
}
