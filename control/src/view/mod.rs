//! Calls and the relay as the command line, the metrics and whoever else watches see them: plain values that can be written as JSON.
//!
//! Names and meanings are a contract (`docs/console.md`): what is added is no change of version, what is renamed or removed is.

mod call;
mod relay;
mod text;
mod trouble;

pub use call::{CallView, ExtremesView, Summary, badness};
pub use relay::{Beside, HomerView, Itself, RelayView};
pub use text::text;
pub use trouble::Trouble;
