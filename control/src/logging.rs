//! The log: lines are written by a thread of their own, and who causes many of one kind does not fill it.
//!
//! A command never waits for whoever reads the log. Where that one is too slow, lines are lost, and counted.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, Filter, Layer as _, SubscriberExt as _};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Lines that may wait for their thread, of a hundred bytes or two each.
const LINES: usize = 16_384;
/// So many warnings and errors from one place in the program are written within [`WINDOW`], and the others are counted.
const MOST: u32 = 50;
const WINDOW: Duration = Duration::from_secs(10);

/// The log of this process.
pub struct Logging {
    set_level: Box<dyn Fn(LevelFilter) -> Result<(), reload::Error> + Send>,
    limits: Arc<Limits>,
    lost: ErrorCounter,
    told_lost: usize,
    _writer: WorkerGuard,
}

impl Logging {
    /// Begins to write the log on standard error.
    pub fn start(level: Level, format: LogFormat) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .thread_name("log")
            .buffered_lines_limit(LINES)
            .lossy(true)
            .finish(std::io::stderr());
        let (lost, limits) = (writer.error_counter(), Arc::<Limits>::default());
        // A file is searched, not looked at.
        let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(std::io::stderr().is_terminal());
        let lines = match format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        let (level, handle) = reload::Layer::new(LevelFilter::from_level(level));
        tracing_subscriber::registry().with(level).with(lines.with_filter(Limit(Arc::clone(&limits)))).init();
        let set_level = Box::new(move |level| handle.reload(level));
        Self { set_level, limits, lost, told_lost: 0, _writer: guard }
    }

    /// Writes lines of this level from now on.
    pub fn set_level(&self, level: Level) {
        if let Err(error) = (self.set_level)(LevelFilter::from_level(level)) {
            tracing::warn!(%error, "the level of the log stays as it is");
        }
    }

    /// Tells what was left out since the last time; to be called every few seconds.
    pub fn tell(&mut self) {
        for (place, count) in self.limits.take() {
            tracing::warn!(count, place, "more lines like those before were left out");
        }
        let lost = self.lost.dropped_lines();
        if lost > self.told_lost {
            tracing::warn!(lines = lost - self.told_lost, "lines of the log are lost: whoever reads it is too slow");
            self.told_lost = lost;
        }
    }
}

/// How many lines each place in the program has written of late.
#[derive(Default)]
struct Limits(Mutex<HashMap<Identifier, Written>>);

struct Written {
    since: Instant,
    lines: u32,
    /// Of those, how many were left out and have not been told.
    left_out: u32,
    place: String,
}

impl Limits {
    /// Whether one more line is written.
    fn admit(&self, metadata: &Metadata<'_>, now: Instant) -> bool {
        if *metadata.level() > Level::WARN {
            return true;
        }
        let mut places = self.lock();
        let written = places.entry(metadata.callsite()).or_insert_with(|| Written {
            since: now,
            lines: 0,
            left_out: 0,
            place: format!("{}:{}", metadata.target(), metadata.line().unwrap_or(0)),
        });
        if now.saturating_duration_since(written.since) >= WINDOW {
            (written.since, written.lines) = (now, 0);
        }
        written.lines = written.lines.saturating_add(1);
        let is_admitted = written.lines <= MOST;
        written.left_out = written.left_out.saturating_add(u32::from(!is_admitted));
        is_admitted
    }

    /// The places that were left out, and how many lines.
    fn take(&self) -> Vec<(String, u32)> {
        let mut places = self.lock();
        let left_out = places.values_mut().filter(|written| written.left_out > 0);
        left_out.map(|written| (written.place.clone(), std::mem::take(&mut written.left_out))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identifier, Written>> {
        // Numbers, each whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves lines out.
struct Limit(Arc<Limits>);

impl<S: Subscriber> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.0.admit(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn who_causes_many_warnings_of_one_kind_is_counted_and_others_are_written() {
        let limits = Arc::<Limits>::default();
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer({
            let written = Arc::clone(&written);
            move || Sink(Arc::clone(&written))
        });
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(Limit(Arc::clone(&limits))));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..MOST + 7 {
                tracing::warn!(number, "again");
                tracing::info!("not limited");
            }
            tracing::warn!("another");
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!(count("again"), MOST as usize);
        assert_eq!(count("not limited"), MOST as usize + 7);
        assert_eq!(count("another"), 1);
        let [(_, left_out)] = &limits.take()[..] else { panic!("one place") };
        assert_eq!((*left_out, limits.take().len()), (7, 0), "it is told once");
    }

    #[test]
    fn after_a_while_lines_are_written_again() {
        let subscriber = tracing_subscriber::registry().with(Probe);
        tracing::subscriber::with_default(subscriber, || tracing::warn!("probe"));
    }

    /// Has each event pass the limit at two times.
    struct Probe;

    impl<S: Subscriber> tracing_subscriber::Layer<S> for Probe {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let (limits, now) = (Limits::default(), Instant::now());
            let admitted = (0..2 * MOST).filter(|_| limits.admit(event.metadata(), now)).count();
            assert_eq!(admitted, MOST as usize);
            assert!(limits.admit(event.metadata(), now + WINDOW));
        }
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
