//! A timer wheel: what is due within the next moments, in the order of its milliseconds.

use std::time::{Duration, Instant};

/// Places of the wheel, each a millisecond: what is due later than that waits for another round.
const PLACES: usize = 64;

/// A time in milliseconds since the wheel began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Tick(pub(crate) u64);

impl Tick {
    /// So many milliseconds later.
    pub(crate) const fn after(self, time: Duration) -> Self {
        Self(self.0 + time.as_millis() as u64)
    }
}

/// Things that are due at some tick.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    began: Instant,
    /// What is due up to here has been taken.
    now: Tick,
    places: [Vec<(Tick, T)>; PLACES],
    /// A bit for each place that has something.
    taken: u64,
}

impl<T> Wheel<T> {
    /// An empty wheel, at tick 0.
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, now: Tick(0), places: std::array::from_fn(|_| Vec::new()), taken: 0 }
    }

    /// The tick of a time: the last that has begun.
    pub(crate) fn tick(&self, time: Instant) -> Tick {
        Tick(time.saturating_duration_since(self.began).as_millis() as u64)
    }

    /// Something is due at a tick. One that is over is the next one.
    pub(crate) fn insert(&mut self, at: Tick, item: T) {
        let at = at.max(Tick(self.now.0 + 1));
        let place = at.0 as usize % PLACES;
        if let Some(items) = self.places.get_mut(place) {
            items.push((at, item));
            self.taken |= 1 << place;
        }
    }

    /// Takes what is due by now, with its tick.
    pub(crate) fn due(&mut self, now: Tick) -> Vec<(Tick, T)> {
        let mut due = Vec::new();
        let last = now.0.min(self.now.0 + PLACES as u64);
        for tick in self.now.0 + 1..=last {
            let place = tick as usize % PLACES;
            if self.taken & 1 << place == 0 {
                continue;
            }
            if let Some(items) = self.places.get_mut(place) {
                due.extend(items.extract_if(.., |(at, _)| *at <= now));
                if items.is_empty() {
                    self.taken &= !(1 << place);
                }
            }
        }
        self.now = self.now.max(now);
        due
    }

    /// How long until something may be due; `None` when nothing is.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        if self.taken == 0 {
            return None;
        }
        let next = self.now.0 + 1;
        let ahead = self.taken.rotate_right((next % PLACES as u64) as u32).trailing_zeros();
        let at = self.began + Duration::from_millis(next + u64::from(ahead));
        Some(at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items<T>(due: Vec<(Tick, T)>) -> Vec<T> {
        due.into_iter().map(|(_, item)| item).collect()
    }

    #[test]
    fn things_are_due_at_their_tick_and_not_before() {
        let mut wheel = Wheel::new(Instant::now());
        for (tick, item) in [(20, 'b'), (5, 'a'), (20, 'c'), (150, 'd')] {
            wheel.insert(Tick(tick), item);
        }
        assert_eq!(items(wheel.due(Tick(4))), []);
        assert_eq!(items(wheel.due(Tick(19))), ['a']);
        assert_eq!(items(wheel.due(Tick(20))), ['b', 'c']);
        for tick in 21..150 {
            assert_eq!(items(wheel.due(Tick(tick))), [], "{tick}");
        }
        assert_eq!(items(wheel.due(Tick(1000))), ['d']);
        assert_eq!(wheel.wait(Instant::now()), None);
    }

    #[test]
    fn what_is_over_when_it_comes_is_due_next() {
        let mut wheel = Wheel::new(Instant::now());
        assert_eq!(items(wheel.due(Tick(100))), [0; 0]);
        wheel.insert(Tick(7), 1);
        assert_eq!(items(wheel.due(Tick(100))), []);
        assert_eq!(items(wheel.due(Tick(101))), [1]);
    }

    #[test]
    fn the_wait_ends_when_the_tick_begins() {
        let began = Instant::now();
        let mut wheel = Wheel::new(began);
        wheel.insert(Tick(20), ());
        let at = |micros| began + Duration::from_micros(micros);
        assert_eq!(wheel.wait(at(500)), Some(Duration::from_micros(19_500)));
        assert_eq!(wheel.wait(at(30_000)), Some(Duration::ZERO));
        assert_eq!((wheel.tick(at(19_999)), wheel.tick(at(20_000))), (Tick(19), Tick(20)));
        wheel.due(Tick(60));
        wheel.insert(Tick(60).after(Duration::from_millis(20)), ());
        assert_eq!(wheel.wait(at(60_000)), Some(Duration::from_millis(20)));
    }

    proptest::proptest! {
        #[test]
        fn everything_is_due_once_and_in_time(
            ticks in proptest::collection::vec((0..300u64, 0..300u64), 0..50),
        ) {
            let mut wheel = Wheel::new(Instant::now());
            let mut taken = vec![None; ticks.len()];
            for now in 0..=700 {
                for (number, (begins, at)) in ticks.iter().enumerate() {
                    if *begins == now {
                        wheel.insert(Tick(*at), number);
                    }
                }
                // Not every tick is looked at.
                if now % 3 == 0 {
                    for number in items(wheel.due(Tick(now))) {
                        proptest::prop_assert_eq!(taken[number].replace(now), None);
                    }
                }
            }
            for ((begins, at), taken) in ticks.into_iter().zip(taken) {
                let taken = taken.unwrap();
                let due = at.max(begins);
                proptest::prop_assert!((due..=due + 5).contains(&taken), "{} {} {}", begins, at, taken);
            }
        }
    }
}
