//! How media of a call is treated: blocked, silenced, forwarded; of all parties, of one, or on its way from one to another.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::leg::LegId;
use crate::intent::Treatment;

/// Whom media goes to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) enum Receiver {
    /// Another party.
    Leg(LegId),
    /// Who gets copies, by its tag.
    Subscriber(Vec<u8>),
}

/// How media of a call is treated. Holds until it is said otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Treatments {
    /// What any party sends, also of those that come later.
    all: BTreeSet<Treatment>,
    /// What one party sends, wherever it goes.
    legs: BTreeSet<(LegId, Treatment)>,
    /// What one party sends to one other.
    flows: BTreeSet<(LegId, Receiver, Treatment)>,
}

impl Treatments {
    /// All parties' media is treated so from now on, or no longer.
    pub(super) fn set_all(&mut self, treatment: Treatment, is_on: bool) {
        if is_on {
            self.all.insert(treatment)
        } else {
            self.all.remove(&treatment)
        };
    }

    /// Nothing that was said of single parties holds any more; of flows it does.
    pub(super) fn forget_parties(&mut self, treatment: Treatment) {
        self.legs.retain(|(_, of)| *of != treatment);
    }

    /// What a party sends is.
    pub(super) fn set_leg(&mut self, leg: LegId, treatment: Treatment, is_on: bool) {
        let entry = (leg, treatment);
        if is_on {
            self.legs.insert(entry)
        } else {
            self.legs.remove(&entry)
        };
    }

    /// What a party sends to another is.
    pub(super) fn set_flow(&mut self, leg: LegId, to: Receiver, treatment: Treatment, is_on: bool) {
        let entry = (leg, to, treatment);
        if is_on {
            self.flows.insert(entry)
        } else {
            self.flows.remove(&entry)
        };
    }

    /// Whether everything that a party sends is treated so.
    pub(super) fn of_leg(&self, leg: LegId, treatment: Treatment) -> bool {
        self.all.contains(&treatment) || self.legs.contains(&(leg, treatment))
    }

    /// Whether what a party sends to another is treated so for that one alone.
    pub(super) fn of_flow(&self, leg: LegId, to: &Receiver, treatment: Treatment) -> bool {
        self.flows.iter().any(|(from, receiver, of)| (*from, receiver, *of) == (leg, to, treatment))
    }

    /// A leg for one more party that got the same offer is treated alike.
    pub(super) fn fork(&mut self, leg: LegId, fork: LegId) {
        let alike: Vec<_> =
            self.legs.iter().filter(|(of, _)| *of == leg).map(|(_, treatment)| (fork, *treatment)).collect();
        self.legs.extend(alike);
    }

    /// A leg has ended.
    pub(super) fn forget(&mut self, leg: LegId) {
        self.legs.retain(|(of, _)| *of != leg);
        self.flows.retain(|(from, to, _)| *from != leg && *to != Receiver::Leg(leg));
    }

    /// Nobody of a tag gets copies any more.
    pub(super) fn forget_subscriber(&mut self, tag: &[u8]) {
        self.flows.retain(|(_, to, _)| !matches!(to, Receiver::Subscriber(of) if of == tag));
    }
}
