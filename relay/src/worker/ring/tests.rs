use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use flow::compose::Outgoing;
use flow::{Be16, Bearing, SlotIndex};

use super::*;
use crate::worker::bound::BoundPorts;
use crate::worker::departure::{Departure, Way};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TIMEOUT: Duration = Duration::from_millis(20);

#[test]
fn a_completion_names_the_request_that_it_is_of() {
    let slot = SlotIndex(0x000f_1234);
    for request in [
        Request::Send(Some(slot)),
        Request::Send(None),
        Request::Receive,
        Request::ReceivePort(slot, 0x00ab_cdef),
        Request::Wake,
        Request::Cancel(slot, 7),
        Request::Frames(u32::MAX),
        Request::CancelFrames(9),
    ] {
        assert_eq!(Request::of(request.data()), request);
    }
    assert_eq!(Request::of(Request::ReceivePort(slot, 1 << 24 | 5).data()), Request::ReceivePort(slot, 5));
}

/// Sends everything back to where it came from, or, if told so, by a port that nobody has.
#[derive(Default)]
struct Echo {
    into_the_void: bool,
    oversized: usize,
    refused: usize,
}

impl Handler for Echo {
    fn overflowed(&mut self, _: u32) {}

    fn turned(&mut self, _: &mut Outbox) {}

    fn arrived(&mut self, arrival: &mut Arrival<'_>, _: &mut Outbox) -> Option<Departure> {
        let (source, local, payload) = (arrival.sender, arrival.local, arrival.packet.payload());
        let bearing = Bearing { from: local.ip(), to: source.ip(), tos: None };
        let headers =
            Outgoing::new(&bearing, [local.port(), source.port()].map(Be16::new), flow::headers::TTL, payload)?;
        let slot = SlotIndex::new(0, local.port());
        let way = if self.into_the_void { SlotIndex::new(0, 1) } else { slot };
        Some(Departure { way: Way::Port(way), headers, slot: Some(slot) })
    }

    fn oversized(&mut self) {
        self.oversized += 1;
    }

    fn lost(&mut self, _: flow::Reason) {}

    fn refused(&mut self, _: Option<SlotIndex>, _: &io::Error) {
        self.refused += 1;
    }
}

/// So many ports of this host, which a ring of so many buffers serves.
struct Rig {
    ports: BoundPorts,
    ring: Ring,
    slots: Vec<SlotIndex>,
}

fn rig(buffers: u16, ports: usize) -> Rig {
    let wake = Arc::new(Wake::new().unwrap());
    let (bound, mut inboxes) = BoundPorts::new(vec![HOST], &[Arc::clone(&wake)], 1);
    let ring = Ring::new(Sockets::Bound(inboxes.remove(0)), wake, buffers).unwrap();
    // Ports that are free, by the kernel's choice.
    let free: Vec<_> = (0..ports).map(|_| UdpSocket::bind((HOST, 0)).unwrap()).collect();
    let slots: Vec<_> = free.iter().map(|socket| SlotIndex::new(0, socket.local_addr().unwrap().port())).collect();
    drop(free);
    for slot in &slots {
        bound.open(*slot, None);
        assert!(bound.has(*slot));
    }
    Rig { ports: bound, ring, slots }
}

fn client() -> UdpSocket {
    let client = UdpSocket::bind((HOST, 0)).unwrap();
    client.set_nonblocking(true).unwrap();
    client
}

impl Rig {
    /// Turns until something holds, for at most five seconds.
    fn turn_until(&mut self, echo: &mut Echo, mut holds: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            self.ring.turn(TIMEOUT, echo).unwrap();
            if holds() {
                return true;
            }
        }
        false
    }

    fn addr(&self, port: usize) -> SocketAddr {
        SocketAddr::new(HOST, self.slots[port].port())
    }
}

/// Sends so many datagrams to every port at once, and hears all of them back.
fn exchange(rig: &mut Rig, datagrams: u32) {
    let client = client();
    for number in 0..datagrams {
        for port in 0..rig.slots.len() {
            client.send_to(&number.to_be_bytes(), rig.addr(port)).unwrap();
        }
    }
    let (mut echo, mut heard, mut buffer) = (Echo::default(), 0, [0; 16]);
    let all = datagrams as usize * rig.slots.len();
    let is_whole = rig.turn_until(&mut echo, || {
        while client.recv_from(&mut buffer).is_ok() {
            heard += 1;
        }
        heard >= all
    });
    assert!(is_whole && heard == all && echo.refused == 0, "{heard} of {all} came back, {} were refused", echo.refused);
}

#[test]
fn a_ring_of_two_buffers_loses_nothing_and_goes_on_receiving() {
    let mut rig = rig(2, 1);
    for _ in 0..5 {
        exchange(&mut rig, 100);
    }
}

#[test]
fn many_ports_that_starve_at_once_and_overflow_the_completions_all_go_on() {
    // The ring has room for 32 completions, and each port's receive ends for want of a buffer.
    let mut rig = rig(2, 100);
    for _ in 0..5 {
        exchange(&mut rig, 2);
    }
}

#[test]
fn a_port_that_is_closed_hears_nothing_and_the_others_go_on() {
    let mut rig = rig(8, 3);
    exchange(&mut rig, 3);
    let closed = rig.slots.remove(1);
    rig.ports.close(closed);
    exchange(&mut rig, 3);
    let to_closed = client();
    to_closed.send_to(b"late", (HOST, closed.port())).unwrap();
    assert!(!rig.ports.has(closed));
    exchange(&mut rig, 3);
    assert!(to_closed.recv_from(&mut [0; 16]).is_err());
    // And open again.
    rig.ports.open(closed, None);
    assert!(rig.ports.has(closed));
    rig.slots.push(closed);
    exchange(&mut rig, 3);
}

#[test]
fn what_cannot_be_sent_or_is_too_long_is_told_of_and_its_buffer_comes_back() {
    let mut rig = rig(2, 1);
    let (client, mut echo) = (client(), Echo { into_the_void: true, ..Echo::default() });
    for _ in 0..10 {
        client.send_to(b"to nobody", rig.addr(0)).unwrap();
        client.send_to(&[0; PAYLOAD_MAX + 1], rig.addr(0)).unwrap();
    }
    let start = Instant::now();
    while (echo.refused, echo.oversized) != (10, 10) && start.elapsed() < Duration::from_secs(5) {
        rig.ring.turn(TIMEOUT, &mut echo).unwrap();
    }
    assert_eq!((echo.refused, echo.oversized), (10, 10));
    exchange(&mut rig, 10);
}
