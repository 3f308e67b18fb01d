//! The rig: hosts in network namespaces, and the real programs on them.
//!
//! Everything that a rig starts or makes it ends and removes when it is dropped, also when a test fails in the middle.

pub mod agent;
pub mod baresip;
pub(crate) mod caller;
pub mod calls;
pub mod capture;
pub mod chance;
pub mod counter;
pub mod daemon;
pub mod exchange;
pub mod host;
pub mod line;
pub mod party;
pub mod process;
pub mod program;
pub(crate) mod proxied;
pub mod proxy;
pub mod scene;
pub mod seccomp;
pub mod sipp;
pub mod trunks;
