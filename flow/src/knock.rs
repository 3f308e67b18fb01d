//! Who knocks at a port while no call has it: whoever is heard there before there is a call is none of its parties.

use core::net::IpAddr;

use crate::headers::{Addr4, Addr6};

/// A sender's address as a slot remembers it: twelve bits of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Knocker(u32);

impl Knocker {
    const BITS: u32 = 12;
    const MASK: u32 = (1 << Self::BITS) - 1;

    /// Of an address that was folded to a word, scattered by the golden ratio.
    #[inline(always)]
    pub const fn new(folded: u32) -> Self {
        Self(folded.wrapping_mul(0x9e37_79b9) >> (u32::BITS - Self::BITS))
    }
}

impl From<IpAddr> for Knocker {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Self::new(Addr4::from(addr).fold()),
            IpAddr::V6(addr) => Self::new(Addr6::from(addr).fold()),
        }
    }
}

/// The time as slots remember it: counted up by the daemon now and then, never zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epoch(u8);

impl Epoch {
    /// The first one.
    pub const FIRST: Self = Self(1);

    /// From a word of shared memory.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        if word as u8 == 0 { Self::FIRST } else { Self(word as u8) }
    }

    /// As a word of shared memory.
    pub const fn word(self) -> u32 {
        self.0 as u32
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(next) => Self(next),
            None => Self::FIRST,
        }
    }
}

/// Who has sent to a slot while no call had it: the last two of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Knockers(u32);

impl Knockers {
    /// From a word of a slot.
    #[inline(always)]
    pub(crate) const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// As a word of a slot.
    #[inline(always)]
    pub(crate) const fn word(self) -> u32 {
        self.0
    }

    /// With one more, who may be one of those that are known; those of another epoch are forgotten.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, knocker: Knocker, epoch: Epoch) -> Self {
        let stamp = (epoch.0 as u32) << (2 * Knocker::BITS);
        if self.0 >> (2 * Knocker::BITS) != epoch.0 as u32 {
            return Self(stamp | knocker.0 << Knocker::BITS | knocker.0);
        }
        let (last, other) = (self.0 & Knocker::MASK, self.0 >> Knocker::BITS & Knocker::MASK);
        if last == knocker.0 || other == knocker.0 { self } else { Self(stamp | last << Knocker::BITS | knocker.0) }
    }

    /// Whether this host may be one of them, now: in this epoch or the one before.
    pub fn may_be(self, host: IpAddr, now: Epoch) -> bool {
        let epoch = Epoch((self.0 >> (2 * Knocker::BITS)) as u8);
        let is_fresh = self.0 != 0 && (epoch == now || epoch.next() == now);
        let Knocker(host) = host.into();
        is_fresh && (self.0 & Knocker::MASK == host || self.0 >> Knocker::BITS & Knocker::MASK == host)
    }
}
