//! What the operator decided about calls.

use std::time::Duration;

use border::Learning;

/// What the operator decided about calls.
#[derive(Clone, PartialEq, Debug)]
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
    /// How long a call lasts at most; `None`: as long as it likes.
    pub final_timeout: Option<Duration>,
    /// How long a deleted call goes on, unless the delete says otherwise.
    pub delete_delay: Duration,
    /// What new calls are refused at.
    pub limits: Limits,
    /// What is done about words that need a part of the relay which does not exist yet.
    pub unsupported: Unsupported,
}

/// What new calls are refused at; `None`: never. Calls that stand are not touched.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Limits {
    /// How many calls there may be at once.
    pub sessions: Option<usize>,
    /// The host's load average over one minute.
    pub load: Option<f64>,
    /// How busy the host's processors are, in percent.
    pub cpu: Option<f64>,
    /// Bytes of media in a second.
    pub bandwidth: Option<u64>,
}

/// What is done about words that need a part of the relay which does not exist yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unsupported {
    /// They are logged once, and the command is carried out without them.
    #[default]
    Ignore,
    /// The command is refused.
    Refuse,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tos: None,
            learning: Learning::default(),
            timeout: Duration::from_secs(60),
            silent_timeout: Duration::from_secs(3600),
            offer_timeout: Duration::from_secs(3600),
            final_timeout: None,
            delete_delay: Duration::from_secs(30),
            limits: Limits::default(),
            unsupported: Unsupported::default(),
        }
    }
}
