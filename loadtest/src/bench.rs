//! Measurements. Each compares what it measures with something else in the same run, interleaved, because machines are shared and noisy.

pub mod fastpath;
mod flood;

pub use flood::Family;
