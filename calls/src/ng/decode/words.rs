//! The words that say how a call is to be treated: keys with values, flags, and flags that are a key and its value in one.

use std::time::Duration;

use border::{Family, Learning};
use media::srtp::Suite;

use super::editing;
use super::flag_string::unescape;
use super::message::{All, Message};
use super::unbuilt;
use super::values::{address, filled, number, raw, words};
use crate::intent::{AliasKey, Echo, Finality, Ice, Profile, RtcpForm};
use crate::ng::Value;
use crate::ng::value::canonical;

/// How many codecs one command may name: each is compared with every format of a description.
const MAX_CODECS: usize = 64;

/// Words that switch off what is never on.
/// So many suites of a list are read: more than there are names.
const MAX_SUITES: usize = 32;

const OFF: [&[u8]; 4] = [b"off", b"no", b"disable", b"disabled"];

impl Message {
    /// A key by its canonical spelling.
    pub(super) fn option(&mut self, key: &[u8], value: &Value<'_>) {
        let first = words(value).next();
        match key {
            b"replace" => words(value).for_each(|word| self.replace(&word)),
            b"received-from" => match address(value) {
                Some(address) => self.options.received_from = Some(address),
                None => self.unknown_value(key, value),
            },
            b"media-address" => match address(value) {
                Some(address) => self.options.media_address = Some(address),
                None => self.unknown_value(key, value),
            },
            b"direction" => {
                let mut names = value.items().iter();
                self.options.from_interface = names.next().and_then(filled);
                self.options.to_interface = names.next().and_then(filled);
            }
            b"from-interface" | b"interface" => self.options.from_interface = filled(value),
            b"to-interface" => self.options.to_interface = filled(value),
            b"label" | b"from-label" => self.options.label = filled(value),
            b"set-label" => self.set_label = filled(value),
            b"to-label" => self.options.to_label = filled(value),
            b"tos" => match value.as_int().and_then(|tos| u8::try_from(tos).ok()) {
                Some(tos) => self.options.tos = Some(tos),
                None => self.unknown_value(key, value),
            },
            b"delete-delay" => match value.as_int().and_then(|seconds| u32::try_from(seconds).ok()) {
                Some(seconds) => self.options.delete_delay = Some(seconds),
                None => self.unknown_value(key, value),
            },
            b"file" => self.sound.file = filled(value),
            b"blob" => self.sound.blob = filled(value),
            b"start-pos" | b"repeat-times" | b"repeat-duration" => match number(value) {
                Some(number) => self.sound_number(key, number),
                None => self.unknown_value(key, value),
            },
            b"db-id" | b"blob64" => self.unbuilt_value(key, value),
            b"address-family" => match first.as_deref() {
                Some(b"ip4") => self.options.address_family = Some(Family::V4),
                Some(b"ip6") => self.options.address_family = Some(Family::V6),
                Some(_) | None => self.unknown_value(key, value),
            },
            b"rtcp-mux" => words(value).for_each(|word| self.mux(&word)),
            b"endpoint-learning" => match first.as_deref().and_then(learning) {
                Some(learning) => self.options.learning = Some(learning),
                None => self.unknown_value(key, value),
            },
            b"ice" => words(value).for_each(|word| self.ice(&word)),
            b"transport-protocol" => match first {
                Some(word) if self.profile(&word) => {}
                Some(_) | None => self.unbuilt_value(key, value),
            },
            b"sdes" => words(value).for_each(|word| self.sdes(&word)),
            b"osrtp" => words(value).for_each(|word| self.osrtp(&word)),
            b"dtls" => {
                if !words(value).all(|word| OFF.contains(&word.as_slice())) {
                    self.unbuilt_value(key, value);
                }
            }
            // What passes does pass, and what is recorded is nothing: no part is missing for that.
            b"passthrough" | b"record-call" if first.as_deref().is_none_or(|word| OFF.contains(&word)) => {}
            b"passthrough" => {}
            b"codec" | b"codecs" => self.codecs(value),
            b"extmap" => {
                for (verb, uris) in value.as_dict().into_iter().flat_map(|dict| dict.iter()) {
                    self.option(&[b"extmap-", canonical(verb).as_slice()].concat(), uris);
                }
            }
            b"extmap-strip" | b"extmap-mask" => {
                let room = MAX_CODECS.saturating_sub(self.options.extmaps.len());
                self.options.extmaps.extend(raw(value).take(room));
            }
            b"media-echo" => match first.as_deref() {
                Some(b"blackhole" | b"sinkhole") => self.options.echo = Some(Echo::Nobody),
                Some(b"forward" | b"fwd" | b"fw") => self.options.echo = Some(Echo::Receiver),
                Some(b"backward" | b"backwards" | b"back" | b"reverse") => self.options.echo = Some(Echo::Sender),
                Some(b"both") => self.options.echo = Some(Echo::Both),
                Some(_) | None => self.unknown_value(key, value),
            },
            b"sdp-attr" => editing::attributes(value, &mut self.options.attributes),
            b"sdp-media-remove" => self.options.media_remove.extend(words(value)),
            b"alias-key" => match first.as_deref() {
                Some(b"sdp") => self.options.alias_key = Some(AliasKey::Sdp),
                Some(b"address" | b"endpoint") => self.options.alias_key = Some(AliasKey::Endpoint),
                Some(word) if OFF.contains(&word) => self.options.alias_key = None,
                Some(_) | None => self.unknown_value(key, value),
            },
            b"instance" => {}
            key if unbuilt::key(key) => self.unbuilt_value(key, value),
            _ => self.unknown("key", key),
        }
    }

