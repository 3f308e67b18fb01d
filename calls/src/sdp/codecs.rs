//! Which codecs a party gets to see.

use std::collections::{HashMap, HashSet};

use super::line::{Line, before_slash, number, split, tokens};

/// How many formats a section may have whose codecs are chosen: there are 128 payload types, and each is compared with every name of a list.
const MAX_FORMATS: usize = 128;

/// Which codecs a party gets to see. Names are in lower case, `name`, `name/clock` or `name/clock/channels`; `all`, `full` and `any` are every
/// codec. A name may also be the number of a payload type.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Codecs {
    /// These not.
    pub strip: Vec<Vec<u8>>,
    /// These even so.
    pub except: Vec<Vec<u8>>,
    /// These even so, and first, in this order.
    pub offer: Vec<Vec<u8>>,
    /// Only the first, with the events and the comfort noise that go with it.
    pub single: bool,
}

impl Codecs {
    /// Whether there is anything to do.
    pub fn is_wanted(&self) -> bool {
        self.single || !self.strip.is_empty() || !self.offer.is_empty()
    }

    /// A body with the codecs that are to be seen. A section of which nothing would be left but companions stays as it is: a list that is meant for
    /// one kind of media shall not end another.
    pub fn select(&self, body: &[u8]) -> Vec<u8> {
        let lines: Vec<_> = split(body).collect();
        let mut out = Vec::with_capacity(body.len());
        let mut rest = lines.as_slice();
        while let Some((first, after)) = rest.split_first() {
            let len = after.iter().take_while(|line| line.field(b'm').is_none()).count();
            let (section, next) = after.split_at_checked(len).unwrap_or((after, &[]));
            self.section(first, section, &mut out);
            rest = next;
        }
        out
    }

    fn section(&self, first: &Line<'_>, section: &[Line<'_>], out: &mut Vec<u8>) {
        let Some(text) = first.field(b'm').filter(|text| is_rtp(text)) else {
            return std::iter::once(first).chain(section).for_each(|line| line.write(out));
        };
        let names = names(section);
        let formats: Vec<&[u8]> = tokens(text).skip(3).collect();
        if formats.len() > MAX_FORMATS {
            return std::iter::once(first).chain(section).for_each(|line| line.write(out));
        }
        let companions = Companions { names, section };
        let kept = self.kept(&formats, &companions);
        if kept == formats {
            first.write(out);
        } else {
            let head: Vec<&[u8]> = tokens(text).take(3).chain(kept.iter().copied()).collect();
            out.extend_from_slice(b"m=");
            out.extend_from_slice(&head.join(&b' '));
            out.extend_from_slice(first.ending);
        }
        let kept: HashSet<&[u8]> = kept.into_iter().collect();
        let gone: HashSet<&[u8]> = formats.into_iter().filter(|format| !kept.contains(format)).collect();
        for line in section.iter().filter(|line| !of_format(line).is_some_and(|format| gone.contains(format))) {
            line.write(out);
        }
    }

    fn kept<'a>(&self, formats: &[&'a [u8]], codecs: &Companions<'_>) -> Vec<&'a [u8]> {
        let name = |format: &[u8]| codecs.name(format);
        let is_in = |list: &[Vec<u8>], format: &[u8]| list.iter().any(|listed| suits(listed, &name(format), format));
        let is_kept =
            |format: &&[u8]| is_in(&self.except, format) || is_in(&self.offer, format) || !is_in(&self.strip, format);
        let mut kept: Vec<&[u8]> = formats.iter().copied().filter(is_kept).collect();
        let rank = |format: &&[u8]| self.offer.iter().position(|listed| suits(listed, &name(format), format));
        if !self.offer.is_empty() {
            kept.sort_by_cached_key(|format| rank(format).unwrap_or(usize::MAX));
        }
        if self.single {
            let main = kept.iter().copied().find(|format| !codecs.is_companion(format));
            kept.retain(|format| Some(*format) == main || codecs.is_companion(format));
        }
        if kept.iter().all(|format| codecs.is_companion(format)) {
            return formats.to_vec();
        }
        if kept.len() < formats.len() {
            let left = kept.clone();
            kept.retain(|format| codecs.has_company(format, formats, &left));
        }
        kept
    }
}

/// The codecs of a section, some of which go with others.
struct Companions<'a> {
    names: HashMap<&'a [u8], Vec<u8>>,
    section: &'a [Line<'a>],
}

