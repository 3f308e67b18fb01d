//! What is wrong with a call, as far as its packets tell.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use border::{Component, Passes};
use calls::outcome::{CallAccount, MediaAccount, PartyAccount, SourceAccount};
use calls::sdp::Direction;
use serde::{Deserialize, Serialize};

use super::text::text;

/// Media that should flow, and has not for so long, is missed. What is told of packets is a second old at most.
const PATIENCE: Duration = Duration::from_secs(3);

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
    let (now, _) = account.now;
    // Who has just been asked to speak may well not have begun. What is signalled without a change of that is no excuse.
    let is_new = now.saturating_duration_since(account.flows_since) < PATIENCE;
    if is_new || !account.is_answered {
        return Vec::new();
    }
    // The parties of a fork share some.
    let mut seen = HashSet::new();
    let expected: Vec<_> = expected(account).filter(|one| seen.insert(one.source.slot)).collect();
    let is_heard = |one: &Expected<'_>| one.last.is_some_and(|last| now.saturating_duration_since(last) < PATIENCE);
    let (heard, unheard): (Vec<_>, Vec<_>) = expected.into_iter().partition(is_heard);
    if heard.is_empty() {
        return if unheard.is_empty() { Vec::new() } else { vec![Trouble::Silent] };
    }
    unheard.into_iter().map(one_way).collect()
}

/// The sources of audio that one says it sends and the other one that it wants: others may well be quiet for long.
fn expected(account: &CallAccount) -> impl Iterator<Item = Expected<'_>> {
    account.parties.iter().flat_map(|party| {
        let partner = account.parties.iter().find(|other| other.tag.is_some() && other.tag == party.partner);
        // Whose call is over need not speak any more, nor be spoken to.
        let partner = partner.filter(|partner| !partner.is_leaving && !party.is_leaving);
        let theirs = partner.map(|partner| partner.medias.as_slice()).unwrap_or_default();
        let medias = party.medias.iter().zip(theirs).filter(|(mine, theirs)| sends(mine) && wants(theirs));
        medias.flat_map(move |(mine, _)| {
            let rtp = mine.sources.iter().filter(|source| source.component == Component::Rtp && leads(source));
            rtp.map(move |source| {
                let last = source.totals.as_ref().and_then(border::SourceTotals::last_packet);
                Expected { party, source, last }
            })
        })
    })
}

/// Whether the party says that it sends audio, and nothing is in its way.
fn sends(media: &MediaAccount) -> bool {
    let Some((direction, is_held)) = media.flow else { return false };
    let is_audio = media.kind.eq_ignore_ascii_case(b"audio");
    is_audio && matches!(direction, Direction::SendRecv | Direction::SendOnly) && !is_held && !media.is_blocked
}

/// Whether the party says that it wants to hear something.
fn wants(media: &MediaAccount) -> bool {
    let Some((direction, is_held)) = media.flow else { return false };
    matches!(direction, Direction::SendRecv | Direction::RecvOnly) && !is_held
}

