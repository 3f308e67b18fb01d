//! Finding to every packet that arrived the one that was sent.

use super::stream::{Key, Packet};

/// How far the clocks of two captures of one machine may be apart, in microseconds.
const CLOCK_MICROS: u64 = 1000;

/// Half of the room of sequence numbers: what is further away than this is of another turn.
const HALF_TURN: usize = 1 << 15;

/// What became of the packets of one kind of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Outcome {
    pub(super) sent: u64,
    /// Arrived and belong to a sent packet, duplicates too.
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) different: u64,
    pub(super) unexpected: u64,
    pub(super) first_lost: Option<Key>,
    pub(super) first_different: Option<Key>,
    /// Packets that arrived before they were sent: another call's, whose packets are the same.
    pub(super) early: u64,
    /// Delay of every packet that arrived for the first time, in microseconds.
    pub(super) delays: Vec<u64>,
}

/// A sent packet that waits for its arrival.
struct Waiting<'a> {
    packet: &'a Packet,
    /// Position in the order of sending.
    place: usize,
    arrived: bool,
}

/// Compares the packets that were sent with those that arrived, both in the order of capture.
///
/// A key is not unique: sequence numbers come again after 65536 packets, and RTCP has none at all. Of the sent packets
/// with the key of an arrived one, that one is meant which has the same bytes, is of the same turn of the sequence
/// numbers, has not arrived yet and is nearest to where the stream is, in this order of weight. If that one has arrived
/// already, the packet is a duplicate.
pub(super) fn compare(sent: &[Packet], received: &[Packet]) -> Outcome {
    let mut outcome = Outcome { sent: count(sent.len()), ..Outcome::default() };
    let mut waiting: Vec<_> =
        sent.iter().enumerate().map(|(place, packet)| Waiting { packet, place, arrived: false }).collect();
    waiting.sort_unstable_by_key(|one| (one.packet.key, one.place));
    // One more than the furthest place that arrived: where the stream is.
    let mut head = 0usize;
    for packet in received {
        let Some(meant) = candidates(&mut waiting, packet.key).iter_mut().min_by_key(|one| {
            let distance = one.place.abs_diff(head);
            (!one.packet.is_same_as(packet), distance > HALF_TURN, one.arrived, distance)
        }) else {
            outcome.unexpected += 1;
            continue;
        };
        outcome.received += 1;
        if !meant.packet.is_same_as(packet) {
            outcome.different += 1;
            outcome.first_different.get_or_insert(packet.key);
        }
        if meant.arrived {
            outcome.duplicated += 1;
            continue;
        }
        meant.arrived = true;
        outcome.delays.push(packet.time.micros_since(meant.packet.time));
        if meant.packet.time.micros_since(packet.time) > CLOCK_MICROS {
            outcome.early += 1;
        }
        if meant.place < head {
            outcome.reordered += 1;
        }
        head = head.max(meant.place + 1);
    }
    let lost = || waiting.iter().filter(|one| !one.arrived);
    outcome.lost = count(lost().count());
    outcome.first_lost = lost().min_by_key(|one| one.place).map(|one| one.packet.key);
    outcome
}

/// The sent packets with a key, in the order of sending.
fn candidates<'w, 'p>(waiting: &'w mut [Waiting<'p>], key: Key) -> &'w mut [Waiting<'p>] {
    let from = waiting.partition_point(|one| one.packet.key < key);
    let rest = waiting.get_mut(from..).unwrap_or_default();
    let length = rest.partition_point(|one| one.packet.key == key);
    rest.get_mut(..length).unwrap_or_default()
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
