//! Reading the keys of a dictionary that say which command it is and whom it is about.

use std::sync::Arc;
use std::time::Duration;

use media::Recording;

use super::flag_string::{self, Word};
use super::values;
use super::{DecodeError, MAX_NAME};
use crate::intent::{
    Answer, Delete, Finality, Offer, Options, Party, Play, Sound, StopPlaying, Subscribe, SubscribeAnswer, Towards,
    Treat, Treatment, Unsubscribe,
};
use crate::ng::value::canonical;
use crate::ng::{Dict, Value};

/// What a dictionary says, before it is known whether that makes a command.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub call_id: Option<Vec<u8>>,
    pub limit: Option<Result<usize, DecodeError>>,
    from_tag: Option<Vec<u8>>,
    to_tag: Option<Vec<u8>>,
    via_branch: Option<Vec<u8>>,
    sdp: Option<Vec<u8>>,
    address: Option<std::net::IpAddr>,
    pub(super) options: Options,
    pub(super) fast: bool,
    pub(super) fatal: bool,
    pub(super) directional: bool,
    pub(super) all: All,
    pub(super) siprec: bool,
    pub(super) inactive: bool,
    /// What whom the command makes, or is about, is to be called.
    pub(super) set_label: Option<Vec<u8>>,
    pub(super) sound: SoundWords,
    from_tags: Vec<Vec<u8>>,
    /// Interfaces that are named by flags, in order.
    pub(super) sides: Vec<Vec<u8>>,
    knows_load_limit: bool,
    unknown: Vec<String>,
}

/// What was said of something that is to be played.
#[derive(Debug, Default)]
pub(super) struct SoundWords {
    pub(super) file: Option<Vec<u8>>,
    pub(super) blob: Option<Vec<u8>>,
    pub(super) start: Duration,
    pub(super) times: Option<u32>,
    pub(super) longest: Option<Duration>,
}

/// Whom `all` means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum All {
    /// It was not said.
    #[default]
    Nobody,
    /// All parties.
    Parties,
    /// All flows between those who talk with each other.
    Dialogues,
    /// All other flows.
    Copies,
    /// All flows.
    Flows,
}

