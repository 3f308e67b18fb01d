use std::net::{IpAddr, SocketAddr};

use border::{Component, Content, FlowOp, Intake, Played, Signalled, Sink, SourceSpec};
use flow::rtp;
use media::{HEAD_ROOM, Packet, TAIL_ROOM};

use super::*;
use crate::host::Wake;
use crate::table::{Announcer, FlowTable, rig};
use crate::worker::handler::Arrival;
use crate::worker::reasons::Reasons;

const LOCALS: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// A party in each family, that talks with the other.
const PARTIES: [&str; 2] = ["203.0.113.10:4000", "[2001:db8:1::10]:4000"];

struct Stage {
    table: Arc<FlowTable>,
    carrier: Carrier,
    players: Players,
    events: Arc<Events>,
    began: Instant,
    /// Milliseconds that have passed.
    now: u64,
}

fn slot(party: usize) -> SlotIndex {
    SlotIndex::new(party as u32, 30000)
}

fn announcement(id: u64, octets: u64) -> Arc<Announcement> {
    Arc::new(Announcement {
        id,
        sound: (0..=255).collect(),
        silence: 0xff,
        payload_type: 0,
        ssrc: 7,
        sequence: 1,
        timestamp: 0,
        start: 0,
        octets,
        played: Played::default(),
    })
}

impl Stage {
    fn new() -> Self {
        let wake = Arc::new(Wake::new().unwrap());
        let (announcer, mut orders) = Announcer::new(&[wake]);
        let events = Arc::new(Events::new(|| {}));
        let addrs: Vec<IpAddr> = LOCALS.iter().map(|addr| addr.parse().unwrap()).collect();
        let table = Arc::new(rig::with(&addrs, true, None, announcer, Arc::clone(&events)));
        let carrier = Carrier::new(Arc::clone(&table), Arc::new(Reasons::default()), false, 0);
        let began = Instant::now();
        let players = Players::new(orders.remove(0), Arc::clone(&events), began);
        Self { table, carrier, players, events, began, now: 0 }
    }

    /// The party of a source, at this address, is to hear something.
    fn install(&self, party: usize, at: Option<&str>, announcement: Option<Arc<Announcement>>) {
        let spec = SourceSpec {
            call: 9,
            component: Component::Rtp,
            local: SocketAddr::new(LOCALS[party].parse().unwrap(), 30000),
            party: Signalled { at: at.map(|at| at.parse().unwrap()), ..Signalled::default() },
            mux: false,
            sinks: smallvec::smallvec![Sink::dialogue(slot(1 - party))],
            tos: Some(184),
            clock_khz: 8,
            blocked: false,
            content: Content::Rtp,
            announcement,
            security: None,
        };
        self.table.apply(&[FlowOp::Install(slot(party), spec)], Instant::now());
    }

    /// What leaves in so many milliseconds: when, where to, and the sequence number.
    fn pass(&mut self, millis: u64) -> Vec<(u64, SocketAddr, u16)> {
        let mut left = Vec::new();
        for now in self.now..self.now + millis {
            self.turn(now, &mut left);
        }
        self.now += millis;
        left
    }

    fn turn(&mut self, now: u64, left: &mut Vec<(u64, SocketAddr, u16)>) {
        let mut outbox = Outbox::default();
        self.players.turn_at(self.began + Duration::from_millis(now), &mut self.carrier, &mut outbox);
        while let Some((departure, mut own)) = outbox.next() {
            let fields = rtp::parse(own.packet().unwrap().payload()).unwrap();
            assert_eq!((departure.slot, own.packet().unwrap().payload().len()), (None, 172));
            left.push((now, departure.headers.to(), fields.sequence.0));
        }
    }

    /// A party says something from somewhere.
    fn say(&mut self, party: usize, from: &str) {
        let mut buffer = [0; 200];
        buffer[HEAD_ROOM] = 0x80;
        let packet = Packet::new(&mut buffer, HEAD_ROOM, 200 - TAIL_ROOM).unwrap();
        let local = SocketAddr::new(LOCALS[party].parse().unwrap(), 30000);
        let mut arrival =
            Arrival { sender: from.parse().unwrap(), local, ttl: Some(64), intake: Intake::Steered, packet };
        self.carrier.carry(&mut arrival, 1, &mut Outbox::default());
    }
}

#[test]
fn a_party_hears_a_packet_every_20_ms_until_all_is_played_and_control_is_told() {
    for (party, at) in PARTIES.into_iter().enumerate() {
        let mut stage = Stage::new();
        let announcement = announcement(1, 400);
        stage.install(party, Some(at), Some(Arc::clone(&announcement)));
        let at: SocketAddr = at.parse().unwrap();
        assert_eq!(stage.pass(100), [(1, at, 1), (21, at, 2), (41, at, 3)]);
        assert_eq!((announcement.is_over(), announcement.position()), (true, 400 % 256));
        let event = Event::Ended { call: 9, slot: slot(party), id: 1 };
        assert_eq!((stage.events.take(), stage.events.take()), (Some(event), None));
        assert_eq!(stage.players.wait(), None);
    }
}

