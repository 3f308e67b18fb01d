//! SRTP between the relay and the party of a media: by keys of the relay's own and of the party, that no other party of the call knows.

use std::sync::Arc;

use media::srtp::{MasterKey, Mki, Suite};
use serde::{Deserialize, Serialize};

use super::signalled::Signalled;
use crate::intent::Sdes;
use crate::outcome::Refusal;
use crate::sdp::{Crypto, Profile};

/// Fills in what nobody can foresee.
pub(super) type Entropy = fn(&mut [u8]);

/// How a media is protected towards its party.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Security {
    /// What the relay has offered to the party, or answers its offer with.
    pub shown: Vec<Crypto>,
    /// What the party has offered last, and is answered.
    pub heard: Option<Crypto>,
    /// What both protect by: the party's line, and the relay's.
    pub agreed: Option<(Crypto, Crypto)>,
    /// How often there was an answer.
    pub renewals: u32,
    /// The party, which may do without (RFC 8643), does. What it was offered holds all the same: another answer may take it.
    pub is_declined: bool,
}

impl Security {
    /// For another party that got the same offer.
    pub(super) fn forked(&self) -> Self {
        Self { shown: self.shown.clone(), ..Self::default() }
    }

    /// By what packets are protected from now on, as far as that is agreed on.
    pub(super) fn keys(&self) -> Option<Arc<border::Security>> {
        let (theirs, ours) = self.agreed.as_ref().filter(|_| !self.is_declined)?;
        Some(Arc::new(border::Security { theirs: theirs.keys(), ours: ours.key.clone(), renewals: self.renewals }))
    }

    /// Whether nothing may be sent yet: there are to be keys, and there are none.
    pub(super) const fn is_awaited(&self) -> bool {
        self.agreed.is_none() && !self.is_declined
    }

    /// Offers the party what it may choose from: what it was offered before, or new keys.
    fn offer(&mut self, sdes: &Sdes, entropy: Entropy) -> Result<(), Refusal> {
        // A party that has made an offer is offered what it was answered, with the same key.
        self.shown.retain(|line| sdes.allows(line.suite()));
        for suite in sdes.offered() {
            if self.shown.iter().all(|line| line.suite() != suite) {
                let tag = self.shown.iter().map(|line| line.tag).max().unwrap_or(0) + 1;
                self.shown.extend(make(tag, suite, entropy));
            }
        }
        (self.heard, self.is_declined) = (None, false);
        if self.shown.is_empty() { Err(Refusal::NoCrypto) } else { Ok(()) }
    }

    /// Takes an offer of the party: the line that is in force where it is among them, or the first that is known.
    fn hear(&mut self, offered: &[Crypto], sdes: &Sdes, entropy: Entropy) -> Result<(), Refusal> {
        let is_known = |line: &&Crypto| sdes.allows(line.suite());
        let now = self.agreed.as_ref().map(|(theirs, _)| theirs.suite());
        let same = offered.iter().filter(is_known).find(|line| Some(line.suite()) == now);
        let best = || offered.iter().filter(is_known).min_by_key(|line| sdes.rank(line.suite()));
        let line = same.or_else(best).ok_or(Refusal::NoCrypto)?;
        let known = self.shown.iter().find(|shown| shown.suite() == line.suite());
        // No new key where the suite stays (RFC 4568 7.1.4: what has not changed is not to change).
        let ours = match known {
            Some(shown) => Crypto { tag: line.tag, ..shown.clone() },
            None => make(line.tag, line.suite(), entropy).ok_or(Refusal::NoCrypto)?,
        };
        (self.heard, self.shown, self.is_declined) = (Some(line.clone()), vec![ours], false);
        Ok(())
    }

    /// The party's offer has an answer.
    fn agree(&mut self) {
        if let (Some(theirs), [ours]) = (&self.heard, self.shown.as_slice()) {
            self.agreed = Some((theirs.clone(), ours.clone()));
        }
        self.renewals = self.renewals.wrapping_add(1);
    }

