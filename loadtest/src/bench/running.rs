//! A relay as a process, on the core that is the relay's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::subject::Subject;
use crate::rig::daemon::{Build, NgClient};
use crate::rig::host::Host;
use crate::rig::process::{Process, wait_until};

/// How long a relay may take to answer.
const START: Duration = Duration::from_secs(10);

/// It runs. What it leaves for the next one goes with it.
pub(super) struct Running {
    subject: Subject,
    host: Arc<Host>,
    folder: PathBuf,
    build: Build,
    starts: u32,
    process: Process,
}

impl Running {
    /// Starts it, and waits until it answers.
    pub(super) fn start(subject: Subject, host: &Arc<Host>, (folder, build): (&Path, &Build)) -> anyhow::Result<Self> {
        let (host, folder, build) = (Arc::clone(host), folder.to_owned(), build.clone());
        let process = launch(subject, &host, (&folder, &build), 0)?;
        let mut running = Self { subject, host, folder, build, starts: 1, process };
        running.wait()?;
        Ok(running)
    }

    /// Kills it, and starts it again at once.
    pub(super) fn kill_and_start(&mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::KILL)?;
        wait_until("the relay is gone", START, || self.process.ended().is_ok_and(|ended| ended.is_some()))?;
        self.process = launch(self.subject, &self.host, (&self.folder, &self.build), self.starts)?;
        self.starts += 1;
        self.wait()
    }

    /// Holds it, or has it go on.
    pub(super) fn hold(&self, is_held: bool) -> anyhow::Result<()> {
        Ok(self.process.signal(if is_held { Signal::STOP } else { Signal::CONT })?)
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it; what it has said since it was started last.
    pub(super) fn stop(mut self) -> anyhow::Result<String> {
        self.process.stop()?;
        Ok(self.process.output()?)
    }

    /// An error when it has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let (process, name) = (&mut self.process, self.subject.name());
        anyhow::ensure!(process.ended()?.is_none(), "{name} has ended: {}", process.output()?);
        Ok(())
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let mut ng = NgClient::on(&self.host)?;
        let answers = wait_until("the relay answers", START, || ng.request(&json!({"command": "ping"})).is_ok());
        self.check()?;
        answers
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that is held does not hear that it shall end.
        let _gone = self.hold(false);
        if let Err(error) = self.process.stop() {
            eprintln!("{error}");
        }
        if self.subject.is_ours() {
            // One that was killed has left its pins.
            let _none_left = std::fs::remove_dir_all(self.subject.kept(&self.folder).pins());
        }
    }
}

fn launch(subject: Subject, host: &Host, (folder, build): (&Path, &Build), start: u32) -> anyhow::Result<Process> {
    let mut command = host.command("taskset");
    let cores = if subject.workers() > 1 { "0-1" } else { "1" };
    command.args(["--cpu-list", cores]).args(subject.command(folder, build)?);
    Process::start(
        subject.name(),
        command,
        &folder.join(format!("{}-{}-{start}.log", subject.name(), subject.workers())),
    )
}
