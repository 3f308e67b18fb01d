//! A scene: the trunks, a daemon on the relay's host, and a client of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::daemon::{Daemon, DaemonOptions, NgClient};
use super::party::{Call, Party};
use super::process::wait_until;
use super::trunks::{Trunk, Trunks};

/// Everything that a call needs, in the order in which it must end.
#[derive(Debug)]
pub struct Scene {
    /// A client on the relay's host.
    pub ng: NgClient,
    /// The daemon.
    pub daemon: Daemon,
    /// For logs and captures.
    pub folder: tempfile::TempDir,
    /// The hosts.
    pub trunks: Trunks,
}

impl Scene {
    /// A daemon with this engine and these further arguments.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn new(trunks: Trunks, engine: &str, args: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let daemon = Daemon::start(&trunks, &DaemonOptions { args, ..DaemonOptions::new(engine) }, folder.path())?;
        Ok(Self { ng: NgClient::new(&trunks)?, daemon, folder, trunks })
    }

    /// Waits until the stream that arrives at a local address is on the fast path.
    ///
    /// # Errors
    /// When it does not get there in time.
    pub fn wait_for_fast_path(&mut self, call: &Call, local: SocketAddr) -> anyhow::Result<()> {
        let mut last = Value::Null;
        let waited = wait_until("the stream is on the fast path", Duration::from_secs(5), || {
            last = call.stream(&mut self.ng, local).unwrap_or_default();
            last.get("path").is_some_and(|path| path == "fast")
        });
        waited.with_context(|| last.to_string())
    }

    /// How many packets of the stream that arrives at a local address the fast and the slow path have carried.
    ///
    /// # Errors
    /// When the relay does not know the stream.
    pub fn packets(&mut self, call: &Call, local: SocketAddr) -> anyhow::Result<(i64, i64)> {
        let stream = call.stream(&mut self.ng, local)?;
        let number = |key: &str| stream.get(key).and_then(Value::as_i64).with_context(|| format!("no {key}"));
        Ok((number("fast packets")?, number("slow packets")?))
    }

    /// A call from the first PBX to the gateway, between addresses of these families.
    ///
    /// # Errors
    /// When ports are taken, or the relay refuses.
    pub fn call(&mut self, is_ipv6: [bool; 2], flags: &[&str]) -> anyhow::Result<(Party, Party, Call)> {
        let party = |trunk, port, is_ipv6| match is_ipv6 {
            false => Party::new(&self.trunks, trunk, port),
            true => Party::new6(&self.trunks, trunk, port),
        };
        let [caller, callee] = is_ipv6;
        let (caller, callee) = (party(Trunk::Pbx1, 4000, caller)?, party(Trunk::Gateway, 6000, callee)?);
        let ends = ((&caller, Trunk::Pbx1), (&callee, Trunk::Gateway));
        let call = Call::set_up(&mut self.ng, "call-1", ends.0, ends.1, flags)?;
        Ok((caller, callee, call))
    }
}
