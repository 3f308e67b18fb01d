//! The jitter that is told, against the times at which packets were sent. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use loadtest::rig::party::{Call, Party};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};

/// Of the codec's clock, which has 8 kHz.
const UNITS_PER_MS: f64 = 8.0;
/// Between two packets by their timestamps.
const SPACING: Duration = Duration::from_millis(4);
/// How late each packet of three is: neighbours differ by 1.5, 1.5 and 3 ms.
const LATE: [Duration; 3] = [Duration::ZERO, Duration::from_micros(1500), Duration::from_micros(3000)];
/// Ten seconds.
const PACKETS: u32 = 2500;
/// A machine that lets a sender oversleep more of its packets than this, and by more than so long, disturbs what is to be measured.
const DISTURBED: (u32, Duration) = (PACKETS / 100, Duration::from_millis(1));

fn packet(number: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend((number as u16).to_be_bytes());
    packet.extend((number * (UNITS_PER_MS * SPACING.as_secs_f64() * 1e3) as u32).to_be_bytes());
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

fn told(scene: &mut Scene, call: &Call, local: SocketAddr) -> f64 {
    let stream = call.stream(&mut scene.ng, local).unwrap();
    stream["jitter us"].as_f64().unwrap_or(0.0) / 1e3
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn the_jitter_of_both_paths_is_within_five_percent_of_what_was_sent() {
    // A machine that is busy with something else spoils a round, and not the next one.
    for round in 1.. {
        let mut scene = Scene::new(Trunks::dual_stack().unwrap(), "xdp", &[]).unwrap();
        let mut calls = Vec::new();
        // The fast path, and workers, who change the family.
        for (number, to_ipv6) in [(0_u16, false), (1, true)] {
            let caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000 + 10 * number).unwrap();
            let callee = if to_ipv6 { Party::new6 } else { Party::new };
            let callee = callee(&scene.trunks, Trunk::Gateway, 6000 + 10 * number).unwrap();
            let ends = ((&caller, Trunk::Pbx1), (&callee, Trunk::Gateway));
            let call = Call::set_up(&mut scene.ng, &format!("call-{number}"), ends.0, ends.1, &[]).unwrap();
            callee.rtp.send_to(&packet(1), call.for_callee).unwrap();
            calls.push(Measured { caller, _callee: callee, call, told: Vec::new() });
        }
        let (start, mut last, mut sum, mut disturbed) = (Instant::now(), None, 0.0, 0);
        for number in 1..=PACKETS {
            let due = SPACING * number + LATE[number as usize % LATE.len()];
            std::thread::sleep((start + due).saturating_duration_since(Instant::now()));
            let at = start.elapsed();
            disturbed += u32::from(at.saturating_sub(due) > DISTURBED.1);
            for measured in &calls {
                measured.caller.rtp.send_to(&packet(number), measured.call.for_caller).unwrap();
            }
            let late = at.as_secs_f64() - (SPACING * number).as_secs_f64();
            sum += last.map_or(0.0, |last: f64| (late - last).abs());
            last = Some(late);
            // A value is a mean of the last few: many of them are near the mean of all.
            if number > PACKETS / 5 && number % 100 == 0 {
                for measured in &mut calls {
                    let now = told(&mut scene, &measured.call, measured.call.for_caller);
                    measured.told.push(now);
                }
            }
        }
        if disturbed > DISTURBED.0 && round < 4 {
            continue;
        }
        let truth = sum / f64::from(PACKETS - 1) * 1e3;
        for (measured, path) in calls.iter().zip(["fast", "slow"]) {
            let stream = measured.call.stream(&mut scene.ng, measured.call.for_caller).unwrap();
            assert_eq!(stream["path"], path);
            let told = measured.told.iter().sum::<f64>() / measured.told.len() as f64;
            assert!(
                (told / truth - 1.0).abs() < 0.05,
                "{path}: told {told:.3} ms, sent {truth:.3} ms, {disturbed} disturbed"
            );
        }
        return;
    }
}
