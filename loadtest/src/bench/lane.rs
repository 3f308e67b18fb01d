//! A relay between two hosts, with calls, and what is needed to send it frames and see them come back.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use aya::maps::Array;
use serde_json::json;

use super::cpu::{Clock, of_threads};
use super::flood::{Family, Flows, party, relay};
use super::pace::{Passed, pace};
use super::reports::Reporters;
use super::secured::{self, Secured, local};
use crate::rig::daemon::{Kept, NG, NgClient, binary};
use crate::rig::host::{Host, Port};
use crate::rig::party::sdp;
use crate::rig::process::{Process, wait_until};
use crate::rig::program::Program;

/// The first port of the parties.
const FIRST_PORT: u16 = 20_000;
/// The core of the relay: its threads run there, and so does what the kernel does for it.
const CORE: usize = 1;
/// The same as a mask.
const CORE_MASK: &str = "2";

/// Which relay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Subject {
    /// Ours, by io_uring, with so many workers.
    Uring(u32),
    /// The same, and packets come to the worker past the stack, by AF_XDP.
    Xsk,
    /// The same, and they leave by AF_XDP as well: not on kernels where that is refused.
    XskOut,
    /// Ours, by epoll.
    Epoll,
    /// rtpengine in userspace.
    Rtpengine,
}

impl Subject {
    /// The name in the result.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Uring(_) => "intertrunk-uring",
            Self::Xsk => "intertrunk-xsk",
            Self::XskOut => "intertrunk-xsk-out",
            Self::Epoll => "intertrunk-epoll",
            Self::Rtpengine => "rtpengine",
        }
    }

    /// How many threads carry packets.
    pub(super) const fn workers(self) -> u32 {
        match self {
            Self::Uring(workers) => workers,
            Self::Xsk | Self::XskOut | Self::Epoll | Self::Rtpengine => 1,
        }
    }

    fn arguments(self, folder: &Path) -> anyhow::Result<Vec<String>> {
        let interfaces = [("a", 0), ("b", 1)].map(|(name, side)| format!("{name}/{}", relay(Family::Ipv4, side)));
        let mut words: Vec<String> = Vec::new();
        let (engine, intake) = match self {
            Self::Uring(_) => ("uring", "steered"),
            Self::Xsk | Self::XskOut => ("uring", "xsk"),
            Self::Epoll => ("epoll", "steered"),
            Self::Rtpengine => {
                words.extend(
                    ["rtpengine", "--foreground", "--log-stderr", "--log-level=4", "--table=-1"].map(str::to_owned),
                );
                words.extend([format!("--listen-ng={NG}"), "--port-min=30000".into(), "--port-max=40000".into()]);
                words.push(format!("--num-threads={}", self.workers()));
                words.extend(interfaces.map(|interface| format!("--interface={interface}")));
                return Ok(words);
            }
        };
        words.push(binary()?.to_string_lossy().into_owned());
        words.extend(["serve", "--log-format", "json", "--engine", engine, "--intake", intake].map(str::to_owned));
        words.extend(["--listen-ng", NG].map(str::to_owned));
        words.extend(["--pin-workers".to_owned(), "--workers".to_owned(), self.workers().to_string()]);
        if self == Self::XskOut {
            words.push("--output=xsk".to_owned());
        }
        for interface in interfaces {
            words.extend(["--interface".to_owned(), interface]);
        }
        // Several run at a time.
        words.extend(Kept::of(&folder.join(format!("{}-{}", self.name(), self.workers()))).args());
        Ok(words)
    }
}

/// A relay with calls, ready to be sent frames.
pub(super) struct Lane {
    pub(super) subject: Subject,
    flows: Flows,
    generator: Program,
    sink: Program,
    relay: Process,
    reporters: Reporters,
    source: Host,
    _host: Host,
}

