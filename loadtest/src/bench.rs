//! Measurements. Each compares what it measures with something else in the same run, interleaved, because machines are shared and noisy.

mod bed;
mod cpu;
pub mod fastpath;
mod flood;
mod lane;
mod pace;
pub mod scale;
pub mod slowpath;
pub mod strangers;

pub use bed::Action;
pub use flood::Family;
