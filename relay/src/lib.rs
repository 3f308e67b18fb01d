//! The data plane of Intertrunk: the flow table, the XDP program's loader, next hops, ports and the io_uring workers.
//!
//! ```text
//! control --FlowOp--> table --rules--> slots (memory shared with the XDP program)
//!    ^                  ^ learn               |
//!    |                  |                     v
//!    +--StreamTotals--- table            XDP program ---> wire
//!                       ^ carry               | pass
//!                       |                     v
//!                    worker <--- ring or epoll <--- steered sockets
//! ```

mod attachment;
mod bound;
mod buffers;
mod carry;
mod circuit;
mod departure;
mod descriptors;
mod doubt;
mod engine;
mod epoll;
mod ethtool;
mod features;
mod fitness;
mod fragment;
mod handler;
mod intake;
mod kernel;
mod learning;
mod matter;
mod memory;
mod netlink;
mod next_hops;
mod ours;
mod oversize;
mod permit;
pub mod probe;
mod quality;
mod relay;
mod reserve;
mod resolver;
mod ring;
mod socket;
mod stream;
mod streams;
mod suspects;
mod table;
mod tally;
mod traffic;
mod trust;
mod watcher;
mod worker;

pub use descriptors::raise_descriptor_limit;
pub use engine::{Engine, Intake, Output, UnknownEngine};
pub use features::Features;
#[cfg(feature = "measure")]
pub use kernel::measure;
pub use kernel::{KernelError, XdpMode};
pub use relay::{DeadThread, Relay, RelayConfig, StartError};
pub use trust::{Prefix, Trust, TrustConfig, UnknownPrefix};
