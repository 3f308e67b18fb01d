//! What the program can be told to do.

pub(crate) mod bench;
pub(crate) mod fault;
pub(crate) mod load;
