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

    /// Takes the chapter back that could not be given everything: those before it go on.
    fn give_up_chapter(&mut self);

    /// The chapter has everything: of those before it only the last so many are needed.
    ///
    /// # Errors
    /// When the others cannot be removed.
    fn forget_earlier(&mut self, needed: usize) -> io::Result<()>;

    /// How many bytes the chapter has; zero before the first one.
    fn size(&self) -> u64;

    /// Nobody is to come next.
    ///
    /// # Errors
    /// When something is left.
    fn end(&mut self) -> io::Result<()>;
}
