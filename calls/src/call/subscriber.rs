//! Who gets copies of what parties of a call say: a recorder, or somebody who listens.

use std::time::SystemTime;

use border::PortPair;
use serde::{Deserialize, Serialize};

use super::leg::LegId;
use super::signalled::Signalled;
use crate::sdp::Formats;

/// Who gets copies. It is no party: it is not heard, and its packets prolong nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Subscriber {
    #[serde(with = "serde_bytes")]
    pub tag: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub label: Option<Vec<u8>>,
    pub created: SystemTime,
    /// How often it has been offered something: the version of its description.
    pub offers: u64,
    /// Whether it has said where it is. Before, nothing is sent.
    pub is_answered: bool,
    /// It gets nothing for now, as it was offered last.
    pub is_paused: bool,
    /// The medias of its description, in their order. One whose party is gone keeps its place.
    pub medias: Vec<CopiedMedia>,
}

/// A media that is copied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct CopiedMedia {
    /// The party whose media it is, and its number there; `None` when it is not copied any more.
    pub source: Option<(LegId, usize)>,
    /// The ports that copies come from.
    pub pair: PortPair,
    /// What it may be.
    pub formats: Formats,
    /// What the receiver says about it.
    pub said: Signalled,
}

impl Subscriber {
    /// Whether copies go to it now.
    pub(super) const fn is_served(&self) -> bool {
        self.is_answered && !self.is_paused
    }

    /// Whether it gets copies of what a party says, or is to get them.
    pub(super) fn hears(&self, leg: LegId) -> bool {
        self.sources().any(|source| source == leg)
    }

    /// The parties whose medias it gets, each once.
    pub(super) fn sources(&self) -> impl Iterator<Item = LegId> {
        let mut sources: Vec<LegId> = self.medias.iter().filter_map(|media| Some(media.source?.0)).collect();
        sources.sort_unstable();
        sources.dedup();
        sources.into_iter()
    }

    /// A party is not copied any more; its medias keep their places.
    pub(super) fn leave(&mut self, leg: LegId) {
        for media in &mut self.medias {
            media.source = media.source.filter(|(of, _)| *of != leg);
        }
    }
}