impl Companions<'_> {
    /// Of a format, in lower case.
    fn name(&self, format: &[u8]) -> Vec<u8> {
        self.names.get(format).cloned().unwrap_or_else(|| static_name(format).to_ascii_lowercase())
    }

    /// Whether a format is nothing without another one.
    fn is_companion(&self, format: &[u8]) -> bool {
        matches!(
            before_slash(&self.name(format)),
            b"telephone-event" | b"cn" | b"red" | b"rtx" | b"ulpfec" | b"flexfec-03"
        )
    }

    /// Whether what a format goes with is left, or was never there.
    fn has_company(&self, format: &[u8], before: &[&[u8]], left: &[&[u8]]) -> bool {
        let name = self.name(format);
        match before_slash(&name) {
            b"telephone-event" => {
                let has_clock = |all: &[&[u8]]| {
                    all.iter().any(|other| !self.is_companion(other) && clock(&self.name(other)) == clock(&name))
                };
                has_clock(left) || !has_clock(before)
            }
            b"rtx" | b"red" => {
                let mut others = self.mentioned(format);
                others.retain(|other| before.contains(&other.as_slice()));
                others.iter().all(|other| left.contains(&other.as_slice()))
            }
            _ => true,
        }
    }

    /// The formats that the parameters of a format name: `apt=<format>` (RFC 4588 8.1), `<format>/<format>` (RFC 2198 5).
    fn mentioned(&self, format: &[u8]) -> Vec<Vec<u8>> {
        let parameters = self.section.iter().find_map(|line| {
            let value = line.attribute_named(b"fmtp")?;
            let mut parts = value.splitn(2, |byte| *byte == b' ');
            (parts.next()? == format).then(|| parts.next().unwrap_or_default())
        });
        let words = parameters.unwrap_or_default().split(|byte| matches!(byte, b'/' | b';' | b' '));
        words.map(|word| word.strip_prefix(b"apt=").unwrap_or(word).to_vec()).collect()
    }
}

/// The clock rate of a codec's name.
fn clock(name: &[u8]) -> Option<&[u8]> {
    name.split(|byte| *byte == b'/').nth(1)
}

/// Whether a section is one of RTP that is wanted.
fn is_rtp(text: &[u8]) -> bool {
    let mut tokens = tokens(text).skip(1);
    let port = tokens.next().is_some_and(|port| number::<u16>(before_slash(port)) != Some(0));
    port && tokens.next().is_some_and(|transport| transport.to_ascii_uppercase().windows(4).any(|part| part == b"RTP/"))
}

/// The names of a section's formats, in lower case.
fn names<'a>(section: &[Line<'a>]) -> HashMap<&'a [u8], Vec<u8>> {
    let map = |line: &Line<'a>| {
        let mut parts = tokens(line.attribute_named(b"rtpmap")?);
        Some((parts.next()?, parts.next()?.to_ascii_lowercase()))
    };
    section.iter().filter_map(map).collect()
}

/// Whether a listed name means a format.
fn suits(listed: &[u8], name: &[u8], format: &[u8]) -> bool {
    let is_whole_name = |rest: &[u8]| rest.is_empty() || rest.first() == Some(&b'/');
    matches!(listed, b"all" | b"full" | b"any")
        || listed == format
        || (!listed.is_empty() && name.strip_prefix(listed).is_some_and(is_whole_name))
}

/// The format that a line describes.
fn of_format<'a>(line: &Line<'a>) -> Option<&'a [u8]> {
    let (name, value) = line.attribute()?;
    matches!(name, b"rtpmap" | b"fmtp" | b"rtcp-fb").then(|| tokens(value).next()).flatten()
}

