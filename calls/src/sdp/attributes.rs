//! Attributes that a script adds, removes or replaces.

use std::collections::HashSet;

use super::line::{Line, ending_of, levels, split, tokens};

/// The lines that an edit is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Level {
    /// Those before the first `m=`.
    Session,
    /// Those of the sections of this type, such as `audio`, in lower case.
    Media(Vec<u8>),
}

/// A change of attribute lines, all given without their `a=`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttributeEdit {
    /// One more at the end of the level.
    Add(Level, Vec<u8>),
    /// All that begin with these words: the whole text, the name, or the name and the format.
    Remove(Level, Vec<u8>),
    /// This text in place of all that begin so.
    Substitute(Level, Vec<u8>, Vec<u8>),
}

impl AttributeEdit {
    const fn level(&self) -> &Level {
        match self {
            Self::Add(level, _) | Self::Remove(level, _) | Self::Substitute(level, _, _) => level,
        }
    }
}

/// A body with its attributes changed.
pub fn change(body: &[u8], edits: &[AttributeEdit]) -> Vec<u8> {
    let ending = ending_of(body);
    let mut out = Vec::with_capacity(body.len() + 64);
    for lines in levels(body) {
        let kind = |text| tokens(text).next().unwrap_or_default().to_ascii_lowercase();
        let level = lines.media().map_or(Level::Session, |text| Level::Media(kind(text)));
        let here: Vec<_> = edits.iter().filter(|edit| *edit.level() == level).collect();
        lines.lines.iter().for_each(|line| line_of(line, &here, &mut out));
        add(&mut out, ending, &here);
        lines.tail.iter().for_each(|line| line.write(&mut out));
    }
    out
}

/// Whether an attribute begins with these words.
fn begins_with(text: &[u8], words: &[u8]) -> bool {
    let is_end = |rest: &[u8]| matches!(rest, [] | [b':' | b' ', ..]);
    text.strip_prefix(words).is_some_and(|rest| is_end(rest) || words.ends_with(b":") || words.ends_with(b" "))
}

fn line_of(line: &Line<'_>, edits: &[&AttributeEdit], out: &mut Vec<u8>) {
    let Some(text) = line.field(b'a') else { return line.write(out) };
    for edit in edits {
        match edit {
            AttributeEdit::Remove(_, removed) if begins_with(text, removed) => return,
            AttributeEdit::Substitute(_, from, to) if begins_with(text, from) => {
                out.extend_from_slice(b"a=");
                out.extend_from_slice(to);
                return out.extend_from_slice(line.ending);
            }
            AttributeEdit::Add(..) | AttributeEdit::Remove(..) | AttributeEdit::Substitute(..) => {}
        }
    }
    line.write(out);
}

fn add(out: &mut Vec<u8>, ending: &[u8], edits: &[&AttributeEdit]) {
    for edit in edits {
        if let AttributeEdit::Add(_, text) = edit {
            append(out, &[b"a=", text.as_slice()].concat(), ending);
        }
    }
}

/// A line of our own at the end. What is there may lack its ending.
pub(super) fn append(out: &mut Vec<u8>, line: &[u8], ending: &[u8]) {
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.extend_from_slice(ending);
    }
    out.extend_from_slice(line);
    out.extend_from_slice(ending);
}

/// Gives the sections an identification (RFC 5888 section 4) that have none: the lowest number that is free.
pub fn generate_mids(body: &[u8]) -> Vec<u8> {
    let taken: HashSet<&[u8]> =
        split(body).filter_map(|line| line.attribute_named(b"mid").map(<[u8]>::trim_ascii)).collect();
    let mut free =
        (1..).map(|number: u32| number.to_string().into_bytes()).filter(|mid| !taken.contains(mid.as_slice()));
    let ending = ending_of(body);
    let mut out = Vec::with_capacity(body.len() + 64);
    for level in levels(body) {
        level.lines.iter().for_each(|line| line.write(&mut out));
        let has_mid = level.lines.iter().any(|line| line.attribute_named(b"mid").is_some());
        if level.media().is_some() && !has_mid {
            append(&mut out, &[b"a=mid:", free.next().unwrap_or_default().as_slice()].concat(), ending);
        }
        level.tail.iter().for_each(|line| line.write(&mut out));
    }
    out
}

