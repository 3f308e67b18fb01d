//! Work on packets that a worker carries: it changes, drops or makes them.
//!
//! ```text
//! payload in a buffer with room around it -> chain of processors -> payload, perhaps another one, or nothing
//! ```
//!
//! Headers and checksums come after, so nothing here knows of them. Everything is sans-IO: packets and the time are arguments. Builds where there
//! is no BPF toolchain, no io_uring and no root.

mod packet;
mod processor;
mod silence;

pub use packet::{Full, HEAD_ROOM, Packet, TAIL_ROOM};
pub use processor::{Chain, Fate, Processor};
pub use silence::Silence;
