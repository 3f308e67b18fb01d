//! From calls to processors, memory and ports: a pure function.

use serde::Serialize;

use super::costs::{Cost, Costs};

/// Ethernet (with the frame check sequence, the preamble and the gap), IPv4, UDP and RTP, around each payload.
const HEADERS: f64 = 38.0 + 20.0 + 8.0 + 12.0;
/// The tag of AES_CM_128_HMAC_SHA1_80.
const TAG: f64 = 10.0;
/// A report each five seconds and direction (RFC 3550 6.2), which a worker reads.
const REPORTS_PER_SECOND: f64 = 0.2;
/// A ring of AF_XDP for each receive queue.
const BYTES_PER_QUEUE: f64 = (16 << 20) as f64;

/// What is said in a call.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Codec {
    /// Its name.
    pub name: &'static str,
    /// Bytes of payload for each millisecond, at its usual rate.
    pub bytes_per_ms: f64,
}

/// Those that trunks have.
pub(super) const CODECS: [Codec; 6] = [
    Codec { name: "G.711", bytes_per_ms: 8.0 },
    Codec { name: "G.722", bytes_per_ms: 8.0 },
    Codec { name: "G.729", bytes_per_ms: 1.0 },
    Codec { name: "Opus", bytes_per_ms: 4.0 },
    Codec { name: "AMR-WB", bytes_per_ms: 3.05 },
    Codec { name: "GSM", bytes_per_ms: 1.65 },
];

/// What is to be carried.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Demand {
    /// Calls at once.
    pub calls: f64,
    /// What they say.
    pub codec: Codec,
    /// Milliseconds in each packet.
    pub ptime_ms: f64,
    /// The share of calls of which a side has SRTP.
    pub secured: f64,
    /// The share of calls that a worker carries for another reason: recorded, copied to others, from IPv4 to IPv6.
    pub by_worker: f64,
    /// New calls in a second.
    pub new_calls: f64,
}

/// What a node is like, and how much of it is used.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Node {
    /// Its processors.
    pub cores: u32,
    /// The share of what they carry at most that is planned with.
    pub load: f64,
    /// Media addresses on each side.
    pub addresses: u32,
    /// Ports of each.
    pub ports: u32,
}

/// Processors for packets of one kind.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Share {
    /// Thousands of packets a second.
    pub kpps: f64,
    /// So many are needed, at the load that is planned with.
    pub cores: f64,
    /// How much time of processors they take then, one being all the time of one.
    pub busy: f64,
}

impl Share {
    fn of(kpps: f64, cost: &Cost, load: f64) -> Self {
        let cores = kpps / (cost.most_kpps * load);
        let whole = cores.ceil().max(1.0);
        Self { kpps, cores, busy: whole * cost.busy(kpps / whole) }
    }
}

/// What that takes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Needs {
    /// Megabits a second on the wires, in each direction.
    pub megabits: f64,
    /// By XDP: processors for receive queues of the devices.
    pub fast: Share,
    /// By workers, as it is.
    pub worker: Share,
    /// By workers, protected.
    pub secured: Share,
    /// Processors for commands, at the load that is planned with.
    pub commands: f64,
    /// Processors in all, at the load that is planned with.
    pub cores: f64,
    /// Receive queues in all: one for each processor that packets come to.
    pub queues: u32,
    /// Memory of the daemon, in bytes.
    pub memory: f64,
    /// Ports that are taken on each side.
    pub ports: f64,
    /// Nodes, so that none has more to do than planned, or lacks ports.
    pub nodes: u32,
    /// Nodes of which one may fail.
    pub nodes_with_reserve: u32,
    /// What the number of nodes follows from.
    pub limit: Limit,
}

/// What there is least of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Limit {
    /// Processors.
    Cores,
    /// Ports of the media addresses.
    Ports,
}

