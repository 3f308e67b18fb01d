//! Where entries go.

use std::io;

use super::entry::Entry;

/// Keeps entries in their order for whoever comes next.
pub trait Store: Send {
    /// Puts entries on record, all of them: when this returns, they outlive this process.
    ///
    /// # Errors
    /// When that cannot be done; then none of them is on record.
    fn append(&mut self, entries: &mut dyn Iterator<Item = Entry<'_>>) -> io::Result<()>;

    /// Begins a chapter, which is to have everything that holds.
    ///
    /// # Errors
    /// When it cannot; then the one before goes on.
    fn begin_chapter(&mut self) -> io::Result<()>;

    /// The chapter has everything: those before it are not needed any more.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn forget_earlier(&mut self) -> io::Result<()>;

    /// How many bytes the chapter has.
    fn size(&self) -> u64;

    /// Nobody is to come next.
    ///
    /// # Errors
    /// When something is left.
    fn end(&mut self) -> io::Result<()>;
}
