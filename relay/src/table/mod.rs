//! The flow table: which sources there are, whom each is accepted from, and where its packets go.
//!
//! ```text
//! in:  FlowOps of control, packets that may teach (from the workers), reports (RTCP), time
//! out: rules in the slots (shared with the XDP program), orders to play (to the workers), totals and paths of sources, events
//! ```
//!
//! Slots are read by the XDP program and by the workers without a lock. They are programmed under one lock, which is taken when a call is set up,
//! changed or ended and for packets that may teach something new; not to forward a packet.

mod account;
mod adopt;
mod announce;
mod announcer;
mod circuit;
mod clock;
mod doubt;
mod events;
mod fan;
mod flow_table;
mod foster;
mod learn;
mod listener;
mod matter;
mod note;
mod orphans;
mod ours;
mod peer;
mod program;
mod reader;
mod reports;
#[cfg(test)]
pub(crate) mod rig;
mod seal;
mod source;
mod sources;
mod suspects;
mod sweep;
mod taken;
mod tally;
mod taps;
mod traffic;
mod trust;

pub(crate) use adopt::Left;
pub(crate) use announcer::{Announcer, Order};
pub(crate) use clock::clock_ns;
pub(crate) use events::Events;
pub(crate) use fan::{Fan, Outlet};
pub(crate) use flow_table::{FlowTable, TableShape};
pub(crate) use learn::{Departing, Learned};
pub(crate) use listener::ReadingThread;
pub(crate) use note::Notes;
pub(crate) use ours::{Fitness, Ours, Seat};
pub use reader::Rtcp;
pub(crate) use reader::{Heard, Reader};
pub use taps::{TapReader, Tapped};
pub(crate) use trust::Scope;
pub use trust::{Trust, TrustConfig};
