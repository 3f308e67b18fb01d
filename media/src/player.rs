//! Packets that nobody has sent: a recording as RTP.

use std::time::Duration;

use bytes::Bytes;
use flow::rtp::HEADER_LEN;

/// How often a player has a packet.
pub const INTERVAL: Duration = Duration::from_millis(20);
/// Octets of sound in a packet.
const OCTETS: usize = 160;
/// Bytes of a packet.
pub const PACKET_LEN: usize = HEADER_LEN + OCTETS;

/// What is played: octets of G.711, round and round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// The sound; nothing is heard of an empty one.
    pub sound: Bytes,
    /// The octet that says nothing: what is left of the last packet has these.
    pub silence: u8,
    /// Where in the sound it begins.
    pub start: usize,
    /// How many octets are played in all.
    pub octets: u64,
}

/// The head of the packets (RFC 3550 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The payload type that the party knows the codec by.
    pub payload_type: u8,
    /// The synchronisation source.
    pub ssrc: u32,
    /// The sequence number of the first packet.
    pub sequence: u16,
    /// Its timestamp.
    pub timestamp: u32,
}

/// Plays a track: a packet every [`INTERVAL`].
#[derive(Debug)]
pub struct Player {
    track: Track,
    head: Head,
    /// Octets that have been played.
    played: u64,
}

impl Player {
    /// One that has played so many octets already.
    pub const fn new(track: Track, head: Head, played: u64) -> Self {
        Self { track, head, played }
    }

    /// Octets that have been played.
    pub const fn played(&self) -> u64 {
        self.played
    }
}

impl Iterator for Player {
    type Item = [u8; PACKET_LEN];

    /// The next packet; `None` when all has been played.
    fn next(&mut self) -> Option<[u8; PACKET_LEN]> {
        let Track { sound, silence, start, octets } = &self.track;
        let left = octets.saturating_sub(self.played);
        if left == 0 || sound.is_empty() {
            return None;
        }
        let mut packet = [*silence; PACKET_LEN];
        let Head { payload_type, ssrc, sequence, timestamp } = self.head;
        // RFC 3551 4.1: the marker is on the first packet of a talkspurt.
        let marker = if self.played == 0 { 0x80 } else { 0 };
        let number = self.played / OCTETS as u64;
        let head: [&[u8]; 4] = [
            &[0x80, marker | (payload_type & 0x7f)],
            &sequence.wrapping_add(number as u16).to_be_bytes(),
            &timestamp.wrapping_add(self.played as u32).to_be_bytes(),
            &ssrc.to_be_bytes(),
        ];
        for (place, byte) in packet.iter_mut().zip(head.into_iter().flatten()) {
            *place = *byte;
        }
        let now = left.min(OCTETS as u64) as usize;
        let from = (*start as u64 + self.played) % sound.len() as u64;
        for (place, octet) in packet.iter_mut().skip(HEADER_LEN).zip(sound.iter().cycle().skip(from as usize).take(now))
        {
            *place = *octet;
        }
        self.played += now as u64;
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { payload_type: 8, ssrc: 0x0102_0304, sequence: 0xffff, timestamp: u32::MAX - 100 };

    fn player(len: usize, start: usize, octets: u64) -> Player {
        let sound = (0..len).map(|octet| octet as u8).collect();
        Player::new(Track { sound, silence: 0xd5, start, octets }, HEAD, 0)
    }

    #[test]
    fn packets_are_numbered_from_the_first_and_the_first_has_the_marker() {
        let mut player = player(1000, 0, 320);
        let first = player.next().unwrap();
        assert_eq!(first[..HEADER_LEN], [0x80, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0x9b, 1, 2, 3, 4]);
        let second = player.next().unwrap();
        assert_eq!(second[..HEADER_LEN], [0x80, 0x08, 0, 0, 0, 0, 0, 59, 1, 2, 3, 4]);
        assert_eq!((first[12], first[171], second[12]), (0, 159, 160));
        assert_eq!((player.next(), player.played()), (None, 320));
    }

    #[test]
    fn a_sound_goes_round_without_a_gap_and_ends_in_silence() {
        let mut player = player(100, 90, 190);
        let first = player.next().unwrap();
        assert_eq!(first[12..24], [90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 0, 1]);
        let last = player.next().unwrap();
        assert_eq!((last[12], last[12 + 29], last[12 + 30], last[171]), (50, 79, 0xd5, 0xd5));
        assert_eq!((player.played(), player.next()), (190, None));
    }

    #[test]
    fn one_that_goes_on_has_the_numbers_that_it_would_have_had() {
        let mut whole = player(1000, 7, 800);
        let before: Vec<_> = whole.by_ref().take(3).collect();
        let Player { track, head, played } = player(1000, 7, 800);
        let resumed = Player::new(track, head, played + whole.played());
        assert_eq!((before.len(), resumed.collect::<Vec<_>>()), (3, whole.collect::<Vec<_>>()));
    }

    #[test]
    fn nothing_is_heard_of_an_empty_sound() {
        assert_eq!(player(0, 0, 100).next(), None);
        assert_eq!(player(10, 0, 0).next(), None);
    }
}
