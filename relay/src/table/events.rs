//! What is told to the control plane unasked: a queue with a wake-up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use border::Event;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;

/// So many events wait at most: those of some thousand calls that are set up while control does something else.
const CAPACITY: usize = 1 << 14;

/// Events that nobody has taken yet. Whoever tells one never waits.
pub(crate) struct Events {
    queue: ArrayQueue<Event>,
    /// Events that there was no room for since that was last told.
    dropped: CachePadded<AtomicU64>,
    /// The other side has been notified, and has not begun to take.
    is_notified: CachePadded<AtomicBool>,
    notify: Box<dyn Fn() + Send + Sync>,
}

impl Events {
    /// None yet. `notify` is called when there is one, and not again until somebody takes.
    pub(crate) fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            queue: ArrayQueue::new(CAPACITY),
            dropped: CachePadded::default(),
            is_notified: CachePadded::default(),
            notify: Box::new(notify),
        }
    }

    /// Tells of an event. One that there is no room for is counted.
    pub(crate) fn tell(&self, event: Event) {
        if self.queue.push(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if !self.is_notified.swap(true, Ordering::AcqRel) {
            (self.notify)();
        }
    }

    /// The next event; at last, that some were lost.
    pub(crate) fn take(&self) -> Option<Event> {
        // First of all: what is told from here on is notified of again.
        self.is_notified.store(false, Ordering::Release);
        if let Some(event) = self.queue.pop() {
            return Some(event);
        }
        match self.dropped.swap(0, Ordering::Relaxed) {
            0 => None,
            dropped => Some(Event::Dropped(dropped)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use flow::SlotIndex;

    use super::*;

    fn events() -> (Events, Arc<AtomicUsize>) {
        let notified = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&notified);
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        (Events::new(count), notified)
    }

    fn silent(call: u64) -> Event {
        Event::Silent { call, slot: SlotIndex(0) }
    }

    #[test]
    fn whoever_takes_is_notified_once_until_it_takes() {
        let (events, notified) = events();
        (0..3).for_each(|call| events.tell(silent(call)));
        assert_eq!(notified.load(Ordering::Relaxed), 1);
        let taken: Vec<_> = std::iter::from_fn(|| events.take()).collect();
        assert_eq!(taken, [silent(0), silent(1), silent(2)]);
        events.tell(silent(3));
        assert_eq!((notified.load(Ordering::Relaxed), events.take()), (2, Some(silent(3))));
    }

    #[test]
    fn a_full_queue_says_how_many_it_has_lost() {
        let (events, _) = events();
        (0..CAPACITY as u64 + 5).for_each(|call| events.tell(silent(call)));
        let taken: Vec<_> = std::iter::from_fn(|| events.take()).collect();
        assert_eq!(
            (taken.len(), taken.first(), taken.last()),
            (CAPACITY + 1, Some(&silent(0)), Some(&Event::Dropped(5)))
        );
        assert_eq!(events.take(), None);
    }

    #[test]
    fn no_event_waits_without_a_notification() {
        let (sender, notifications) = crossbeam::channel::unbounded();
        let events = Events::new(move || {
            let _nobody_takes = sender.send(());
        });
        let (told, heard) = (Arc::new(events), Arc::new(AtomicUsize::new(0)));
        std::thread::scope(|scope| {
            let (told, heard) = (&told, &heard);
            for _ in 0..2 {
                scope.spawn(move || (0..10_000).for_each(|call| told.tell(silent(call))));
            }
            scope.spawn(move || {
                // Takes only when notified, as control does.
                while heard.load(Ordering::Relaxed) < 20_000
                    && notifications.recv_timeout(std::time::Duration::from_secs(5)).is_ok()
                {
                    while let Some(event) = told.take() {
                        let count = if let Event::Dropped(count) = event { count as usize } else { 1 };
                        heard.fetch_add(count, Ordering::Relaxed);
                    }
                }
            });
        });
        assert_eq!(heard.load(Ordering::Relaxed), 20_000);
    }
}