/// The keys that say whom a command is about.
const IDENTITY: [&[u8]; 5] = [b"call-id", b"from-tag", b"to-tag", b"via-branch", b"sdp"];

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
        let mut sides = std::mem::take(&mut message.sides).into_iter();
        let options = &mut message.options;
        if options.from_interface.is_none() && options.to_interface.is_none() {
            (options.from_interface, options.to_interface) = (sides.next(), sides.next());
        }
        let mut unknown = std::mem::take(&mut message.unknown);
        unknown.extend(message.options.unbuilt.iter().take(MAX_UNKNOWN).cloned());
        unknown.truncate(MAX_UNKNOWN);
        (message, unknown)
    }

    /// What is longer than a name may be.
    pub(super) fn overlong(&self) -> Option<&'static str> {
        let names = [
            ("call-id", &self.call_id),
            ("from-tag", &self.from_tag),
            ("to-tag", &self.to_tag),
            ("via-branch", &self.via_branch),
            ("label", &self.options.label),
            ("set-label", &self.set_label),
            ("to-label", &self.options.to_label),
        ];
        let names = names.into_iter().filter_map(|(key, name)| Some((key, name.as_ref()?)));
        let mut names = names.chain(self.from_tags.iter().map(|tag| ("from-tags", tag)));
        names.find_map(|(key, name)| (name.len() > MAX_NAME).then_some(key))
    }

    pub(super) fn offer(mut self) -> Result<Offer, DecodeError> {
        self.options.label = self.options.label.or(self.set_label);
        Ok(Offer {
            sdp: self.sdp.ok_or(DecodeError::NoSdp)?,
            call_id: self.call_id.ok_or(DecodeError::NoCallId)?,
            from_tag: self.from_tag.ok_or(DecodeError::NoFromTag)?,
            to_tag: self.to_tag,
            via_branch: self.via_branch,
            options: self.options,
            knows_load_limit: self.knows_load_limit,
        })
    }

    pub(super) fn answer(mut self) -> Result<Answer, DecodeError> {
        self.options.label = self.options.label.or(self.set_label);
        Ok(Answer {
            sdp: self.sdp.ok_or(DecodeError::NoSdp)?,
            call_id: self.call_id.ok_or(DecodeError::NoCallId)?,
            from_tag: self.from_tag.ok_or(DecodeError::NoFromTag)?,
            to_tag: self.to_tag.ok_or(DecodeError::NoToTag)?,
            via_branch: self.via_branch,
            options: self.options,
        })
    }

    pub(super) fn delete(self) -> Result<Delete, DecodeError> {
        Ok(Delete {
            call_id: self.call_id.ok_or(DecodeError::NoCallId)?,
            from_tag: self.from_tag,
            to_tag: self.to_tag,
            via_branch: self.via_branch,
            delay: self.options.delete_delay,
            fast: self.fast,
            fatal: self.fatal,
        })
    }

    pub(super) fn treat(self, treatment: Treatment, is_on: bool) -> Result<Treat, DecodeError> {
        let towards = match (self.to_tag, self.options.to_label, self.all) {
            (Some(tag), ..) => Towards::Tag(tag),
            (None, Some(label), _) => Towards::Label(label),
            (None, None, All::Dialogues) => Towards::Dialogue,
            (None, None, All::Copies) => Towards::Copies,
            (None, None, All::Flows) => Towards::Every,
            (None, None, All::Nobody | All::Parties) => Towards::Anywhere,
        };
        let is_directional = self.directional || !matches!(self.all, All::Nobody | All::Parties);
        let forgets_parties = self.all == All::Parties;
        let party = match (self.options.label, self.address, self.from_tag) {
            _ if self.all == All::Parties => Party::All,
            (Some(label), _, _) => Party::Label(label),
            (None, Some(address), _) => Party::Address(address),
            (None, None, Some(tag)) if is_directional => Party::Tag(tag),
            (None, None, _) => Party::All,
        };
        // Without a party that it comes from there is no flow.
        let towards = if party == Party::All { Towards::Anywhere } else { towards };
        let call_id = self.call_id.ok_or(DecodeError::NoCallId)?;
        Ok(Treat { call_id, party, towards, treatment, is_on, forgets_parties })
    }

    pub(super) fn play(mut self) -> Result<Play, DecodeError> {
        let words = std::mem::take(&mut self.sound);
        let sound = match (words.file, words.blob) {
            (Some(file), _) => Sound::File(file),
            (None, Some(blob)) => Sound::Recording(Arc::new(Recording::read(&blob)?)),
            (None, None) => return Err(DecodeError::NoSound),
        };
        let SoundWords { start, times, longest, .. } = words;
        let (call_id, party) = self.participant()?;
        Ok(Play { call_id, party, sound, start, times, longest, ticket: None })
    }

    pub(super) fn stop_playing(self) -> Result<StopPlaying, DecodeError> {
        let (call_id, party) = self.participant()?;
        Ok(StopPlaying { call_id, party })
    }

    /// Who is to hear something.
    fn participant(self) -> Result<(Vec<u8>, Party), DecodeError> {
        let call_id = self.call_id.ok_or(DecodeError::NoCallId)?;
        let party = match (self.options.label, self.address, self.from_tag) {
            _ if self.all == All::Parties => Party::All,
            (Some(label), _, _) => Party::Label(label),
            (None, Some(address), _) => Party::Address(address),
            (None, None, Some(tag)) => Party::Tag(tag),
            (None, None, None) => return Err(DecodeError::NoParticipant),
        };
        Ok((call_id, party))
    }

    pub(super) fn subscribe(self) -> Result<Subscribe, DecodeError> {
        let mut options = self.options;
        let parties = match (options.label.take(), self.address, self.from_tag) {
            _ if self.all == All::Parties => vec![Party::All],
            (Some(label), _, _) => vec![Party::Label(label)],
            (None, Some(address), _) => vec![Party::Address(address)],
            (None, None, Some(tag)) => vec![Party::Tag(tag)],
            (None, None, None) => self.from_tags.into_iter().map(Party::Tag).collect(),
        };
        options.to_label = self.set_label.or(options.to_label);
        Ok(Subscribe {
            call_id: self.call_id.ok_or(DecodeError::NoCallId)?,
            parties,
            to_tag: self.to_tag,
            is_siprec: self.siprec,
            is_paused: self.inactive,
            options,
        })
    }

    pub(super) fn subscribe_answer(self) -> Result<SubscribeAnswer, DecodeError> {
        Ok(SubscribeAnswer {
            call_id: self.call_id.ok_or(DecodeError::NoCallId)?,
            to_tag: self.to_tag.ok_or(DecodeError::NoToTag)?,
            sdp: self.sdp.ok_or(DecodeError::NoSdp)?,
            options: self.options,
        })
    }

    pub(super) fn unsubscribe(self) -> Result<Unsubscribe, DecodeError> {
        Ok(Unsubscribe {
            call_id: self.call_id.ok_or(DecodeError::NoCallId)?,
            to_tag: self.to_tag.ok_or(DecodeError::NoToTag)?,
            from_tag: self.from_tag.filter(|_| self.directional),
        })
    }

    fn key(&mut self, key: &[u8], value: &Value<'_>) {
        match canonical(key).as_slice() {
            // Who sent it in what is no matter: requests and replies are told apart by the command.
            b"command" | b"sip-message-type" | b"template" | b"xmlrpc-callback" => {}
            b"sip-code" => {
                let code = value.as_int().or_else(|| std::str::from_utf8(&value.as_text()?).ok()?.parse().ok());
                match code {
                    Some(100..200) => self.options.finality = Finality::Provisional,
                    Some(200..300) => self.options.finality = Finality::Final,
                    Some(_) | None => {}
                }
            }
            b"call-id" => self.call_id = values::filled(value),
            b"from-tag" => self.from_tag = values::filled(value),
            b"to-tag" => self.to_tag = values::filled(value),
            b"via-branch" => self.via_branch = values::filled(value),
            b"sdp" => self.sdp = values::filled(value),
            b"address" => self.address = values::address(value),
            b"limit" => {
                let limit = value.as_int().and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
                self.limit = Some(limit.ok_or(DecodeError::Limit));
            }
            b"all" => values::words(value).for_each(|word| match word.as_slice() {
                b"none" => {}
                b"offer-answer" => self.all = All::Dialogues,
                b"except-offer-answer" | b"not-offer-answer" | b"non-offer-answer" => self.all = All::Copies,
                b"flows" => self.all = All::Flows,
                _ => self.all = All::Parties,
            }),
            b"from-tags" => values::raw(value).for_each(|tag| self.name_source(&tag)),
            b"supports" => self.knows_load_limit |= values::words(value).any(|word| word == b"load-limit"),
            b"flags" => values::raw(value).for_each(|word| self.flag(&word)),
            b"rtpp-flags" => self.flag_string(value),
            key => self.option(key, value),
        }
    }

    /// All of the above in one string, as scripts write it.
    fn flag_string(&mut self, value: &Value<'_>) {
        let Some(text) = value.as_text().filter(|text| text.len() <= flag_string::MAX_TEXT) else {
            return self.unknown("key", b"rtpp-flags");
        };
        for word in flag_string::parse(&text) {
            match word {
                Word::Flag(flag) => self.flag(&flag),
                // A dictionary must not nest the string in itself.
                Word::Key(key, _) if canonical(&key) == b"rtpp-flags" => self.unknown("key", b"rtpp-flags"),
                // Nor take back what the command has said.
                Word::Key(key, value)
                    if values::filled(&value).is_none() && IDENTITY.contains(&canonical(&key).as_slice()) =>
                {
                    self.unknown("key", &key);
                }
                Word::Key(key, value) => self.key(&key, &value),
            }
        }
    }

    /// One more party whose media is meant.
    pub(super) fn name_source(&mut self, tag: &[u8]) {
        if !tag.is_empty() {
            self.from_tags.push(tag.to_vec());
        }
    }

    pub(super) fn unknown(&mut self, kind: &str, word: &[u8]) {
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.push(shown(kind, word));
        }
    }

    pub(super) fn unknown_value(&mut self, key: &[u8], value: &Value<'_>) {
        self.unknown("key", &with_value(key, value));
    }

    /// Notes what asks for a part that does not exist.
    pub(super) fn unbuilt(&mut self, kind: &str, word: &[u8]) {
        if self.options.unbuilt.len() < MAX_UNKNOWN {
            self.options.unbuilt.push(shown(kind, word));
        }
    }

    pub(super) fn unbuilt_value(&mut self, key: &[u8], value: &Value<'_>) {
        self.unbuilt("key", &with_value(key, value));
    }
}

fn shown(kind: &str, word: &[u8]) -> String {
    format!("{kind} {}", word.get(..MAX_WORD).unwrap_or(word).escape_ascii())
}

fn with_value(key: &[u8], value: &Value<'_>) -> Vec<u8> {
    let values: Vec<_> = values::words(value).take(MAX_WORD).collect();
    [key, b"=", &values.join(&b' ')].concat()
}