    fn sound_number(&mut self, key: &[u8], number: u32) {
        let time = Duration::from_millis(u64::from(number));
        match key {
            b"start-pos" => self.sound.start = time,
            b"repeat-times" => self.sound.times = Some(number),
            // No time at all is the way to say that there is no limit.
            _ => self.sound.longest = Some(time).filter(|time| !time.is_zero()),
        }
    }

    /// A flag, in whatever spelling.
    pub(super) fn flag(&mut self, raw: &[u8]) {
        let flag = canonical(raw);
        let options = &mut self.options;
        match flag.as_slice() {
            b"sip-source-address" | b"sip-source" => options.sip_source_address = true,
            b"trust-address" => options.sip_source_address = false,
            b"asymmetric" => options.asymmetric = true,
            b"strict-source" => options.strict_source = true,
            b"media-handover" => options.media_handover = true,
            b"full-rtcp-attribute" => options.rtcp = RtcpForm::Full,
            b"no-rtcp-attribute" => options.rtcp = RtcpForm::Remove,
            b"generate-mid" => options.generate_mid = true,
            b"loop-protect" => options.loop_protect = true,
            b"single-codec" => options.codecs.single = true,
            // The old way to name both interfaces, one after the other.
            b"internal" | b"external" => {
                if self.sides.len() < 2 {
                    self.sides.push(flag);
                }
            }
            b"fast" => self.fast = true,
            b"fatal" => self.fatal = true,
            b"directional" => self.directional = true,
            b"all" => self.all = All::Parties,
            b"siprec" => self.siprec = true,
            b"pad-crypto" => options.sdes.pad = true,
            b"recrypt" => options.sdes.recrypt = true,
            b"inactive" => self.inactive = true,
            b"strip-extmap" => options.extmaps.push(b"all".to_vec()),
            // These ask for what is done anyway, or allow what is never done: ports are never changed under way, codecs and direction attributes
            // stay, both paths carry media that flows one way, all words of a delete are read, every answer of an unknown tag is a new branch.
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
            | b"no-tls-id"
            | b"passthrough"
            | b"no-passthrough"
            | b"skip-recording-db"
            | b"to-tag"
            | b"reset"
            | b"debug"
            | b"new-branch"
            | b"bidirectional"
            | b"reject-ice" => {}
            b"provisional" => options.finality = Finality::Provisional,
            other if self.profile(other) => {}
            other if self.prefixed(other, raw) => {}
            other if unbuilt::flag(other) => self.unbuilt("flag", other),
            other => self.unknown("flag", other),
        }
    }

