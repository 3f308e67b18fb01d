//! What the control plane asks of the data plane, and what that tells: types, no machinery.
//!
//! ```text
//! calls --FlowOp--> relay            which sources there shall be, at which ports, and where their packets go
//! calls <--Meter--- relay            what they have carried, by which path, how it was received
//! calls <--Event--- relay            what has happened to them
//! ```
//!
//! Builds where there is no BPF toolchain, no io_uring and no root: what is decided about calls can be tested anywhere.

mod announcement;
mod event;
mod interface;
mod meter;
mod op;
mod ports;
mod quality;
mod untrusted;

pub use announcement::{Announcement, Played};
pub use event::Event;
pub use flow::{Reason, SlotIndex};
pub use interface::{Family, Interface, InterfaceError, InterfaceId, Interfaces};
pub use meter::{
    Counts, Hops, Intake, Meter, NoTraffic, PastStack, Path, SinkState, SourceTotals, Traffic, Turns, Volume,
};
pub use op::{
    Component, Content, Edge, FlowOp, Learning, Passes, Security, Signalled, Sink, Sinks, SourceSpec, Successor,
};
pub use ports::{Exhausted, LONG_REST, NoPair, PortPair, PortUsage, Ports};
pub use quality::{Extremes, Quality, Sample};
pub use untrusted::Untrusted;
