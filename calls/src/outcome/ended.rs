//! A call that has ended.

use super::account::CallAccount;

/// A call that has ended.
#[derive(Clone, PartialEq, Debug)]
pub struct EndedCall {
    /// Its Call-ID.
    pub call_id: Vec<u8>,
    /// Why, in a word: as [`End::word`](super::End::word), or `stopped` where the daemon has ended.
    pub reason: &'static str,
    /// What it was in the end.
    pub account: CallAccount,
}
