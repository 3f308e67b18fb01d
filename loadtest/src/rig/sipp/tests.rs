use super::*;

const HEADER: &str = "StartTime;LastResetTime;CurrentTime;ElapsedTime(P);ElapsedTime(C);TargetRate;CallRate(P);CallRate(C);\
    IncomingCall(P);IncomingCall(C);OutgoingCall(P);OutgoingCall(C);TotalCallCreated;CurrentCall;SuccessfulCall(P);\
    SuccessfulCall(C);FailedCall(P);FailedCall(C);Retransmissions(P);Retransmissions(C);ResponseTime1(P);\
    ResponseTime1(C);CallLength(P);CallLength(C);\n";
const FIRST: &str = "2026-11-27\t12:00:00.000001;2026-11-27\t12:00:00.000001;2026-11-27\t12:00:01.000001;00:00:01:000000;\
    00:00:01:000000;50;50;50;0;0;50;50;50;50;0;0;0;0;0;0;00:00:00:004000;00:00:00:004000;00:00:00:000000;00:00:00:000000;\n";
const LAST: &str = "2026-11-27\t12:00:00.000001;2026-11-27\t12:00:01.000001;2026-11-27\t12:01:02.500001;00:00:01:000000;\
    00:01:02:500000;50;0;16;0;0;0;1000;1000;3;10;995;1;2;4;17;00:00:00:000000;00:00:00:006000;00:00:33:000000;\
    00:00:33:120000;\n";

#[test]
fn the_last_whole_line_counts() {
    let counts = SippCounts::parse(&format!("{HEADER}{FIRST}{LAST}")).unwrap();
    assert_eq!((counts.created, counts.current, counts.successful, counts.failed), (1000, 3, 995, 2));
    assert_eq!(counts.retransmissions, 17);
    assert!((counts.seconds - 62.5).abs() < 1e-9 && (counts.call_seconds - 33.12).abs() < 1e-9);
    assert!((counts.set_up_ms.unwrap() - 6.0).abs() < 1e-9);

    let (half, _) = LAST.split_at(LAST.len() / 2);
    for unfinished in ["", half, LAST.trim_end()] {
        let counts = SippCounts::parse(&format!("{HEADER}{FIRST}{unfinished}")).unwrap();
        assert_eq!((counts.created, counts.current), (50, 50));
    }
}

#[test]
fn columns_are_found_by_their_names() {
    let counts = SippCounts::parse(
        "FailedCall(C);ElapsedTime(C);CallLength(C);Retransmissions(C);CurrentCall;SuccessfulCall(C);TotalCallCreated;\n\
         1;01:00:00:000000;00:00:02;2;3;4;5;\n",
    );
    let expected = SippCounts {
        created: 5,
        current: 3,
        successful: 4,
        failed: 1,
        retransmissions: 2,
        seconds: 3600.0,
        call_seconds: 2.0,
        set_up_ms: None,
    };
    assert_eq!(counts, Some(expected));
}

#[test]
fn nothing_is_counted_before_sipp_has_written() {
    for text in ["", HEADER, "CurrentCall;\n7;\n"] {
        assert_eq!(SippCounts::parse(text), None, "{text}");
    }
}

const PLAN: SippPlan = SippPlan {
    from: Trunk::Pbx1,
    to: Trunk::Gateway,
    calls: 10,
    concurrent: 10,
    rate: 10.0,
    talk: Duration::from_secs(2),
    scenario: Scenario::Talk,
};

#[test]
fn every_scenario_is_there_and_is_filled_in() {
    if !Path::new(SPEECH).exists() {
        eprintln!("skipped: {SPEECH} is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for scenario in [Scenario::Talk].into_iter().chain(Scenario::OTHERS) {
        let plan = SippPlan { scenario, ..PLAN };
        for role in [Role::Caller, Role::Callee] {
            let text = script(&plan, role, folder.path()).unwrap();
            // The comment at the top tells what is to be replaced, and is replaced as well.
            assert!(!text.contains("__"), "{scenario:?} {role:?}: {text}");
            assert_eq!(text.contains("play_pcap_audio"), scenario.has_media(), "{scenario:?} {role:?}");
            let is_measured = text.matches("rtd=\"true\"").count() == 1;
            assert_eq!(is_measured, role == Role::Caller && scenario.has_media(), "{scenario:?} {role:?}");
        }
    }
}

#[test]
fn a_speech_can_end_within_a_second() {
    if !Path::new(SPEECH).exists() {
        eprintln!("skipped: {SPEECH} is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("speech.pcap");
    let stream = SpeechPlan { seconds: 0, ssrc: Ssrc(1), first_sequence: Sequence(1), first_timestamp: Timestamp(1) };
    for (millis, packets) in [(300, 15), (1000, 50), (2500, 125)] {
        speak(&target, stream, Duration::from_millis(millis)).unwrap();
        assert_eq!(Reader::open(&target).unwrap().count(), packets);
    }
}

#[test]
fn nobody_speaks_when_the_caller_hangs_up() {
    for scenario in [Scenario::Talk, Scenario::Storm, Scenario::Hold, Scenario::Transfer, Scenario::Lossy] {
        let plan = SippPlan { scenario, ..PLAN };
        // Also the callee's, which is as long as both of its caller's where media moves.
        let spoken = plan.talk * if scenario == Scenario::Transfer { 2 } else { 1 };
        assert!(plan.length() > spoken + Duration::from_secs(1), "{scenario:?}");
    }
}
