//! What a party is to hear although nobody sends it.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Music or speech that a party hears beside whom it talks with: octets of G.711, round and round. The data plane makes its packets.
#[derive(Debug)]
pub struct Announcement {
    /// No other one of this daemon has the same.
    pub id: u64,
    /// The sound, 8,000 octets a second.
    pub sound: Bytes,
    /// The octet that says nothing.
    pub silence: u8,
    /// The payload type that the party knows the codec by.
    pub payload_type: u8,
    /// The synchronisation source of the packets.
    pub ssrc: u32,
    /// The sequence number of the first packet.
    pub sequence: u16,
    /// The timestamp of the first packet.
    pub timestamp: u32,
    /// Where in the sound it begins, in octets.
    pub start: usize,
    /// How many octets are played in all.
    pub octets: u64,
    /// How many have been played.
    pub played: Played,
}

impl PartialEq for Announcement {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Announcement {}

impl Announcement {
    /// Whether all of it has been played.
    pub fn is_over(&self) -> bool {
        self.played.octets() >= self.octets
    }

    /// Where in the sound it is, in octets.
    pub fn position(&self) -> u64 {
        let len = (self.sound.len() as u64).max(1);
        (self.start as u64).saturating_add(self.played.octets()) % len
    }
}

/// How much has been played: whoever plays tells it, anybody may read it.
#[derive(Debug, Default)]
pub struct Played(AtomicU64);

impl Played {
    /// So many octets.
    pub fn octets(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// So many octets have been played by now.
    pub fn set(&self, octets: u64) {
        self.0.store(octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_over_when_all_of_it_has_been_played() {
        let announcement = Announcement {
            id: 1,
            sound: Bytes::from_static(&[0; 100]),
            silence: 0,
            payload_type: 0,
            ssrc: 0,
            sequence: 0,
            timestamp: 0,
            start: 90,
            octets: 110,
            played: Played::default(),
        };
        assert_eq!((announcement.position(), announcement.is_over()), (90, false));
        announcement.played.set(30);
        assert_eq!((announcement.position(), announcement.is_over()), (20, false));
        announcement.played.set(110);
        assert!(announcement.is_over());
    }
}
