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
    /// By the media's clock, when the next packet is due that follows the last one without a gap.
    next: Option<u32>,
}

impl Player {
    /// One that has played so many octets already.
    pub const fn new(track: Track, head: Head, played: u64) -> Self {
        Self { track, head, played, next: None }
    }

    /// Octets that have been played.
    pub const fn played(&self) -> u64 {
        self.played
    }

    /// The next packet, which is heard at this time by the media's clock; `None` when all has been played.
    pub fn packet(&mut self, clock: u32) -> Option<[u8; PACKET_LEN]> {
        let Track { sound, silence, start, octets } = &self.track;
        let left = octets.saturating_sub(self.played);
        if left == 0 || sound.is_empty() {
            return None;
        }
        let mut packet = [*silence; PACKET_LEN];
        let Head { payload_type, ssrc, sequence, timestamp } = self.head;
        // RFC 3551 4.1: the marker is on the first packet of a talkspurt.
        let marker = if self.next == Some(clock) { 0 } else { 0x80 };
        self.next = Some(clock.wrapping_add(OCTETS as u32));
        let number = self.played / OCTETS as u64;
        let head: [&[u8]; 4] = [
            &[0x80, marker | (payload_type & 0x7f)],
            &sequence.wrapping_add(number as u16).to_be_bytes(),
            &timestamp.wrapping_add(clock).to_be_bytes(),
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
        let first = player.packet(0).unwrap();
        assert_eq!(first[..HEADER_LEN], [0x80, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0x9b, 1, 2, 3, 4]);
        let second = player.packet(160).unwrap();
        assert_eq!(second[..HEADER_LEN], [0x80, 0x08, 0, 0, 0, 0, 0, 59, 1, 2, 3, 4]);
        assert_eq!((first[12], first[171], second[12]), (0, 159, 160));
        assert_eq!((player.packet(320), player.played()), (None, 320));
    }

    #[test]
    fn after_a_gap_the_clock_has_gone_on_and_a_talkspurt_begins() {
        let mut player = player(1000, 0, 800);
        let packets = [0, 160, 8000, 8160].map(|clock| player.packet(clock).unwrap());
        let timestamp = |packet: &[u8; PACKET_LEN]| u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let since = |packet| timestamp(packet).wrapping_sub(HEAD.timestamp);
        assert_eq!(packets.each_ref().map(since), [0, 160, 8000, 8160]);
        assert_eq!(packets.each_ref().map(|packet| packet[1] >> 7), [1, 0, 1, 0]);
        assert_eq!(packets.each_ref().map(|packet| packet[3]), [0xff, 0, 1, 2], "but no number is left out");
    }

    #[test]
    fn a_sound_goes_round_without_a_gap_and_ends_in_silence() {
        let mut player = player(100, 90, 190);
        let first = player.packet(0).unwrap();
        assert_eq!(first[12..24], [90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 0, 1]);
        let last = player.packet(160).unwrap();
        assert_eq!((last[12], last[12 + 29], last[12 + 30], last[171]), (50, 79, 0xd5, 0xd5));
        assert_eq!((player.played(), player.packet(320)), (190, None));
    }

    #[test]
    fn one_that_goes_on_plays_what_it_would_have_played() {
        let mut whole = player(1000, 7, 800);
        for number in 0..3 {
            whole.packet(number * 160).unwrap();
        }
        let Player { track, head, .. } = player(1000, 7, 800);
        let mut resumed = Player::new(track, head, whole.played());
        let (one, two) = (resumed.packet(480).unwrap(), whole.packet(480).unwrap());
        assert_eq!((one[2..].to_vec(), one[1] >> 7, two[1] >> 7), (two[2..].to_vec(), 1, 0));
    }

    #[test]
    fn nothing_is_heard_of_an_empty_sound() {
        assert_eq!(player(0, 0, 100).packet(0), None);
        assert_eq!(player(10, 0, 0).packet(0), None);
    }
}
