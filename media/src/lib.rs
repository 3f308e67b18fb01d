//! Work on packets that a worker carries: it changes, drops or makes them.
//!
//! ```text
//! payload in a buffer with room around it -> chain of processors -> payload, perhaps another one, or nothing
//! RTP <-> SRTP, by the keys of a leg
//! WAV file -> recording -> player -> payload, every 20 ms
//! ```
//!
//! Headers and checksums come after, so nothing here knows of them. Everything is sans-IO: packets and the time are arguments. Builds where there
//! is no BPF toolchain, no io_uring and no root.

mod g711;
mod packet;
mod player;
mod processor;
mod recording;
mod silence;
pub mod srtp;
mod wav;

pub use g711::Law;
pub use packet::{Full, HEAD_ROOM, Packet, TAIL_ROOM};
pub use player::{Head, INTERVAL, PACKET_LEN, Player, Track};
pub use processor::{Chain, Fate, Processor};
pub use recording::{Recording, octets_of, time_of};
pub use silence::Silence;
pub use wav::WavError;
