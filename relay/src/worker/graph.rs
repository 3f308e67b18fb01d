//! Random graphs of calls: whatever is fed, copied, silenced, blocked and ended in whatever order, every packet goes exactly where the model says,
//! and the XDP program may carry exactly what goes to one party of the same family as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use border::{Component, Content, Edge, FlowOp, Intake, Passes, Signalled, Sink, SourceSpec};
use flow::slot::Flags;
use flow::{Reason, SlotIndex};
use media::{HEAD_ROOM, Packet, TAIL_ROOM};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::table::{FlowTable, Reader, rig};
use crate::worker::carry::Carrier;
use crate::worker::handler::Arrival;
use crate::worker::outbox::Outbox;
use crate::worker::reasons::Reasons;

const LOCALS: [&str; 3] = ["192.0.2.1", "198.51.100.1", "2001:db8::1"];

/// So many sources: of every two neighbours one is RTP and the other its RTCP.
const SOURCES: usize = 10;

/// What a party says, and what is in its place when it is silenced.
const SPEECH: u8 = 0x33;
const SILENCE: u8 = 0xd5;

/// The slot of a source, its local address, and the address of its party.
fn place(source: usize) -> (SlotIndex, SocketAddr, SocketAddr) {
    let (local, port) = (source / 2 % LOCALS.len(), 30000 + source as u16);
    let party = match local {
        2 => format!("[2001:db8:1::{}]:{}", 10 + source / 2, 4000 + source),
        _ => format!("203.0.113.{}:{}", 10 + source / 2, 4000 + source),
    };
    let addr: IpAddr = LOCALS[local].parse().unwrap();
    (SlotIndex::new(local as u32, port), SocketAddr::new(addr, port), party.parse().unwrap())
}

fn component(source: usize) -> Component {
    if source.is_multiple_of(2) { Component::Rtp } else { Component::Rtcp }
}

/// Somebody who is no party.
const fn stranger(source: usize) -> &'static str {
    if source / 2 % LOCALS.len() == 2 { "[2001:db8:1::66]:4000" } else { "203.0.113.66:4000" }
}

#[derive(Clone, Debug)]
enum Step {
    /// There shall be this source: fed parties with what each gets, and whether it is blocked.
    Install { source: usize, sinks: BTreeMap<usize, (Edge, Passes)>, blocked: bool },
    /// There shall be none.
    Remove(usize),
    /// Its party says something.
    Say(usize),
    /// Somebody else sends to its port.
    Intrude(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let edge = prop::sample::select(vec![Edge::Dialogue, Edge::Copy, Edge::Inject]);
    let passes = prop_oneof![4 => Just(Passes::All), 1 => Just(Passes::Silence), 1 => Just(Passes::Nothing)];
    let sinks = prop::collection::btree_map(0..SOURCES, (edge, passes), 0..4);
    prop_oneof![
        4 => (0..SOURCES, sinks, prop::bool::weighted(0.2)).prop_map(|(source, mut sinks, blocked)| {
            // RTP feeds RTP and RTCP feeds RTCP, and nobody hears himself.
            sinks.retain(|sink, _| sink % 2 == source % 2 && *sink != source);
            Step::Install { source, sinks, blocked }
        }),
        1 => (0..SOURCES).prop_map(Step::Remove),
        8 => (0..SOURCES).prop_map(Step::Say),
        3 => (0..SOURCES).prop_map(Step::Intrude),
    ]
}

/// A source as the model knows it.
#[derive(Clone, Debug)]
struct Modelled {
    sinks: BTreeMap<usize, (Edge, Passes)>,
    blocked: bool,
    /// Its party has been heard: it is where its signalling says, beyond doubt.
    is_heard: bool,
}

/// Who gets something, and whether what was said.
type Received = BTreeSet<(SocketAddr, SocketAddr, bool)>;

struct Rig {
    table: Arc<FlowTable>,
    carrier: Carrier,
    reasons: Arc<Reasons>,
    model: BTreeMap<usize, Modelled>,
    sequence: u16,
}

impl Rig {
    fn new(reads_rtcp: bool) -> Self {
        let addrs = LOCALS.map(|addr| addr.parse().unwrap());
        let slots = LOCALS.len() * flow::local::SLOTS_PER_LOCAL as usize;
        let table = Arc::new(rig::table(&addrs, true, reads_rtcp.then(|| Reader::new(slots).0)));
        let reasons = Arc::new(Reasons::default());
        let carrier = Carrier::new(Arc::clone(&table), Arc::clone(&reasons), false, 0);
        Self { table, carrier, reasons, model: BTreeMap::new(), sequence: 0 }
    }

