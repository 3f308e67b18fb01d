//! Streams that mix synchronisation sources, by both paths. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use loadtest::rig::party::{Call, Party};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::Trunks;
use loadtest::rtp::{self, Sequence, Ssrc, Timestamp};
use serde_json::Value;

/// A stream whose source changes so often between two looks of the relay is held to none.
const SEVERAL: u32 = 8;
const PACKETS: usize = 300;
/// Longer than any device here takes in one piece: it comes in fragments, which only a worker puts together.
const LONG: usize = 1800;
struct Source {
    ssrc: Ssrc,
    sequence: u16,
}

impl Source {
    fn packet(&mut self, len: usize) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let timestamp = Timestamp(u32::from(self.sequence) * 160);
        let mut packet = rtp::header(false, 8, Sequence(self.sequence), timestamp, self.ssrc).to_vec();
        packet.resize(len, 0x55);
        packet
    }
}

/// Sends, and waits until it is heard: nothing overtakes anything.
fn cross(caller: &Party, callee: &Party, call: &Call, sent: &[u8]) {
    caller.rtp.send_to(sent, call.for_caller).unwrap();
    let mut buffer = vec![0; 4096];
    let (len, from) = callee.rtp.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..len], from), (sent, call.for_callee));
}

/// Lost packets, late ones, and changes of the source.
fn told(scene: &mut Scene, call: &Call) -> [i64; 3] {
    let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
    ["lost", "out of order", "SSRC changes"].map(|key| stream.get(key).and_then(Value::as_i64).unwrap())
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn sources_that_come_by_both_paths_in_turns_have_lost_nothing_and_each_change_is_told() {
    for is_ipv6 in [false, true] {
        let mut scene = Scene::new(Trunks::dual_stack().unwrap(), "xdp", &[]).unwrap();
        let (mut caller, mut callee, call) = scene.call([is_ipv6; 2], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 5).unwrap();
        scene.wait_for_fast_path(&call, call.for_caller).unwrap();
        for ssrc in 100..100 + SEVERAL {
            caller.set_ssrc(Ssrc(ssrc));
            let sent = caller.packet();
            cross(&caller, &callee, &call, &sent);
        }
        scene.wait_for_fast_path(&call, call.for_caller).unwrap();
        let before = told(&mut scene, &call);
        let (_, slow_before) = scene.packets(&call, call.for_caller).unwrap();

        // Their numbers are near each other, and far apart; one goes by the number that the relay has for none.
        let mut sources =
            [(7, 1000), (0, 950), (9, 20_000)].map(|(ssrc, sequence)| Source { ssrc: Ssrc(ssrc), sequence });
        let (mut chance, mut last) = (7_u32, Ssrc(100 + SEVERAL - 1));
        let (mut changes, mut long) = (0, 0);
        for _ in 0..PACKETS {
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let source = &mut sources[(chance >> 20) as usize % 3];
            changes += i64::from(std::mem::replace(&mut last, source.ssrc) != source.ssrc);
            let is_long = chance >> 30 & 1 == 1;
            let sent = source.packet(if is_long { LONG } else { 172 });
            cross(&caller, &callee, &call, &sent);
            // What leaves in fragments has been sent before it is counted.
            long += i64::from(is_long);
            if is_long {
                wait_until("the worker has counted it", Duration::from_secs(5), || {
                    scene.packets(&call, call.for_caller).is_ok_and(|(_, slow)| slow == slow_before + long)
                })
                .unwrap();
            }
        }
        let (fast, slow) = scene.packets(&call, call.for_caller).unwrap();
        assert!(fast > 100 && slow > 100, "{fast} and {slow}");
        let [lost, late, changed] = told(&mut scene, &call);
        assert_eq!([lost - before[0], late - before[1], changed - before[2]], [0, 0, changes], "IPv6 {is_ipv6}");
    }
}
