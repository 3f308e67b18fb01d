//! Measurements. Each compares what it measures with something else in the same run, interleaved, because machines are shared and noisy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

mod bed;
pub mod calls;
pub mod control;
mod cpu;
pub mod fastpath;
pub(crate) mod flood;
pub mod forecast;
pub mod gate;
pub(crate) mod lane;
pub mod looker;
pub mod observe;
pub(crate) mod pace;
mod plain;
mod reports;
mod running;
pub mod scale;
pub(crate) mod secured;
pub mod slowpath;
pub mod srtp;
pub mod strangers;
pub mod streams;
pub(crate) mod subject;
mod translation;

pub use bed::Action;
pub use flood::Family;

static IS_STOPPED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Has measurements end when this becomes true: they tidy up by returning.
pub fn stop_with(is_stopped: Arc<AtomicBool>) {
    let _only_the_first_counts = IS_STOPPED.set(is_stopped);
}

/// An error when the measurement shall end.
pub(crate) fn go_on() -> anyhow::Result<()> {
    let is_stopped = IS_STOPPED.get().is_some_and(|is_stopped| is_stopped.load(Ordering::Relaxed));
    anyhow::ensure!(!is_stopped, "interrupted");
    Ok(())
}
