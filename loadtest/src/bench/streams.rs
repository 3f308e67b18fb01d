//! Tens of thousands of streams at once through the fast path, each with a packet every 20 ms, and every one of them looked for.
//!
//! ```text
//!   s [generator: a packet of each stream in turn] --> r [intertrunk, XDP] --> s [sink: numbers and delays of each stream]
//!   s-alone [the same generator] --> d-alone [the same sink]: the cable alone, beside it
//! ```
//!
//! Everything happens on one core: a frame that finds a cable full is none that the relay has lost, and on one core no cable is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aya::maps::Array;
use serde::Serialize;
use serde_json::json;

use super::flood::{Family, Flows, party, refused, relay, sunk};
use super::pace::{Passed, Sending, pace};
use super::plain;
use super::running::Running;
use super::subject::Subject;
use crate::rig::daemon::{Build, EndedCall, NgClient};
use crate::rig::host::{Host, Port};
use crate::rig::program::Program;

/// The first port of the parties.
const FIRST_PORT: u16 = 20_000;
/// Packets of each stream in a second.
const PER_SECOND: u32 = 50;
/// How long the cable alone is measured, before and after.
const BESIDE: Duration = Duration::from_secs(5);

/// How many, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct StreamsPlan {
    /// Streams, two for each call.
    pub streams: u32,
    /// How long they talk.
    pub time: Duration,
    /// How long the cable alone is measured, before and after.
    pub beside: Duration,
}

impl Default for StreamsPlan {
    fn default() -> Self {
        Self { streams: 20_000, time: Duration::from_secs(120), beside: BESIDE }
    }
}

impl StreamsPlan {
    /// A short form: whether everything works.
    pub const fn smoke() -> Self {
        Self { streams: 2_000, time: Duration::from_secs(2), beside: Duration::from_millis(300) }
    }
}

/// Delays in microseconds, from the making of a frame to its arrival.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StreamDelays {
    /// The median.
    pub p50: f64,
    /// 99 % within.
    pub p99: f64,
    /// 99.9 % within.
    pub p999: f64,
    /// 99.99 % within.
    pub p9999: f64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Streams {
    /// How many streams.
    pub streams: u32,
    /// Packets that were made.
    pub made: u64,
    /// Those that the generator's own cable did not take.
    pub refused: u64,
    /// Those that the cable back did not take from the relay: no fault of its own, but lost.
    pub refused_back: u64,
    /// Those that arrived, duplicates too.
    pub arrived: u64,
    /// Those that did not, although the cable took them.
    pub lost: i64,
    /// Those that arrived after a later one of their stream.
    pub late: u64,
    /// Those that arrived again.
    pub twice: u64,
    /// Streams of which nothing arrived.
    pub mute: u64,
    /// The most that any stream lacks between its packets.
    pub worst_gap: u64,
    /// Packets a second, of all together.
    pub per_second: f64,
    /// How many the relay's fast path counted.
    pub fast_packets: u64,
    /// Through the relay.
    pub relay_us: StreamDelays,
    /// By the cable alone.
    pub cable_us: StreamDelays,
    /// What the relay adds to what 99 % of the packets stay within.
    pub added_p99_us: f64,
}

impl Streams {
    /// Fails unless every packet arrived once and in order, by the fast path.
    ///
    /// # Errors
    /// When not.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((self.lost, self.late, self.twice, self.mute) == (0, 0, 0, 0), "{self:?}");
        ensure!(self.fast_packets == self.arrived, "not all took the fast path: {self:?}");
        Ok(())
    }
}

