//! The BPF programs: loading, attaching, the maps behind them, and the guard that keeps them attached.
//!
//! ```text
//! in:  the local addresses, sizes, devices
//! out: mapped slots, next hops and counters; attached programs
//! ```

mod attachment;
mod guard;
mod inventory;
#[cfg(feature = "measure")]
pub mod measure;
mod pins;
mod programs;
mod queues;
mod sizes;
mod steering;

pub(crate) use attachment::{Attachments, Program};
pub(crate) use guard::Guard;
pub use inventory::{Inventory, inventory};
pub(crate) use pins::{Pins, PinsError, Shape};
pub(crate) use programs::{Facts, Kernel, program_name};
pub use programs::{KernelError, XdpMode};
pub(crate) use queues::{QueueOptions, Queues, obstacle};
pub(crate) use sizes::Sizes;
