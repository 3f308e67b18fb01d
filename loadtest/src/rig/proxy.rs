//! Kamailio, with the configuration of `deploy/kamailio` as it is, or with one of `loadtest/kamailio`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::process::{Process, wait_until};
use super::trunks::{Trunk, Trunks};

/// The running proxy.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
}

impl Proxy {
    /// Starts Kamailio on the relay's host; returns when it listens on every trunk.
    ///
    /// # Errors
    /// When it does not come up; with what it said.
    pub fn start(trunks: &Trunks, folder: &Path) -> anyhow::Result<Self> {
        Self::start_with_peers(trunks, folder, &deployed()?.join("dispatcher.list"))
    }

    /// The same with another list of the peers, a `dispatcher.list`.
    ///
    /// # Errors
    /// When it does not come up; with what it said.
    pub fn start_with_peers(trunks: &Trunks, folder: &Path, peers: &Path) -> anyhow::Result<Self> {
        let peers = format!("DISPATCHER_LIST=\"{}\"", peers.display());
        Self::run(trunks, folder, &deployed()?.join("kamailio.cfg"), &["-A", &peers])
    }

    /// With a list of trunks under this name: `SECURED_TRUNKS`, or `OPPORTUNISTIC_TRUNKS`.
    ///
    /// # Errors
    /// When it does not come up; with what it said.
    pub fn start_with_srtp(trunks: &Trunks, folder: &Path, name: &str, secured: &str) -> anyhow::Result<Self> {
        let peers = format!("DISPATCHER_LIST=\"{}\"", deployed()?.join("dispatcher.list").display());
        let secured = format!("{name}=\"{secured}\"");
        Self::run(trunks, folder, &deployed()?.join("kamailio.cfg"), &["-A", &peers, "-A", &secured])
    }

    /// The same with another configuration, a file of `loadtest/kamailio`.
    ///
    /// # Errors
    /// When it does not come up; with what it said.
    pub fn start_with(trunks: &Trunks, folder: &Path, config: &str) -> anyhow::Result<Self> {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("kamailio").join(config);
        Self::run(trunks, folder, &config, &[])
    }

    /// What it has logged so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> io::Result<String> {
        self.process.output()
    }

    fn run(trunks: &Trunks, folder: &Path, config: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let mut command = trunks.relay.command("kamailio");
        // In the foreground, and talking to us; with memory for the transactions of hundreds of calls a second, which it keeps for seconds.
        command.arg("-f").arg(config).args(args).args(["-m", "512", "-M", "8", "-DD", "-E"]);
        let mut process = Process::start("kamailio", command, &folder.join("kamailio.log"))?;
        let mut listening = false;
        let up = wait_until("Kamailio listens", Duration::from_secs(15), || {
            let sockets = trunks.relay.run("ss", ["-Hlun", "sport = :5060"]).unwrap_or_default();
            listening = sockets.lines().count() >= Trunk::ALL.len();
            listening || !matches!(process.ended(), Ok(None))
        });
        up.and_then(|()| if listening { Ok(()) } else { anyhow::bail!("Kamailio has ended") })
            .with_context(|| process.output().unwrap_or_default())?;
        Ok(Self { process })
    }
}

/// The folder of the configuration that is shipped.
fn deployed() -> io::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kamailio").canonicalize()
}
