//! Load tests of Intertrunk: real calls through the relay, and the proof of what became of them.
//!
//! ```text
//! demo -> rig (namespaces, the daemon, Kamailio, sipp, tcpdump) -> captures -> judge -> Report
//!          |                                                         ^
//!        speech (what sipp plays)                            signalling, frame, rtp, pcap
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::expect_used, clippy::indexing_slicing, clippy::string_slice))]

pub mod bench;
pub mod compare;
pub mod demo;
pub mod error;
pub mod fault;
pub mod frame;
pub mod judge;
pub mod live;
pub mod pcap;
pub mod report;
pub mod rig;
pub mod rounds;
pub mod rtp;
pub mod signalling;
pub mod speech;
pub mod talk;

mod histogram;
#[cfg(test)]
mod testing;

pub use error::Error;
