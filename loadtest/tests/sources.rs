//! Streams that mix synchronisation sources, by both paths. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use loadtest::rig::party::{Call, Party};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::Trunks;
use loadtest::rtp::{self, Sequence, Ssrc, Timestamp};
use serde_json::Value;

/// Sources that change more often than that between two looks of the relay are held to none.
const SEVERAL: u32 = 8;
const PACKETS: usize = 300;
/// Longer than any device here takes in one piece: it comes in fragments, which only a worker puts together.
const LONG: usize = 1800;
/// From one source's clock to the next one's, in units of 8 kHz: four seconds.
const APART: u32 = 32_000;

/// A source that speaks as the clock goes.
struct Source {
    ssrc: Ssrc,
    sequence: u16,
    clock: u32,
}

impl Source {
    fn packet(&mut self, since: Duration, len: usize) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let timestamp = Timestamp(self.clock.wrapping_add((since.as_secs_f64() * 8000.0) as u32));
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

/// Lost packets, late ones, changes of the source, and microseconds of jitter.
fn told(scene: &mut Scene, call: &Call) -> [i64; 4] {
    let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
    ["lost", "out of order", "SSRC changes", "jitter us"].map(|key| stream.get(key).and_then(Value::as_i64).unwrap())
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn sources_that_come_by_both_paths_in_turns_have_lost_nothing_and_no_jitter_of_each_others() {
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

        let start = Instant::now();
        // Their numbers are near each other, and far apart; one goes by the number that the relay has for none.
        let mut sources = [(7, 1000, 0), (0, 950, APART), (9, 20_000, 2 * APART)]
            .map(|(ssrc, sequence, clock)| Source { ssrc: Ssrc(ssrc), sequence, clock });
        let (mut chance, mut last) = (7_u32, Ssrc(100 + SEVERAL - 1));
        let (mut changes, mut long) = (0, 0);
        for _ in 0..PACKETS {
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let source = &mut sources[(chance >> 20) as usize % 3];
            changes += i64::from(std::mem::replace(&mut last, source.ssrc) != source.ssrc);
            let is_long = chance >> 30 & 1 == 1;
            let sent = source.packet(start.elapsed(), if is_long { LONG } else { 172 });
            cross(&caller, &callee, &call, &sent);
            // A worker counts what it has sent already.
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
        let [lost, late, changed, jitter] = told(&mut scene, &call);
        assert_eq!([lost - before[0], late - before[1], changed - before[2]], [0, 0, changes], "IPv6 {is_ipv6}");
        // A sixteenth of four seconds would be a quarter of one.
        assert!(jitter < 200_000, "IPv6 {is_ipv6}: {jitter} us");

        // What is no RTP, and takes the other path, is no news of it.
        cross(&caller, &callee, &call, b"\r\n\r\n");
        assert_eq!(told(&mut scene, &call)[3], jitter, "IPv6 {is_ipv6}");
    }
}
