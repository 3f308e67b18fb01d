//! The loaded programs. These tests need root; `cargo xtask test` runs them.

mod random;

use aya::programs::{TestRun as _, TestRunOptions};
use flow::Reason;
use flow::counters::Volume;
use flow::vectors::{FILES, Outcome, Vectors};

use super::*;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;
/// The device that test frames come in by, when the test names none: the loopback device of the namespace.
const INGRESS: u32 = 1;

struct Loaded {
    kernel: Kernel,
    slots: Mapped<Slot>,
    timings: Mapped<Timing>,
    // Unmapped at the end of the test, as the table is in the daemon.
    _hops: Mapped<HopCell>,
}

fn loaded(vectors: &Vectors) -> Loaded {
    let mut kernel = Kernel::load(
        &vectors.locals(),
        Sizes { slots: vectors.slots, hops: 16, workers: 1 },
        Facts { has_unfinished: true, owns_ports: true },
        None,
    )
    .unwrap();
    let (slots, timings, hops) =
        (kernel.map_slots().unwrap(), kernel.map_timings().unwrap(), kernel.map_hops().unwrap());
    vectors.program(&slots, &hops);
    for port in &vectors.ports {
        kernel.set_device(*port, INGRESS).unwrap();
    }
    kernel.load_xdp().unwrap();
    Loaded { kernel, slots, timings, _hops: hops }
}

fn files() -> impl Iterator<Item = Vectors> {
    FILES.into_iter().map(|file| file.parse().unwrap())
}

fn run(kernel: &mut Kernel, frame: &[u8]) -> (u32, Vec<u8>) {
    let mut out = vec![0; frame.len() + 64];
    let options = TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::new() };
    let result = kernel.load_xdp().unwrap().test_run(options).unwrap();
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}

#[test]
#[ignore = "privileged: loads BPF programs"]
fn every_vector_comes_out_of_the_kernel_as_written() {
    for vectors in files() {
        let mut loaded = loaded(&vectors);
        for vector in &vectors.vectors {
            let (action, frame) = run(&mut loaded.kernel, &vector.input);
            let (expected_action, expected_frame) = match &vector.outcome {
                Outcome::Pass(_) => (XDP_PASS, &vector.input),
                Outcome::Drop(_) => (XDP_DROP, &vector.input),
                Outcome::Transmit(frame) => (XDP_TX, frame),
                Outcome::Redirect(frame) => (XDP_REDIRECT, frame),
            };
            assert_eq!((action, &frame), (expected_action, expected_frame), "{}", vector.name);
        }
    }
}

#[test]
#[ignore = "privileged: loads BPF programs"]
fn the_kernel_counts_what_it_passes_by_reason_and_what_it_forwards_in_the_slot() {
    for vectors in files() {
        let mut loaded = loaded(&vectors);
        for vector in &vectors.vectors {
            run(&mut loaded.kernel, &vector.input);
        }
        let outcomes = |holds: &dyn Fn(&Outcome) -> bool| {
            vectors.vectors.iter().filter(|vector| holds(&vector.outcome)).count() as u64
        };
        let counted = loaded.kernel.reasons().unwrap();
        for reason in Reason::ALL {
            let refused = outcomes(&|outcome| [Outcome::Pass(reason), Outcome::Drop(reason)].contains(outcome));
            let expected = if reason == Reason::NotOurs { 0 } else { refused };
            assert_eq!(counted[reason as usize], expected, "{}", reason.name());
        }
        // What is blocked is a sign of life.
        let in_slot = |outcome: &Outcome| {
            matches!(outcome, Outcome::Transmit(_) | Outcome::Redirect(_) | Outcome::Drop(Reason::Blocked))
        };
        let forwarded = outcomes(&in_slot);
        let cells = loaded.slots.iter().zip(loaded.timings.iter());
        let in_slots: u32 = cells.map(|(slot, timing)| slot.counters(timing).volume.since(Volume(0)).0).sum();
        assert_eq!(u64::from(in_slots), forwarded);
    }
}

#[test]
#[ignore = "privileged: loads BPF programs"]
fn a_slot_that_is_programmed_after_loading_is_obeyed_at_once() {
    let vectors = files().next().unwrap();
    let mut loaded = loaded(&vectors);
    let vector = vectors.vectors.iter().find(|vector| matches!(vector.outcome, Outcome::Redirect(_))).unwrap();
    assert_eq!(run(&mut loaded.kernel, &vector.input).0, XDP_REDIRECT);
    for slot in loaded.slots.iter() {
        slot.program(flow::Rule::waiting(flow::slot::Flags::CALL, 0));
    }
    assert_eq!(run(&mut loaded.kernel, &vector.input).0, XDP_PASS, "the call is not complete");
    for slot in loaded.slots.iter() {
        slot.program(flow::Rule::INACTIVE);
    }
    assert_eq!(run(&mut loaded.kernel, &vector.input).0, XDP_DROP, "there is no call");
}

#[test]
#[ignore = "privileged: loads BPF programs"]
fn the_program_stays_small_enough_for_any_verifier() {
    let vectors = files().next().unwrap();
    let mut kernel = loaded(&vectors).kernel;
    let verified = kernel.load_xdp().unwrap().info().unwrap().verified_instruction_count().unwrap();
    // Some 3,300 are needed, of the million that a verifier allows: twice as many would be a loop that was unrolled, or a path that was doubled.
    assert!(verified < 5_000, "{verified}");
}
