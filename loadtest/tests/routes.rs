//! Real calls over every route, with Kamailio and sipp. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use loadtest::demo::{Outcome, run};
use loadtest::rig::calls::CallPlan;
use loadtest::rig::daemon::DaemonOptions;
use loadtest::rig::trunks::Trunk;

fn outcome(from: Trunk, to: Trunk, engine: &str, calls: u32) -> Outcome {
    carry_out(&CallPlan { from, to, to_ipv6: false, calls, seconds: 3 }, engine)
}

fn carry_out(plan: &CallPlan, engine: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    run(plan, &DaemonOptions::new(engine), folder.path(), &Arc::new(AtomicBool::new(false))).unwrap()
}

fn assert_whole(outcome: &Outcome, calls: u64) {
    let failures: Vec<_> = outcome.failures().collect();
    assert!(outcome.passed(), "{failures:#?}");
    assert_eq!(outcome.wire.calls, calls);
    // 3 s both ways at 50 packets a second.
    assert_eq!(outcome.wire.packets_received, calls * 300);
}

#[test]
#[ignore = "privileged: namespaces, Kamailio, sipp"]
fn a_call_from_a_pbx_to_the_gateway_crosses_the_fast_path_whole() {
    let outcome = outcome(Trunk::Pbx1, Trunk::Gateway, "xdp", 1);
    assert_whole(&outcome, 1);
    assert_eq!((outcome.fast_path_packets, outcome.slow_path_packets), (298, 2), "all but the first of each direction");
}

#[test]
#[ignore = "privileged: namespaces, Kamailio, sipp"]
fn a_call_from_the_gateway_reaches_the_pbx_of_its_number() {
    assert_whole(&outcome(Trunk::Gateway, Trunk::Pbx2, "xdp", 1), 1);
}

#[test]
#[ignore = "privileged: namespaces, Kamailio, sipp"]
fn a_call_from_pbx_to_pbx_crosses_the_relay_whole() {
    assert_whole(&outcome(Trunk::Pbx1, Trunk::Pbx2, "xdp", 1), 1);
}

#[test]
#[ignore = "privileged: namespaces, Kamailio, sipp"]
fn without_xdp_the_workers_carry_everything() {
    let outcome = outcome(Trunk::Pbx1, Trunk::Gateway, "uring", 5);
    assert_whole(&outcome, 5);
    assert_eq!(outcome.fast_path_packets, 0);
}

#[test]
#[ignore = "privileged: namespaces, Kamailio, sipp"]
fn a_call_from_an_ipv4_trunk_to_an_ipv6_trunk_crosses_the_slow_path_whole() {
    for engine in ["uring", "xdp"] {
        let plan = CallPlan { from: Trunk::Pbx1, to: Trunk::Gateway, to_ipv6: true, calls: 2, seconds: 3 };
        let outcome = carry_out(&plan, engine);
        assert_whole(&outcome, 2);
        assert_eq!(outcome.fast_path_packets, 0, "no frame changes its family in XDP");
    }
}
