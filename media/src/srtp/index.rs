//! Which packet it is (RFC 3711 3.3.1, 3.3.2): the sequence number with how often it has wrapped, and which packets have been here.

use super::Refused;

/// Packets behind the latest of which it is known whether they have been here.
const WINDOW: u64 = u128::BITS as u64;

/// The packets of one synchronisation source that have been here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    highest: u64,
    /// A bit for each of the last ones, the lowest for the highest.
    seen: u128,
}

impl Window {
    /// This one alone has been here.
    pub(super) const fn new(index: u64) -> Self {
        Self { highest: index, seen: 1 }
    }

    /// This one, and nobody knows which before it: they count as having been here.
    pub(super) const fn after(index: u64) -> Self {
        Self { highest: index, seen: u128::MAX }
    }

    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// The index of a packet with this sequence number: the nearest to the highest.
    pub(super) const fn estimate(&self, sequence: u16) -> u64 {
        const HALF: u64 = 1 << 15;
        let (roc, known, sequence) = (self.highest >> 16, self.highest & 0xffff, sequence as u64);
        let roc = if known < HALF {
            // There is nothing before the first turn.
            if sequence > known + HALF && roc > 0 { roc - 1 } else { roc }
        } else if known - HALF > sequence {
            roc + 1
        } else {
            roc
        };
        roc << 16 | sequence
    }

    /// Whether a packet may be a new one.
    pub(super) const fn check(&self, index: u64) -> Result<(), Refused> {
        if index > self.highest {
            return Ok(());
        }
        let behind = self.highest - index;
        if behind >= WINDOW {
            return Err(Refused::Late);
        }
        if self.seen & (1 << behind) != 0 { Err(Refused::Replayed) } else { Ok(()) }
    }

    /// A packet that was checked has been here.
    pub(super) const fn accept(&mut self, index: u64) {
        if index <= self.highest {
            let behind = self.highest - index;
            if behind < WINDOW {
                self.seen |= 1 << behind;
            }
            return;
        }
        let ahead = index - self.highest;
        self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
        self.highest = index;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_index_is_the_nearest_to_the_highest() {
        for (highest, sequence, index) in [
            (5, 6, 6),
            (5, 65_530, 65_530),
            (65_535, 0, 0x1_0000),
            (0x1_0005, 65_530, 65_530),
            (0x1_0005, 6, 0x1_0006),
            (0x1_8000, 0, 0x1_0000),
            (0x1_8001, 0, 0x2_0000),
            (0x1_7fff, 65_535, 0x1_ffff),
            (0x1_7ffe, 65_535, 0xffff),
        ] {
            assert_eq!(Window::new(highest).estimate(sequence), index, "{highest:x} {sequence}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_in_whatever_order_comes_once(
            start in 0_u64..1 << 20,
            steps in prop::collection::vec(-200_i64..200, 1..300),
        ) {
            let mut window = Window::new(start);
            let mut seen = std::collections::BTreeSet::from([start]);
            let mut index = start;
            for step in steps {
                index = index.saturating_add_signed(step);
                let highest = *seen.last().unwrap();
                let expected = if index + WINDOW <= highest {
                    Err(Refused::Late)
                } else if seen.contains(&index) {
                    Err(Refused::Replayed)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(index), expected);
                if expected.is_ok() {
                    window.accept(index);
                    seen.insert(index);
                }
                prop_assert_eq!(window.highest(), *seen.last().unwrap());
            }
        }

        #[test]
        fn a_packet_less_than_half_a_turn_away_is_known_for_what_it_is(highest in 1_u64 << 16..1 << 40, away in -0x7fff_i64..0x7fff) {
            let index = highest.saturating_add_signed(away);
            prop_assert_eq!(Window::new(highest).estimate(index as u16), index);
        }
    }
}
