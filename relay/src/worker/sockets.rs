//! What a worker receives from and sends by.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::worker::bound::Inbox;
use crate::worker::socket::Senders;

/// The sockets of a worker.
pub(crate) enum Sockets {
    /// One socket for all media ports, which the steering program fills, and senders that bring their own headers.
    Steered(Arc<OwnedFd>, Senders),
    /// A socket for each media port.
    Bound(Inbox),
}

impl Sockets {
    /// None, and none will come.
    pub(crate) fn none() -> Self {
        Self::Bound(Inbox::closed())
    }
}
