//! Which legs of a call end, by the tags and branches that a proxy names, and what becomes of those that are left.

use std::time::Duration;

use super::dialogue::Call;
use super::leg::{Leg, LegId};
use super::moment::Moment;
use super::subscriber::Subscriber;
use crate::intent::Finality;

/// How long a phone rings at most: proxies end what lasts longer (RFC 3261 16.6, timer C).
const RINGING: Duration = Duration::from_secs(180);

/// How many branches that have ended are remembered.
const MAX_GONE: usize = 64;

impl Call {
    /// The legs that a delete ends: all without tags, those of one branch, or those of one dialogue. None if the tags are not ours.
    ///
    /// A party that several were offered to goes on with the others when one of them ends.
    pub(super) fn ended_by(&self, from: Option<&[u8]>, to: Option<&[u8]>, branch: Option<&[u8]>) -> Option<Vec<LegId>> {
        if to.is_none()
            && let Some(branch) = branch
        {
            let of_branch = |(_, leg): &(&LegId, &Leg)| leg.via_branch.as_deref() == Some(branch);
            let ended: Vec<LegId> = self.legs.iter().filter(of_branch).map(|(id, _)| *id).collect();
            if !ended.is_empty() {
                return Some(ended);
            }
            if self.gone.iter().any(|gone| gone == branch) {
                return None;
            }
        }
        let (tag, other) = match (from, to) {
            (None, None) => return Some(self.legs.keys().copied().collect()),
            // They may come in the order of the request that is ended or in that of the one that ends it, and one of them may have never answered.
            (Some(from), Some(to)) if self.find(from).is_none() => (to, Some(from)),
            (Some(from), to) => (from, to),
            (None, Some(to)) => (to, None),
        };
        // A party that has not answered may have any tag, also where it is the only one that is named.
        let nameless = || self.legs.keys().copied().find(|id| from.is_none() && self.is_nameless(*id));
        let id = self.find(tag).or_else(nameless)?;
        let partner = self.partner(id);
        let Some(other) = other else {
            // The dialogue, unless the party that it was with has found another one. Who called several ends with all of them.
            let mutual = partner.filter(|partner| self.partner(*partner) == Some(id));
            return Some(match mutual {
                Some(partner) if self.has_called_but(partner, id) => self.ended_with(id, partner, Finality::Final),
                mutual => [Some(id), mutual].into_iter().flatten().collect(),
            });
        };
        let Some(other) = self.find(other) else {
            // A party that has not answered may have any tag; others that ring go on.
            let of_branch = branch.and_then(|branch| self.branch(id, branch));
            let mut silent = self.branches(id).filter(|id| self.is_nameless(*id));
            let only = silent.next().filter(|_| silent.next().is_none());
            let nameless = of_branch.or(partner).filter(|id| self.is_nameless(*id)).or(only)?;
            return Some(if self.has_branch_but(id, nameless) { vec![nameless] } else { vec![id, nameless] });
        };
        match (partner == Some(other), self.partner(other) == Some(id)) {
            // Who hangs up has talked until then: others that have answered before are there only if that was said. A caller that has several ends
            // those that it does not want.
            (true, true) => {
                let is_callee = from == Some(tag) && self.has_called_but(other, id);
                let others = if is_callee { Finality::Final } else { Finality::Unknown };
                Some(self.ended_with(id, other, others))
            }
            // One that another one has taken the place of.
            (true, false) if self.has_branch_but(other, id) => Some(vec![id]),
            (false, true) if self.has_branch_but(id, other) => Some(vec![other]),
            (false, false) => None,
            (true, false) | (false, true) => Some(vec![id, other]),
        }
    }

    /// The legs that end with a dialogue. A party that called several goes on with another one that has answered, as certainly as that; those that have
    /// not will not do so any more, unless the one that ends had not answered either.
    fn ended_with(&self, one: LegId, two: LegId, least: Finality) -> Vec<LegId> {
        let (caller, callee) = if self.has_called_but(two, one) { (two, one) } else { (one, two) };
        let others: Vec<LegId> = self.branches(caller).filter(|branch| *branch != callee).collect();
        let is_ringing = !others.is_empty() && !self.has_answered(callee);
        if is_ringing || others.iter().filter_map(|id| self.leg(*id)).any(|leg| leg.finality >= least) {
            return vec![callee];
        }
        [caller, callee].into_iter().chain(others).collect()
    }