    /// A flag that is a key and its value in one word; false when it is none.
    fn prefixed(&mut self, flag: &[u8], raw: &[u8]) -> bool {
        if let Some(word) = flag.strip_prefix(b"replace-") {
            self.replace(word);
            return true;
        }
        if flag.starts_with(b"codec-") && self.codec_flag(raw) {
            return true;
        }
        if flag.starts_with(b"sdp-attr-") && editing::attribute_flag(&unescape(raw), &mut self.options.attributes) {
            return true;
        }
        // A URI has upper and lower case, and hyphens.
        let uri =
            |key: &[u8]| flag.strip_prefix(key).and_then(|rest| raw.get(raw.len() - rest.len()..)).map(<[u8]>::to_vec);
        for key in [&b"extmap-strip"[..], b"extmap-mask"] {
            if let Some([b'-' | b'_' | b' ', uri @ ..]) = uri(key).as_deref() {
                self.option(key, &Value::from(uri.to_vec()));
                return true;
            }
        }
        if let Some([b'-' | b'_' | b' ', tag @ ..]) = uri(b"from-tags").as_deref() {
            self.name_source(tag);
            return true;
        }
        for key in [
            &b"endpoint-learning"[..],
            b"media-echo",
            b"rtcp-mux",
            b"ice",
            b"sdes",
            b"osrtp",
            b"dtls",
            b"address-family",
        ] {
            if let Some([b'-', word @ ..]) = flag.strip_prefix(key) {
                self.option(key, &Value::from(word));
                return true;
            }
        }
        false
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

    fn ice(&mut self, word: &[u8]) {
        match word {
            b"remove" | b"default" | b"no-lite" | b"lite-off" => self.options.ice = Ice::Remove,
            // The parties' own candidates are to be kept; that ours is not among them is less than was asked for, but nothing is broken.
            b"optional" => self.options.ice = Ice::Pass,
            b"force-relay" => {
                self.options.ice = Ice::Pass;
                self.unbuilt("key", b"ice=force-relay");
            }
            _ => self.unbuilt_value(b"ice", &Value::from(word)),
        }
    }

    /// A transport that a party is to see; false when we cannot speak it.
    fn profile(&mut self, word: &[u8]) -> bool {
        self.options.profile = match word {
            b"rtp/avp" => Some(Profile::Avp),
            b"rtp/avpf" => Some(Profile::Avpf),
            b"rtp/savp" => Some(Profile::Savp),
            b"rtp/savpf" => Some(Profile::Savpf),
            // In an answer: as it was offered, which is always so.
            b"accept" => None,
            _ => return false,
        };
        true
    }

    /// Whether keys are offered to whoever may do without, and taken from whoever would.
    fn osrtp(&mut self, word: &[u8]) {
        let sdes = &mut self.options.sdes;
        match word {
            b"offer" | b"offer-rfc" => sdes.may_offer = true,
            b"accept" | b"accept-rfc" => sdes.may_accept = true,
            word if OFF.contains(&word) => (sdes.may_offer, sdes.may_accept) = (false, false),
            // Two media lines for one media, of which nobody but the party knows which it takes.
            _ => self.unbuilt("OSRTP", word),
        }
    }

    /// Which keys are offered and taken. That there are none is so where no command asks for protection.
    fn sdes(&mut self, word: &[u8]) {
        let suite = |name: &[u8]| {
            Suite::of_name(&name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect::<Vec<_>>())
        };
        // What is not known is as good as not named.
        let suites = |names: &[u8]| -> Vec<Suite> {
            let mut suites = Vec::new();
            for found in names.split(|byte| matches!(byte, b';' | b',')).take(MAX_SUITES).filter_map(suite) {
                if !suites.contains(&found) {
                    suites.push(found);
                }
            }
            suites
        };
        let sdes = &mut self.options.sdes;
        match word {
            b"pad" => sdes.pad = true,
            b"lifetime" => sdes.lifetime = true,
            // What was offered before is offered again, with the same keys, in any case.
            b"nonew" | b"static" | b"encrypted-srtp" | b"encrypted-srtcp" | b"authenticated-srtp" => {}
            // Before what is not there.
            b"prefer" | b"priority" => {}
            word if OFF.contains(&word) => {}
            word if let Some(names) = word.strip_prefix(b"order:") => sdes.order = suites(names),
            word if let Some(names) = word.strip_prefix(b"offerer-pref:") => sdes.preferred = suites(names),
            word => match (word.strip_prefix(b"no-"), word.strip_prefix(b"only-")) {
                (Some(name), _) => match suite(name) {
                    Some(suite) => sdes.refused.push(suite),
                    // One that is never offered.
                    None => self.unknown("SDES", word),
                },
                (None, Some(name)) => match suite(name) {
                    Some(suite) => sdes.only.push(suite),
                    None => self.unbuilt("SDES", word),
                },
                (None, None) => self.unbuilt("SDES", word),
            },
        }
    }

    fn replace(&mut self, word: &[u8]) {
        let steady = &mut self.options.steady;
        match word {
            b"origin" => self.options.replace_origin = true,
            b"origin-full" => (self.options.replace_origin, steady.origin) = (true, true),
            b"zero-address" => self.options.replace_zero_address = true,
            b"username" => steady.username = true,
            b"session-name" => steady.session_name = true,
            b"sdp-version" => steady.version = true,
            b"force-increment-sdp-ver" => steady.force_version = true,
            // The c= lines are always replaced.
            b"session-connection" => {}
            _ => self.unknown("replace", word),
        }
    }

    fn codecs(&mut self, value: &Value<'_>) {
        let Some(dict) = value.as_dict() else { return self.unknown("key", b"codec") };
        for (verb, names) in dict.iter() {
            let names: Vec<_> = raw(names).collect();
            for name in names {
                self.codec(&canonical(verb), &name);
            }
        }
    }

    /// `codec-<verb>-<name>`; names may have hyphens themselves.
    fn codec_flag(&mut self, raw: &[u8]) -> bool {
        let Some([_, verb, name]) =
            <[&[u8]; 3]>::try_from(raw.splitn(3, |byte| matches!(byte, b'-' | b'_' | b' ')).collect::<Vec<_>>())
                .ok()
                .filter(|[_, _, name]| !name.is_empty())
        else {
            return false;
        };
        self.codec(&canonical(verb), name);
        true
    }

    fn codec(&mut self, verb: &[u8], name: &[u8]) {
        let codecs = &mut self.options.codecs;
        if codecs.strip.len() + codecs.except.len() + codecs.offer.len() >= MAX_CODECS {
            return self.unknown("flag", &[b"codec-", verb, b"-", name].concat());
        }
        match verb {
            b"strip" => codecs.strip.push(editing::codec(name)),
            b"except" => codecs.except.push(editing::codec(name)),
            b"offer" => codecs.offer.push(editing::codec(name)),
            b"ignore" | b"mask" | b"transcode" | b"consume" | b"accept" | b"set" => {
                self.unbuilt("flag", &[b"codec-", verb, b"-", name].concat());
            }
            _ => self.unknown("flag", &[b"codec-", verb, b"-", name].concat()),
        }
    }
}

/// The learning mode of a word.
fn learning(word: &[u8]) -> Option<Learning> {
    match word {
        b"off" => Some(Learning::Off),
        b"immediate" => Some(Learning::Immediate),
        b"delayed" => Some(Learning::Delayed),
        b"heuristic" => Some(Learning::Heuristic),
        _ => None,
    }
}