/// Whether somebody gets what comes.
fn leads(source: &SourceAccount) -> bool {
    source.sinks.iter().any(|sink| sink.passes != Passes::Nothing)
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::SystemTime;

    use border::{Counts, Interfaces, Meter, Path, Ports, Reason, SlotIndex, SourceTotals, Untrusted};
    use calls::call::{Calls, Settings};
    use calls::intent::{Answer, Intent, Offer, Options};
    use calls::outcome::Outcome;

    use super::*;

    /// Those who are heard, each packet of them now.
    struct Heard(Vec<SlotIndex>, Instant);

    impl Meter for Heard {
        fn counts(&self) -> Counts {
            Counts::default()
        }

        fn totals(&self, slot: SlotIndex) -> Option<SourceTotals> {
            Some(SourceTotals {
                fast_packets: 0,
                slow_packets: 0,
                bytes: 0,
                errors: 0,
                lost: 0,
                late: 0,
                ssrc_changes: 0,
                jitter_ms: None,
                ssrc: None,
                peer: None,
                confirmed: false,
                last_fast: self.0.contains(&slot).then_some(self.1),
                last_slow: None,
                quality: Vec::new(),
                path: Path::Slow(Reason::NotLearned),
                intake: None,
                sinks: vec![border::SinkState {
                    sink: border::Sink::dialogue(SlotIndex(slot.0 ^ 2)),
                    from: None,
                    to: None,
                    reason: None,
                }],
            })
        }

        fn judge(&self, _: IpAddr, _: IpAddr) -> Result<(), Untrusted> {
            Ok(())
        }
    }

    struct Rig {
        calls: Calls,
        start: (Instant, SystemTime),
        heard: Vec<SlotIndex>,
    }

    fn sdp(kind: &str, direction: &str) -> Vec<u8> {
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm={kind} 4000 RTP/AVP 8\r\na={direction}\r\n"
        )
        .into_bytes()
    }

    impl Rig {
        fn new() -> Self {
            let interfaces = Interfaces::new(vec!["pbx/192.0.2.1".parse().unwrap()]).unwrap();
            let ports = Ports::of(&interfaces, (30_000, 40_000)).unwrap();
            let start = (Instant::now(), SystemTime::now());
            let calls = Calls::new(interfaces, ports, Settings::default(), b"mark".to_vec(), start.0);
            Self { calls, start, heard: Vec::new() }
        }

        fn handle(&mut self, intent: Intent, after: Duration) -> Outcome {
            let (now, wall) = (self.start.0 + after, self.start.1 + after);
            self.calls.handle(intent, now, wall, &Heard(self.heard.clone(), now)).0
        }

        fn offer(&mut self, sdp: Vec<u8>) {
            self.offer_again(sdp, None, 0);
        }

        fn offer_again(&mut self, sdp: Vec<u8>, to_tag: Option<&[u8]>, after: u64) {
            let offer = Offer {
                call_id: b"call".to_vec(),
                from_tag: b"a".to_vec(),
                to_tag: to_tag.map(<[u8]>::to_vec),
                via_branch: None,
                sdp,
                options: Options::default(),
                knows_load_limit: false,
            };
            let done = self.handle(Intent::Offer(Box::new(offer)), Duration::from_secs(after));
            assert!(matches!(done, Outcome::Description(_)));
        }

        fn answer(&mut self, sdp: Vec<u8>) {
            self.answer_again(sdp, 0);
        }

        /// A re-INVITE that is answered at once.
        fn signal(&mut self, directions: [&str; 2], after: u64) {
            self.offer_again(sdp("audio", directions[0]), Some(b"b"), after);
            self.answer_again(sdp("audio", directions[1]), after);
        }

        fn answer_again(&mut self, sdp: Vec<u8>, after: u64) {
            let answer = Answer {
                call_id: b"call".to_vec(),
                from_tag: b"a".to_vec(),
                to_tag: b"b".to_vec(),
                via_branch: None,
                sdp,
                options: Options::default(),
            };
            let done = self.handle(Intent::Answer(Box::new(answer)), Duration::from_secs(after));
            assert!(matches!(done, Outcome::Description(_)));
        }

        fn account(&mut self, after: u64) -> CallAccount {
            let query = Intent::Query { call_id: b"call".to_vec() };
            let outcome = self.handle(query, Duration::from_secs(after));
            let Outcome::Call(account) = outcome else { panic!("{outcome:?}") };
            *account
        }

        fn troubles(&mut self, after: u64) -> Vec<Trouble> {
            troubles(&self.account(after))
        }
    }

    fn answered(kind: &str, directions: [&str; 2]) -> Rig {
        let mut rig = Rig::new();
        rig.offer(sdp(kind, directions[0]));
        rig.answer(sdp(kind, directions[1]));
        rig
    }

    #[test]
    fn who_rings_is_not_missed() {
        let mut rig = Rig::new();
        rig.offer(sdp("audio", "sendrecv"));
        assert_eq!(rig.troubles(60), []);
    }

    #[test]
    fn nobody_is_heard_and_then_one_and_then_both() {
        let mut rig = answered("audio", ["sendrecv", "sendrecv"]);
        assert_eq!(rig.troubles(2), [], "it has just begun");
        assert_eq!(rig.troubles(5), [Trouble::Silent]);
        let account = rig.account(5);
        let slots: Vec<_> =
            account.parties.iter().filter_map(|party| Some(party.medias.first()?.sources.first()?.slot)).collect();
        rig.heard = vec![slots[0]];
        let [Trouble::OneWay { unheard, was_heard: false, .. }] = &rig.troubles(5)[..] else { panic!("one way") };
        assert_eq!(unheard, "b");
        rig.heard = slots;
        assert_eq!(rig.troubles(5), []);
    }

    #[test]
    fn what_is_signalled_without_a_change_hides_no_silence_and_who_resumes_may_take_a_breath() {
        let mut rig = answered("audio", ["sendrecv", "sendrecv"]);
        for after in [2, 4, 6] {
            rig.signal(["sendrecv", "sendrecv"], after);
        }
        assert_eq!(rig.troubles(7), [Trouble::Silent]);
        rig.signal(["sendonly", "recvonly"], 8);
        rig.signal(["inactive", "inactive"], 9);
        assert_eq!(rig.troubles(30), []);
        rig.signal(["sendrecv", "sendrecv"], 30);
        assert_eq!((rig.troubles(32), rig.troubles(34)), (vec![], vec![Trouble::Silent]));
    }

    #[test]
    fn a_call_that_is_deleted_and_waits_for_its_end_is_no_trouble() {
        let mut rig = answered("audio", ["sendrecv", "sendrecv"]);
        let delete = calls::intent::Delete {
            call_id: b"call".to_vec(),
            from_tag: None,
            to_tag: None,
            via_branch: None,
            delay: Some(30),
            fast: false,
            fatal: false,
        };
        assert_eq!(rig.troubles(6), [Trouble::Silent]);
        assert!(matches!(rig.handle(Intent::Delete(delete), Duration::from_secs(7)), Outcome::Ended(_)));
        assert_eq!(rig.troubles(12), []);
    }

    #[test]
    fn silence_that_was_asked_for_is_none() {
        for directions in [["inactive", "inactive"], ["sendonly", "sendonly"], ["recvonly", "recvonly"]] {
            assert_eq!(answered("audio", directions).troubles(60), [], "{directions:?}");
        }
        // The one that is on hold need not speak, and the other one does.
        assert_eq!(answered("audio", ["sendonly", "recvonly"]).troubles(60), [Trouble::Silent]);
        let held =
            String::from_utf8(sdp("audio", "sendrecv")).unwrap().replace("c=IN IP4 192.0.2.9", "c=IN IP4 0.0.0.0");
        let mut rig = Rig::new();
        rig.offer(held.clone().into_bytes());
        rig.answer(held.into_bytes());
        assert_eq!(rig.troubles(60), []);
    }

    #[test]
    fn a_camera_that_is_off_is_no_trouble() {
        assert_eq!(answered("video", ["sendrecv", "sendrecv"]).troubles(60), []);
    }
}
