//! A relay that a proxy commands, on a host of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::json;

use super::daemon::{Build, Kept, NG, NgClient};
use super::host::{Host, Port};
use super::process::{Process, wait_until};

/// How many addresses each side has: a port of a call that has ended rests for some seconds, and there are to be ports enough.
const ADDRESSES: u8 = 8;
/// Of each address.
const PORTS: (u16, u16) = (1024, 65535);

/// Where one that is watched tells its metrics, and has its dashboard.
pub(crate) const METRICS: &str = "127.0.0.1:9723";
pub(crate) const DASHBOARD: &str = "127.0.0.1:9724";
/// Where one that is to tell Homer everything does so.
pub(crate) const HOMER: &str = "127.0.0.1:9060";

/// Which relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    Intertrunk,
    /// The same, and nothing is kept for the next daemon: what the journal costs.
    Forgetful,
    /// The same as the first, and calls that nobody ends are over soon.
    Soaked,
    /// The same as the first, and it can be scraped and looked at.
    Watched,
    /// The same, and Homer is told everything.
    Told,
    Rtpengine,
}

impl Subject {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Intertrunk => "intertrunk",
            Self::Forgetful => "forgetful",
            Self::Soaked => "soaked",
            Self::Watched => "watched",
            Self::Told => "told",
            Self::Rtpengine => "rtpengine",
        }
    }

    /// How many calls can stand at once, with some descriptors left for those that come and go.
    pub(crate) fn most_calls(self) -> anyhow::Result<usize> {
        match self {
            Self::Intertrunk | Self::Forgetful | Self::Soaked | Self::Watched | Self::Told => Ok(usize::MAX),
            // Two sockets for each side, which it closes a second after the call has ended: that many calls end in a second at the highest rate that
            // it is asked for.
            Self::Rtpengine => {
                let limits = std::fs::read_to_string("/proc/self/limits")?;
                let line =
                    limits.lines().find(|line| line.starts_with("Max open files")).context("no limit of files")?;
                let most: usize = line.split_whitespace().nth(4).context("no hard limit")?.parse().unwrap_or(1 << 20);
                Ok(most.saturating_sub(14_000) / 4)
            }
        }
    }

    fn arguments(self, folder: &Path, build: &Build) -> anyhow::Result<Vec<String>> {
        let interfaces: Vec<String> = ["a", "b"]
            .into_iter()
            .zip(0..)
            .flat_map(|(name, side)| {
                (0..ADDRESSES).map(move |number| format!("{name}:{number}/{}", near(side, number)))
            })
            .collect();
        let (min, max) = PORTS;
        let mut words = match self {
            Self::Intertrunk | Self::Forgetful | Self::Soaked | Self::Watched | Self::Told => {
                vec![build.program()?.to_string_lossy().into_owned(), "serve".into(), "--engine=auto".into()]
            }
            Self::Rtpengine => {
                let words =
                    ["rtpengine", "--foreground", "--log-stderr", "--log-level=3", "--table=-1", "--num-threads=1"];
                words.map(str::to_owned).to_vec()
            }
        };
        // The same for both: nobody sends media here, and ports are to be free again as soon as may be.
        words.extend([format!("--listen-ng={NG}"), format!("--port-min={min}"), format!("--port-max={max}")]);
        let timeout = if self == Self::Soaked { 5 } else { 86_400 };
        words.extend([format!("--timeout={timeout}"), format!("--silent-timeout={timeout}")]);
        words.push("--delete-delay=0".to_owned());
        if self == Self::Told {
            words.extend([format!("--homer={HOMER}"), "--homer-enable-ng".to_owned()]);
        }
        if matches!(self, Self::Watched | Self::Told) {
            words.extend([format!("--listen-metrics={METRICS}"), format!("--listen-dashboard={DASHBOARD}")]);
        }
        if self == Self::Soaked {
            words.push("--on-stop=keep".to_owned());
        }
        words.extend(interfaces.iter().map(|interface| format!("--interface={interface}")));
        if self != Self::Rtpengine {
            words.extend(["--log-level=warn", "--workers=1"].map(str::to_owned));
        }
        match self {
            Self::Intertrunk | Self::Soaked | Self::Watched | Self::Told => words.extend(Kept::of(folder).args()),
            Self::Forgetful => words.push("--take-over=false".to_owned()),
            Self::Rtpengine => {}
        }
        Ok(words)
    }
}

