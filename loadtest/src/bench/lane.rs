//! A relay between two hosts, with calls, and what is needed to send it frames and see them come back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::cpu::{Clock, of_threads};
use super::flood::{Family, Flows, party, relay};
use super::pace::{Passed, Sending, pace};
use super::plain;
use super::reports::Reporters;
use super::running::Running;
use super::secured::{self, Secured};
use super::subject::Subject;
use super::translation;
use crate::rig::daemon::{Build, NgClient};
use crate::rig::host::{Host, Port};
use crate::rig::program::Program;

/// The generator's program.
const STAMPED: &str = "generate_stamped";
/// The first port of the parties.
const FIRST_PORT: u16 = 20_000;
/// The core of the relay: its threads run there, and so does what the kernel does for it.
const CORE: usize = 1;
/// The same as a mask.
const CORE_MASK: &str = "2";

/// Something that carries the packets of calls, ready to be sent frames.
pub(crate) struct Lane {
    pub(crate) subject: Subject,
    flows: Flows,
    generator: Program,
    sink: Program,
    /// The reflector, and what the other end of the cable needs to take its frames: attached for as long as they are here.
    programs: Vec<Program>,
    relay: Option<Running>,
    reporters: Reporters,
    source: Host,
    _host: Arc<Host>,
}

/// Which lane.
#[derive(Clone, Debug)]
pub(crate) struct LanePlan {
    pub(crate) subject: Subject,
    /// How many streams, two for each call.
    pub(crate) flows: u32,
    /// Whoever is sent to has SRTP, and whoever sends has not.
    pub(crate) is_secured: bool,
    /// Its parties can report ([`Lane::pace_with`]), for which each needs a socket.
    pub(crate) has_reports: bool,
    /// Which daemon, of ours.
    pub(crate) build: Build,
}

impl Lane {
    /// Starts the relay and sets its calls up.
    pub(crate) fn new(plan: LanePlan, folder: &Path) -> anyhow::Result<Self> {
        let LanePlan { subject, flows, is_secured, has_reports, build } = plan;
        let v4 = Family::Ipv4;
        let (source, host) = (Host::new("source")?, Arc::new(Host::new("relay")?));
        let port = |device, addr| Port { device, addr };
        source.connect(port("s", party(v4, 0)), &host, port("r", relay(v4, 0)))?;
        source.add_addr("s", party(v4, 1))?;
        host.add_addr("r", relay(v4, 1))?;
        // The generator's frames are for this MAC; they come by XDP, which a veth without a program takes only with GRO.
        host.run("ip", ["link", "set", "r", "address", "02:00:00:00:00:01"])?;
        host.run("ethtool", ["-K", "r", "gro", "on"])?;
        keep_to_core(&host)?;
        let mut sink = Program::load()?;
        sink.attach_ingress("sink_delays", &source, "s")?;
        let mut programs = Vec::new();
        if subject.sends_frames() {
            programs.push(Program::attach_pass(&source, "s")?);
        }
        let mut lane = Self {
            subject,
            flows: Flows { family: v4, count: flows, every: None, first_port: FIRST_PORT },
            generator: Program::load()?,
            sink,
            programs,
            relay: None,
            reporters: Reporters::new(&source, &[])?,
            source,
            _host: Arc::clone(&host),
        };
        if subject.is_relay() {
            lane.relay = Some(Running::start(subject, &host, (folder, &build))?);
        }
        let generator = &mut lane.generator;
        if subject == Subject::Reflector {
            let mut reflector = Program::load()?;
            reflector.attach("reflect", &host, "r")?;
            lane.programs.push(reflector);
            plain::same_ports(generator, FIRST_PORT, flows)?;
        } else if !subject.is_relay() {
            translation::set_up(&host, "r", FIRST_PORT, flows as u16 / 2, subject == Subject::Flowtable)?;
            plain::same_ports(generator, FIRST_PORT, flows)?;
        } else if is_secured {
            secured::set_up(&mut NgClient::on(&host)?, generator, FIRST_PORT, flows, Secured::Receiver)?;
        } else {
            let is_fast_path = subject == Subject::Fast;
            let parties = plain::set_up(&mut NgClient::on(&host)?, generator, (FIRST_PORT, flows), is_fast_path)?;
            lane.reporters = Reporters::new(&lane.source, if has_reports { &parties } else { &[] })?;
        }
        Ok(lane)
    }

    /// The same as [`Lane::pace`], with so many RTCP reports a second beside it.
    pub(crate) fn pace_with(&mut self, reports: u32, per_second: u32, time: Duration) -> anyhow::Result<Passed> {
        let _reporting = self.reporters.report(reports);
        self.pace(per_second, time)
    }

    /// Holds the relay, or has it go on.
    pub(crate) fn hold(&self, is_held: bool) -> anyhow::Result<()> {
        self.relay.as_ref().map_or(Ok(()), |relay| relay.hold(is_held))
    }

    /// Sends it so many frames a second, for a time.
    pub(crate) fn pace(&mut self, per_second: u32, time: Duration) -> anyhow::Result<Passed> {
        let (id, start) = (self.relay.as_ref().map(Running::id), Clock::read(CORE)?);
        let has_two = self.subject.workers() > 1;
        let busy = || -> anyhow::Result<Duration> {
            // The second worker shares the generator's core, where all else is not the relay's.
            let second = match id {
                Some(id) if has_two => of_threads(id, "worker-0")?,
                Some(_) | None => Duration::ZERO,
            };
            Ok(Clock::read(CORE)?.busy_since(start) + second)
        };
        let sending = Sending { program: STAMPED, host: &self.source, device: "s", flows: self.flows };
        let passed = pace(&mut self.generator, sending, per_second, time, &self.sink, &busy)?;
        if let Some(relay) = &mut self.relay {
            relay.check()?;
        }
        Ok(passed)
    }

    /// Sends it so many frames a second, and after a while has it killed and started again at once.
    pub(crate) fn pace_across_a_kill(
        &mut self,
        per_second: u32,
        time: Duration,
        after: Duration,
    ) -> anyhow::Result<Passed> {
        let Self { generator, source, flows, sink, relay, .. } = self;
        let relay = relay.as_mut().context("it is no program")?;
        std::thread::scope(|scope| {
            let killer = scope.spawn(move || {
                std::thread::sleep(after);
                relay.kill_and_start()
            });
            let sending = Sending { program: STAMPED, host: source, device: "s", flows: *flows };
            let passed = pace(generator, sending, per_second, time, sink, &|| Ok(Duration::ZERO));
            killer.join().map_err(|_| anyhow::anyhow!("who kills the relay has panicked"))??;
            passed
        })
    }
}

/// All that the kernel does for a frame from the device's queue on belongs to the relay's core, the XDP program too: by threads of the device's, which
/// can be kept there.
fn keep_to_core(host: &Host) -> anyhow::Result<()> {
    let before = napi_threads()?;
    // The namespace's sysfs has to be mounted to be seen.
    host.run("unshare", ["--mount", "sh", "-c", "mount -t sysfs sysfs /sys && echo 1 > /sys/class/net/r/threaded"])?;
    let threads: Vec<_> = napi_threads()?.into_iter().filter(|thread| !before.contains(thread)).collect();
    anyhow::ensure!(!threads.is_empty(), "the device has no threads of its own (Linux 5.12)");
    for thread in threads {
        host.run("taskset", ["--pid", CORE_MASK, &thread])?;
        // As interrupts do, they come before every process.
        host.run("chrt", ["--fifo", "--pid", "50", &thread])?;
    }
    Ok(())
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
