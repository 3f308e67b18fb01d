//! What happens when something fails: the relay is killed, and whoever comes next is asked about every packet.

mod crowd;
pub mod host;
pub mod hostile;
pub mod kill;
pub mod package;
pub mod points;
pub mod secured;
pub mod soak;
pub mod upgrade;
