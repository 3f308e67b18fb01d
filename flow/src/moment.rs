//! When something happened last, in few bits.

/// A moment by a steady clock, to some milliseconds, of the last minutes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moment(u16);

impl Moment {
    /// Bits of nanoseconds that are left out: 4.2 ms.
    const FINENESS: u32 = 22;

    /// So many moments may whoever notes one be ahead: a second and some.
    const AHEAD: u16 = 256;

    /// As it lies in memory.
    pub(crate) const fn word(self) -> u16 {
        self.0
    }

    /// From memory.
    pub(crate) const fn from_word(word: u16) -> Self {
        Self(word)
    }

    /// The moment of a clock's nanoseconds.
    pub const fn of(clock_ns: u64) -> Self {
        Self((clock_ns >> Self::FINENESS) as u16)
    }

    /// Nanoseconds from this one, in the last four minutes, to a clock's.
    pub const fn until(self, clock_ns: u64) -> u64 {
        let whole = ((clock_ns >> Self::FINENESS) as u16).wrapping_sub(self.0);
        // Whoever notes a moment may be ahead of whoever reads it: it has read its clock before.
        if whole > u16::MAX - Self::AHEAD { 0 } else { (whole as u64) << Self::FINENESS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_some_milliseconds_exact_for_four_minutes() {
        for began in [0, 1 << 30, u64::MAX / 3] {
            for passed in [0, 1_000_000, 500_000_000, 240_000_000_000] {
                let told = Moment::of(began).until(began + passed);
                assert!(told.abs_diff(passed) < 1 << Moment::FINENESS, "{began} {passed} {told}");
                assert_eq!(Moment::of(began + passed / 300).until(began), 0, "who reads it is late");
            }
        }
    }
}
