//! What the host is, has and permits: devices, features, limits, privileges, memory that is shared with the kernel.

mod descriptors;
pub(crate) mod devices;
pub(crate) mod ethtool;
mod features;
pub(crate) mod fitness;
mod memory;
pub(crate) mod netlink;
pub(crate) mod permit;
mod prefix;
pub(crate) mod reserve;
mod wake;

pub use descriptors::raise_descriptor_limit;
pub(crate) use devices::{Device, HostAddresses};
pub use features::Features;
pub(crate) use memory::{Mapped, Shareable};
pub use prefix::{Prefix, UnknownPrefix};
pub(crate) use wake::Wake;