/// The relay's address number so many towards a side.
const fn near(side: u8, number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, side, 1 + number))
}

/// The party's address on a side.
pub(crate) const fn far(side: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, side, 200))
}

fn launch(subject: Subject, host: &Host, (folder, build): (&Path, &Build), number: u32) -> anyhow::Result<Process> {
    let mut command = host.command("taskset");
    command.args(["--cpu-list", "1"]).args(subject.arguments(folder, build)?);
    Process::start(subject.name(), command, &folder.join(format!("{}-{number}.log", subject.name())))
}

impl Drop for Proxied {
    fn drop(&mut self) {
        // One that is held does not hear that it shall end.
        let _gone = self.hold(false);
        if let Err(error) = self.process.stop() {
            eprintln!("{error}");
        }
        // One that was killed has left its pins.
        let _none_left = std::fs::remove_dir_all(self.kept().pins());
    }
}

/// A running relay.
pub(crate) struct Proxied {
    subject: Subject,
    process: Process,
    folder: PathBuf,
    build: Build,
    starts: u32,
    host: Host,
    _parties: Host,
}

impl Proxied {
    /// Starts it on a processor of its own; the caller has the other one.
    pub(crate) fn start(subject: Subject, folder: &Path) -> anyhow::Result<Self> {
        Self::start_build(subject, folder, Build::default())
    }

    /// The same of another build of ours.
    pub(crate) fn start_build(subject: Subject, folder: &Path, build: Build) -> anyhow::Result<Self> {
        let (parties, host) = (Host::new("parties")?, Host::new("relay")?);
        let port = |device, addr| Port { device, addr };
        parties.connect(port("p", far(0)), &host, port("r", near(0, 0)))?;
        parties.add_addr("p", far(1))?;
        for (side, number) in (0..2).flat_map(|side| (0..ADDRESSES).map(move |number| (side, number))).skip(1) {
            host.add_addr("r", near(side, number))?;
        }
        let process = launch(subject, &host, (folder, &build), 0)?;
        let mut proxied =
            Self { subject, process, folder: folder.to_owned(), build, starts: 1, host, _parties: parties };
        proxied.wait()?;
        Ok(proxied)
    }

    /// Ends it by a signal, and starts it anew.
    ///
    /// # Errors
    /// When it does not end, or does not start.
    pub(crate) fn restart(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)?;
        wait_until("the relay has ended", Duration::from_secs(10), || {
            self.process.ended().is_ok_and(|ended| ended.is_some())
        })?;
        self.process = launch(self.subject, &self.host, (&self.folder, &self.build), self.starts)?;
        self.starts += 1;
        self.wait()
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let mut ng = self.ng()?;
        wait_until("the relay answers", Duration::from_secs(20), || ng.request(&json!({"command": "ping"})).is_ok())?;
        let (process, name) = (&mut self.process, self.subject.name());
        anyhow::ensure!(process.ended()?.is_none(), "{name} has ended: {}", process.output()?);
        Ok(())
    }

    /// A client of it.
    ///
    /// # Errors
    /// When its namespace cannot be entered.
    pub(crate) fn ng(&self) -> anyhow::Result<NgClient> {
        NgClient::on(&self.host)
    }

    /// Where it keeps what the next one goes on with.
    pub(crate) fn kept(&self) -> Kept {
        Kept::of(&self.folder)
    }

    /// What it has said.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub(crate) fn said(&self) -> anyhow::Result<String> {
        Ok(self.process.output()?)
    }

    /// The descriptors that it has open.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.process.id()))?.count())
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.subject.name()
    }

    /// Holds it, or has it go on. Both share a processor, and what the one does every second for the calls that stand with it would be seen in
    /// the other's replies.
    pub(crate) fn hold(&self, is_held: bool) -> anyhow::Result<()> {
        Ok(self.process.signal(if is_held { Signal::STOP } else { Signal::CONT })?)
    }

    pub(crate) const fn host(&self) -> &Host {
        &self.host
    }

    /// How long all its threads have been at work.
    pub(crate) fn worked(&self) -> anyhow::Result<Duration> {
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            total += schedstat.split(' ').next().context("no schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Its resident memory in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.memory_of("VmRSS:")
    }

    /// The same of one kind, as `/proc/PID/status` calls it.
    pub(crate) fn memory_of(&self, kind: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(kind)).with_context(|| format!("no {kind}"))?;
        Ok(line.split_whitespace().next().context("no number")?.parse::<u64>()? * 1024)
    }
}
