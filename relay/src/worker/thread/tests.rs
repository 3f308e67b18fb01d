use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use flow::compose::Outgoing;
use flow::{Be16, Bearing};

use super::*;
use crate::worker::bound::BoundPorts;
use crate::worker::departure::Way;

/// Sends everything back, but for what it panics at: at once, or when the turn is over.
#[derive(Default)]
struct Fragile {
    is_broken: bool,
}

impl Handler for Fragile {
    fn arrived(&mut self, arrival: &mut Arrival<'_>, _: &mut Outbox) -> Option<Departure> {
        let (source, local, payload) = (arrival.sender, arrival.local, arrival.packet.payload());
        assert_ne!(payload, b"poison");
        self.is_broken |= payload == b"break";
        let bearing = Bearing { from: local.ip(), to: source.ip(), tos: None };
        let ports = [local.port(), source.port()].map(Be16::new);
        let headers = Outgoing::new(&bearing, ports, flow::headers::TTL, payload)?;
        let slot = SlotIndex::new(0, local.port());
        Some(Departure { way: Way::Port(slot), headers, slot: Some(slot) })
    }

    fn turned(&mut self, _: &mut Outbox) {}

    fn overflowed(&mut self, _: u32) {}

    fn oversized(&mut self) {}

    fn lost(&mut self, _: Reason) {}

    fn refused(&mut self, _: Option<SlotIndex>, _: &io::Error) {}

    fn rest(&mut self) -> bool {
        assert!(!std::mem::take(&mut self.is_broken));
        false
    }
}

#[test]
fn a_packet_that_a_worker_panics_at_is_the_only_one_lost_and_a_loop_that_panics_begins_anew_with_its_ports() {
    for kind in [Loop::Ring, Loop::Epoll] {
        let wake = Arc::new(Wake::new().unwrap());
        let (ports, inboxes) = BoundPorts::new(vec![Ipv4Addr::LOCALHOST.into()], &[Arc::clone(&wake)], 10);
        let restarts = Restarts::default();
        let manner = Manner { kind, is_pinned: false, busy_poll: Duration::ZERO };
        let sockets = Sockets::Bound(inboxes.into_iter().next().unwrap());
        let worker = Worker::start(0, Fragile::default(), (sockets, wake), manner, restarts.clone()).unwrap();
        let party = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        party.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let open = || {
            let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            ports.open(SlotIndex::new(0, free), None);
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), free)
        };
        let is_echoed = |words: &[u8], port| {
            party.send_to(words, port).unwrap();
            let mut heard = [0; 16];
            let len = party.recv(&mut heard).unwrap();
            assert_eq!(&heard[..len], words, "{kind:?}");
        };
        let first = open();
        for round in 1..=3 {
            is_echoed(b"before", first);
            party.send_to(b"poison", first).unwrap();
            is_echoed(b"after", first);
            assert_eq!(restarts.count(), round, "{kind:?}");
        }
        party.send_to(b"break", first).unwrap();
        party.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        // What the loop had received and not handled went with it.
        let is_back = (0..250).any(|_| {
            party.send_to(b"again", first).unwrap();
            let mut heard = [0; 16];
            party.recv(&mut heard).is_ok_and(|len| &heard[..len] == b"again") && restarts.count() == 4
        });
        assert!(is_back, "{kind:?} {}", restarts.count());
        // Echoes that came late.
        while party.recv(&mut [0; 16]).is_ok() {}
        party.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        is_echoed(b"another port", open());
        assert!(!worker.is_dead());
    }
}
