//! What is counted of sources that mix several synchronisation sources.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use border::{Component, Content, Edge, FlowOp, Intake, Learning, Passes, Signalled, Sink, SourceSpec, SourceTotals};
use flow::SlotIndex;
use media::{HEAD_ROOM, Packet, TAIL_ROOM};

use crate::table::rig;
use crate::worker::carry::Carrier;
use crate::worker::handler::Arrival;
use crate::worker::outbox::Outbox;
use crate::worker::reasons::Reasons;

const LEN: usize = 172;
const EACH: u16 = 50;

/// A call of a party who mixes, and those who hear it.
struct Rig {
    carrier: Carrier,
    local: SocketAddr,
    mixer: SocketAddr,
}

impl Rig {
    fn new(learning: Learning, listeners: u16) -> Self {
        let addr = "192.0.2.1".parse().unwrap();
        let table = Arc::new(rig::table(&[addr], true, None));
        let place = |number: u16| (SlotIndex::new(0, 30000 + 2 * number), SocketAddr::new(addr, 30000 + 2 * number));
        let party = |number: u16| SocketAddr::new("198.51.100.9".parse().unwrap(), 4000 + number);
        for number in 0..=listeners {
            let (slot, local) = place(number);
            let sink = |listener| Sink { party: place(listener).0, edge: Edge::Dialogue, passes: Passes::All };
            let spec = SourceSpec {
                call: 1,
                component: Component::Rtp,
                local,
                party: Signalled { at: Some(party(number)), learning, ..Signalled::default() },
                mux: false,
                sinks: (1..=listeners).filter(|_| number == 0).map(sink).collect(),
                tos: None,
                clock_khz: 8,
                blocked: false,
                content: Content::Rtp,
                announcement: None,
                security: None,
            };
            table.apply(&[FlowOp::Install(slot, spec)], Instant::now());
        }
        let carrier = Carrier::new(Arc::clone(&table), Arc::new(Reasons::default()), false, 0);
        Self { carrier, local: place(0).1, mixer: party(0) }
    }

    fn send(&mut self, ssrc: u32, sequence: u16) {
        let mut payload = vec![0x80, 8];
        payload.extend(sequence.to_be_bytes());
        payload.extend([0; 4]);
        payload.extend(ssrc.to_be_bytes());
        let mut buffer = vec![0; HEAD_ROOM];
        buffer.extend(payload);
        buffer.resize(HEAD_ROOM + LEN + TAIL_ROOM, 0x55);
        let packet = Packet::new(&mut buffer, HEAD_ROOM, HEAD_ROOM + LEN).unwrap();
        let (sender, local) = (self.mixer, self.local);
        let mut arrival = Arrival { sender, local, ttl: Some(64), intake: Intake::Steered, packet };
        self.carrier.carry(&mut arrival, 1, &mut Outbox::default()).unwrap();
    }

    fn totals(&self) -> SourceTotals {
        self.carrier.table.totals(SlotIndex::new(0, 30000)).unwrap()
    }
}

/// Three sources in turns, so near each other that the next one's numbers could be a gap of the last one's; what is told of them.
fn mixed(learning: Learning, listeners: u16) -> SourceTotals {
    let mut rig = Rig::new(learning, listeners);
    let first = [100, 1000, 2500];
    for number in 0..EACH {
        for (ssrc, first) in (1..).zip(first) {
            rig.send(ssrc, first + number);
            rig.totals();
        }
    }
    rig.totals()
}

#[test]
fn a_mixed_stream_has_lost_nothing() {
    for learning in [Learning::Off, Learning::default()] {
        for listeners in [1, 2] {
            let totals = mixed(learning, listeners);
            let told = (totals.slow_packets, totals.lost, totals.late);
            assert_eq!(told, (3 * u64::from(EACH), 0, 0), "{learning:?}, {listeners}");
        }
    }
}

#[test]
fn every_change_of_the_source_is_told_and_the_last_one_named() {
    let totals = mixed(Learning::Off, 1);
    assert_eq!((totals.ssrc_changes, totals.ssrc), (3 * u64::from(EACH) - 1, Some(3)));
}

#[test]
fn the_loss_of_a_source_that_nobody_holds_to_its_number_is_exact() {
    let mut rig = Rig::new(Learning::Off, 1);
    for number in [1, 2, 4] {
        rig.send(7, number);
        rig.totals();
    }
    assert_eq!((rig.totals().lost, rig.totals().ssrc_changes), (1, 0));
}
