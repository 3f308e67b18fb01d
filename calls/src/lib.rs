//! What the proxy says and what becomes of it: the control protocols, the calls, and the session descriptions.
//!
//! ```text
//! datagram -> ng: frame, cookie, dictionary, decode -> Intent --> Calls -> FlowOps for the relay
//! datagram <- ng: frame, dictionary, encode <- Outcome <------------+
//!                                                                  sdp (a line-preserving editor)
//! ```
//!
//! Everything here is sans-IO: bytes, intents and the time are arguments; outcomes and changes of the flow table are
//! results. Nothing that a peer sends makes this code panic.

pub mod call;
pub mod intent;
pub mod ng;
pub mod outcome;
pub mod sdp;

pub use call::Calls;
pub use intent::Intent;
pub use outcome::Outcome;
