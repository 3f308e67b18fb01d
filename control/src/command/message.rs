//! Reading the keys, flags and replace words of a dictionary, whatever its command.

use std::net::IpAddr;

use relay::Family;

use super::flag_string::{self, Word};
use super::options::RtcpForm;
use super::{Answer, CommandError, Delete, Offer, Options, learning};
use crate::ng::value::canonical;
use crate::ng::{Dict, Value};

/// What a dictionary says, before it is known whether that makes a command.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub call_id: Option<Vec<u8>>,
    pub limit: Option<Result<usize, CommandError>>,
    from_tag: Option<Vec<u8>>,
    to_tag: Option<Vec<u8>>,
    via_branch: Option<Vec<u8>>,
    sdp: Option<Vec<u8>>,
    options: Options,
    delete_delay: Option<u32>,
    fast: bool,
    fatal: bool,
    knows_load_limit: bool,
    unknown: Vec<String>,
}

/// How many unknown words of one message are told.
const MAX_UNKNOWN: usize = 32;

/// How many bytes of an unknown word are told.
const MAX_WORD: usize = 60;

impl Message {
    /// What the dictionary says, and the words that say nothing to us.
    pub(super) fn read(dict: &Dict<'_>) -> (Self, Vec<String>) {
        let mut message = Self::default();
        for (key, value) in dict.iter() {
            message.key(key, value);
        }
        let unknown = std::mem::take(&mut message.unknown);
        (message, unknown)
    }

    pub(super) fn offer(self) -> Result<Offer, CommandError> {
        Ok(Offer {
            sdp: self.sdp.ok_or(CommandError::NoSdp)?,
            call_id: self.call_id.ok_or(CommandError::NoCallId)?,
            from_tag: self.from_tag.ok_or(CommandError::NoFromTag)?,
            to_tag: self.to_tag,
            via_branch: self.via_branch,
            options: self.options,
            knows_load_limit: self.knows_load_limit,
        })
    }

    pub(super) fn answer(self) -> Result<Answer, CommandError> {
        Ok(Answer {
            sdp: self.sdp.ok_or(CommandError::NoSdp)?,
            call_id: self.call_id.ok_or(CommandError::NoCallId)?,
            from_tag: self.from_tag.ok_or(CommandError::NoFromTag)?,
            to_tag: self.to_tag.ok_or(CommandError::NoToTag)?,
            via_branch: self.via_branch,
            options: self.options,
        })
    }

    pub(super) fn delete(self) -> Result<Delete, CommandError> {
        Ok(Delete {
            call_id: self.call_id.ok_or(CommandError::NoCallId)?,
            from_tag: self.from_tag,
            to_tag: self.to_tag,
            delay: self.delete_delay,
            fast: self.fast,
            fatal: self.fatal,
        })
    }

    fn key(&mut self, key: &[u8], value: &Value<'_>) {
        match canonical(key).as_slice() {
            b"command" | b"sip-message-type" | b"sip-code" => {}
            b"call-id" => self.call_id = filled(value),
            b"from-tag" => self.from_tag = filled(value),
            b"to-tag" => self.to_tag = filled(value),
            b"via-branch" => self.via_branch = filled(value),
            b"sdp" => self.sdp = filled(value),
            b"limit" => {
                let limit = value.as_int().and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
                self.limit = Some(limit.ok_or(CommandError::Limit));
            }
            b"delete-delay" => self.delete_delay = value.as_int().and_then(|seconds| u32::try_from(seconds).ok()),
            b"supports" => self.knows_load_limit |= words(value).any(|word| word == b"load-limit"),
            b"flags" => words(value).for_each(|word| self.flag(&word)),
            b"replace" => words(value).for_each(|word| self.replace(&word)),
            b"rtpp-flags" => self.flag_string(value),
            key => self.option(key, value),
        }
    }

    fn option(&mut self, key: &[u8], value: &Value<'_>) {
        match key {
            b"received-from" => match received_from(value) {
                Some(address) => self.options.received_from = Some(address),
                None => self.unknown_value(key, value),
            },
            b"direction" => {
                let mut names = value.items().iter();
                self.options.from_interface = names.next().and_then(filled);
                self.options.to_interface = names.next().and_then(filled);
            }
            b"from-interface" => self.options.from_interface = filled(value),
            b"to-interface" => self.options.to_interface = filled(value),
            b"tos" => match value.as_int().and_then(|tos| u8::try_from(tos).ok()) {
                Some(tos) => self.options.tos = Some(tos),
                None => self.unknown_value(key, value),
            },
            b"address-family" => match words(value).next().as_deref() {
                Some(b"ip4") => self.options.address_family = Some(Family::V4),
                Some(b"ip6") => self.options.address_family = Some(Family::V6),
                Some(_) | None => self.unknown_value(key, value),
            },
            b"rtcp-mux" => words(value).for_each(|word| self.mux(&word)),
            b"endpoint-learning" => match words(value).next().and_then(|word| learning(&word)) {
                Some(learning) => self.options.learning = Some(learning),
                None => self.unknown_value(key, value),
            },
            // These words ask for what is done anyway.
            b"ice" => self.only(key, value, &[b"remove", b"default"]),
            b"transport-protocol" => self.only(key, value, &[b"rtp/avp"]),
            b"sdes" | b"dtls" => self.only(key, value, &[b"off", b"no", b"disable", b"disabled"]),
            _ => self.unknown("key", key),
        }
    }

