//! The jitter that is told, against what was sent. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use loadtest::rig::party::{Call, Party};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};

/// Of the codec's clock, which has 8 kHz.
const UNITS_PER_SECOND: f64 = 8000.0;
const SPACING: Duration = Duration::from_millis(4);
/// How late each packet of two is, by its timestamp. That delays of all kinds are met is tested where the samples are taken.
const LATE_MS: [f64; 2] = [0.0, 3.0];
const TRUTH_MS: f64 = 3.0;
const PACKETS: u32 = 600;
/// A machine that keeps the relay waiting adds jitter that nobody has sent, and never takes any away that there is: one round without that will do.
const ROUNDS: u32 = 8;

/// A packet that is so late now as its number says, however late its sender is.
fn packet(number: u32, since: Duration) -> Vec<u8> {
    let late = LATE_MS[number as usize % LATE_MS.len()] / 1e3;
    let mut packet = vec![0x80, 8];
    packet.extend((number as u16).to_be_bytes());
    packet.extend((((1.0 + since.as_secs_f64() - late) * UNITS_PER_SECOND).round() as u32).to_be_bytes());
    packet.extend(0x0a0b_0c0d_u32.to_be_bytes());
    packet.resize(172, 0x55);
    packet
}

/// A call whose caller is measured.
struct Measured {
    caller: Party,
    _callee: Party,
    call: Call,
    /// Milliseconds that it was told, each time.
    told: Vec<f64>,
}

/// What is told of the fast path and of workers, on average.
fn round() -> [f64; 2] {
    let mut scene = Scene::new(Trunks::dual_stack().unwrap(), "xdp", &[]).unwrap();
    // The fast path, and workers, who change the family.
    let mut calls = [(0_u16, false), (1, true)].map(|(number, to_ipv6)| {
        let caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000 + 10 * number).unwrap();
        let callee = if to_ipv6 { Party::new6 } else { Party::new };
        let callee = callee(&scene.trunks, Trunk::Gateway, 6000 + 10 * number).unwrap();
        let ends = ((&caller, Trunk::Pbx1), (&callee, Trunk::Gateway));
        let call = Call::set_up(&mut scene.ng, &format!("call-{number}"), ends.0, ends.1, &[]).unwrap();
        callee.rtp.send_to(&packet(1, Duration::ZERO), call.for_callee).unwrap();
        Measured { caller, _callee: callee, call, told: Vec::new() }
    });
    let start = Instant::now();
    for number in 1..=PACKETS {
        std::thread::sleep((start + SPACING * number).saturating_duration_since(Instant::now()));
        for measured in &calls {
            measured.caller.rtp.send_to(&packet(number, start.elapsed()), measured.call.for_caller).unwrap();
        }
        // A value is a mean of the last few: many of them are near the mean of all.
        if number > PACKETS / 3 && number % 50 == 0 {
            for Measured { call, told, .. } in &mut calls {
                let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
                told.push(stream["jitter us"].as_f64().unwrap() / 1e3);
            }
        }
    }
    for (measured, path) in calls.iter().zip(["fast", "slow"]) {
        let stream = measured.call.stream(&mut scene.ng, measured.call.for_caller).unwrap();
        assert_eq!(stream["path"], path);
    }
    calls.map(|measured| measured.told.iter().sum::<f64>() / measured.told.len() as f64)
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn the_jitter_of_both_paths_is_within_five_percent_of_what_was_sent() {
    let mut told = Vec::new();
    let mut is_near = [false; 2];
    for _ in 0..ROUNDS {
        let round = round();
        told.push(round);
        for (is_near, told) in is_near.iter_mut().zip(round) {
            *is_near |= (told / TRUTH_MS - 1.0).abs() < 0.05;
        }
        if is_near == [true; 2] {
            break;
        }
    }
    assert_eq!(is_near, [true; 2], "fast and slow path, in milliseconds: {told:?}, and {TRUTH_MS} were sent");
}
