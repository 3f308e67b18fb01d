//! The vectors, through the code on the host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use flow::counters::Volume;
use flow::memory::{INGRESS, Memory};
use flow::vectors::{FILES, Outcome, Vectors};
use flow::{Reason, Verdict};

fn vectors() -> impl Iterator<Item = Vectors> {
    FILES.into_iter().map(|file| file.parse().unwrap())
}

#[test]
fn every_vector_comes_out_as_written() {
    for vectors in vectors() {
        assert!(vectors.vectors.len() > 50);
        for vector in &vectors.vectors {
            let memory = Memory::new(&vectors);
            let mut frame = vector.input.clone();
            let verdict = memory.run(&mut frame, INGRESS);
            if let Verdict::Pass(_) | Verdict::Drop(_) = verdict {
                assert_eq!(frame, vector.input, "{}: not forwarded, but not untouched", vector.name);
            }
            let outcome = match verdict {
                Verdict::Pass(reason) => Outcome::Pass(reason),
                Verdict::Drop(reason) => Outcome::Drop(reason),
                Verdict::Transmit => Outcome::Transmit(frame),
                Verdict::Redirect => Outcome::Redirect(frame),
            };
            assert_eq!(outcome, vector.outcome, "{}", vector.name);
        }
    }
}

#[test]
fn what_is_forwarded_or_blocked_is_counted_once_and_what_is_not_is_not() {
    for vectors in vectors() {
        for vector in &vectors.vectors {
            let memory = Memory::new(&vectors);
            memory.run(&mut vector.input.clone(), INGRESS);
            let counted: u32 = memory.counters().map(|counters| counters.volume.since(Volume(0)).0).sum();
            // What is blocked is a sign of life.
            let is_counted =
                matches!(vector.outcome, Outcome::Transmit(_) | Outcome::Redirect(_) | Outcome::Drop(Reason::Blocked));
            assert_eq!(counted, u32::from(is_counted), "{}", vector.name);
        }
    }
}

#[test]
fn every_reason_of_the_fast_path_has_a_vector() {
    let vectors: Vec<Vectors> = vectors().collect();
    let provoked = |reason| {
        let mut outcomes = vectors.iter().flat_map(|vectors| &vectors.vectors).map(|vector| &vector.outcome);
        outcomes.any(|outcome| [Outcome::Pass(reason), Outcome::Drop(reason)].contains(outcome))
    };
    // `Reprogrammed` needs a writer in the middle of a packet; `slot` tests it.
    let of_workers = [
        Reason::Reprogrammed,
        Reason::NoDestination,
        Reason::SendFailed,
        Reason::ReceiveOverflow,
        Reason::NotLearned,
        Reason::EngineUring,
        Reason::EngineEpoll,
        Reason::XdpDetached,
        Reason::NoSocket,
        Reason::Family,
        Reason::Hairpin,
        Reason::Rtcp,
        Reason::Untrusted,
        Reason::Ring,
        Reason::DeviceLoses,
        Reason::Fan,
        Reason::Processed,
        Reason::Forged,
        Reason::Replayed,
        Reason::Checksum,
    ];
    for reason in Reason::ALL {
        assert!(provoked(reason) != of_workers.contains(&reason), "{}", reason.name());
    }
}