/// A body without header extensions (RFC 8285 section 5) of these URIs, of which `all` means every one.
pub fn strip_extmaps(body: &[u8], uris: &[Vec<u8>]) -> Vec<u8> {
    let is_unwanted = |line: &Line<'_>| {
        let uri = line.attribute_named(b"extmap").and_then(|value| tokens(value).nth(1));
        uri.is_some_and(|uri| uris.iter().any(|unwanted| unwanted == uri || unwanted == b"all"))
    };
    let mut out = Vec::with_capacity(body.len());
    split(body).filter(|line| !is_unwanted(line)).for_each(|line| line.write(&mut out));
    out
}

/// The attribute that says which relays a description has been through.
const MARK: &[u8] = b"rtpengine";

/// A body that says that it has been through the relay of this name. It stands at the end of the session's lines.
pub fn mark(body: &[u8], name: &[u8]) -> Vec<u8> {
    change(body, &[AttributeEdit::Add(Level::Session, [MARK, b":", name].concat())])
}

impl super::Body<'_> {
    /// Whether the body says that it has been through the relay of this name.
    pub fn is_marked(&self, name: &[u8]) -> bool {
        self.lines().any(|line| line.attribute_named(MARK) == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        "v=0\r\na=x\r\nm=audio 4 RTP/AVP 8\r\na=ptime:20\r\na=sendrecv\r\nm=Video 6 RTP/AVP 31\r\na=sendrecv";

    fn changed(edits: &[AttributeEdit]) -> String {
        String::from_utf8(change(BODY.as_bytes(), edits)).unwrap()
    }

    fn audio() -> Level {
        Level::Media(b"audio".to_vec())
    }

    #[test]
    fn attributes_are_added_at_the_end_of_their_level() {
        let out = changed(&[
            AttributeEdit::Add(Level::Session, b"y".to_vec()),
            AttributeEdit::Add(Level::Media(b"video".to_vec()), b"z:1".to_vec()),
        ]);
        let expected = BODY.replace("a=x\r\n", "a=x\r\na=y\r\n") + "\r\na=z:1\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_body_of_one_line_without_ending_is_not_glued_to_what_is_added() {
        let out = change(b"m=audio 4 RTP/AVP 8", &[AttributeEdit::Add(Level::Session, b"y".to_vec())]);
        assert_eq!(out, b"a=y\r\nm=audio 4 RTP/AVP 8");
    }

    #[test]
    fn attributes_are_removed_by_name_or_by_text_in_their_level_only() {
        let by_name = changed(&[AttributeEdit::Remove(audio(), b"ptime".to_vec())]);
        assert_eq!(by_name, BODY.replace("a=ptime:20\r\n", ""));
        assert_eq!(changed(&[AttributeEdit::Remove(audio(), b"ptime:20".to_vec())]), by_name);
        assert_eq!(changed(&[AttributeEdit::Remove(audio(), b"ptime:30".to_vec())]), BODY);
        assert_eq!(changed(&[AttributeEdit::Remove(Level::Session, b"sendrecv".to_vec())]), BODY);
    }

    #[test]
    fn attributes_are_named_by_how_they_begin() {
        let body = "v=0\nm=audio 4 RTP/AVP 101 10\na=fmtp:101 0-15\na=fmtp:10 x\na=fmtp:101\na=rtpmap:101 a/8\n";
        let run = |edit| String::from_utf8(change(body.as_bytes(), &[edit])).unwrap();
        let removed = |words: &[u8]| run(AttributeEdit::Remove(audio(), words.to_vec()));
        assert_eq!(removed(b"fmtp:101"), body.replace("a=fmtp:101 0-15\n", "").replace("a=fmtp:101\n", ""));
        assert_eq!(removed(b"fmtp:101 "), body.replace("a=fmtp:101 0-15\n", ""));
        assert_eq!(removed(b"fmtp:1"), body);
        assert_eq!(removed(b"fm"), body);
        let substitute = AttributeEdit::Substitute(audio(), b"fmtp:10".to_vec(), b"fmtp:10 y".to_vec());
        assert_eq!(run(substitute), body.replace("a=fmtp:10 x", "a=fmtp:10 y"));
    }

    #[test]
    fn what_is_added_comes_before_empty_lines() {
        let edits = [AttributeEdit::Add(Level::Session, b"y".to_vec()), AttributeEdit::Add(audio(), b"z".to_vec())];
        for (body, expected) in [
            ("v=0\r\n\r\nm=audio 4 RTP/AVP 8\r\n\r\n", "v=0\r\na=y\r\n\r\nm=audio 4 RTP/AVP 8\r\na=z\r\n\r\n"),
            (
                "v=0\nm=audio 4 RTP/AVP 8\n\nm=video 6 RTP/AVP 31\n\n\n",
                "v=0\na=y\nm=audio 4 RTP/AVP 8\na=z\n\nm=video 6 RTP/AVP 31\n\n\n",
            ),
            ("v=0\nm=audio 4 RTP/AVP 8\n\na=b", "v=0\na=y\nm=audio 4 RTP/AVP 8\n\na=b\na=z\n"),
        ] {
            assert_eq!(String::from_utf8(change(body.as_bytes(), &edits)).unwrap(), expected);
        }
        let body = "v=0\nm=audio 4 RTP/AVP 8\n\n";
        let expected = "v=0\nm=audio 4 RTP/AVP 8\na=mid:1\n\n";
        assert_eq!(String::from_utf8(generate_mids(body.as_bytes())).unwrap(), expected);
    }

    #[test]
    fn an_attribute_takes_the_place_of_another() {
        let out = changed(&[AttributeEdit::Substitute(audio(), b"sendrecv".to_vec(), b"sendonly".to_vec())]);
        assert_eq!(out, BODY.replace("a=sendrecv\r\n", "a=sendonly\r\n"));
    }

    #[test]
    fn header_extensions_go_by_their_uri() {
        let body = "v=0\na=extmap-allow-mixed\nm=audio 4 RTP/AVP 8\na=extmap:1 urn:a\na=extmap:2/sendonly urn:b x\n";
        let stripped = |uri: &str| String::from_utf8(strip_extmaps(body.as_bytes(), &[uri.into()])).unwrap();
        assert_eq!(stripped("urn:a"), body.replace("a=extmap:1 urn:a\n", ""));
        assert_eq!(stripped("urn:b"), body.replace("a=extmap:2/sendonly urn:b x\n", ""));
        assert_eq!(stripped("urn:"), body);
        assert_eq!(stripped("all"), "v=0\na=extmap-allow-mixed\nm=audio 4 RTP/AVP 8\n");
    }

    #[test]
    fn sections_get_the_identifications_that_they_lack() {
        let body = "v=0\nm=audio 4 RTP/AVP 8\nm=video 6 RTP/AVP 31\na=mid:1\nm=text 8 RTP/AVP 98";
        let out = String::from_utf8(generate_mids(body.as_bytes())).unwrap();
        let expected =
            "v=0\nm=audio 4 RTP/AVP 8\na=mid:2\nm=video 6 RTP/AVP 31\na=mid:1\nm=text 8 RTP/AVP 98\na=mid:3\n";
        assert_eq!(out, expected);
        assert_eq!(generate_mids(out.as_bytes()), out.as_bytes());
    }
}
