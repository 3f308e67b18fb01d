//! The NG protocol: dictionaries, in bencode or JSON, behind a cookie.
//!
//! ```text
//! datagram -> frame (cookie, encoding) -> bencode | json -> Value -> Command
//!                 |                                                     |
//!              cookies (a reply that was sent before)            Reply -> Value -> the encoding of the request
//! ```

pub mod bencode;
pub mod cookies;
pub mod decode;
pub mod encode;
pub mod exchange;
pub mod frame;
pub mod json;
mod ledger;
mod noticed;
mod scan;
pub mod value;

pub use cookies::{Answered, Cookies};
pub use exchange::{Exchange, Lacked, Loaded};
pub use frame::{Encoding, Frame};
pub use ledger::{Proxy, ProxyAccount, Transport, TransportAccount};
pub use noticed::Noticed;
pub use scan::Scan;
pub use value::{Dict, Value};

/// The longest message that is read, in bytes. A UDP datagram is never longer.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// How many lists and dictionaries may stand inside each other.
pub const MAX_DEPTH: usize = 16;
