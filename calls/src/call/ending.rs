//! The end of calls: at once, or after a while in which packets that are still under way arrive.

use std::time::{Duration, Instant, SystemTime};

use border::{FlowOp, Meter};

use super::account::Account;
use super::calls::{Calls, Done};
use super::plan::plan;
use super::query::Tells;
use super::reading::Reading;
use super::sources::Sources;
use crate::intent::{Delete, Unsubscribe};
use crate::outcome::{End, Outcome, Refusal};

/// How long a deleted call goes on at most, whatever a command says.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// So many calls end at a time at most: others wait meanwhile.
const ENDS: usize = 32;

/// What is told at last: where packets go is nowhere then.
const LAST: Tells = Tells { sinks: false, partners: true };

impl Calls {
    pub(super) fn delete(&mut self, delete: &Delete, now: Instant, wall: SystemTime, meter: &dyn Meter) -> Done {
        let Delete { call_id, from_tag, to_tag, via_branch, .. } = delete;
        if let Some(tag) = [from_tag, to_tag].into_iter().flatten().find(|tag| self.is_receiver(call_id, tag)) {
            // Who gets copies is no party: its end is the copies' end, whoever it is named with.
            let receiver = Unsubscribe { call_id: call_id.clone(), to_tag: tag.clone(), from_tag: None };
            let (_, ops) = self.unsubscribe(&receiver, now)?;
            return Ok((Outcome::Ended(None), ops));
        }
        let found = self.calls.get(call_id).and_then(|entry| {
            let ended = entry.call.ended_by(from_tag.as_deref(), to_tag.as_deref(), via_branch.as_deref())?;
            Some((entry, ended))
        });
        let Some((entry, ended)) = found else {
            return if delete.fatal { Err(Refusal::NoMatch) } else { Ok((Outcome::NothingToEnd, Vec::new())) };
        };
        let reading = Reading::of(&entry.installed, meter);
        let account = (!delete.fast).then(|| Box::new(self.account(entry, LAST, (now, wall), &reading)));
        let seconds = delete.delay.or(entry.call.delete_delay).map(|seconds| Duration::from_secs(seconds.into()));
        let delay = seconds.unwrap_or(self.settings.delete_delay).min(LONGEST_DELAY);
        let mut draft = entry.call.clone();
        draft.hand_over(&ended, self.clock.at(now));
        if delay.is_zero() {
            draft.end(&ended);
        } else {
            draft.end_at(&ended, self.clock.at(now) + delay);
        }
        let ops = if draft.is_over() {
            self.remove(call_id, End::Regular, now, &reading)
        } else {
            self.replace(call_id, draft, now)
        };
        self.look_again(call_id);
        Ok((Outcome::Ended(account), ops))
    }

    /// Ends a call at once, because the operator wants it.
    pub(super) fn terminate(&mut self, call_id: &[u8], now: Instant, wall: SystemTime, meter: &dyn Meter) -> Done {
        let entry = self.calls.get(call_id).ok_or(Refusal::UnknownCall)?;
        let reading = Reading::of(&entry.installed, meter);
        let account = Box::new(self.account(entry, LAST, (now, wall), &reading));
        let ops = self.remove(call_id, End::Forced, now, &reading);
        Ok((Outcome::Ended(Some(account)), ops))
    }

    /// Whether a tag is that of somebody who gets copies, and of no party.
    fn is_receiver(&self, call_id: &[u8], tag: &[u8]) -> bool {
        self.calls.get(call_id).is_some_and(|entry| entry.call.is_receiver(tag))
    }

    /// Ends what was deleted a while ago, and was not heard of since; what is left, next time.
    pub(super) fn end_due(&mut self, now: Instant, meter: &dyn Meter) -> Vec<FlowOp> {
        let (moment, mut ops) = (self.clock.at(now), Vec::new());
        for _ in 0..ENDS {
            if self.ends.first().is_none_or(|(at, _)| *at > moment) {
                break;
            }
            let Some((_, call_id)) = self.ends.pop_first() else { break };
            let Some(entry) = self.calls.get_mut(&call_id) else { continue };
            entry.ends = None;
            let ending = entry.call.ending(moment);
            if ending.is_empty() {
                self.look_again(&call_id);
                continue;
            }
            let mut draft = entry.call.clone();
            draft.end(&ending);
            ops.extend(if draft.is_over() {
                self.remove(&call_id, End::Regular, now, meter)
            } else {
                self.replace(&call_id, draft, now)
            });
            self.look_again(&call_id);
        }
        ops
    }

    /// Puts a call on the list of those that are looked at, once, at its next time.
    pub(super) fn look_again(&mut self, call_id: &[u8]) {
        let Some(entry) = self.calls.get_mut(call_id) else { return };
        // Also when that is later than it was, or never: a leg that was to end may have come back.
        let next = entry.call.legs().filter_map(|leg| leg.ends).min();
        let planned = std::mem::replace(&mut entry.ends, next);
        if planned != next {
            if let Some(planned) = planned {
                self.ends.remove(&(planned, call_id.to_vec()));
            }
            self.ends.extend(next.map(|at| (at, call_id.to_vec())));
        }
    }

    /// Ends a call: its ports rest, and its streams go.
    pub(super) fn remove(&mut self, call_id: &[u8], why: End, now: Instant, meter: &dyn Meter) -> Vec<FlowOp> {
        let Some(entry) = self.calls.swap_remove(call_id) else { return Vec::new() };
        self.changed.push(call_id.to_vec());
        self.names.remove(&entry.call.number);
        if let Some(watched) = &mut self.watched {
            watched.note_ended(call_id);
        }
        if let Some(planned) = entry.ends {
            self.ends.remove(&(planned, call_id.to_vec()));
        }
        self.note_ended(call_id, &entry, why.word(), now, meter);
        let account = Account::of(&entry.installed, meter);
        account.log(call_id, why.name());
        let lasted = self.clock.at(now).since(entry.call.began);
        self.statistics.end(why, &account, (lasted, entry.call.is_answered()), self.calls.len());
        for pair in entry.call.pairs() {
            self.ports.release(pair, now);
        }
        self.note_announcements(call_id, &entry.call.playing, &[]);
        plan(&entry.installed, &Sources::new())
    }
}
