//! SRTP (RFC 3711): what makes packets of a trunk unreadable for others, and readable again. Sans-IO, in place, without an allocation a packet.
//!
//! ```text
//! suite      which there are, and how long their keys and tags are
//! key        master keys, and the session keys that come of them
//! counter    AES in counter mode        hmac   HMAC-SHA1, by kept states        cipher   these two, or AES-GCM, on a packet's bytes
//! index      which packet it is: the sequence number and how often it has wrapped, and which have been here
//! protector  RTP and RTCP to SRTP and SRTCP        unprotector   and back
//! ```

mod cipher;
mod counter;
mod hmac;
mod index;
mod key;
mod parts;
mod protector;
mod streams;
mod suite;
#[cfg(test)]
mod tests;
mod unprotector;

pub use key::{BadKey, MasterKey, Mki};
pub use protector::Protector;
pub use streams::Progress;
pub use suite::Suite;
pub use unprotector::Unprotector;

/// Why a packet goes nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// It is no RTP or RTCP packet, or too short for what has to be in it.
    #[error("it is no packet of the protocol")]
    Malformed,
    /// There is no such key, or its tag is not what the key makes of it.
    #[error("nobody who has the key has sent it")]
    Forged,
    /// It has been here.
    #[error("it has been here before")]
    Replayed,
    /// It is so late that nobody knows whether it has been here.
    #[error("it is too late")]
    Late,
    /// There is no room for a tag.
    #[error("there is no room behind it")]
    NoRoom,
    /// So many packets have been sent by the key that another one would repeat what was used.
    #[error("the key is used up")]
    Exhausted,
}
