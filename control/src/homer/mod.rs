//! What Homer, a capture server of SIP networks, is told: RTCP as parties send it, how calls have fared, and by choice the NG dialogue, each with the
//! Call-ID, so that it stands beside the SIP messages of the call. By HEP version 3.
//!
//! ```text
//! relay --RTCP------------+
//! daemon --ended calls----+--queue--> thread --UDP or TCP--> Homer
//! listeners --NG----------+
//! ```
//!
//! Nobody waits: what there is no room for, and what Homer does not take, is counted.

mod collector;
mod exporter;
mod hep;
mod quality;
mod rtcp;

pub use collector::{Address, Transport};
pub use exporter::{Counts, Dialogue, Homer, HomerConfig, Names};
