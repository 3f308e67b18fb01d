//! Calls that have ended, for whoever keeps records of them.

use std::time::Instant;

use border::Meter;

use super::calls::{Calls, Entry};
use super::query::Tells;
use crate::outcome::EndedCall;

/// So many wait at most for whoever takes them: he does so after every command.
const MOST: usize = 65_536;

impl Calls {
    /// Accounts of ended calls are wanted from now on.
    pub fn keep_ended(&mut self) {
        self.ended.get_or_insert_default();
    }

    /// The calls that have ended since this was asked last.
    pub fn take_ended(&mut self) -> Vec<EndedCall> {
        self.ended.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A call has ended.
    pub(super) fn note_ended(
        &mut self,
        call_id: &[u8],
        entry: &Entry,
        reason: &'static str,
        now: Instant,
        meter: &dyn Meter,
    ) {
        if self.ended.as_ref().is_some_and(|ended| ended.len() < MOST) {
            let call = self.describe_ended(call_id, entry, reason, now, meter);
            self.ended.get_or_insert_default().push(call);
        }
    }

    /// The daemon ends, and all calls with it: the account of each.
    pub fn all_ended(&self, now: Instant, meter: &dyn Meter) -> impl Iterator<Item = EndedCall> {
        self.calls.iter().map(move |(id, entry)| self.describe_ended(id, entry, "stopped", now, meter))
    }

    fn describe_ended(
        &self,
        call_id: &[u8],
        entry: &Entry,
        reason: &'static str,
        now: Instant,
        meter: &dyn Meter,
    ) -> EndedCall {
        // By the clock that nobody sets.
        let wall = entry.call.created + self.clock.at(now).since(entry.call.began);
        let tells = Tells { sinks: true, partners: false };
        EndedCall { call_id: call_id.to_vec(), reason, account: self.account(entry, tells, (now, wall), meter) }
    }
}
