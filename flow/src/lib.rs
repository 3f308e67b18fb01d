//! What the XDP program and the userspace workers agree on, byte for byte.
//!
//! Everything here is pure: no allocation, no system call, no clock. The XDP program, the workers, the tests and the benches run this
//! same code, so that a packet is treated alike whichever path it takes.
//!
//! ```text
//! headers (views) -> forward (match, decide) -> datagram (readdress)    the fast path, on a whole frame
//!                    rule (same slot)        -> compose                 the slow path, around a received payload
//! ```
#![no_std]

#[cfg(any(test, feature = "vectors"))]
extern crate std;

pub mod checksum;
pub mod compose;
pub mod counters;
pub mod datagram;
pub mod forward;
pub mod headers;
pub mod hop;
pub mod incoming;
#[cfg(feature = "vectors")]
pub mod judge;
pub mod knock;
pub mod local;
#[cfg(feature = "vectors")]
pub mod memory;
#[cfg(all(test, loom))]
mod models;
mod moment;
#[cfg(feature = "vectors")]
pub mod mutants;
pub mod reason;
pub mod rtp;
pub mod slot;
mod tables;
#[cfg(feature = "vectors")]
pub mod vectors;
mod word;

pub use forward::Verdict;
pub use headers::{Addr4, Addr6, Be16};
pub use hop::{Bearing, Hop, HopCell, HopId, Mac};
pub use knock::{Epoch, Knocker, Knockers};
pub use local::{Locals, SlotIndex};
pub use moment::Moment;
pub use reason::Reason;
pub use slot::{Rule, Slot};
pub use tables::{LAYOUT, Tables};