    /// Whether a party has answered for good, as far as is known.
    pub(super) fn has_answered(&self, id: LegId) -> bool {
        self.leg(id).is_some_and(Leg::has_answered)
    }

    /// Ends legs, and with them those that talk with nobody any more, and copies of what they said.
    pub(super) fn end(&mut self, ended: &[LegId]) {
        let before: Vec<LegId> = self.legs.keys().copied().collect();
        self.end_legs(ended);
        for id in before.into_iter().filter(|id| !self.legs.contains_key(id)) {
            self.treatments.forget(id);
            self.subscribers.iter_mut().for_each(|subscriber| subscriber.leave(id));
            self.playing.retain(|playing| playing.leg != id);
        }
        let (gone, left) = std::mem::take(&mut self.subscribers)
            .into_iter()
            .partition(|subscriber: &Subscriber| subscriber.sources().next().is_none());
        self.subscribers = left;
        for subscriber in gone {
            self.treatments.forget_subscriber(&subscriber.tag);
        }
    }

    fn end_legs(&mut self, ended: &[LegId]) {
        let branches: Vec<_> = ended.iter().filter_map(|id| self.leg(*id)?.via_branch.clone()).collect();
        for branch in branches {
            if self.gone.len() < MAX_GONE && !self.gone.contains(&branch) {
                self.gone.push(branch);
            }
        }
        self.legs.retain(|id, _| !ended.contains(id));
        loop {
            let lost = |(_, leg): &(&LegId, &Leg)| leg.other.is_none_or(|other| !self.legs.contains_key(&other));
            let Some(id) = self.legs.iter().find(lost).map(|(id, _)| *id) else { return };
            let next = self.next_of(id, &[]);
            match (next, self.leg_mut(id)) {
                (Some(_), Some(leg)) => leg.other = next,
                _ => drop(self.legs.remove(&id)),
            }
        }
    }

    /// Whether a party has called another one than that: whom it called came after it.
    fn has_called_but(&self, id: LegId, other: LegId) -> bool {
        self.branches(id).any(|branch| branch != other && branch > id)
    }

    /// Of the parties that another one called, but for some, the one to talk with: that has answered last.
    fn next_of(&self, id: LegId, but: &[LegId]) -> Option<LegId> {
        let left = self.branches(id).filter(|branch| !but.contains(branch));
        left.filter_map(|branch| Some((branch, self.leg(branch)?)))
            .max_by_key(|(id, leg)| (leg.finality, leg.has_spoken, leg.answer, *id))
            .map(|(id, _)| id)
    }

    /// Joins parties whose partner is to end with another one that has answered them before: they have waited for that. Where nobody has, whoever may
    /// still ring is given so much time.
    pub(super) fn hand_over(&mut self, ended: &[LegId], now: Moment) {
        for id in ended {
            let Some(left) = self.partner(*id).filter(|left| !ended.contains(left) && self.partner(*left) == Some(*id))
            else {
                continue;
            };
            let next = self.next_of(left, ended);
            if next.is_some_and(|next| self.has_answered(next)) {
                self.is_handed_over = true;
                if let Some(leg) = self.leg_mut(left) {
                    leg.other = next;
                }
            } else if self.has_answered(*id) {
                let silent: Vec<LegId> =
                    self.branches(left).filter(|branch| !ended.contains(branch)).chain([left]).collect();
                self.end_at(&silent, now + RINGING);
            }
        }
    }

    /// Ends legs later; sooner if that was said before.
    pub(super) fn end_at(&mut self, ended: &[LegId], at: Moment) {
        for id in ended {
            if let Some(leg) = self.leg_mut(*id) {
                leg.ends = Some(leg.ends.map_or(at, |before| before.min(at)));
            }
        }
    }

    /// The legs whose end has come.
    pub(super) fn ending(&self, now: Moment) -> Vec<LegId> {
        let is_due = |(_, leg): &(&LegId, &Leg)| leg.ends.is_some_and(|at| at <= now);
        self.legs.iter().filter(is_due).map(|(id, _)| *id).collect()
    }

    /// Whether all legs have ended.
    pub(super) fn is_over(&self) -> bool {
        self.legs.is_empty()
    }
}
