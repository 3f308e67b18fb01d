//! What the relay as a whole has done, as `statistics` tells it.

use std::time::{Duration, Instant};

use super::account::Account;
use crate::outcome::{Answered, End, Ended, Lasted, MinuteAccount, QualityAccount};

/// Sums since the start, and of the last minute.
#[derive(Debug)]
pub(super) struct Statistics {
    began: Instant,
    /// Calls that were created.
    pub(super) created: u64,
    /// Calls that were refused because of a limit.
    pub(super) rejected: u64,
    ended: [u64; End::ALL.len()],
    /// Seconds that all ended calls lasted together, and their squares.
    duration: f64,
    duration2: f64,
    zero_way: u64,
    one_way: u64,
    answered: Answered,
    quality: QualityAccount,
    lost: i64,
    minute: Minute,
    last_minute: Minute,
    since: Instant,
}

/// What is told of a minute.
#[derive(Clone, Copy, Debug)]
struct Minute {
    fewest: usize,
    most: usize,
    duration: f64,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Minute {
    const fn new(calls: usize) -> Self {
        Self { fewest: calls, most: calls, duration: 0.0 }
    }
}

impl Statistics {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            created: 0,
            rejected: 0,
            ended: [0; End::ALL.len()],
            duration: 0.0,
            duration2: 0.0,
            zero_way: 0,
            one_way: 0,
            answered: Answered::default(),
            quality: QualityAccount::default(),
            lost: 0,
            minute: Minute::new(0),
            last_minute: Minute::new(0),
            since: now,
        }
    }

    /// A call has ended; so many are left.
    pub(super) fn end(&mut self, why: End, account: &Account, (lasted, is_answered): (Duration, bool), left: usize) {
        let ends = End::ALL.iter().zip(&mut self.ended).find(|(end, _)| **end == why);
        if let Some((_, count)) = ends {
            *count += 1;
        }
        let lasted = lasted.as_secs_f64();
        self.duration += lasted;
        self.duration2 += lasted * lasted;
        self.minute.duration += lasted;
        self.minute.fewest = self.minute.fewest.min(left);
        self.zero_way += account.silent_streams();
        self.one_way += account.one_way_streams();
        self.answered.ended += u64::from(is_answered);
        self.answered.unheard += u64::from(is_answered && account.silent_streams() > 0);
        self.answered.one_way += u64::from(is_answered && account.one_way_streams() > 0);
        account.quality().iter().for_each(|quality| self.quality.add(quality));
        self.lost += account.lost();
    }

    /// Once a second.
    pub(super) fn tick(&mut self, calls: usize, now: Instant) {
        self.minute.fewest = self.minute.fewest.min(calls);
        self.minute.most = self.minute.most.max(calls);
        if now.saturating_duration_since(self.since) >= MINUTE {
            self.since = now;
            self.last_minute = std::mem::replace(&mut self.minute, Minute::new(calls));
        }
    }

    /// The last whole minute.
    pub(super) const fn last_minute(&self) -> MinuteAccount {
        let Minute { fewest, most, duration } = self.last_minute;
        MinuteAccount { fewest, most, duration }
    }

    /// How long ago they began.
    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// How parties of ended calls received, and how many packets were lost.
    pub(super) const fn quality(&self) -> (&QualityAccount, i64) {
        (&self.quality, self.lost)
    }

    /// Calls that ended.
    pub(super) fn ended(&self) -> Ended {
        let lasted = Lasted { seconds: self.duration, squares: self.duration2 };
        Ended { by: self.ended, lasted, zero_way: self.zero_way, one_way: self.one_way, answered: self.answered }
    }
}
