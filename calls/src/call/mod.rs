//! Calls: what has been signalled, and which sources the relay shall have for it.
//!
//! ```text
//! Intent -> Calls -> a draft of the call: legs -> medias -> ports (a lease: given back if anything fails)
//!                  -> plan: sources desired by the draft - sources installed = FlowOps
//!                  -> Outcome
//! ```
//!
//! A command is carried out on a copy of the call. Only when all of it went well does the copy replace the call, so a
//! command that fails changes nothing. What the relay is told is never derived from a command but from the difference
//! of two states, so a command that comes twice tells it nothing.

mod account;
mod calls;
mod described;
mod dialogue;
mod direction;
mod ended;
mod ending;
mod expiry;
mod flows;
mod hang_up;
mod lease;
mod leg;
mod media;
mod moment;
mod plan;
mod play;
mod playing;
mod query;
mod readable;
mod reading;
mod record;
mod roles;
mod security;
mod settings;
mod signal;
mod signalled;
mod sources;
mod statistics;
mod subscribe;
mod subscriber;
mod treat;
mod treatments;
mod watched;

pub use calls::Calls;
pub use expiry::ExpiredCall;
pub use moment::Clock;
pub use record::Unreadable;
pub use settings::{Limits, Settings, Unsupported};
pub use watched::Watched;

#[cfg(test)]
mod tests;
