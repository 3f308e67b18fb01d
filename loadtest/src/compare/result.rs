//! What the comparison has found: everything that the report tells, as one JSON object.

use serde::{Deserialize, Serialize};

use crate::rounds::Spread;

/// What was measured with what.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Circumstances {
    /// The day, as in 2026-11-27 (UTC).
    pub date: String,
    /// The command that was given.
    pub command: String,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// A short form of it: fewer rounds, and shorter ones.
    pub is_quick: bool,
    /// Name and release of the kernel.
    pub kernel: String,
    /// The processor's name.
    pub cpu: String,
    /// Its cores, as many as the kernel uses.
    pub cores: usize,
    /// Whether this is a virtual machine, as the processor tells.
    pub is_virtual: bool,
    /// Each program with its version.
    pub versions: Vec<(String, String)>,
    /// Each relay with the command that started it.
    #[serde(default)]
    pub started: Vec<(String, String)>,
    /// How many rounds each figure has, and how long each of them is.
    pub rounds: usize,
    /// Milliseconds of each round.
    pub millis: u64,
}

/// The delay that something adds, in microseconds: from the making of a frame to its arrival at the other end.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Delays {
    /// The median.
    pub p50: f64,
    /// 90 % within.
    pub p90: f64,
    /// 99 % within.
    pub p99: f64,
    /// 99.9 % within.
    pub p999: f64,
    /// 99.99 % within.
    pub p9999: f64,
}

/// What a packet costs over so many streams.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cost {
    /// How many streams.
    pub streams: u32,
    /// Thousands of packets a second, of all streams together.
    pub kpps: f64,
    /// Microseconds of the relay's processor for each packet, the kernel's part included.
    pub cpu_us: Spread,
    /// Share of packets lost.
    pub loss: f64,
}

/// The delays at a share of the highest pace.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// The share: 10, 50 or 90.
    pub percent: u32,
    /// Thousands of packets a second.
    pub kpps: f64,
    /// The delays, medians of the rounds.
    pub delay_us: Delays,
    /// Share of packets lost.
    pub loss: f64,
}

/// What becomes of calls when a relay ends and is started again.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// Milliseconds without packets: those that were lost, at the pace at which they were sent. `None`: the calls never came back.
    pub millis: Option<f64>,
    /// Of the packets sent while it was away and for two seconds after, how many were lost.
    pub lost: u64,
    /// How many that were.
    pub sent: u64,
}

/// One that carries packets, plain or as SRTP.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// A short name, such as `intertrunk-xdp`, `rtpengine`, `nftables`, `flowtable`, `reflector`.
    pub name: String,
    /// What it is, in a few words.
    pub what: String,
    /// It protects what it sends (SRTP); what comes in is plain.
    pub is_secured: bool,
    /// By streams, at one pace.
    pub costs: Vec<Cost>,
    /// The highest pace without loss, in thousands of packets a second.
    pub loss_free_kpps: Spread,
    /// The rig makes no more than that: it may be able to do more.
    pub is_at_rigs_limit: bool,
    /// Packets for a second of the relay's processor, at the highest pace.
    pub packets_per_cpu_second: f64,
    /// At 10, 50 and 90 % of the highest pace; empty where the stamp of time is encrypted.
    pub latencies: Vec<Latency>,
    /// When it is killed and started again at once; `None` for what is no program.
    pub killed: Option<Gap>,
}

/// One that is commanded.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Commanded {
    /// `intertrunk` or `rtpengine`.
    pub name: String,
    /// How many calls stood meanwhile.
    pub standing: usize,
    /// Whole calls (offer, answer, delete) in a second, as fast as one processor does them.
    pub calls_per_second: f64,
    /// Whole calls for a second of its processor time.
    pub calls_per_cpu_second: f64,
    /// Microseconds until a reply at half of that: the median, and what one in a hundred exceeds.
    pub reply_us: [f64; 2],
    /// Memory for each standing call, in bytes.
    pub bytes_per_call: u64,
}

/// Everything.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// With what.
    pub circumstances: Circumstances,
    /// Those that carry packets.
    pub rows: Vec<Row>,
    /// Those that are commanded.
    pub commanded: Vec<Commanded>,
    /// What could not be measured here, and why.
    pub left_out: Vec<(String, String)>,
}

impl Comparison {
    /// The row of a name.
    pub fn row(&self, name: &str, is_secured: bool) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name && row.is_secured == is_secured)
    }
}