    /// Takes an answer of the party.
    fn take_answer(&mut self, answered: &[Crypto]) -> Result<(), Refusal> {
        let chosen = answered.iter().find_map(|line| {
            let is_it = |shown: &&Crypto| shown.tag == line.tag && shown.suite() == line.suite();
            Some((line.clone(), self.shown.iter().find(is_it)?.clone()))
        });
        let chosen = chosen.ok_or(Refusal::NoCrypto)?;
        // A key that is given up is never used again: its count would begin anew.
        if let Some((_, before)) = self.agreed.take().filter(|(_, before)| before.key != chosen.1.key) {
            self.shown.retain(|line| line.key != before.key);
        }
        (self.agreed, self.is_declined) = (Some(chosen), false);
        self.renewals = self.renewals.wrapping_add(1);
        Ok(())
    }
}

fn make(tag: u32, suite: Suite, entropy: Entropy) -> Option<Crypto> {
    let mut material = vec![0; suite.key_len() + suite.salt_len()];
    entropy(&mut material);
    let key = MasterKey::new(suite, &material, Mki::default()).ok()?;
    Some(Crypto { tag, key, others: Vec::new() })
}

/// What the party of an offer and the one that gets it see of a media's profile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// What the answerer is to see, where that is another than the offerer has said.
    pub to: Option<Profile>,
    /// What the answerer has said last, where it has spoken.
    pub had: Option<Profile>,
}

/// Decides on how a media is protected towards both parties of an offer: where one of them is to have it protected and the other not, where each
/// is to have keys of its own, or where one may do without (OSRTP): then the profile is a plain one, and there are keys all the same.
pub(super) fn offered(
    said: &Signalled,
    shown: Shown,
    [offerer, answerer]: [&mut Option<Security>; 2],
    sdes: &Sdes,
    entropy: Option<Entropy>,
) -> Result<(), Refusal> {
    if !said.open {
        // One that comes back gets other keys: its packets are counted from the beginning.
        (*offerer, *answerer) = (None, None);
        return Ok(());
    }
    let is_secured = |profile: Option<Profile>| profile.is_some_and(Profile::is_secured);
    let is_rtp = said.profile.is_some();
    let by_profile = (is_secured(said.profile), is_secured(shown.to.or(said.profile)));
    // What was taken or offered so once holds for further offers, whatever their scripts say.
    let has_taken = answerer.as_ref().is_some_and(|security| !security.is_declined);
    let offers = sdes.may_offer || has_taken && shown.had.is_some_and(|had| !had.is_secured());
    // Whoever gets offers of the relay's own does not see the party's.
    let has_keys = said.crypto.iter().any(|line| sdes.allows(line.suite()));
    let accepts = has_keys && (sdes.may_accept || offers || offerer.is_some());
    let (from, to) = (by_profile.0 || is_rtp && accepts, by_profile.1 || is_rtp && offers);
    let is_optional = (from, to) != by_profile;
    let is_ended_here = is_rtp && (from != to || from && (sdes.recrypt || is_optional));
    for (side, is_protected) in [(&mut *offerer, from), (&mut *answerer, to)] {
        if is_ended_here && is_protected {
            side.get_or_insert_default();
        } else {
            *side = None;
        }
    }
    let Some(entropy) = entropy.filter(|_| is_ended_here) else {
        return if is_ended_here { Err(Refusal::NoCrypto) } else { Ok(()) };
    };
    if let Some(security) = offerer {
        security.hear(&said.crypto, sdes, entropy)?;
    }
    if let Some(security) = answerer {
        security.offer(sdes, entropy)?;
    }
    Ok(())
}

/// Takes the answer to a media that was offered. `is_optional`: with a plain profile, so that the party may do without keys.
pub(super) fn answered(
    said: &Signalled,
    is_optional: bool,
    [offerer, answerer]: [&mut Option<Security>; 2],
) -> Result<(), Refusal> {
    if !said.open {
        (*offerer, *answerer) = (None, None);
        return Ok(());
    }
    match answerer {
        Some(security) if is_optional && said.crypto.is_empty() => {
            (security.is_declined, security.agreed) = (true, None);
        }
        Some(security) => security.take_answer(&said.crypto)?,
        None => {}
    }
    if let Some(security) = offerer {
        security.agree();
    }
    Ok(())
}

/// Whether packets of a media are protected between two parties, by keys that nobody else has: where both have named some, also under a plain profile
/// (RFC 8643).
pub(super) const fn passes_by(mine: &Signalled, theirs: &Signalled) -> bool {
    mine.secured || theirs.secured || !mine.crypto.is_empty() && !theirs.crypto.is_empty()
}