    fn install(&mut self, source: usize, sinks: &BTreeMap<usize, (Edge, Passes)>, blocked: bool) {
        let (slot, local, party) = place(source);
        let sink = |(sink, (edge, passes)): (&usize, &(Edge, Passes))| Sink {
            party: place(*sink).0,
            edge: *edge,
            passes: *passes,
        };
        let spec = SourceSpec {
            call: 1,
            component: component(source),
            local,
            party: Signalled { at: Some(party), ..Signalled::default() },
            mux: false,
            sinks: sinks.iter().map(sink).collect(),
            tos: None,
            clock_khz: 8,
            blocked,
            content: Content::Rtp,
            announcement: None,
            security: None,
        };
        self.table.apply(&[FlowOp::Install(slot, spec)], Instant::now());
        let is_heard = self.model.get(&source).is_some_and(|known| known.is_heard);
        self.model.insert(source, Modelled { sinks: sinks.clone(), blocked, is_heard });
    }

    fn remove(&mut self, source: usize) {
        self.table.apply(&[FlowOp::Remove(place(source).0)], Instant::now());
        self.model.remove(&source);
    }

    /// Where the packets of a source go.
    fn expected(&self, source: usize) -> Received {
        let Some(known) = self.model.get(&source).filter(|known| !known.blocked) else { return Received::new() };
        // Nobody silences reports: what comes of that is nothing.
        let is_rtcp = component(source) == Component::Rtcp;
        let is_passed = |passes| passes == Passes::All || (passes == Passes::Silence && !is_rtcp);
        let is_reached = |sink: &usize, passes| is_passed(passes) && self.model.contains_key(sink);
        let reached = known.sinks.iter().filter(|(sink, (_, passes))| is_reached(sink, *passes));
        let is_said = |passes| passes == Passes::All;
        reached.map(|(sink, (_, passes))| (place(*sink).1, place(*sink).2, is_said(*passes))).collect()
    }

    /// Has something sent to a source's port; who gets it.
    fn send(&mut self, source: usize, sender: SocketAddr) -> Vec<(SocketAddr, SocketAddr, bool)> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut payload = match component(source) {
            Component::Rtp => vec![0x80, 8],
            Component::Rtcp => vec![0x80, 200],
        };
        match component(source) {
            Component::Rtp => payload.extend(self.sequence.to_be_bytes()),
            Component::Rtcp => payload.extend(42_u16.to_be_bytes()),
        }
        payload.extend([0, 0, 0, 1, 0, 0, 0, source as u8]);
        payload.resize(172, SPEECH);
        let mut buffer = vec![0; HEAD_ROOM];
        buffer.extend(&payload);
        buffer.resize(HEAD_ROOM + 172 + TAIL_ROOM, 0);
        let packet = Packet::new(&mut buffer, HEAD_ROOM, HEAD_ROOM + 172).unwrap();
        let mut arrival = Arrival { sender, local: place(source).1, ttl: Some(64), intake: Intake::Steered, packet };
        let mut outbox = Outbox::default();
        let mut received = Vec::new();
        let mut receive = |headers: &[u8], sent: &[u8]| {
            assert_eq!((sent.len(), &sent[..12]), (172, &payload[..12]), "the header stays");
            let media = &sent[12..];
            assert!(media.iter().all(|byte| *byte == media[0]) && [SPEECH, SILENCE].contains(&media[0]));
            let (from, to) = endpoints(headers);
            received.push((from, to, media[0] == SPEECH));
        };
        if let Some(departure) = self.carrier.carry(&mut arrival, 1, &mut outbox) {
            receive(departure.headers.as_bytes(), arrival.packet.payload());
        }
        while let Some((departure, mut own)) = outbox.next() {
            let (buffer, start, end) = own.parts();
            receive(departure.headers.as_bytes(), &buffer[start..end]);
        }
        received
    }

