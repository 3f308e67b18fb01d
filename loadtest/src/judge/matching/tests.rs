use super::*;
use crate::pcap::CaptureTime;
use crate::rtp::{Sequence, Ssrc};

/// Packet number `number` of a stream, 20 ms after the one before. Only number and hash of the content differ.
fn packet(number: u64) -> Packet {
    Packet {
        key: Key::rtp(Ssrc(7), Sequence((number & 0xffff) as u16)),
        hash: number,
        length: 172,
        time: CaptureTime::from_micros(number * 20_000),
    }
}

fn stream(numbers: impl IntoIterator<Item = u64>) -> Vec<Packet> {
    numbers.into_iter().map(packet).collect()
}

fn changed(packet: Packet) -> Packet {
    Packet { hash: !packet.hash, ..packet }
}

/// Counts of the outcome: received, lost, duplicated, reordered, different, unexpected.
fn counts(outcome: &Outcome) -> [u64; 6] {
    let Outcome { received, lost, duplicated, reordered, different, unexpected, .. } = *outcome;
    assert_eq!(received, outcome.sent - lost + duplicated);
    [received, lost, duplicated, reordered, different, unexpected]
}

#[test]
fn a_stream_that_arrives_whole_has_no_faults() {
    let late: Vec<_> = stream(0..10)
        .into_iter()
        .map(|one| Packet { time: CaptureTime::from_nanos(one.time.nanos() + 150_999), ..one })
        .collect();
    let outcome = compare(&stream(0..10), &late);
    assert_eq!(counts(&outcome), [10, 0, 0, 0, 0, 0]);
    assert_eq!(outcome.delays, [150; 10]);
    assert_eq!((outcome.first_lost, outcome.first_different), (None, None));
}

#[test]
fn lost_packets_are_counted_and_the_first_one_is_named() {
    let outcome = compare(&stream(0..10), &stream([0, 1, 2, 4, 5, 8, 9]));
    assert_eq!(counts(&outcome), [7, 3, 0, 0, 0, 0]);
    assert_eq!(outcome.first_lost, Some(packet(3).key));
}

#[test]
fn a_packet_that_arrives_three_times_is_two_duplicates() {
    let outcome = compare(&stream(0..4), &stream([0, 1, 1, 2, 3, 1]));
    assert_eq!(counts(&outcome), [6, 0, 2, 0, 0, 0]);
    assert_eq!(outcome.delays.len(), 4);
}

#[test]
fn a_packet_that_was_sent_twice_must_arrive_twice() {
    assert_eq!(counts(&compare(&stream([0, 1, 1, 2]), &stream([0, 1, 1, 2]))), [4, 0, 0, 0, 0, 0]);
    assert_eq!(counts(&compare(&stream([0, 1, 1, 2]), &stream([0, 1, 2]))), [3, 1, 0, 0, 0, 0]);
    assert_eq!(counts(&compare(&stream([0, 1, 2, 1]), &stream([0, 1, 1, 2]))), [4, 0, 0, 1, 0, 0]);
}

#[test]
fn only_the_packets_that_were_overtaken_are_reordered() {
    assert_eq!(counts(&compare(&stream(0..6), &stream([0, 2, 1, 3, 5, 4])))[3], 2);
    assert_eq!(counts(&compare(&stream(0..6), &stream([5, 0, 1, 2, 3, 4])))[3], 5);
}

#[test]
fn a_changed_packet_is_different_and_not_lost() {
    let mut received = stream(0..4);
    received[2] = changed(received[2]);
    let outcome = compare(&stream(0..4), &received);
    assert_eq!(counts(&outcome), [4, 0, 0, 0, 1, 0]);
    assert_eq!(outcome.first_different, Some(packet(2).key));
}

#[test]
fn a_changed_duplicate_is_both_whichever_comes_first() {
    let (whole, broken) = (packet(1), changed(packet(1)));
    for pair in [[whole, broken], [broken, whole]] {
        let received = [&stream([0])[..], &pair[..], &stream([2])[..]].concat();
        assert_eq!(counts(&compare(&stream(0..3), &received)), [4, 0, 1, 0, 1, 0]);
    }
}

#[test]
fn a_packet_that_nobody_sent_is_unexpected() {
    let foreign = Packet { key: Key::rtp(Ssrc(8), Sequence(1)), ..packet(1) };
    let received = [stream(0..3), vec![foreign, packet(3)]].concat();
    assert_eq!(counts(&compare(&stream(0..3), &received)), [3, 0, 0, 0, 0, 2]);
}

#[test]
fn sequence_numbers_may_come_round_again() {
    let outcome = compare(&stream(65_530..65_542), &stream(65_530..65_542));
    assert_eq!(counts(&outcome), [12, 0, 0, 0, 0, 0]);
    let all = stream(0..200_000);
    assert_eq!(counts(&compare(&all, &all)), [200_000, 0, 0, 0, 0, 0]);
}

#[test]
fn faults_of_one_turn_are_not_mended_by_another() {
    let sent = stream(0..200_000);
    let mut received = sent.clone();
    received[70_000] = changed(received[70_000]);
    received.remove(65_600);
    received.insert(150_000, received[140_000]);
    received.remove(64);
    let outcome = compare(&sent, &received);
    assert_eq!(counts(&outcome), [199_999, 2, 1, 0, 1, 0]);
    assert!(outcome.delays.iter().all(|delay| *delay == 0), "every packet was found in its own turn");
}

#[test]
fn turns_of_the_same_bytes_are_told_apart_by_their_place() {
    let same = |numbers: std::ops::Range<u64>| -> Vec<_> {
        stream(numbers).into_iter().map(|one| Packet { hash: 0, ..one }).collect()
    };
    let sent = same(0..140_000);
    let mut received = sent.clone();
    received.insert(21, received[20]);
    received.remove(10);
    let outcome = compare(&sent, &received);
    assert_eq!(counts(&outcome), [140_000, 1, 1, 0, 0, 0]);
    assert!(outcome.delays.iter().all(|delay| *delay == 0));
}

#[test]
fn packets_without_sequence_numbers_are_matched_by_their_bytes_and_order() {
    let key = packet(0).key;
    let reports = |numbers: &[u64]| -> Vec<_> { numbers.iter().map(|n| Packet { key, ..packet(*n) }).collect() };
    let sent = reports(&[0, 1, 2, 3]);
    assert_eq!(counts(&compare(&sent, &reports(&[0, 2, 3]))), [3, 1, 0, 0, 0, 0]);
    assert_eq!(counts(&compare(&sent, &reports(&[0, 2, 1, 3, 3]))), [5, 0, 1, 1, 0, 0]);
    assert_eq!(counts(&compare(&sent, &reports(&[0, 99, 2, 3]))), [4, 0, 0, 0, 1, 0]);
}

#[test]
fn a_packet_that_seems_to_arrive_before_it_left_took_no_time() {
    let early = Packet { time: CaptureTime::default(), ..packet(5) };
    assert_eq!(compare(&stream([5]), &[early]).delays, [0]);
}
