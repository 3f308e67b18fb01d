//! Somebody who listens: what of a stream has come, twice, too late. Without sockets and clocks.

/// What came of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Listener {
    /// Packets, doubles too.
    pub(super) packets: u64,
    /// That came after a later one.
    pub(super) late: u64,
    /// That came again.
    pub(super) twice: u64,
    /// The highest number so far, beyond 16 bits, and a bit for each of the last 64.
    highest: Option<u64>,
    seen: u64,
}

impl Listener {
    /// A packet of this sequence number has come.
    pub(super) fn hear(&mut self, sequence: u16) {
        self.packets += 1;
        let Some(highest) = self.highest else {
            (self.highest, self.seen) = (Some(u64::from(sequence) + (1 << 16)), 1);
            return;
        };
        let ahead = i64::from(sequence.wrapping_sub(highest as u16) as i16);
        if ahead > 0 {
            self.seen = if ahead < 64 { self.seen << ahead | 1 } else { 1 };
            self.highest = Some(highest + ahead as u64);
            return;
        }
        // One that is too far behind to be known is late.
        let bit = u32::try_from(-ahead).ok().and_then(|behind| 1_u64.checked_shl(behind)).unwrap_or(0);
        if self.seen & bit == 0 {
            self.late += 1;
        } else {
            self.twice += 1;
        }
        self.seen |= bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(sequences: &[u16]) -> (u64, u64, u64) {
        let mut listener = Listener::default();
        sequences.iter().for_each(|sequence| listener.hear(*sequence));
        (listener.packets, listener.late, listener.twice)
    }

    #[test]
    fn late_ones_and_doubles_are_told_apart() {
        assert_eq!(heard(&[1, 2, 4, 3, 5]), (5, 1, 0));
        assert_eq!(heard(&[1, 2, 2, 1, 3]), (5, 0, 2));
        assert_eq!(heard(&[1, 3, 2, 2]), (4, 1, 1));
        assert_eq!(heard(&[65_534, 65_535, 0, 65_535, 1]), (5, 0, 1));
        assert_eq!(heard(&[1, 200, 2, 2]), (4, 2, 0), "further behind than is remembered");
    }
}
