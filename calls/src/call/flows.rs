//! Who may be heard by whom, and since when: what is signalled without a change of that is no new beginning.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Instant;

use super::dialogue::Call;
use crate::intent::Treatment;

/// That of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flows {
    /// What tells one state from others.
    state: u64,
    pub(super) since: Instant,
}

impl Flows {
    pub(super) fn of(call: &Call, now: Instant) -> Self {
        let mut state = DefaultHasher::new();
        call.is_answered().hash(&mut state);
        for (id, leg) in &call.legs {
            (id.0, leg.other.map(|other| other.0), call.treats_leg(*id, Treatment::Block)).hash(&mut state);
            for media in &leg.medias {
                let said = &media.said;
                (said.open, said.direction as u8, said.held, media.pair.is_some()).hash(&mut state);
            }
        }
        Self { state: state.finish(), since: now }
    }

    /// As they are from now on, if they are others.
    pub(super) const fn follow(&mut self, now: Self) {
        if now.state != self.state {
            *self = now;
        }
    }
}
