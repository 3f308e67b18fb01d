//! Next hops: where a frame goes on its way to a destination.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::word::Word;

/// The index of a next hop in its table.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HopId(pub u16);

impl HopId {
    /// The next hop that is never resolved: for slots whose destination has none yet.
    pub const NONE: Self = Self(0);
}

/// A MAC address.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Mac(pub [u16; 3]);

impl From<[u8; 6]> for Mac {
    fn from(bytes: [u8; 6]) -> Self {
        Self(zerocopy::transmute!(bytes))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g]: [u8; 6] = zerocopy::transmute!(self.0);
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A resolved next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The neighbour's MAC.
    pub to: Mac,
    /// The egress device's MAC.
    pub from: Mac,
    /// The egress device's index (`ifindex`).
    pub device: u32,
    /// The egress device's index in the device map.
    pub port: u16,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Address {
    mac: Mac,
    generation: u16,
}

/// By which device frames leave.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Egress {
    /// The device's index (`ifindex`).
    pub device: u32,
    /// The device's index in the device map.
    pub port: u16,
    generation: u16,
}

/// The entry of one next hop: 32 bytes, so that two share a cache line.
///
/// Each word carries the generation it was written in; a reader that finds different ones has met a writer at work and treats the hop as
/// not resolved. Generation zero is "not resolved", so an all-zero table is an empty one.
#[repr(C, align(32))]
#[derive(Default)]
pub struct HopCell {
    to: Word,
    from: Word,
    egress: Word,
    spare: Word,
}

const _: () = assert!(size_of::<HopCell>() == 32);

impl HopCell {
    /// The next hop, if it is resolved.
    pub fn read(&self) -> Option<Hop> {
        let egress = self.egress()?;
        let (to, from) = self.macs(egress)?;
        Some(Hop { to, from, device: egress.device, port: egress.port })
    }

    /// By which device frames leave, if the next hop is resolved. [`HopCell::macs`] tells the rest.
    #[inline(always)]
    pub fn egress(&self) -> Option<Egress> {
        let egress: Egress = zerocopy::transmute!(self.egress.load());
        (egress.generation != 0).then_some(egress)
    }

    /// The MACs, to and from, that belong to this egress.
    #[inline(always)]
    pub fn macs(&self, egress: Egress) -> Option<(Mac, Mac)> {
        let to: Address = zerocopy::transmute!(self.to.load());
        let from: Address = zerocopy::transmute!(self.from.load());
        if to.generation != egress.generation || from.generation != egress.generation {
            return None;
        }
        Some((to.mac, from.mac))
    }

    /// Writes the next hop, or that there is none. Only one thread writes a cell.
    pub fn write(&self, hop: Option<Hop>) {
        let from: Address = zerocopy::transmute!(self.from.load());
        let generation = match (hop, from.generation.wrapping_add(1)) {
            (None, _) => 0,
            (Some(_), 0) => 1,
            (Some(_), next) => next,
        };
        let Some(hop) = hop else {
            // The generation of `from` stays, so that the next hop written here gets a new one.
            self.egress.store(0);
            return;
        };
        self.to.store(zerocopy::transmute!(Address { mac: hop.to, generation }));
        self.from.store(zerocopy::transmute!(Address { mac: hop.from, generation }));
        self.egress.store(zerocopy::transmute!(Egress { device: hop.device, port: hop.port, generation }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(last: u8) -> Hop {
        Hop { to: [2, 0, 0, 0, 0, last].into(), from: [2, 0, 0, 0, 1, last].into(), device: 7, port: 3 }
    }

    #[test]
    fn an_all_zero_cell_is_not_resolved() {
        assert_eq!(HopCell::default().read(), None);
    }

    #[test]
    fn a_hop_is_read_as_it_was_written() {
        let cell = HopCell::default();
        cell.write(Some(hop(1)));
        assert_eq!(cell.read(), Some(hop(1)));
        cell.write(Some(hop(2)));
        assert_eq!(cell.read(), Some(hop(2)));
        cell.write(None);
        assert_eq!(cell.read(), None);
    }

    #[test]
    fn a_half_written_hop_is_not_resolved() {
        let cell = HopCell::default();
        cell.write(Some(hop(1)));
        let old = cell.to.load();
        cell.write(Some(hop(2)));
        cell.to.store(old);
        assert_eq!(cell.read(), None);
    }

    #[test]
    fn a_hop_that_went_and_came_back_cannot_be_mixed_with_the_old_one() {
        let cell = HopCell::default();
        cell.write(Some(hop(1)));
        let old = cell.to.load();
        cell.write(None);
        cell.write(Some(hop(2)));
        cell.to.store(old);
        assert_eq!(cell.read(), None);
    }

    #[test]
    fn the_generation_skips_the_value_that_means_unresolved() {
        let cell = HopCell::default();
        for _ in 0..=u32::from(u16::MAX) {
            cell.write(Some(hop(1)));
            assert_eq!(cell.read(), Some(hop(1)));
        }
    }
}