/// RFC 3551 section 6: payload types that need no `a=rtpmap`.
pub(super) fn static_name(format: &[u8]) -> &'static [u8] {
    match number::<u8>(format) {
        Some(0) => b"PCMU/8000",
        Some(3) => b"GSM/8000",
        Some(4) => b"G723/8000",
        Some(5) => b"DVI4/8000",
        Some(6) => b"DVI4/16000",
        Some(7) => b"LPC/8000",
        Some(8) => b"PCMA/8000",
        Some(9) => b"G722/8000",
        Some(10) => b"L16/44100/2",
        Some(11) => b"L16/44100/1",
        Some(12) => b"QCELP/8000",
        Some(13) => b"CN/8000",
        Some(14) => b"MPA/90000",
        Some(15) => b"G728/8000",
        Some(18) => b"G729/8000",
        Some(26) => b"JPEG/90000",
        Some(31) => b"H261/90000",
        Some(34) => b"H263/90000",
        Some(_) | None => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: &str = "v=0\r\nm=audio 4000 RTP/AVP 8 0 9 96 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 opus/48000/2\r\n\
        a=fmtp:96 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n";

    fn list(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    fn select(codecs: &Codecs, body: &str) -> String {
        String::from_utf8(codecs.select(body.as_bytes())).unwrap()
    }

    fn formats(codecs: &Codecs) -> String {
        select(codecs, PHONE).lines().nth(1).unwrap().to_owned()
    }

    #[test]
    fn what_is_stripped_goes_with_its_lines() {
        let out = select(&Codecs { strip: list(&["opus", "g722"]), ..Codecs::default() }, PHONE);
        assert!(out.contains("m=audio 4000 RTP/AVP 8 0 101\r\n") && !out.contains(":96 "), "{out}");
        assert!(
            out.contains("a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"),
            "{out}"
        );
    }

    #[test]
    fn of_all_only_the_exceptions_stay_in_their_order() {
        let codecs = Codecs { strip: list(&["all"]), except: list(&["telephone-event", "pcma"]), ..Codecs::default() };
        assert_eq!(formats(&codecs), "m=audio 4000 RTP/AVP 8 101");
    }

    #[test]
    fn what_is_to_be_offered_comes_first() {
        let codecs = Codecs { strip: list(&["all"]), offer: list(&["g722", "pcma"]), ..Codecs::default() };
        assert_eq!(formats(&codecs), "m=audio 4000 RTP/AVP 9 8");
        let codecs = Codecs { offer: list(&["pcmu"]), ..Codecs::default() };
        assert_eq!(formats(&codecs), "m=audio 4000 RTP/AVP 0 8 9 96 101");
    }

    #[test]
    fn a_clock_or_a_payload_type_may_be_named() {
        assert_eq!(
            formats(&Codecs { strip: list(&["opus/48000"]), ..Codecs::default() }),
            "m=audio 4000 RTP/AVP 8 0 9 101"
        );
        assert_eq!(formats(&Codecs { strip: list(&["opus/16000"]), ..Codecs::default() }), formats(&Codecs::default()));
        assert_eq!(formats(&Codecs { strip: list(&["0"]), ..Codecs::default() }), "m=audio 4000 RTP/AVP 8 9 96 101");
        assert_eq!(formats(&Codecs { strip: list(&["pcm"]), ..Codecs::default() }), formats(&Codecs::default()));
    }

    #[test]
    fn a_single_codec_keeps_its_events() {
        assert_eq!(formats(&Codecs { single: true, ..Codecs::default() }), "m=audio 4000 RTP/AVP 8 101");
    }

    #[test]
    fn a_section_of_which_nothing_would_be_left_stays_as_it_is() {
        for (strip, except) in
            [(&["all"][..], &[][..]), (&["all"], &["telephone-event"]), (&["pcma", "pcmu", "g722", "opus"], &[])]
        {
            let codecs = Codecs { strip: list(strip), except: list(except), ..Codecs::default() };
            assert_eq!(select(&codecs, PHONE), PHONE);
        }
        let video = format!("{PHONE}m=video 4002 RTP/AVP 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n");
        let codecs = Codecs { strip: list(&["all"]), except: list(&["pcma"]), ..Codecs::default() };
        let out = select(&codecs, &video);
        assert!(out.contains("m=audio 4000 RTP/AVP 8\r\n") && out.contains("m=video 4002 RTP/AVP 96 97\r\n"), "{out}");
    }

    #[test]
    fn companions_go_with_their_codec() {
        let body = "v=0\r\nm=audio 4 RTP/AVP 111 63 8 110 101 13\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n\
            a=fmtp:63 111/111\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\n\
            m=video 6 RTP/AVP 96 97 98 99\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
            a=rtpmap:98 H264/90000\r\na=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n";
        let strip = |names: &[&str]| select(&Codecs { strip: list(names), ..Codecs::default() }, body);
        let out = strip(&["opus"]);
        assert!(
            out.contains("m=audio 4 RTP/AVP 8 101 13\r\na=rtpmap:101 ") && out.contains(" 96 97 98 99\r\n"),
            "{out}"
        );
        let out = strip(&["pcma", "h264"]);
        assert!(out.contains("RTP/AVP 111 63 110 13\r\n") && out.contains("m=video 6 RTP/AVP 96 97\r\n"), "{out}");
        assert_eq!(strip(&["g729"]), body);
    }

    #[test]
    fn other_sections_stay_byte_for_byte() {
        let body = "v=0\nm=image 4000 udptl t38\na=x\nm=audio 0 RTP/AVP 8\nm=message 9 TCP/MSRP *";
        assert_eq!(select(&Codecs { strip: list(&["all"]), ..Codecs::default() }, body), body);
    }
}
