//! Kamailio, with the configuration of `deploy/kamailio` as it is.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::process::{Process, wait_until};
use super::trunks::Trunks;

/// The running proxy.
#[derive(Debug)]
pub struct Proxy {
    _process: Process,
}

impl Proxy {
    /// Starts Kamailio on the relay's host; returns when it listens on every trunk.
    ///
    /// # Errors
    /// When it does not come up; with what it said.
    pub fn start(trunks: &Trunks, folder: &Path) -> anyhow::Result<Self> {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kamailio").canonicalize()?;
        let mut command = trunks.relay.command("kamailio");
        command
            .arg("-f")
            .arg(deploy.join("kamailio.cfg"))
            .arg("-A")
            .arg(format!("DISPATCHER_LIST=\"{}\"", deploy.join("dispatcher.list").display()))
            // Small, in the foreground, and talking to us.
            .args(["-m", "64", "-M", "8", "-DD", "-E"]);
        let mut process = Process::start("kamailio", command, &folder.join("kamailio.log"))?;
        let mut listening = false;
        let up = wait_until("Kamailio listens", Duration::from_secs(15), || {
            let sockets = trunks.relay.run("ss", ["-Hlun", "sport = :5060"]).unwrap_or_default();
            listening = sockets.lines().count() >= super::trunks::Trunk::ALL.len();
            listening || !matches!(process.ended(), Ok(None))
        });
        up.and_then(|()| if listening { Ok(()) } else { anyhow::bail!("Kamailio has ended") })
            .with_context(|| process.output().unwrap_or_default())?;
        Ok(Self { _process: process })
    }
}
