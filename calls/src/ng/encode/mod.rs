//! From what came of an intent to a dictionary of the NG protocol.

mod call;
mod relay;

use std::time::Duration;

use super::ledger::Ledger;
use super::{Dict, Value};
use crate::outcome::{Copied, Outcome, Subscribed};
use crate::sdp::Direction;

/// How many bytes of Call-IDs a list may have: the reply must fit a datagram.
const MAX_LIST: usize = 48 * 1024;

/// The reply to an intent. Of what the protocol itself has counted, `ledger` knows.
pub(super) fn encode(outcome: &Outcome, ledger: &Ledger) -> Dict<'static> {
    match outcome {
        Outcome::Alive => Dict::new().with("result", "pong"),
        Outcome::Done | Outcome::Ended(None) => ok(Dict::new()),
        Outcome::DoneInPart(why) => ok(Dict::new().with("warning", *why)),
        Outcome::Description(sdp) => ok(Dict::new().with("sdp", sdp.clone())),
        Outcome::Call(account) | Outcome::Ended(Some(account)) => ok(call::describe(account)),
        Outcome::NothingToEnd => ok(Dict::new().with("warning", "Call-ID not found or tags didn't match")),
        Outcome::Relay(account) => {
            let statistics = relay::statistics(account).with("controlstatistics", ledger.describe());
            ok(Dict::new().with("statistics", statistics))
        }
        Outcome::Calls(ids) => ok(Dict::new().with("calls", list(ids))),
        Outcome::Subscribed(subscribed) => ok(subscription(subscribed)),
        Outcome::Playing(duration) => ok(Dict::new().with("duration", milliseconds(*duration))),
        Outcome::StoppedPlaying(position) => ok(Dict::new().with("last-frame-pos", milliseconds(*position))),
        Outcome::Refused(refusal) => error(&refusal.to_string()),
        Outcome::Overloaded(refusal) => Dict::new().with("message", refusal.to_string()).with("result", "load limit"),
    }
}

/// The reply to an intent, where the protocol has counted nothing.
#[cfg(test)]
pub(crate) fn in_dictionary(outcome: &Outcome) -> Dict<'static> {
    encode(outcome, &Ledger::default())
}

/// The reply to what cannot be read, or could not be carried out by a mistake of ours.
pub fn error(reason: &str) -> Dict<'static> {
    Dict::new().with("error-reason", reason.to_owned()).with("result", "error")
}

fn ok(dict: Dict<'static>) -> Dict<'static> {
    dict.with("result", "ok")
}

fn milliseconds(time: Duration) -> Value<'static> {
    Value::count(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// As many Call-IDs as a reply has room for.
fn list(ids: &[Vec<u8>]) -> Value<'static> {
    let mut size = 0;
    let ids = ids.iter().take_while(|id| {
        size += id.len();
        size <= MAX_LIST
    });
    Value::List(ids.map(|id| Value::from(id.clone())).collect())
}

fn subscription(subscribed: &Subscribed) -> Dict<'static> {
    let medias = &subscribed.medias;
    let mut dict = Dict::new().with("sdp", subscribed.sdp.clone());
    if let [only] = medias.as_slice() {
        dict.push(&b"from-tag"[..], only.tag.clone());
    }
    if subscribed.is_siprec {
        dict.push(&b"tag-medias"[..], Value::List(medias.iter().map(tag_media).collect()));
        let mut labels = Dict::new();
        for media in medias {
            if let Some(label) = &media.label {
                labels.push(label.clone().into_bytes(), media_label(media));
            }
        }
        dict.push(&b"media-labels"[..], labels);
    }
    let tags = medias.iter().map(|media| Value::from(media.tag.clone()));
    dict.with("from-tags", Value::List(tags.collect())).with("to-tag", subscribed.to_tag.clone())
}

fn tag_media(media: &Copied) -> Value<'static> {
    let mut dict = Dict::new().with("tag", media.tag.clone());
    if let Some(label) = &media.party_label {
        dict.push(&b"label"[..], label.clone());
    }
    let mut of_media = Dict::new().with("index", media.index as i64).with("type", media.kind.clone());
    if let Some(label) = &media.label {
        of_media.push(&b"label"[..], label.clone());
    }
    let of_media = of_media.with("mode", mode(media.direction));
    dict.with("medias", Value::List(vec![of_media.into()])).into()
}

fn media_label(media: &Copied) -> Dict<'static> {
    let mut dict =
        Dict::new().with("tag", media.tag.clone()).with("index", media.index as i64).with("type", media.kind.clone());
    if let Some(label) = &media.party_label {
        dict.push(&b"label"[..], label.clone());
    }
    dict.with("mode", mode(media.direction))
}

const fn mode(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ng::Encoding;
    use crate::outcome::Refusal;

    fn bytes(outcome: &Outcome) -> String {
        String::from_utf8(Encoding::Bencode.encode(&encode(outcome, &Ledger::default()))).unwrap()
    }

    #[test]
    fn every_outcome_has_the_result_of_the_contract() {
        assert_eq!(bytes(&Outcome::Alive), "d6:result4:ponge");
        assert_eq!(bytes(&Outcome::Description(b"v=0".to_vec())), "d3:sdp3:v=06:result2:oke");
        assert_eq!(bytes(&Outcome::DoneInPart("w")), "d7:warning1:w6:result2:oke");
        let refused = Outcome::Refused(Refusal::UnknownCall);
        assert_eq!(bytes(&refused), "d12:error-reason15:Unknown call-id6:result5:errore");
        let overloaded = encode(&Outcome::Overloaded(Refusal::SessionLimit), &Ledger::default());
        assert_eq!(overloaded.get("result"), Some(&Value::from("load limit")));
        assert_eq!(overloaded.get("message"), Some(&Value::from("Parallel session limit reached")));
    }

    #[test]
    fn a_list_has_as_many_ids_as_fit() {
        let ids = vec![vec![b'x'; 1000]; 100];
        assert_eq!(list(&ids).items().len(), 49);
    }
}
