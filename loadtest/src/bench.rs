//! Measurements. Each compares what it measures with something else in the same run, interleaved, because machines are shared and noisy.

mod bed;
pub mod fastpath;
mod flood;
pub mod scale;
pub mod strangers;

pub use bed::Action;
pub use flood::Family;
