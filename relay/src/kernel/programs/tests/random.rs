//! Frames that are nearly right: the loaded program and the code on the host agree on each.

use flow::Verdict;
use flow::counters::Counters;
use flow::memory::Memory;
use flow::mutants::Mutants;

use super::*;

/// How many frames of each family; `INTERTRUNK_RANDOM_FRAMES` asks for more.
const FRAMES: usize = 20_000;
/// How often all that was counted is compared.
const COMPARED: usize = 5_000;

#[test]
#[ignore = "privileged: loads BPF programs"]
fn kernel_and_host_agree_on_frames_that_are_nearly_right() {
    let frames = std::env::var("INTERTRUNK_RANDOM_FRAMES").map_or(FRAMES, |frames| frames.parse().unwrap());
    for (vectors, seed) in files().zip(0x5eed..) {
        let (mut loaded, memory) = (loaded(&vectors), Memory::new(&vectors));
        let mut mutants = Mutants::new(&vectors, seed);
        let mut reasons = [0; Reason::COUNT];
        for number in 1..=frames {
            let frame = mutants.frame();
            let (action, from_kernel) = run(&mut loaded.kernel, &frame);
            let mut from_host = frame.clone();
            let verdict = memory.run(&mut from_host, INGRESS);
            let expected = match verdict {
                Verdict::Pass(reason) | Verdict::Drop(reason) => {
                    reasons[reason as usize] += u64::from(reason != Reason::NotOurs);
                    if verdict == Verdict::Drop(reason) { XDP_DROP } else { XDP_PASS }
                }
                Verdict::Transmit => XDP_TX,
                Verdict::Redirect => XDP_REDIRECT,
            };
            assert_eq!(
                (action, &from_kernel),
                (expected, &from_host),
                "seed {seed}, frame {number}, {verdict:?}: {frame:02x?}"
            );
            if number % COMPARED == 0 || number == frames {
                assert_eq!(loaded.kernel.reasons().unwrap(), reasons, "seed {seed}, frame {number}");
                let cells = loaded.slots.iter().zip(loaded.timings.iter());
                let counted = cells.map(|(slot, timing)| slot.counters(timing)).map(without_clock);
                assert!(counted.eq(memory.counters().map(without_clock)), "seed {seed}, frame {number}: counters");
            }
        }
    }
}

/// The host has no clock in these tests.
fn without_clock(counters: Counters) -> Counters {
    Counters { jitter: None, ..counters }
}
