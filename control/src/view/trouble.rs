//! What is wrong with a call, as far as its packets tell.

use std::time::{Duration, Instant};

use border::Component;
use calls::outcome::{CallAccount, MediaAccount, PartyAccount, SourceAccount};
use calls::sdp::Direction;
use serde::{Deserialize, Serialize};

use super::text::text;

/// Media that should flow, and has not for so long, is missed. What is told of packets is a second old at most.
const PATIENCE: Duration = Duration::from_secs(4);

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "trouble")]
pub enum Trouble {
    /// Nobody is heard.
    Silent,
    /// One is heard, and the other is not.
    OneWay {
        /// The tag of whoever is not heard.
        unheard: String,
        /// Where its packets should come to.
        local: String,
        /// From where, as far as is known.
        peer: Option<String>,
        /// Whether it was heard before.
        was_heard: bool,
    },
}

/// A source that should have packets.
struct Expected<'a> {
    party: &'a PartyAccount,
    source: &'a SourceAccount,
    last: Option<Instant>,
}

/// What is wrong with a call that two or more have agreed on for a while.
pub(super) fn troubles(account: &CallAccount) -> Vec<Trouble> {
    let (now, wall) = account.now;
    let is_new = wall.duration_since(account.last_signal).is_ok_and(|since| since < PATIENCE);
    // Who has no partner yet rings, and a party that was just signalled may well not have begun.
    if is_new {
        return Vec::new();
    }
    let mut expected = Vec::new();
    for party in account.parties.iter().filter(|party| party.partner.is_some()) {
        for media in party.medias.iter().filter(|media| is_to_send(media)) {
            let rtp =
                media.sources.iter().filter(|source| source.component == Component::Rtp && !source.sinks.is_empty());
            expected.extend(rtp.map(|source| Expected {
                party,
                source,
                last: source.totals.as_ref().and_then(border::SourceTotals::last_packet),
            }));
        }
    }
    let is_heard = |one: &Expected<'_>| one.last.is_some_and(|last| now.saturating_duration_since(last) < PATIENCE);
    let (heard, unheard): (Vec<_>, Vec<_>) = expected.into_iter().partition(is_heard);
    if heard.is_empty() {
        return if unheard.is_empty() { Vec::new() } else { vec![Trouble::Silent] };
    }
    unheard.into_iter().map(one_way).collect()
}

/// Whether the party says that it sends, and nothing is in its way.
fn is_to_send(media: &MediaAccount) -> bool {
    let Some((direction, _)) = media.flow else { return false };
    matches!(direction, Direction::SendRecv | Direction::SendOnly) && !media.is_blocked
}

fn one_way(one: Expected<'_>) -> Trouble {
    let Expected { party, source, last } = one;
    let peer = source.totals.as_ref().and_then(|totals| totals.peer).or(source.signalled);
    Trouble::OneWay {
        unheard: party.tag.as_deref().map(text).unwrap_or_default(),
        local: source.local.to_string(),
        peer: peer.map(|peer| peer.to_string()),
        was_heard: last.is_some(),
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent => f.write_str("nobody is heard"),
            Self::OneWay { unheard, local, peer, was_heard } => {
                let since = if *was_heard { "any more" } else { "at all" };
                write!(f, "one way: {unheard} is not heard {since} at {local}")?;
                peer.as_ref().map_or(Ok(()), |peer| write!(f, ", where {peer} should send to"))
            }
        }
    }
}
