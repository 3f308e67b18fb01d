//! What a party hears although nobody says it.

use std::sync::Arc;

use border::Announcement;
use media::Law;

use super::leg::LegId;

/// What a party hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Playing {
    pub leg: LegId,
    /// The number of its media.
    pub media: usize,
    pub law: Law,
    pub announcement: Arc<Announcement>,
}
