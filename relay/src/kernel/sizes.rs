//! How large the maps are.

/// How many entries the maps have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) slots: usize,
    pub(crate) hops: usize,
    pub(crate) workers: usize,
}
