//! The slow path's threads: packets come in by an [`intake`], are decided on by [`carry`], and leave by a socket.
//!
//! ```text
//! in:  datagrams of media ports (past the stack by AF_XDP, steered to one socket a worker, or bound a port each), orders to play, time
//! out: packets by a device (packet socket), by the IP stack (raw socket), or by the port's own socket
//! ```

mod bound;
mod buffers;
mod carry;
mod departure;
mod epoll;
mod fragment;
mod frames;
#[cfg(test)]
mod graph;
mod handler;
pub(crate) mod intake;
mod outbox;
mod oversize;
mod players;
mod reasons;
mod request;
mod ring;
mod socket;
mod sockets;
mod thread;
mod wheel;

pub(crate) use bound::BoundPorts;
pub(crate) use carry::Carrier;
pub(crate) use players::Players;
pub(crate) use reasons::Reasons;
pub(crate) use ring::probe as probe_ring;
pub(crate) use sockets::Sockets;
pub(crate) use thread::{Manner, Work, Worker};