#[test]
fn what_is_played_follows_the_party_and_waits_for_one_that_is_nowhere() {
    for (party, [first, second]) in
        [["203.0.113.10:4000", "203.0.113.11:5000"], ["[2001:db8:1::10]:4000", "[2001:db8:1::11]:5000"]]
            .into_iter()
            .enumerate()
    {
        let mut stage = Stage::new();
        let announcement = announcement(1, u64::MAX);
        stage.install(party, None, Some(Arc::clone(&announcement)));
        assert_eq!(stage.pass(100), []);
        // It is heard from its beginning once the party has said where it is.
        stage.install(party, Some(first), Some(Arc::clone(&announcement)));
        let left = stage.pass(100);
        assert_eq!(
            left.iter().map(|(_, to, number)| (*to, *number)).collect::<Vec<_>>(),
            (1..=5).map(|number| (first.parse().unwrap(), number)).collect::<Vec<_>>()
        );
        stage.install(party, Some(second), Some(Arc::clone(&announcement)));
        stage.say(party, second);
        let left = stage.pass(40);
        assert_eq!(
            left.iter().map(|(_, to, number)| (*to, *number)).collect::<Vec<_>>(),
            [(second.parse().unwrap(), 6), (second.parse().unwrap(), 7)]
        );
    }
}

#[test]
fn another_announcement_takes_the_place_of_the_first_and_none_ends_it() {
    let mut stage = Stage::new();
    let at: SocketAddr = PARTIES[0].parse().unwrap();
    stage.install(0, Some(PARTIES[0]), Some(announcement(1, u64::MAX)));
    assert_eq!(stage.pass(30), [(1, at, 1), (21, at, 2)]);
    stage.install(0, Some(PARTIES[0]), Some(announcement(2, u64::MAX)));
    assert_eq!(stage.pass(25), [(30, at, 1), (50, at, 2)]);
    stage.install(0, Some(PARTIES[0]), None);
    assert_eq!(stage.pass(100), []);
    assert_eq!((stage.events.take(), stage.players.wait()), (None, None));
}

#[test]
fn a_party_that_is_gone_hears_nothing_and_its_routes_are_given_back() {
    let mut stage = Stage::new();
    stage.install(0, Some(PARTIES[0]), Some(announcement(1, u64::MAX)));
    assert_eq!(stage.pass(10).len(), 1);
    stage.table.apply(&[FlowOp::Remove(slot(0))], Instant::now());
    assert_eq!(stage.pass(100), []);
    let requests = format!("{:?}", stage.table.hops().take_requests());
    assert_eq!(requests.matches("Want").count(), requests.matches("Forget").count(), "{requests}");
}

#[test]
fn what_is_over_does_not_begin_again_when_its_party_moves() {
    let mut stage = Stage::new();
    let announcement = announcement(1, 160);
    stage.install(0, Some(PARTIES[0]), Some(Arc::clone(&announcement)));
    assert_eq!(stage.pass(50).len(), 1);
    stage.install(0, Some("203.0.113.12:4000"), Some(announcement));
    stage.say(0, "203.0.113.12:4000");
    assert_eq!(stage.pass(100), []);
}

#[test]
fn a_worker_that_was_kept_from_its_work_makes_up_for_some_packets_and_goes_on_in_time() {
    let mut stage = Stage::new();
    let at: SocketAddr = PARTIES[0].parse().unwrap();
    stage.install(0, Some(PARTIES[0]), Some(announcement(1, u64::MAX)));
    let mut left = Vec::new();
    for now in [1, 21, 65, 81, 500, 500] {
        stage.turn(now, &mut left);
    }
    // At 1, 21, 41, 61, 81 and so on they are due.
    let expected = [(1, 1), (21, 2), (65, 3), (65, 4), (81, 5), (500, 6), (500, 7), (500, 8), (500, 9)];
    assert_eq!(left, expected.map(|(now, number)| (now, at, number)));
}

#[test]
fn what_is_stopped_and_begins_again_is_heard_once() {
    for pause in [0, 10, 300] {
        let mut stage = Stage::new();
        let at: SocketAddr = PARTIES[0].parse().unwrap();
        let announcement = announcement(1, u64::MAX);
        stage.install(0, Some(PARTIES[0]), Some(Arc::clone(&announcement)));
        assert_eq!(stage.pass(30), [(1, at, 1), (21, at, 2)]);
        stage.install(0, Some(PARTIES[0]), None);
        assert_eq!(stage.pass(pause), []);
        stage.install(0, Some(PARTIES[0]), Some(announcement));
        let numbers: Vec<u16> = stage.pass(100).into_iter().map(|(_, _, number)| number).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 7], "{pause}");
    }
}
