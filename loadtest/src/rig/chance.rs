//! Numbers by chance, and the same ones again where somebody wants to see what happened.

/// Where the numbers come from.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Numbers that this one brings about.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, below this one; zero where there is none below.
    pub fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31).checked_rem(limit).unwrap_or(0)
    }
}