impl Lane {
    /// Starts the relay and sets calls of so many flows up.
    /// `is_secured`: whoever is sent to has SRTP, and whoever sends has not.
    pub(super) fn new(subject: Subject, flows: u32, is_secured: bool, folder: &Path) -> anyhow::Result<Self> {
        let v4 = Family::Ipv4;
        let (source, host) = (Host::new("source")?, Host::new("relay")?);
        let port = |device, addr| Port { device, addr };
        source.connect(port("s", party(v4, 0)), &host, port("r", relay(v4, 0)))?;
        source.add_addr("s", party(v4, 1))?;
        host.add_addr("r", relay(v4, 1))?;
        // The generator's frames are for this MAC; they come by XDP, which a veth without a program takes only with GRO.
        host.run("ip", ["link", "set", "r", "address", "02:00:00:00:00:01"])?;
        host.run("ethtool", ["-K", "r", "gro", "on"])?;
        let before = napi_threads()?;
        // All that the kernel does for a frame from the device's queue on belongs to the relay's core, the XDP program too: by threads of the
        // device's, which can be kept there. The namespace's sysfs has to be mounted to be seen.
        host.run(
            "unshare",
            ["--mount", "sh", "-c", "mount -t sysfs sysfs /sys && echo 1 > /sys/class/net/r/threaded"],
        )?;
        let threads: Vec<_> = napi_threads()?.into_iter().filter(|thread| !before.contains(thread)).collect();
        anyhow::ensure!(!threads.is_empty(), "the device has no threads of its own (Linux 5.12)");
        for thread in threads {
            host.run("taskset", ["--pid", CORE_MASK, &thread])?;
            // As interrupts do, they come before every process.
            host.run("chrt", ["--fifo", "--pid", "50", &thread])?;
        }
        let mut sink = Program::load()?;
        sink.attach_ingress("sink_delays", &source, "s")?;

        let mut command = host.command("taskset");
        command.args(["--cpu-list", if subject.workers() > 1 { "0-1" } else { "1" }]).args(subject.arguments(folder)?);
        let log = folder.join(format!("{}-{}.log", subject.name(), subject.workers()));
        let mut relay = Process::start(subject.name(), command, &log)?;
        let mut ng = NgClient::on(&host)?;
        wait_until("the relay answers", Duration::from_secs(10), || ng.request(&json!({"command": "ping"})).is_ok())?;
        anyhow::ensure!(relay.ended()?.is_none(), "{} has ended: {}", subject.name(), relay.output()?);
        let mut generator = Program::load()?;
        let parties = if is_secured {
            secured::set_up(&mut ng, &mut generator, FIRST_PORT, flows, Secured::Receiver)?;
            Vec::new()
        } else {
            set_up(&mut ng, &mut generator, flows)?
        };
        let reporters = Reporters::new(&source, &parties)?;
        let flows = Flows { family: v4, count: flows, every: None, first_port: FIRST_PORT };
        Ok(Self { subject, flows, generator, sink, relay, reporters, source, _host: host })
    }

    /// The same as [`Lane::pace`], with so many RTCP reports a second beside it.
    pub(super) fn pace_with(&mut self, reports: u32, per_second: u32, time: Duration) -> anyhow::Result<Passed> {
        let _reporting = self.reporters.report(reports);
        self.pace(per_second, time)
    }

    /// Sends it so many frames a second, for a time.
    pub(super) fn pace(&mut self, per_second: u32, time: Duration) -> anyhow::Result<Passed> {
        let (id, start) = (self.relay.id(), Clock::read(CORE)?);
        let has_two = self.subject.workers() > 1;
        let busy = || -> anyhow::Result<Duration> {
            // The second worker shares the generator's core, where all else is not the relay's.
            let second = if has_two { of_threads(id, "worker-0")? } else { Duration::ZERO };
            Ok(Clock::read(CORE)?.busy_since(start) + second)
        };
        let from = (&self.source, "s");
        let passed = pace(&mut self.generator, from, self.flows, per_second, time, &self.sink, &busy)?;
        anyhow::ensure!(self.relay.ended()?.is_none(), "{} has ended: {}", self.subject.name(), self.relay.output()?);
        Ok(passed)
    }
}

/// The threads that empty the queues of devices called `r`.
fn napi_threads() -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")?.flatten() {
        // One that has ended meanwhile is none.
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if name.starts_with("napi/r-") {
            found.push(process.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// Sets calls up, each of two flows, and tells the generator where their parties send to. Returns the addresses of each party's RTCP: its own, and the
/// relay's.
fn set_up(ng: &mut NgClient, generator: &mut Program, flows: u32) -> anyhow::Result<Vec<(SocketAddr, SocketAddr)>> {
    let mut reporters = Vec::new();
    let map = generator.ebpf.map_mut("DESTINATIONS").context("no DESTINATIONS")?;
    let mut destinations: Array<_, u32> = map.try_into()?;
    for call in 0..flows as u16 / 2 {
        let port = FIRST_PORT + 2 * call;
        let addr = |side| SocketAddr::new(party(Family::Ipv4, side), port);
        let id = format!("call-{call}");
        let offer = ng.request(&json!({"command": "offer", "call-id": id, "from-tag": "1", "sdp": sdp(addr(0)),
            "flags": ["endpoint-learning-off"], "direction": ["a", "b"], "ICE": "remove"}))?;
        let answer = ng.request(&json!({"command": "answer", "call-id": id, "from-tag": "1", "to-tag": "2",
            "sdp": sdp(addr(1)), "flags": ["endpoint-learning-off"], "ICE": "remove"}))?;
        // What the callee is told is in the reply to the offer, and the other way round.
        for (reply, side) in [(&answer, 0), (&offer, 1)] {
            let local = local(reply).filter(|local| local.ip() == relay(Family::Ipv4, side));
            let local = local.with_context(|| format!("no address for side {side}: {reply}"))?;
            destinations.set(u32::from(side) << 16 | u32::from(port), u32::from(local.port().to_be()), 0)?;
            let rtcp = |rtp: SocketAddr| SocketAddr::new(rtp.ip(), rtp.port() + 1);
            reporters.push((rtcp(addr(side)), rtcp(local)));
        }
    }
    Ok(reporters)
}