    /// What the XDP program may do with what a source's party says.
    fn check_slot(&self, source: usize, reads_rtcp: bool) {
        let (slot, _, party) = place(source);
        let rule = self.table.slot(slot).unwrap().read().unwrap();
        let Some(known) = self.model.get(&source) else {
            assert!(!rule.flags.has(Flags::CALL) && !rule.is_active(), "{source}: a slot without a source");
            return;
        };
        assert!(rule.flags.has(Flags::CALL));
        if !known.is_heard {
            return;
        }
        let is_mute = !known.sinks.is_empty() && known.sinks.values().all(|(_, passes)| *passes == Passes::Nothing);
        assert_eq!(rule.flags.has(Flags::BLOCKED), known.blocked || is_mute, "{source}");
        let expected = self.expected(source);
        let is_work = |sink: &usize, passes| passes == Passes::Silence && self.model.contains_key(sink);
        let is_worked_on = known.sinks.iter().any(|(sink, (_, passes))| is_work(sink, *passes));
        let is_read = reads_rtcp && component(source) == Component::Rtcp;
        let is_one = expected.len() == 1 && !is_worked_on && !is_read;
        let is_fast = is_one && expected.iter().all(|(_, to, _)| to.is_ipv4() == party.is_ipv4());
        assert_eq!(rule.is_fast(), is_fast, "{source}: {rule:?}, {expected:?}");
        if is_fast {
            let departing = self.table.departing(&rule).unwrap();
            let to = SocketAddr::new(departing.bearing.to, departing.ports[1].get());
            let from = SocketAddr::new(departing.bearing.from, departing.ports[0].get());
            assert_eq!(expected, Received::from([(from, to, true)]));
        }
    }
}

/// Source and destination of IP and UDP headers.
fn endpoints(headers: &[u8]) -> (SocketAddr, SocketAddr) {
    let (ports, from, to): (_, IpAddr, IpAddr) = if headers[0] >> 4 == 4 {
        let addr = |at: usize| IpAddr::from(*headers[at..].first_chunk::<4>().unwrap());
        (20, addr(12), addr(16))
    } else {
        let addr = |at: usize| IpAddr::from(*headers[at..].first_chunk::<16>().unwrap());
        (40, addr(8), addr(24))
    };
    let port = |at: usize| u16::from_be_bytes(*headers[at..].first_chunk().unwrap());
    (SocketAddr::new(from, port(ports)), SocketAddr::new(to, port(ports + 2)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_packet_goes_exactly_where_the_model_says(steps in vec(any_step(), 1..80), reads_rtcp in any::<bool>()) {
        let mut rig = Rig::new(reads_rtcp);
        for step in steps {
            match step.clone() {
                Step::Install { source, sinks, blocked } => rig.install(source, &sinks, blocked),
                Step::Remove(source) => rig.remove(source),
                Step::Say(source) => {
                    let expected = rig.expected(source);
                    let received = rig.send(source, place(source).2);
                    prop_assert_eq!(received.len(), expected.len(), "{:?}: each once", &step);
                    prop_assert_eq!(received.into_iter().collect::<Received>(), expected, "{:?}", step);
                    // Who is heard without being sent on anywhere may be beyond doubt or not.
                    let is_certain = !rig.expected(source).is_empty();
                    if let Some(known) = rig.model.get_mut(&source) {
                        known.is_heard |= is_certain;
                    }
                }
                Step::Intrude(source) => {
                    let is_certain = rig.model.get(&source).is_none_or(|known| known.is_heard);
                    if is_certain {
                        prop_assert_eq!(rig.send(source, stranger(source).parse().unwrap()), vec![], "{:?}", step);
                    }
                }
            }
            for source in 0..SOURCES {
                rig.check_slot(source, reads_rtcp);
            }
        }
        prop_assert_eq!(rig.reasons.read()[Reason::SendFailed as usize], 0);
        for source in 0..SOURCES {
            rig.remove(source);
            rig.check_slot(source, reads_rtcp);
        }
    }
}
