//! Attributes that a script adds, removes or replaces.

use std::collections::HashSet;

use super::line::{Line, ending_of, split, tokens};

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
    /// All that have this text, or this name.
    Remove(Level, Vec<u8>),
    /// This text in place of all that have that one.
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
    let of = |level: &Level| edits.iter().filter(|edit| edit.level() == level).collect::<Vec<_>>();
    let mut here = of(&Level::Session);
    for line in split(body) {
        if let Some(text) = line.field(b'm') {
            add(&mut out, ending, &here);
            here = of(&Level::Media(tokens(text).next().unwrap_or_default().to_ascii_lowercase()));
        }
        line_of(&line, &here, &mut out);
    }
    add(&mut out, ending, &here);
    out
}

fn line_of(line: &Line<'_>, edits: &[&AttributeEdit], out: &mut Vec<u8>) {
    let (Some(text), Some((name, _))) = (line.field(b'a'), line.attribute()) else { return line.write(out) };
    for edit in edits {
        match edit {
            AttributeEdit::Remove(_, removed) if removed == text || removed == name => return,
            AttributeEdit::Substitute(_, from, to) if from == text => {
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
    let (mut is_media, mut has_mid) = (false, false);
    let mut finish = |out: &mut Vec<u8>, is_media: bool, has_mid: bool| {
        if is_media && !has_mid {
            append(out, &[b"a=mid:", free.next().unwrap_or_default().as_slice()].concat(), ending);
        }
    };
    for line in split(body) {
        if line.field(b'm').is_some() {
            finish(&mut out, is_media, has_mid);
            (is_media, has_mid) = (true, false);
        }
        has_mid |= line.attribute_named(b"mid").is_some();
        line.write(&mut out);
    }
    finish(&mut out, is_media, has_mid);
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
    fn an_attribute_takes_the_place_of_another() {
        let out = changed(&[AttributeEdit::Substitute(audio(), b"sendrecv".to_vec(), b"sendonly".to_vec())]);
        assert_eq!(out, BODY.replace("a=sendrecv\r\n", "a=sendonly\r\n"));
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
