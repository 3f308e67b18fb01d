//! The other end of the socket: the command line's.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Answer, Request};

/// How long the daemon may take for a line.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is nobody, or it is not for this user.
    #[error("no daemon can be asked at {path}: {error}. {}", remedy(error))]
    Connect {
        /// Where the socket should be.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// What was answered could not be handed on.
    #[error("cannot write: {0}")]
    Output(#[source] io::Error),
    /// The daemon is too slow.
    #[error("the daemon does not answer: it has had {} seconds for a line", PATIENCE.as_secs())]
    Slow,
    /// The connection has failed.
    #[error("the daemon has hung up, and may have done what it was asked, or not: {0}")]
    Connection(#[source] io::Error),
    /// What was answered nobody understands.
    #[error("the daemon has answered what this program does not understand, as one of another version may: {0}")]
    Answer(#[from] serde_json::Error),
    /// The daemon has not done it.
    #[error("{0}")]
    Refused(String),
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "Ask as root or as the daemon's user, or let a group in: listen-control and unix-group"
    } else {
        "Does it run? It is found by --config, or by --instance and --state-dir, as it was started with"
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        let is_slow = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        if is_slow { Self::Slow } else { Self::Connection(error) }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    /// To the daemon whose socket is there.
    ///
    /// # Errors
    /// When there is none, or this user may not.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let failed = |error| ClientError::Connect { path: path.to_owned(), error };
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// The daemon's process.
    pub fn daemon(&self) -> Option<i32> {
        let credentials = rustix::net::sockopt::socket_peercred(self.reader.get_ref()).ok()?;
        Some(credentials.pid.as_raw_nonzero().get())
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// When it is not done.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        self.ask_each(request, |_: serde_json::Value| Ok(()))
    }

    /// Asks for many, each of which is handed on.
    ///
    /// # Errors
    /// When it is not done, or whoever they are handed to gives up.
    pub fn ask_each<T: DeserializeOwned, I: DeserializeOwned>(
        &mut self,
        request: &Request,
        mut each: impl FnMut(I) -> io::Result<()>,
    ) -> Result<T, ClientError> {
        self.reader.get_mut().write_all(request.line()?.as_bytes())?;
        let mut line = String::new();
        loop {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            match serde_json::from_str(&line)? {
                Answer::Item(item) => each(serde_json::from_value(item)?).map_err(ClientError::Output)?,
                Answer::Result(result) => return Ok(serde_json::from_value(result)?),
                Answer::Error(error) => return Err(ClientError::Refused(error)),
            }
        }
    }
}
