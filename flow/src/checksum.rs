//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! 1. The checksum is the complement of the one's-complement sum of the 16-bit words.
//! 2. The sum does not care about byte order: words are added as they lie in memory.
//! 3. Replacing word `m` by `m'` changes the sum by `~m + m'` (RFC 1624 equation 3), so what a relay changes in every packet of a flow alike
//!    can be added up once, when the flow is programmed.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What replacing some words does to a sum.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Delta(u16);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

    /// This change and the replacement of one word by another.
    #[inline(always)]
    #[must_use]
    pub const fn replace(self, old: u16, new: u16) -> Self {
        Self(fold(self.0 as u32 + !old as u32 + new as u32))
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(fold(self.0 as u32 + other.0 as u32))
    }

    /// This change, to be added to with one fold at the end.
    #[inline(always)]
    pub(crate) const fn open(self) -> Change {
        Change(self.0 as u32)
    }

    /// The IPv4 header checksum after this change.
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(!checksum as u32 + self.0 as u32)
    }

    /// The UDP checksum after this change. Zero means "none computed" (RFC 768) and stays zero; a computed zero is sent as 0xFFFF.
    #[inline(always)]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            return 0;
        }
        match self.apply(checksum) {
            0 => 0xffff,
            computed => computed,
        }
    }
}

/// A change of a few words that is folded when it is applied: for the fast path, where each fold counts. So many words as there are in a header
/// cannot overflow it.
#[derive(Clone, Copy)]
pub(crate) struct Change(u32);

impl Change {
    /// This change and the replacement of one word by another.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn replace(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u32 + new as u32)
    }

    /// The IPv4 header checksum after this change.
    #[inline(always)]
    pub(crate) const fn apply(self, checksum: u16) -> u16 {
        !fold(self.0 + !checksum as u32)
    }
}

/// Adds the carries back in until 16 bits are left.
#[inline(always)]
pub(crate) const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

/// A running sum over bytes, for checksums computed from scratch.
#[derive(Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds one word as it lies in memory.
    #[inline]
    #[must_use]
    pub fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }

    /// Adds bytes; an odd last byte counts as if a zero followed, so only the last piece may be odd.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // Two 32-bit additions for eight bytes; a datagram of 64 KiB cannot overflow 64 bits.
        let mut sum = self.0;
        let (eights, rest) = bytes.as_chunks::<8>();
        for eight in eights {
            let value = u64::from_ne_bytes(*eight);
            sum += (value & 0xffff_ffff) + (value >> 32);
        }
        let (pairs, last) = rest.as_chunks::<2>();
        for pair in pairs {
            sum += u64::from(u16::from_ne_bytes(*pair));
        }
        if let [last] = last {
            sum += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        Self(sum)
    }

    /// The checksum, with a computed zero as 0xFFFF, the form that UDP wants.
    #[must_use]
    pub fn finish_udp(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            computed => computed,
        }
    }

    /// The checksum.
    #[must_use]
    pub fn finish(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        !fold(sum as u32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_zero_udp_checksum_stays_zero() {
        assert_eq!(Delta::NONE.replace(1, 2).apply_udp(0), 0);
    }

    #[test]
    fn a_computed_zero_is_sent_as_all_ones() {
        // Sum of the words is 0xffff: its complement is zero.
        assert_eq!(Sum::default().word(0xfffe).word(1).finish(), 0);
        assert_eq!(Sum::default().word(0xfffe).word(1).finish_udp(), 0xffff);
        let before = Sum::default().word(0xfffe).word(2).finish_udp();
        assert_eq!(Delta::NONE.replace(2, 1).apply_udp(before), 0xffff);
    }

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).finish();
        assert_eq!(u16::from_be(sum), !0xddf2);
    }

    proptest! {
        #[test]
        fn an_incremental_update_equals_a_full_computation(
            mut words in prop::collection::vec(any::<u16>(), 1..40),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u16>()), 0..12),
        ) {
            let sum = |words: &[u16]| words.iter().fold(Sum::default(), |sum, word| sum.word(*word));
            let before = sum(&words).finish_udp();
            let mut delta = Delta::NONE;
            for (index, new) in changes {
                let word = index.get_mut(&mut words);
                delta = delta.and(Delta::NONE.replace(*word, new));
                *word = new;
            }
            // A sum of nothing but zeros is the one case in which the two forms of zero part ways; no real header is all zeros.
            prop_assume!(words.iter().any(|word| *word != 0));
            prop_assert_eq!(delta.apply_udp(before), sum(&words).finish_udp());
        }

        #[test]
        fn summing_bytes_equals_summing_words(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let words = bytes.chunks(2).fold(Sum::default(), |sum, pair| {
                sum.word(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))
            });
            prop_assert_eq!(Sum::default().bytes(&bytes).finish(), words.finish());
        }
    }
}
