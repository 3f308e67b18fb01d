//! Reading the keys of a dictionary that say which command it is and whom it is about.

use super::flag_string::{self, Word};
use super::options::Finality;
use super::words;
use super::{Answer, Block, CommandError, Delete, Offer, Options, Party};
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
    address: Option<std::net::IpAddr>,
    pub(super) options: Options,
    pub(super) fast: bool,
    pub(super) fatal: bool,
    pub(super) directional: bool,
    pub(super) all: bool,
    /// Interfaces that are named by flags, in order.
    pub(super) sides: Vec<Vec<u8>>,
    knows_load_limit: bool,
    unknown: Vec<String>,
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
            via_branch: self.via_branch,
            delay: self.options.delete_delay,
            fast: self.fast,
            fatal: self.fatal,
        })
    }

    pub(super) fn block(self, is_on: bool) -> Result<Block, CommandError> {
        let party = match (self.options.label, self.address, self.from_tag) {
            (Some(label), _, _) => Party::Label(label),
            (None, Some(address), _) => Party::Address(address),
            (None, None, Some(tag)) if self.directional && !self.all => Party::Tag(tag),
            (None, None, _) => Party::All,
        };
        Ok(Block { call_id: self.call_id.ok_or(CommandError::NoCallId)?, party, is_on })
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
            b"call-id" => self.call_id = words::filled(value),
            b"from-tag" => self.from_tag = words::filled(value),
            b"to-tag" => self.to_tag = words::filled(value),
            b"via-branch" => self.via_branch = words::filled(value),
            b"sdp" => self.sdp = words::filled(value),
            b"address" => self.address = words::address(value),
            b"limit" => {
                let limit = value.as_int().and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
                self.limit = Some(limit.ok_or(CommandError::Limit));
            }
            b"all" => self.all |= words::words(value).any(|word| word != b"none"),
            b"supports" => self.knows_load_limit |= words::words(value).any(|word| word == b"load-limit"),
            b"flags" => words::raw(value).for_each(|word| self.flag(&word)),
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
                    if words::filled(&value).is_none() && IDENTITY.contains(&canonical(&key).as_slice()) =>
                {
                    self.unknown("key", &key);
                }
                Word::Key(key, value) => self.key(&key, &value),
            }
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
    let values: Vec<_> = words::words(value).take(MAX_WORD).collect();
    [key, b"=", &values.join(&b' ')].concat()
}
