//! One page that shows how the relay is doing: everything it needs is in the program, and it asks nobody else.
//!
//! ```text
//! calls, relay -> watch (once a second, while somebody looks) -> stream (server-sent events) -> page
//! ```

mod page;
mod stream;
mod watch;

pub use page::{Dashboard, dashboard};
