//! The socket's listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Operator;
use crate::daemon::Daemon;
use crate::listen::{Door, Guests, bind};
use crate::orders::Asks;

/// How long a client may take for its line, and for the answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line.
const LONGEST: usize = 4096;

/// A bound socket.
#[derive(Debug)]
pub struct Ctl(TcpListener, Guests);

/// The socket of `rtpengine-ctl`.
///
/// # Errors
/// When the address is not this host's, or its port in use.
pub async fn ctl(addr: SocketAddr, guests: Guests) -> anyhow::Result<Ctl> {
    Ok(Ctl(bind(addr, "listen-cli").await?, guests))
}

impl Ctl {
    /// Serves the socket until the daemon ends.
    pub async fn serve(self, daemon: Arc<Daemon>, asks: Asks) {
        let (mut door, operator) = (Door::new(self.0, self.1), Operator { daemon, asks });
        loop {
            let (stream, client, place) = door.accept().await;
            let operator = operator.clone();
            tokio::spawn(async move {
                let served = tokio::select! {
                    served = tokio::time::timeout(PATIENCE, serve(stream, &operator, || place.asked(Instant::now()))) => served,
                    () = place.lost() => return,
                };
                if !matches!(served, Ok(Ok(()))) {
                    tracing::debug!(%client, ?served, "a client of listen-cli has gone");
                }
            });
        }
    }
}

async fn serve(mut stream: TcpStream, operator: &Operator, asked: impl FnOnce()) -> std::io::Result<()> {
    let mut received = Vec::with_capacity(256);
    // The line may have no end but that of what is sent.
    while !received.contains(&b'\n') && received.len() < LONGEST && stream.read_buf(&mut received).await? > 0 {}
    let line = received.split(|byte| *byte == b'\n').next().unwrap_or_default();
    asked();
    // Where it is no UTF-8 it names nothing.
    let answer = operator.answer(&String::from_utf8_lossy(line)).await;
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
