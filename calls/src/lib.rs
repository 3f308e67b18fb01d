//! What the proxy says and what becomes of it: the control protocols, the calls, and the session descriptions.
//!
//! ```text
//! datagram -> ng (frame, cookie, bencode or JSON) -> Command -> Calls -> Reply, and FlowOps for the relay
//!                                                                |
//!                                                               sdp (a line-preserving editor)
//! ```
//!
//! Everything here is sans-IO: bytes, commands and the time are arguments; replies and changes of the flow table are
//! results. Nothing that a peer sends makes this code panic.

pub mod call;
pub mod command;
pub mod ng;
pub mod reply;
pub mod sdp;

pub use call::Calls;
pub use command::Command;
pub use reply::Reply;
