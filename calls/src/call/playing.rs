//! What a party hears although nobody says it.

use std::sync::Arc;

use border::Announcement;
use media::{Law, Recording};

use super::leg::LegId;

/// What a party hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Playing {
    pub leg: LegId,
    /// The number of its media.
    pub media: usize,
    pub law: Law,
    /// What is played: it is in memory as long as somebody hears it.
    pub recording: Arc<Recording>,
    pub announcement: Arc<Announcement>,
}
