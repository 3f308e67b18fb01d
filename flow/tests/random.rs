//! Frames that are nearly right, through the code on the host, against an independent judge.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use flow::judge::judge;
use flow::memory::{INGRESS, Memory};
use flow::mutants::Mutants;
use flow::vectors::{FILES, Vectors};
use flow::{Reason, Verdict};

const FRAMES: usize = 200_000;

#[test]
fn whatever_arrives_is_left_alone_or_forwarded_as_it_should_be() {
    for (file, seed) in FILES.into_iter().zip(1..) {
        let vectors: Vectors = file.parse().unwrap();
        let (memory, mut mutants) = (Memory::new(&vectors), Mutants::new(&vectors, seed));
        let (mut forwarded, mut passed) = (0, [0; Reason::COUNT]);
        for number in 0..FRAMES {
            let before = mutants.frame();
            let mut after = before.clone();
            let verdict = memory.run(&mut after, INGRESS);
            if let Err(fault) = judge(&vectors, &before, &after, verdict) {
                panic!("seed {seed}, frame {number}: {fault}\n{before:02x?}\n{after:02x?}");
            }
            match verdict {
                Verdict::Pass(reason) | Verdict::Drop(reason) => passed[reason as usize] += 1,
                Verdict::Transmit | Verdict::Redirect => forwarded += 1,
            }
        }
        // A generator that only makes rubbish would prove nothing.
        assert!(forwarded > FRAMES / 20, "{forwarded}");
        assert!(passed.iter().filter(|count| **count > 0).count() > 10, "{passed:?}");
    }
}

#[test]
fn the_judge_notices_what_is_wrong() {
    let vectors: Vectors = FILES[0].parse().unwrap();
    let before = &vectors.vectors[0].input;
    let mut right = before.clone();
    let verdict = Memory::new(&vectors).run(&mut right, INGRESS);
    assert_eq!(judge(&vectors, before, &right, verdict), Ok(()));
    for at in 0..right.len() {
        let mut wrong = right.clone();
        wrong[at] ^= 0x10;
        assert!(judge(&vectors, before, &wrong, verdict).is_err(), "byte {at}");
    }
    assert!(judge(&vectors, before, &right, Verdict::Transmit).is_err());
    assert!(judge(&vectors, before, &right, Verdict::Pass(Reason::NotOurs)).is_err());
}