/// Has them talk.
///
/// # Errors
/// When the rig cannot be built.
pub fn run(plan: StreamsPlan) -> anyhow::Result<Streams> {
    let folder = tempfile::tempdir()?;
    let v4 = Family::Ipv4;
    let (source, host, far) = (Host::new("source")?, Arc::new(Host::new("relay")?), Host::new("far")?);
    let port = |device, addr| Port { device, addr };
    source.connect(port("s", party(v4, 0)), &host, port("r", relay(v4, 0)))?;
    source.add_addr("s", party(v4, 1))?;
    host.add_addr("r", relay(v4, 1))?;
    host.run("ip", ["link", "set", "r", "address", "02:00:00:00:00:01"])?;
    source.connect(port("s-alone", [203, 0, 113, 10].into()), &far, port("d-alone", [203, 0, 113, 1].into()))?;
    let [mut generator, mut beside, mut sink, mut far_sink] =
        [Program::load()?, Program::load()?, Program::load()?, Program::load()?];
    sink.attach("sink_streams", &source, "s")?;
    far_sink.attach("sink_streams", &far, "d-alone")?;

    let relay = Running::start(Subject::Fast, &host, (folder.path(), &Build::default()))?;
    let mut ng = NgClient::on(&host)?;
    eprintln!("setting {} calls up", plan.streams / 2);
    plain::set_up(&mut ng, &mut generator, (FIRST_PORT, plan.streams), true)?;
    plain::same_ports(&mut beside, FIRST_PORT, plan.streams)?;

    let flows = Flows { family: v4, count: plan.streams, every: None, first_port: FIRST_PORT };
    let sending = |device| Sending { program: "generate_streams", host: &source, device, flows };
    let per_second = plan.streams * PER_SECOND;
    let mut cable = Vec::new();
    let mut alone =
        || pace(&mut beside, sending("s-alone"), per_second, plan.beside, &far_sink, &|| Ok(Duration::ZERO));
    cable.push(alone()?);
    let (before, before_back) = (refused(&source, "s")?, refused_back(&host)?);
    let passed = watched(&sink, per_second, || {
        pace(&mut generator, sending("s"), per_second, plan.time, &sink, &|| Ok(Duration::ZERO))
    })?;
    let (refused, refused_back) = (refused(&source, "s")? - before, refused_back(&host)? - before_back);
    cable.push(alone()?);

    let found = Found::of(&sink, plan.streams)?;
    for call in 0..plan.streams / 2 {
        ng.request(&json!({"command": "delete", "call-id": plain::call_id(call), "from-tag": "1", "delete-delay": 0}))?;
    }
    let ended = EndedCall::all(&relay.stop()?);
    ensure!(ended.len() == plan.streams as usize / 2, "the relay tells of {} ended calls", ended.len());
    let cable = Passed::of_all(cable).context("the cable was not measured")?;
    let (relay_us, cable_us) = (delays(&passed), delays(&cable));
    Ok(Streams {
        streams: plan.streams,
        made: passed.sent,
        refused,
        refused_back,
        arrived: found.packets,
        lost: (passed.sent - refused) as i64 - (found.packets - found.twice) as i64,
        late: found.late,
        twice: found.twice,
        mute: found.mute,
        worst_gap: found.worst_gap,
        per_second: passed.sent as f64 / passed.time.as_secs_f64(),
        fast_packets: ended.iter().map(|call| call.fast_packets).sum(),
        relay_us,
        cable_us,
        added_p99_us: relay_us.p99 - cable_us.p99,
    })
}

/// How many frames the cable has not taken from the relay's program.
fn refused_back(host: &Host) -> anyhow::Result<u64> {
    let counts = host.run("ethtool", ["-S", "r"])?;
    let refused = counts.lines().filter_map(|line| line.trim().split_once("_xdp_tx_errors: "));
    refused.map(|(_, count)| Ok(count.parse::<u64>()?)).sum()
}

fn delays(passed: &Passed) -> StreamDelays {
    let within = |share| passed.delay_us(share);
    StreamDelays { p50: within(0.5), p99: within(0.99), p999: within(0.999), p9999: within(0.9999) }
}

/// Tells once a second how far it is.
fn watched<T>(sink: &Program, per_second: u32, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = sunk(sink).unwrap_or_default();
            while !is_done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_secs(1));
                let now = sunk(sink).unwrap_or_default();
                eprintln!(
                    "{now} packets arrived, {:.3} of those due in a second",
                    (now - last) as f64 / f64::from(per_second)
                );
                last = now;
            }
        });
        let done = work();
        is_done.store(true, Ordering::Relaxed);
        done
    })
}

/// What the sink has noted of all streams.
#[derive(Default)]
struct Found {
    packets: u64,
    late: u64,
    twice: u64,
    mute: u64,
    worst_gap: u64,
}

impl Found {
    fn of(sink: &Program, streams: u32) -> anyhow::Result<Self> {
        let noted: Array<_, [u64; 4]> = sink.ebpf.map("STREAMS").context("no STREAMS")?.try_into()?;
        let mut found = Self::default();
        for stream in 0..streams {
            let port = u32::from(FIRST_PORT) + 2 * (stream >> 1);
            let [packets, expected, strange, _] = noted.get(&((stream & 1) << 16 | port), 0)?;
            let (late, twice) = (strange & u64::from(u32::MAX), strange >> 32);
            found.packets += packets;
            found.late += late;
            found.twice += twice;
            found.mute += u64::from(packets == 0);
            found.worst_gap = found.worst_gap.max(expected.saturating_sub(packets - twice));
        }
        Ok(found)
    }
}
