//! What the command line asks a running daemon, and how it tells what it hears.

mod calls;
mod capture;
mod names;
mod paint;
mod pcapng;
mod relay;
mod settings;
mod top;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use crate::config::{Options, USUAL};
use crate::console::{Client, ClientError};
use crate::instance::NoDaemon;

pub use calls::{List, Show, Terminate};
pub use capture::Capture;
pub use names::Names;
pub use relay::Stats;
pub use settings::Set;
pub use top::Top;

/// The exit status when no daemon can be asked (`EX_UNAVAILABLE`), and when this user may not (`EX_NOPERM`).
const UNAVAILABLE: u8 = 69;
const FORBIDDEN: u8 = 77;

/// Which daemon.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Its configuration file [default: /etc/intertrunk/intertrunk.toml, where there is one]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What it is called among those of this host
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// The folder where its state is kept
    #[arg(long, value_name = "PATH")]
    state_dir: Option<PathBuf>,
    /// Its socket
    #[arg(long, value_name = "PATH", conflicts_with_all = ["config", "instance", "state_dir"])]
    socket: Option<PathBuf>,
    /// JSON instead of text for people
    #[arg(long)]
    json: bool,
}

impl Which {
    fn socket(&self) -> anyhow::Result<PathBuf> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let usual = Path::new(USUAL);
        let is_usual = self.instance.is_none() && self.state_dir.is_none() && usual.exists();
        let config = self.config.as_deref().or_else(|| is_usual.then_some(usual));
        let file = config.map(Options::read).transpose();
        let file = file
            .context("say where the daemon's socket is by --socket, or --instance and --state-dir")?
            .unwrap_or_default();
        let flags =
            Options { instance: self.instance.clone(), state_dir: self.state_dir.clone(), ..Options::default() };
        Ok(flags.or(file).control_socket()?.path)
    }

    fn connect(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.socket()?)?)
    }
}

/// The exit status for what has gone wrong.
pub fn status(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref() {
        Some(ClientError::Connect { error, .. }) if error.kind() == io::ErrorKind::PermissionDenied => {
            ExitCode::from(FORBIDDEN)
        }
        Some(ClientError::Connect { .. } | ClientError::Slow) => ExitCode::from(UNAVAILABLE),
        None if error.is::<NoDaemon>() => ExitCode::from(UNAVAILABLE),
        // Of its own configuration, which says where the socket is.
        None if is_forbidden(error) => ExitCode::from(FORBIDDEN),
        _ => ExitCode::FAILURE,
    }
}

/// Whether whoever reads has gone, as the reader of a pipe may: then there is nothing left to do.
pub fn has_reader_gone(error: &anyhow::Error) -> bool {
    let is_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref().is_some_and(is_pipe)
        || matches!(error.downcast_ref(), Some(ClientError::Output(error)) if is_pipe(error))
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(denied))
}

/// Writes a line of JSON.
fn tell_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}
