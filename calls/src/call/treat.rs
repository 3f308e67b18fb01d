//! Blocking, silencing and forwarding of media.

use std::time::Instant;

use super::calls::{Calls, Done};
use super::dialogue::Call;
use super::leg::LegId;
use super::treatments::Receiver;
use crate::intent::{Party, Towards, Treat, Treatment};
use crate::outcome::{Outcome, Refusal};

impl Calls {
    pub(super) fn treat(&mut self, treat: &Treat, now: Instant) -> Done {
        let Treat { treatment, is_on, .. } = *treat;
        let entry = self.calls.get(&treat.call_id).ok_or(Refusal::UnknownCallId)?;
        let mut draft = entry.call.clone();
        match draft.parties(&treat.party)? {
            None => {
                draft.treatments.set_all(treatment, is_on);
                if treat.forgets_parties && !is_on {
                    draft.treatments.forget_parties(treatment);
                }
            }
            Some(legs) if treat.towards == Towards::Anywhere => {
                legs.into_iter().for_each(|leg| draft.treatments.set_leg(leg, treatment, is_on));
            }
            Some(legs) => {
                for (leg, receiver) in draft.flows(&legs, &treat.towards)? {
                    draft.treatments.set_flow(leg, receiver, treatment, is_on);
                }
            }
        }
        let ops = self.replace(&treat.call_id, draft, now);
        let outcome = match (treatment, is_on) {
            (Treatment::Forward, true) => Outcome::DoneInPart("Forwarding is noted, but there is no recording yet"),
            (Treatment::Forward, false) | (Treatment::Block | Treatment::Silence, _) => Outcome::Done,
        };
        Ok((outcome, ops))
    }
}

impl Call {
    /// The legs of the parties that are meant; `None`: all, also of those that come later.
    pub(super) fn parties(&self, party: &Party) -> Result<Option<Vec<LegId>>, Refusal> {
        let some = |ids: Vec<_>, refusal| if ids.is_empty() { Err(refusal) } else { Ok(Some(ids)) };
        match party {
            Party::All => Ok(None),
            Party::Tag(tag) => some(self.find(tag).into_iter().collect(), Refusal::NoSuchTag),
            Party::Label(label) => some(self.labelled(label), Refusal::NoSuchLabel),
            Party::Address(address) => some(self.at(*address), Refusal::NoSuchAddress),
        }
    }

    /// The flows from some parties to those that are meant.
    fn flows(&self, legs: &[LegId], towards: &Towards) -> Result<Vec<(LegId, Receiver)>, Refusal> {
        let (receivers, none) = match towards {
            Towards::Tag(tag) => {
                let leg = self.find(tag).map(Receiver::Leg);
                let is_subscriber = self.subscribers.iter().any(|subscriber| subscriber.tag == *tag);
                let found = leg.or_else(|| is_subscriber.then(|| Receiver::Subscriber(tag.clone())));
                (vec![found.ok_or(Refusal::NoFlowToTag)?], Refusal::NoFlow)
            }
            Towards::Label(label) => {
                let named = |subscriber: &&super::subscriber::Subscriber| subscriber.label.as_ref() == Some(label);
                let subscribers = self.subscribers.iter().filter(named);
                let subscribers = subscribers.map(|subscriber| Receiver::Subscriber(subscriber.tag.clone()));
                let found: Vec<_> = self.labelled(label).into_iter().map(Receiver::Leg).chain(subscribers).collect();
                if found.is_empty() {
                    return Err(Refusal::NoFlowToLabel);
                }
                (found, Refusal::NoFlow)
            }
            Towards::Dialogue => (self.receivers(true, false), Refusal::NoFlows),
            Towards::Copies => (self.receivers(false, true), Refusal::NoFlows),
            Towards::Anywhere | Towards::Every => (self.receivers(true, true), Refusal::NoFlows),
        };
        let flows: Vec<_> = legs
            .iter()
            .flat_map(|leg| receivers.iter().map(|receiver| (*leg, receiver.clone())))
            .filter(|(leg, receiver)| self.has_flow(*leg, receiver))
            .collect();
        if flows.is_empty() { Err(none) } else { Ok(flows) }
    }

    /// Everybody who may be sent something: parties, and who gets copies.
    fn receivers(&self, legs: bool, subscribers: bool) -> Vec<Receiver> {
        let legs = self.legs.keys().filter(|_| legs).map(|id| Receiver::Leg(*id));
        let subscribers = self.subscribers.iter().filter(|_| subscribers);
        legs.chain(subscribers.map(|subscriber| Receiver::Subscriber(subscriber.tag.clone()))).collect()
    }

    fn has_flow(&self, leg: LegId, to: &Receiver) -> bool {
        match to {
            Receiver::Leg(other) => self.partner(leg) == Some(*other),
            Receiver::Subscriber(tag) => {
                self.subscribers.iter().any(|subscriber| subscriber.tag == *tag && subscriber.hears(leg))
            }
        }
    }
}