/// What calls take, on nodes of one kind.
pub(super) fn needs(demand: &Demand, node: &Node, costs: &Costs) -> Needs {
    // Both ways.
    let packets = demand.calls * 2.0 * 1000.0 / demand.ptime_ms;
    let reports = demand.calls * 2.0 * REPORTS_PER_SECOND;
    let secured = demand.secured.clamp(0.0, 1.0);
    let by_worker = demand.by_worker.clamp(0.0, 1.0 - secured);
    let kpps = |share: f64| share * packets / 1000.0;
    let fast = Share::of(kpps(1.0 - secured - by_worker), &costs.fast, node.load);
    let worker = Share::of(kpps(by_worker) + reports / 1000.0, &costs.worker, node.load);
    let protected = Share::of(kpps(secured), &costs.secured, node.load);
    let commands = demand.new_calls / costs.calls_per_cpu_second / node.load;
    let payload = demand.codec.bytes_per_ms * demand.ptime_ms;
    let bytes = packets * (HEADERS + payload + secured / 2.0 * TAG);
    // Each node spreads everything over all that it has: packets by the receive queues, to XDP and to the workers beside it.
    let for_packets = fast.cores + worker.cores + protected.cores;
    let cores = for_packets + commands;
    let queues = for_packets.ceil().max(1.0);
    let ports = demand.calls * 2.0;
    let by_cores = (cores / f64::from(node.cores.max(1))).ceil() as u32;
    let by_ports = (ports / (f64::from(node.addresses) * f64::from(node.ports)).max(1.0)).ceil() as u32;
    let nodes = by_cores.max(by_ports).max(1);
    Needs {
        megabits: bytes * 8.0 / 1e6,
        fast,
        worker,
        secured: protected,
        commands,
        cores,
        queues: queues as u32,
        memory: demand.calls * costs.bytes_per_call + queues * BYTES_PER_QUEUE,
        ports,
        nodes,
        nodes_with_reserve: nodes.saturating_add(1),
        limit: if by_ports > by_cores { Limit::Ports } else { Limit::Cores },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        fast: Cost { alone_us: 4.0, among_many_us: 0.3, standing: 0.2, most_kpps: 1250.0 },
        worker: Cost { alone_us: 9.0, among_many_us: 1.5, standing: 0.4, most_kpps: 400.0 },
        secured: Cost { alone_us: 10.0, among_many_us: 2.0, standing: 0.4, most_kpps: 300.0 },
        calls_per_cpu_second: 10_000.0,
        bytes_per_call: 12_000.0,
    };
    const DEMAND: Demand =
        Demand { calls: 10_000.0, codec: CODECS[0], ptime_ms: 20.0, secured: 0.0, by_worker: 0.0, new_calls: 50.0 };
    const NODE: Node = Node { cores: 8, load: 0.5, addresses: 1, ports: 40_000 };

    #[test]
    fn ten_thousand_plain_calls_are_a_million_packets_a_second() {
        let needs = needs(&DEMAND, &NODE, &COSTS);
        assert!((needs.fast.kpps - 1000.0).abs() < 1e-6, "{needs:?}");
        // 625 kpps a processor; the reports and the commands take little of one more.
        assert!((needs.fast.cores - 1.6).abs() < 1e-9 && (needs.cores - 1.63).abs() < 1e-9, "{needs:?}");
        assert_eq!(needs.queues, 2);
        assert_eq!((needs.nodes, needs.nodes_with_reserve), (1, 2));
        assert!((needs.megabits - 1904.0).abs() < 1.0, "238 bytes a packet on the wire: {needs:?}");
    }

    #[test]
    fn secured_calls_are_workers() {
        let needs = needs(&Demand { secured: 0.3, ..DEMAND }, &NODE, &COSTS);
        assert!((needs.secured.kpps - 300.0).abs() < 1e-6);
        assert!((needs.fast.cores - 1.12).abs() < 1e-9 && (needs.secured.cores - 2.0).abs() < 1e-9, "{needs:?}");
    }

    #[test]
    fn a_hundred_nodes_are_a_hundred_times_one() {
        let node = Node { addresses: 4, ..NODE };
        let of = |calls| needs(&Demand { calls, new_calls: calls / 180.0, secured: 0.2, ..DEMAND }, &node, &COSTS);
        assert_eq!(of(20_000.0).nodes, 1);
        assert!((99..=101).contains(&(of(20_000.0 * 8.0 / of(20_000.0).cores * 100.0).nodes)));
    }

    #[test]
    fn calls_without_ports_need_more_nodes() {
        let needs = needs(&DEMAND, &Node { ports: 10_000, ..NODE }, &COSTS);
        assert_eq!((needs.nodes, needs.limit), (2, Limit::Ports));
    }

    #[test]
    fn shares_that_are_more_than_all_are_all() {
        let needs = needs(&Demand { secured: 0.9, by_worker: 0.9, ..DEMAND }, &NODE, &COSTS);
        assert!(needs.fast.kpps.abs() < 1e-6 && (needs.worker.kpps - 104.0).abs() < 1e-6, "{needs:?}");
    }

    #[test]
    fn twice_as_many_calls_never_need_less() {
        let mut last = 0.0;
        for calls in (1..=100).map(|thousands| f64::from(thousands) * 1000.0) {
            let needs = needs(&Demand { calls, secured: 0.2, ..DEMAND }, &NODE, &COSTS);
            assert!(needs.cores >= last, "{calls}");
            last = needs.cores;
        }
    }
}
