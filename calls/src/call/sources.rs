//! Sources by slot, in the order of their slots.

use border::{SlotIndex, SourceSpec};

/// Sources by slot. A call has a handful, and there are many calls: they stand one after another, with no room between.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Sources(Vec<(SlotIndex, SourceSpec)>);

impl Sources {
    /// None.
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Puts a source into a slot, instead of whatever was there.
    pub(super) fn insert(&mut self, slot: SlotIndex, spec: SourceSpec) {
        match self.place(slot) {
            Ok(at) => drop(self.0.get_mut(at).map(|(_, known)| std::mem::replace(known, spec))),
            Err(at) => self.0.insert(at, (slot, spec)),
        }
    }

    /// The source of a slot.
    pub(super) fn get(&self, slot: &SlotIndex) -> Option<&SourceSpec> {
        Some(&self.0.get(self.place(*slot).ok()?)?.1)
    }

    /// The source of a slot.
    pub(super) fn get_mut(&mut self, slot: &SlotIndex) -> Option<&mut SourceSpec> {
        let at = self.place(*slot).ok()?;
        Some(&mut self.0.get_mut(at)?.1)
    }

    /// Whether a slot has one.
    pub(super) fn contains_key(&self, slot: &SlotIndex) -> bool {
        self.place(*slot).is_ok()
    }

    /// All, with their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SlotIndex, &SourceSpec)> {
        self.0.iter().map(|(slot, spec)| (slot, spec))
    }

    /// The slots.
    pub(super) fn keys(&self) -> impl Iterator<Item = &SlotIndex> {
        self.0.iter().map(|(slot, _)| slot)
    }

    /// All.
    pub(super) fn values(&self) -> impl Iterator<Item = &SourceSpec> {
        self.0.iter().map(|(_, spec)| spec)
    }

    /// All.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut SourceSpec> {
        self.0.iter_mut().map(|(_, spec)| spec)
    }

    /// The same, to be kept: without room for more.
    pub(super) fn packed(mut self) -> Self {
        self.0.shrink_to_fit();
        self
    }

    fn place(&self, slot: SlotIndex) -> Result<usize, usize> {
        self.0.binary_search_by_key(&slot, |(slot, _)| *slot)
    }
}

impl IntoIterator for Sources {
    type Item = (SlotIndex, SourceSpec);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
impl<const N: usize> From<[(SlotIndex, SourceSpec); N]> for Sources {
    fn from(sources: [(SlotIndex, SourceSpec); N]) -> Self {
        let mut all = Self::new();
        sources.into_iter().for_each(|(slot, spec)| all.insert(slot, spec));
        all
    }
}
