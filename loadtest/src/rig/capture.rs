//! tcpdump at a far end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::host::Host;
use super::process::Process;

/// How long a frame may be under way between the wire and the capture file: tcpdump gets them from the kernel by the second.
const SETTLE: Duration = Duration::from_millis(1300);

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
}

impl Capture {
    /// Captures all UDP of a device into a file, from the moment this returns.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn start(host: &Host, device: &str, file: &Path) -> anyhow::Result<Self> {
        let mut command = host.command("tcpdump");
        // A buffer for seconds of all calls: what tcpdump misses the judge would take for lost. No change of user, the file is root's.
        command.args(["-Z", "root", "-B", "65536", "-s", "2000", "-n", "-i", device, "-w"]).arg(file).arg("udp");
        let mut tcpdump = Process::start("tcpdump", command, &file.with_extension("log"))?;
        tcpdump.wait_for_output("listening on", Duration::from_secs(10))?;
        Ok(Self { tcpdump, file: file.to_owned() })
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// When the kernel dropped frames that should have been captured: nothing can be proved then.
    pub fn stop(mut self) -> anyhow::Result<PathBuf> {
        std::thread::sleep(SETTLE);
        self.tcpdump.stop()?;
        let said = self.tcpdump.output()?;
        let dropped =
            said.lines().find(|line| line.contains("dropped by kernel")).context("tcpdump gave no account")?;
        if !dropped.starts_with("0 packets") {
            bail!("the capture {} is not complete: {dropped}; run fewer calls", self.file.display());
        }
        Ok(self.file.clone())
    }
}
