//! What control asks the data plane: how the sources are doing.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use flow::{Reason, SlotIndex};

use crate::op::Sink;
use crate::quality::Quality;
use crate::untrusted::Untrusted;

/// The path that a source's packets take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// The XDP program forwards them.
    Fast,
    /// A worker carries them, for this reason.
    Slow(Reason),
}

/// How packets come to the workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intake {
    /// Handed over by the XDP program, past the stack (AF_XDP).
    Xsk,
    /// By the socket to which all media ports are steered.
    Steered,
    /// By a socket of the port's own.
    Bound,
}

impl Intake {
    /// As the configuration names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xsk => "xsk",
            Self::Steered => "steered",
            Self::Bound => "bound",
        }
    }
}

/// A source's state and totals since it was installed.
#[derive(Clone, PartialEq, Debug)]
pub struct SourceTotals {
    /// Packets that arrived and were sent on by the XDP program.
    pub fast_packets: u64,
    /// Packets that arrived and were sent on by a worker.
    pub slow_packets: u64,
    /// Bytes of UDP payload of both.
    pub bytes: u64,
    /// Packets that arrived and could not be sent on.
    pub errors: u64,
    /// RTP packets that never arrived here (RFC 3550 A.3); negative when there were more doubles than losses.
    pub lost: i64,
    /// RTP packets that came out of order or twice.
    pub late: u64,
    /// How often the RTP synchronisation source changed.
    pub ssrc_changes: u64,
    /// Interarrival jitter (RFC 3550 A.8) in milliseconds; `None` when the payload's clock is not known.
    pub jitter_ms: Option<f64>,
    /// The synchronisation source of the last packet the daemon looked at.
    pub ssrc: Option<u32>,
    /// Where packets for the party go: to where it was heard, or else to where it was signalled.
    pub peer: Option<SocketAddr>,
    /// Whether a packet confirmed the peer.
    pub confirmed: bool,
    /// When the last packet was seen that the XDP program sent on, to the second.
    pub last_fast: Option<Instant>,
    /// When the last packet was seen that a worker sent on, to the second.
    pub last_slow: Option<Instant>,
    /// What the party's sources reported by RTCP of how they receive; of an RTCP source.
    pub quality: Vec<Quality>,
    /// The path of the next packet.
    pub path: Path,
    /// How the last packet came that a worker carried; `None` before the first, and again after a restart.
    pub intake: Option<Intake>,
    /// Where its packets go.
    pub sinks: Vec<SinkState>,
}

/// A sink as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SinkState {
    /// Whom it feeds, and why.
    pub sink: Sink,
    /// The local address that packets leave from.
    pub from: Option<SocketAddr>,
    /// Where they go.
    pub to: Option<SocketAddr>,
    /// Why they go nowhere.
    pub reason: Option<Reason>,
}

impl SourceTotals {
    /// When the last packet of both was seen, to the second.
    pub fn last_packet(&self) -> Option<Instant> {
        self.last_fast.max(self.last_slow)
    }

    /// Packets on both paths.
    pub const fn packets(&self) -> u64 {
        self.fast_packets + self.slow_packets
    }
}

/// Packets that did not go the way they should, by reason.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Those that the XDP program left to the stack, or dropped as a stranger's, and those for ports without a call, which the steering program drops
    /// too.
    pub program: Vec<(Reason, u64)>,
    /// Those that the workers lost.
    pub workers: Vec<(Reason, u64)>,
    /// How often the fast path was lost and came back.
    pub fast_path: Turns,
    /// Devices that are there and have no fast path now: somebody has detached the program, or the link is down.
    pub fast_path_missing: usize,
    /// How often media ports were not steered to the workers any more, and came to be again.
    pub steering: Turns,
    /// What comes to the workers past the stack.
    pub past_stack: PastStack,
    /// How often a thread of the relay was begun anew after a mistake of this program.
    pub restarts: u64,
    /// Pairs of ports by which the fast path carries calls of an earlier process that are on no record.
    pub orphans: usize,
    /// Ways to parties, by which the fast path sends.
    pub hops: Hops,
    /// Whether what is in the kernel is kept for the next daemon.
    pub is_pinned: bool,
    /// What was carried.
    pub traffic: Traffic,
}

/// The table of next hops.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hops {
    /// Ways that calls take.
    pub used: usize,
    /// Of those, the ones of which it is not known to which neighbour frames go.
    pub unresolved: usize,
    /// As many as there can be.
    pub all: usize,
}

/// What the XDP program hands to the workers past the stack (AF_XDP).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PastStack {
    /// Queues of devices by which that is so.
    pub queues: usize,
    /// Packets that came so.
    pub packets: u64,
}

/// How often something was lost and came back: of the fast path, at all devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turns {
    /// Lost: the program was detached, or a link went down.
    pub lost: u64,
    /// Came back.
    pub regained: u64,
}

/// Packets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Volume {
    /// Packets.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
}

/// What the relay has carried on all sources, those that have ended too, as of the last sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// By the XDP program.
    pub fast: Volume,
    /// By the workers.
    pub slow: Volume,
    /// Packets that arrived and could not be sent on.
    pub errors: u64,
    /// By the XDP program in the last second.
    pub fast_rate: Volume,
    /// By the workers in the last second.
    pub slow_rate: Volume,
    /// Errors in the last second.
    pub error_rate: u64,
}

/// Tells the totals of sources.
pub trait Meter {
    /// What did not go the way it should, since the start.
    fn counts(&self) -> Counts;

    /// The totals of the source in a slot, if there is one.
    fn totals(&self, slot: SlotIndex) -> Option<SourceTotals>;

    /// Whether a party that talks to the local address may be at another one.
    ///
    /// # Errors
    /// Why not.
    fn judge(&self, local: IpAddr, party: IpAddr) -> Result<(), Untrusted>;
}

/// The meter of a relay that has carried nothing, for whoever tries out commands without one.
#[derive(Clone, Copy, Debug)]
pub struct NoTraffic;

impl Meter for NoTraffic {
    fn counts(&self) -> Counts {
        Counts::default()
    }

    fn totals(&self, _: SlotIndex) -> Option<SourceTotals> {
        None
    }

    /// As on a host without addresses.
    fn judge(&self, local: IpAddr, party: IpAddr) -> Result<(), Untrusted> {
        Untrusted::by_kind(local, party)
    }
}
