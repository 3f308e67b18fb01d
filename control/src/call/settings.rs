//! What the operator decided about calls.

use std::time::Duration;

use relay::Learning;

/// What the operator decided about calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Type of service of all packets, unless a call says otherwise.
    pub tos: Option<u8>,
    /// How peers are learned, unless a call says otherwise.
    pub learning: Learning,
    /// How long a call without packets is kept.
    pub timeout: Duration,
    /// How long it is kept while every media is on hold: silence is what was asked for.
    pub silent_timeout: Duration,
    /// How long it is kept while nobody has answered: a phone may ring for long.
    pub offer_timeout: Duration,
    /// How many calls there may be at once.
    pub max_sessions: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tos: None,
            learning: Learning::default(),
            timeout: Duration::from_secs(60),
            silent_timeout: Duration::from_secs(3600),
            offer_timeout: Duration::from_secs(3600),
            max_sessions: None,
        }
    }
}