    /// A key whose values are harmless if they are among `words`.
    fn only(&mut self, key: &[u8], value: &Value<'_>, known: &[&[u8]]) {
        if !words(value).all(|word| known.contains(&word.as_slice())) {
            self.unknown_value(key, value);
        }
    }

    fn flag(&mut self, flag: &[u8]) {
        match flag {
            b"sip-source-address" | b"sip-source" => self.options.sip_source_address = true,
            b"trust-address" => self.options.sip_source_address = false,
            b"asymmetric" => self.options.asymmetric = true,
            b"strict-source" => self.options.strict_source = true,
            b"media-handover" => self.options.media_handover = true,
            b"full-rtcp-attribute" => self.options.rtcp = RtcpForm::Full,
            b"no-rtcp-attribute" => self.options.rtcp = RtcpForm::Remove,
            b"fast" => self.fast = true,
            b"fatal" => self.fatal = true,
            // These ask for what is done anyway, or allow what is never done: ports are never changed under way, codecs
            // and direction attributes stay, both paths carry media that flows one way, all words of a delete are read.
            b"symmetric"
            | b"port-latching"
            | b"no-port-latching"
            | b"original-sendrecv"
            | b"unidirectional"
            | b"reuse-codecs"
            | b"no-codec-renegotiation"
            | b"static-codecs"
            | b"allow-transcoding"
            | b"allow-asymmetric-codecs"
            | b"allow-no-codec-media"
            | b"asymmetric-codecs"
            | b"symmetric-codecs"
            | b"reorder-codecs"
            | b"no-redis-update"
            | b"no-jitter-buffer"
            | b"no-player"
            | b"no-audio-player"
            | b"passthrough"
            | b"no-passthrough"
            | b"directional"
            | b"to-tag"
            | b"debug"
            | b"provisional" => {}
            _ => match self.prefixed(flag) {
                Some(()) => {}
                None => self.unknown("flag", flag),
            },
        }
    }

    /// A flag that is a key and its value in one word.
    fn prefixed(&mut self, flag: &[u8]) -> Option<()> {
        if let Some(word) = flag.strip_prefix(b"replace-") {
            self.replace(word);
            return Some(());
        }
        for key in [&b"endpoint-learning"[..], b"rtcp-mux", b"ice", b"sdes", b"dtls"] {
            if let Some([b'-', word @ ..]) = flag.strip_prefix(key) {
                self.option(key, &Value::from(word));
                return Some(());
            }
        }
        None
    }

    fn mux(&mut self, word: &[u8]) {
        let mux = &mut self.options.mux;
        match word {
            b"offer" => mux.offer = Some(true),
            b"require" => (mux.offer, mux.require) = (Some(true), true),
            b"demux" => (mux.offer, mux.accept) = (Some(false), Some(true)),
            b"accept" => mux.accept = Some(true),
            b"reject" => mux.accept = Some(false),
            _ => self.unknown_value(b"rtcp-mux", &Value::from(word)),
        }
    }

    fn replace(&mut self, word: &[u8]) {
        match word {
            b"origin" => self.options.replace_origin = true,
            b"zero-address" => self.options.replace_zero_address = true,
            // The c= lines are always replaced.
            b"session-connection" => {}
            _ => self.unknown("replace", word),
        }
    }

    /// All of the above in one string, as scripts write it.
    fn flag_string(&mut self, value: &Value<'_>) {
        let Some(text) = value.as_text() else { return self.unknown("key", b"rtpp-flags") };
        for word in flag_string::parse(&text) {
            match word {
                Word::Flag(flag) if flag.eq_ignore_ascii_case(b"RTP/AVP") => {}
                Word::Flag(flag) => self.flag(&canonical(&flag)),
                // A dictionary must not nest the string in itself.
                Word::Key(key, _) if canonical(&key) == b"rtpp-flags" => self.unknown("key", b"rtpp-flags"),
                Word::Key(key, value) => self.key(&key, &value),
            }
        }
    }

    fn unknown(&mut self, kind: &str, word: &[u8]) {
        if self.unknown.len() < MAX_UNKNOWN {
            let word = word.get(..MAX_WORD).unwrap_or(word);
            self.unknown.push(format!("{kind} {}", word.escape_ascii()));
        }
    }

    fn unknown_value(&mut self, key: &[u8], value: &Value<'_>) {
        let values: Vec<_> = words(value).collect();
        self.unknown("key", &[key, b"=", &values.join(&b' ')].concat());
    }
}

/// A string that says something.
fn filled(value: &Value<'_>) -> Option<Vec<u8>> {
    value.as_text().filter(|text| !text.is_empty()).map(|text| text.into_owned())
}

/// The words of a list, or of a single string, in their one spelling.
fn words(value: &Value<'_>) -> impl Iterator<Item = Vec<u8>> {
    value.items().iter().filter_map(|word| Some(canonical(&word.as_text()?)))
}

/// `["IP4", "192.0.2.1"]`, or only the address, or both in one string.
fn received_from(value: &Value<'_>) -> Option<IpAddr> {
    let text = value.items().last()?.as_text()?;
    std::str::from_utf8(&text).ok()?.split_ascii_whitespace().last()?.parse().ok()
}
