//! The data plane of Intertrunk: the flow table, the XDP program's loader, next hops, ports and the io_uring workers.
//!
//! ```text
//! control --FlowOp--> table --rules--> slots (memory shared with the XDP program)
//!    ^                  ^ learn               |
//!    |                  |                     v
//!    +--SourceTotals--- table            XDP program ---> wire
//!                       ^ carry               | pass
//!                       |                     v
//!                    worker <--- ring or epoll <--- steered sockets
//! ```

mod config;
mod engine;
mod hops;
mod host;
mod kernel;
pub mod probe;
mod relay;
mod start;
mod supervise;
mod table;
mod worker;
mod xsk;

pub use config::{Keep, RelayConfig, StartError};
pub use engine::{Engine, Intake, Output, UnknownEngine};
pub use host::{Features, Prefix, UnknownPrefix, raise_descriptor_limit};
#[cfg(feature = "measure")]
pub use kernel::measure;
pub use kernel::{Inventory, KernelError, XdpMode, inventory};
pub use relay::{DeadThread, Relay};
pub use table::{Rtcp, TapReader, Tapped, Trust, TrustConfig};
pub use xsk::NoTransmit;
