//! How busy the host is, from `/proc`.

/// Reads the host's load. The processors' is that since the reading before.
#[derive(Debug, Default)]
pub struct HostLoad {
    /// Ticks of all processors, and those of them that were idle.
    last: Option<(u64, u64)>,
}

impl HostLoad {
    /// The load average over one minute, and how busy the processors were since the last reading, in percent. What cannot be read is zero: a
    /// system without `/proc` has no limits.
    pub fn read(&mut self) -> (f64, f64) {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let now = ticks(&read("/proc/stat"));
        let cpu = now.zip(self.last).map_or(0.0, |(now, last)| busy(last, now));
        self.last = now;
        (average(&read("/proc/loadavg")), cpu)
    }
}

fn average(loadavg: &str) -> f64 {
    loadavg.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// All ticks and the idle ones of the line of all processors (proc_stat(5)): idle and iowait are the fourth and fifth.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // What guests used is counted as user's already.
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((ticks.iter().sum(), idle))
}

fn busy(last: (u64, u64), now: (u64, u64)) -> f64 {
    let (all, idle) = (now.0.saturating_sub(last.0), now.1.saturating_sub(last.1));
    if all == 0 { 0.0 } else { 100.0 * all.saturating_sub(idle) as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_of_a_quarter_is_twenty_five_percent() {
        let before = ticks("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n").unwrap();
        let after = ticks("cpu  120 0 55 860 65 0 0 0 0 0\n").unwrap();
        assert!((busy(before, after) - 25.0).abs() < 1e-9);
        assert!(busy(after, after).abs() < 1e-9);
        assert_eq!(ticks("intr 5"), None);
    }

    #[test]
    fn the_load_average_is_the_first_number() {
        assert!((average("1.25 0.80 0.60 2/345 678") - 1.25).abs() < 1e-9);
        assert!(average("").abs() < 1e-9);
    }

    #[test]
    fn this_host_has_a_load() {
        let mut load = HostLoad::default();
        load.read();
        let (average, cpu) = load.read();
        assert!(average >= 0.0 && (0.0..=100.0).contains(&cpu));
    }
}
