//! AF_XDP: frames that the XDP program hands to the workers, past the stack.
//!
//! ```text
//! opening:  lines (the guard's side, a socket for each queue of a device) -> inlet (a worker's side)
//! a frame:  XDP program -> socket (its memory, by its rings) -> reader (checks as the stack would) -> the worker's loop -> back to the socket
//! leaving:  the worker's loop -> inlet -> transmit (of the socket of the device that it leaves by), where that is wanted
//! ```

mod inlet;
mod rings;
mod socket;
mod transmit;

pub(crate) use inlet::{FramesChange, Inlet, Lines, Reader};
pub(crate) use socket::{Frame, Socket, View, explain, probe};
pub use transmit::NoTransmit;
pub(crate) use transmit::may_transmit;
