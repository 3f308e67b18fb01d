//! How long threads and processors have been at work, from `/proc`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::Duration;

/// Each thread of a process that lives, by number, with its name and its time, as far as this user may know.
fn tasks(process: &str) -> HashMap<u32, (String, Duration)> {
    let mut found = HashMap::new();
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let number = task.file_name().to_str().and_then(|number| number.parse().ok());
        let worked = read("schedstat").split(' ').next().and_then(|time| time.parse().ok()).map(Duration::from_nanos);
        // One that has ended meanwhile has no name.
        let name = read("comm").trim().to_owned();
        if let (Some(number), Some(worked), false) = (number, worked, name.is_empty()) {
            found.insert(number, (role(name), worked));
        }
    }
    found
}

/// The threads that the kernel makes for a ring are one: each has its number in its name, and comes and goes.
fn role(name: String) -> String {
    if name.starts_with("iou-") { "io_uring".to_owned() } else { name }
}

/// The time of a process's threads by name; threads of the same name together.
pub fn threads(process: &str) -> BTreeMap<String, Duration> {
    let mut found = BTreeMap::new();
    for (name, worked) in tasks(process).into_values() {
        *found.entry(name).or_default() += worked;
    }
    found
}

/// The same of this process since it was first asked for, with those that have ended: it never becomes less.
#[derive(Clone, Debug, Default)]
pub struct ThreadTimes {
    living: HashMap<u32, (String, Duration)>,
    ended: BTreeMap<String, Duration>,
}

impl ThreadTimes {
    /// As of now.
    pub fn read(&mut self) -> BTreeMap<String, Duration> {
        self.update(tasks("self"))
    }

    fn update(&mut self, now: HashMap<u32, (String, Duration)>) -> BTreeMap<String, Duration> {
        for (number, (name, worked)) in &self.living {
            // Numbers are given again.
            let lives_on = now.get(number).is_some_and(|(same, more)| same == name && more >= worked);
            if !lives_on {
                *self.ended.entry(name.clone()).or_default() += *worked;
            }
        }
        self.living = now;
        let mut all = self.ended.clone();
        for (name, worked) in self.living.values() {
            *all.entry(name.clone()).or_default() += *worked;
        }
        all
    }
}

/// Ticks of a processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ticks {
    /// All.
    pub all: u64,
    /// Those at work.
    pub busy: u64,
    /// Those of interrupts, which is where XDP forwards.
    pub interrupts: u64,
}

impl Ticks {
    /// Those since then.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            busy: self.busy.saturating_sub(before.busy),
            interrupts: self.interrupts.saturating_sub(before.interrupts),
        }
    }

    /// As a share of all of them.
    pub fn share(self, of: u64) -> f64 {
        if self.all == 0 { 0.0 } else { of as f64 / self.all as f64 }
    }
}

/// The ticks of each processor of this host, by number.
pub fn processors() -> BTreeMap<u32, Ticks> {
    of_stat(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

/// Lines as `cpu0 user nice system idle iowait irq softirq steal ...` (proc_stat(5)).
fn of_stat(stat: &str) -> BTreeMap<u32, Ticks> {
    let of_line = |line: &str| {
        // That of all together has no number.
        let (number, ticks) = line.strip_prefix("cpu")?.split_once(' ')?;
        let number = number.parse().ok()?;
        // What guests used is counted as user's already.
        let ticks: Vec<u64> = ticks.split_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect();
        let [_, _, _, idle, waiting, hard, soft, ..] = ticks.as_slice() else { return None };
        let all = ticks.iter().sum::<u64>();
        Some((number, Ticks { all, busy: all - idle - waiting, interrupts: hard + soft }))
    };
    stat.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_told_apart_and_so_is_what_interrupts_took() {
        let found =
            of_stat("cpu  9 9 9 9 9 9 9 9\ncpu0 10 0 5 80 5 1 9 0 0 0\ncpu11 1 1 1 1 1 1 1 1 1 1\ncpu2 1 2\nintr 5\n");
        let first = Ticks { all: 110, busy: 25, interrupts: 10 };
        assert_eq!(found, BTreeMap::from([(0, first), (11, Ticks { all: 8, busy: 6, interrupts: 2 })]));
        let later = Ticks { all: 210, busy: 75, interrupts: 20 }.since(first);
        assert!((later.share(later.busy) - 0.5).abs() < 1e-9 && (later.share(later.interrupts) - 0.1).abs() < 1e-9);
        assert!(Ticks::default().share(0).abs() < 1e-9);
    }

    #[test]
    fn what_threads_that_have_ended_worked_stays_counted() {
        let seconds = |of: &[(u32, &str, u64)]| {
            let one =
                |&(number, name, time): &(u32, &str, u64)| (number, (role(name.to_owned()), Duration::from_secs(time)));
            of.iter().map(one).collect::<HashMap<_, _>>()
        };
        let mut times = ThreadTimes::default();
        let mut told = |of: &[(u32, &str, u64)]| {
            let all = times.update(seconds(of)).into_iter();
            all.map(|(name, time)| (name, time.as_secs())).collect::<Vec<_>>()
        };
        let named = |name: &str, time| (name.to_owned(), time);
        assert_eq!(told(&[(1, "worker-0", 5), (2, "iou-wrk-1", 3)]), [named("io_uring", 3), named("worker-0", 5)]);
        assert_eq!(told(&[(1, "worker-0", 6), (3, "iou-wrk-1", 1)]), [named("io_uring", 4), named("worker-0", 6)]);
        assert_eq!(
            told(&[(4, "worker-0", 1), (3, "log", 1)]),
            [named("io_uring", 4), named("log", 1), named("worker-0", 7)]
        );
    }

    #[test]
    fn this_process_has_threads_and_this_host_processors() {
        let named = std::thread::Builder::new().name("at-work".to_owned());
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = named.spawn(move || {
            tell.send(()).unwrap();
            stopped.recv().unwrap();
        });
        told.recv().unwrap();
        assert!(threads("self").contains_key("at-work"));
        stop.send(()).unwrap();
        thread.unwrap().join().unwrap();
        assert!(processors().values().all(|ticks| ticks.busy <= ticks.all) && !processors().is_empty());
        assert!(threads("none").is_empty());
    }
}
