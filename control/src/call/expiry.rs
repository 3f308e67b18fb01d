//! The end of calls that nobody ended.

use std::fmt;
use std::time::{Duration, Instant};

use relay::{FlowOp, Meter};

use super::calls::{Calls, Entry};
use super::settings::Settings;

/// Which patience ran out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeout {
    /// An answered call without packets.
    Media,
    /// The same, but on hold.
    Silent,
    /// A call that nobody answered.
    Offer,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Media => "no media",
            Self::Silent => "no media while on hold",
            Self::Offer => "no answer",
        })
    }
}

/// A call that timed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpiredCall {
    /// Its Call-ID.
    pub call_id: Vec<u8>,
    /// Why.
    pub timeout: Timeout,
    /// How long there was no sign of life.
    pub idle: Duration,
}

impl Calls {
    /// Ends the calls of which nothing was heard for too long: no command, and no packet on any stream.
    ///
    /// To be called about once a second. The meter is only asked about calls whose time is up as far as is known.
    pub fn expire(&mut self, now: Instant, meter: &dyn Meter) -> (Vec<ExpiredCall>, Vec<FlowOp>) {
        let settings = &self.settings;
        let mut expired: Vec<_> =
            self.calls.iter_mut().filter_map(|(id, entry)| overdue(id, entry, settings, now, meter)).collect();
        expired.sort_by(|one, two| one.call_id.cmp(&two.call_id));
        let ops =
            expired.iter().flat_map(|call| self.remove(&call.call_id, &call.timeout.to_string(), now, meter)).collect();
        (expired, ops)
    }
}

fn overdue(id: &[u8], entry: &mut Entry, settings: &Settings, now: Instant, meter: &dyn Meter) -> Option<ExpiredCall> {
    let (timeout, patience) = if !entry.call.is_answered() {
        (Timeout::Offer, settings.offer_timeout)
    } else if entry.call.is_quiet() {
        (Timeout::Silent, settings.silent_timeout)
    } else {
        (Timeout::Media, settings.timeout)
    };
    if now.saturating_duration_since(entry.call.alive) < patience {
        return None;
    }
    let packets = entry.installed.keys().filter_map(|slot| meter.totals(*slot)?.last_packet);
    entry.call.alive = packets.fold(entry.call.alive, Instant::max);
    let idle = now.saturating_duration_since(entry.call.alive);
    (idle >= patience).then(|| ExpiredCall { call_id: id.to_vec(), timeout, idle })
}
