//! Slots and next hops, read while they are written: loom tries every order in which the threads may run and see each other's stores.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --package flow --release --lib models`; `cargo xtask test` does.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use loom::model::Builder;
use loom::thread;

use crate::hop::{Bearing, Hop, HopCell, HopId};
use crate::slot::{Flags, Path, Rule, Slot};

/// Runs a model through every order that there is.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = None;
    builder.check(model);
}

/// A rule of which no part is another's.
fn rule(number: u16) -> Rule {
    let endpoint = |leg: u16| SocketAddr::new(IpAddr::from([192, 0, leg as u8, number as u8]), 1000 * leg + number);
    let path = Path { peer: endpoint(1), local: endpoint(2), from: endpoint(3), to: endpoint(4) };
    let flags = Flags::CALL.with(Flags::ACTIVE).with(Flags::RTP).with(Flags::FAST);
    let mut rule = Rule::new(&path, HopId::NONE);
    (rule.flags, rule.hop, rule.ssrc) = (flags, HopId(number), u32::from(number));
    rule
}

fn hop(number: u8) -> Hop {
    let mac = |side| [2, 0, 0, 0, side, number].into();
    Hop {
        to: mac(0),
        from: mac(1),
        device: number.into(),
        port: number.into(),
        reflects: true,
        mtu: 1000 + u16::from(number),
    }
}

fn bearing(number: u8) -> Bearing {
    Bearing { from: IpAddr::from([192, 0, 2, number]), to: IpAddr::from([198, 51, 100, number]), tos: Some(number) }
}

#[test]
fn a_reader_of_a_slot_sees_one_rule_whole_or_none() {
    explore(|| {
        let slot = Arc::new(Slot::default());
        slot.program(rule(1));
        let writer = thread::spawn({
            let slot = Arc::clone(&slot);
            move || slot.program(rule(2))
        });
        if let Some(read) = slot.read() {
            let waiting = Rule::waiting(rule(2).flags, 0).flags;
            // While the rule is written, nobody forwards by it, whatever else is read.
            assert!(read == rule(1) || read == rule(2) || read.flags == waiting, "a mixture: {read:?}");
            assert!(read.flags != waiting || !read.is_active());
        }
        writer.join().unwrap();
        assert_eq!(slot.read(), Some(rule(2)));
    });
}

#[test]
fn a_reader_of_a_next_hop_sees_one_whole_or_none() {
    explore(|| {
        let cell = Arc::new(HopCell::default());
        cell.write(Some(hop(1)));
        let writer = thread::spawn({
            let cell = Arc::clone(&cell);
            move || cell.write(Some(hop(2)))
        });
        if let Some(read) = cell.read() {
            assert!(read == hop(1) || read == hop(2), "a mixture: {read:?}");
        }
        writer.join().unwrap();
        assert_eq!(cell.read(), Some(hop(2)));
    });
}

#[test]
fn a_next_hop_that_becomes_another_ways_is_nobodys_who_still_has_the_old_rule() {
    explore(|| {
        let (slot, cell) = (Arc::new(Slot::default()), Arc::new(HopCell::default()));
        cell.bear(&bearing(1));
        slot.program(rule(1));
        let writer = thread::spawn({
            let (slot, cell) = (Arc::clone(&slot), Arc::clone(&cell));
            move || {
                // The slot lets go of the number first, and then it is given away.
                slot.program(Rule::INACTIVE);
                cell.bear(&bearing(2));
            }
        });
        let state = slot.state();
        if state.flags().has(Flags::ACTIVE) && slot.hop() == HopId(1) {
            let read = cell.bearing();
            if slot.still(state) {
                assert_eq!(read, bearing(1));
            }
        }
        writer.join().unwrap();
    });
}
