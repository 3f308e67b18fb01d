//! What a worker receives from and sends by.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::worker::bound::Inbox;
use crate::worker::socket::Senders;
use crate::xsk::Inlet;

/// The sockets of a worker.
pub(crate) enum Sockets {
    /// One socket for all media ports, which the steering program fills, senders that bring their own headers, and what comes past the stack.
    Steered(Arc<OwnedFd>, Senders, Option<Inlet>),
    /// A socket for each media port.
    Bound(Inbox),
}

impl Sockets {
    /// None, and none will come.
    pub(crate) fn none() -> Self {
        Self::Bound(Inbox::closed())
    }

    /// Takes what comes past the stack out of them, for a loop that has just begun: what an earlier one has had of it is given back.
    pub(crate) fn take_inlet(&mut self) -> Option<Inlet> {
        let Self::Steered(_, _, inlet) = self else { return None };
        let mut inlet = inlet.take()?;
        inlet.sockets().for_each(|(_, socket)| socket.give_all());
        Some(inlet)
    }

    /// Puts it back.
    pub(crate) fn put_inlet(&mut self, back: Option<Inlet>) {
        if let Self::Steered(_, _, inlet) = self {
            *inlet = back;
        }
    }
}
