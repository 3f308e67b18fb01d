//! The end of calls that nobody ended.

use std::time::{Duration, Instant};

use border::{FlowOp, Meter};

use super::calls::{Calls, Entry};
use super::moment::{Clock, Moment};
use super::settings::Settings;
use crate::outcome::End;

/// A call that timed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpiredCall {
    /// Its Call-ID.
    pub call_id: Vec<u8>,
    /// Why.
    pub timeout: End,
    /// How long there was no sign of life.
    pub idle: Duration,
}

impl Calls {
    /// Ends the calls of which nothing was heard for too long (no command, and no packet on any stream), those that have lasted for too long,
    /// and those that were deleted a while ago.
    ///
    /// Looks at one of so many parts of the calls, each time at the next: commands wait while it does. To be called so often that all have had
    /// their turn in about a second. The meter is only asked about calls whose time is up as far as is known.
    pub fn expire(&mut self, now: Instant, meter: &dyn Meter, parts: usize) -> (Vec<ExpiredCall>, Vec<FlowOp>) {
        let mut ops = self.end_due(now, meter);
        let clock = self.clock;
        self.statistics.tick(self.calls.len(), now);
        let settings = &self.settings;
        let first = if self.next < self.calls.len() { self.next } else { 0 };
        let last = (first + self.calls.len().div_ceil(parts.max(1))).min(self.calls.len());
        self.next = last;
        // One that ends has the last one take its place, whose turn then comes a second later.
        let part = self.calls.get_range_mut(first..last).into_iter().flatten();
        let mut expired: Vec<_> =
            part.filter_map(|(id, entry)| overdue(id, entry, settings, (clock, now), meter)).collect();
        expired.sort_by(|one, two| one.call_id.cmp(&two.call_id));
        ops.extend(expired.iter().flat_map(|call| self.remove(&call.call_id, call.timeout, now, meter)));
        (expired, ops)
    }
}

fn overdue(
    id: &[u8],
    entry: &mut Entry,
    settings: &Settings,
    (clock, now): (Clock, Instant),
    meter: &dyn Meter,
) -> Option<ExpiredCall> {
    let now = clock.at(now);
    let lasted = now.since(entry.call.began);
    if settings.final_timeout.is_some_and(|longest| lasted >= longest) {
        let idle = now.since(entry.call.alive);
        return Some(ExpiredCall { call_id: id.to_vec(), timeout: End::FinalTimeout, idle });
    }
    let idle = now.since(entry.call.alive);
    if idle < settings.timeout.min(settings.silent_timeout).min(settings.offer_timeout) {
        return None;
    }
    let (timeout, patience) = if !entry.call.is_answered() {
        (End::OfferTimeout, settings.offer_timeout)
    } else if entry.call.is_quiet() && !entry.call.is_handed_over {
        (End::SilentTimeout, settings.silent_timeout)
    } else {
        (End::Timeout, settings.timeout)
    };
    if idle < patience {
        return None;
    }
    // Who gets copies is no party: its reports prolong nothing.
    let of_parties = entry.installed.iter().filter(|(_, spec)| !spec.sinks.is_empty());
    let packets = of_parties.filter_map(|(slot, _)| meter.totals(*slot)?.last_packet());
    entry.call.alive = packets.map(|at| clock.at(at)).fold(entry.call.alive, Moment::max);
    let idle = now.since(entry.call.alive);
    (idle >= patience).then(|| ExpiredCall { call_id: id.to_vec(), timeout, idle })
}
