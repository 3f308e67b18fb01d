//! Time that a processor was busy.

use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Ticks of `/proc/stat` in a second (`USER_HZ`, fixed on x86 and arm64).
const TICK: Duration = Duration::from_millis(10);

/// A reading of how long a processor has been idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    at: Instant,
    idle: Duration,
}

impl Clock {
    /// Reads it.
    pub(super) fn read(processor: usize) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let name = format!("cpu{processor} ");
        let line = stat.lines().find_map(|line| line.strip_prefix(&name)).context("no such processor")?;
        // "user nice system idle iowait ...", in ticks.
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let (Some(idle), Some(waiting)) = (numbers.get(3), numbers.get(4)) else {
            anyhow::bail!("/proc/stat says: {line}")
        };
        Ok(Self { at: Instant::now(), idle: TICK * (idle + waiting) as u32 })
    }

    /// How long the processor has been busy since an earlier reading.
    pub(super) fn busy_since(self, earlier: Self) -> Duration {
        (self.at - earlier.at).saturating_sub(self.idle.saturating_sub(earlier.idle))
    }
}

/// How long the threads of a process that have this name have been at work.
pub(super) fn of_threads(process: u32, name: &str) -> anyhow::Result<Duration> {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == name {
            // "nanoseconds-at-work nanoseconds-waiting times-scheduled".
            let schedstat = std::fs::read_to_string(task.join("schedstat"))?;
            let at_work = schedstat.split(' ').next().context("no schedstat")?.parse()?;
            total += Duration::from_nanos(at_work);
        }
    }
    Ok(total)
}
