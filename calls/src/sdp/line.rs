//! Lines and tokens: the two units that the parser reads and the editor writes.

use std::net::IpAddr;

/// One line of a description: what it says, and the bytes that end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The line without its ending.
    pub content: &'a [u8],
    /// CRLF, LF, or nothing on a last line that was cut short.
    pub ending: &'a [u8],
    /// Position in the body, counted from 1, for error messages.
    pub number: usize,
}

impl<'a> Line<'a> {
    /// What follows `<kind>=`, when the line is of that kind.
    pub(super) fn field(&self, kind: u8) -> Option<&'a [u8]> {
        match self.content {
            [first, b'=', value @ ..] if *first == kind => Some(value),
            _ => None,
        }
    }

    /// Writes the line as it came.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.content);
        out.extend_from_slice(self.ending);
    }

    /// Whether the line has the form `<type>=<value>`, as opposed to an empty line or stray bytes.
    pub(super) fn is_field(&self) -> bool {
        matches!(self.content, [_, b'=', ..])
    }

    /// Name and value of an `a=` line (RFC 8866 section 5.13). A property attribute has an empty value.
    pub(super) fn attribute(&self) -> Option<(&'a [u8], &'a [u8])> {
        let text = self.field(b'a')?;
        let mut parts = text.splitn(2, |byte| *byte == b':');
        let name = parts.next()?.trim_ascii();
        Some((name, parts.next().unwrap_or_default()))
    }

    /// The value of the attribute called `name`.
    pub(super) fn attribute_named(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.attribute().filter(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

/// Cuts a body into lines. A lone CR ends nothing: RFC 8866 section 5 lets parsers accept a lone LF only.
pub(super) fn split(body: &[u8]) -> impl Iterator<Item = Line<'_>> {
    body.split_inclusive(|byte| *byte == b'\n').zip(1..).map(|(bytes, number)| match bytes {
        [content @ .., b'\r', b'\n'] => Line { content, ending: b"\r\n", number },
        [content @ .., b'\n'] => Line { content, ending: b"\n", number },
        content => Line { content, ending: b"", number },
    })
}

/// The lines of one level: those before the first `m=`, or a section.
pub(super) struct Level<'a> {
    /// Its lines, to the last that says something.
    pub lines: Vec<Line<'a>>,
    /// What comes after: empty lines and stray bytes. A parser may stop there, so nothing may be added after it.
    pub tail: Vec<Line<'a>>,
}

impl<'a> Level<'a> {
    /// The text of the `m=` line, of a section.
    pub(super) fn media(&self) -> Option<&'a [u8]> {
        self.lines.first()?.field(b'm')
    }
}

/// The levels of a body: that of the session, which may have no lines, and its sections.
pub(super) fn levels(body: &[u8]) -> Vec<Level<'_>> {
    let mut levels = vec![Level { lines: Vec::new(), tail: Vec::new() }];
    for line in split(body) {
        if line.field(b'm').is_some() {
            levels.push(Level { lines: Vec::new(), tail: Vec::new() });
        }
        let Some(level) = levels.last_mut() else { continue };
        if line.is_field() {
            level.lines.append(&mut level.tail);
            level.lines.push(line);
        } else {
            level.tail.push(line);
        }
    }
    levels
}

/// How a body ends its lines: as its first, or, where that has no ending, as it should be.
pub(super) fn ending_of(body: &[u8]) -> &'static [u8] {
    match split(body).next().map(|line| line.ending) {
        Some(b"\n") => b"\n",
        Some(_) | None => b"\r\n",
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Runs of spaces and runs of other bytes, in turn; together they are the text.
fn runs(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.chunk_by(|left, right| is_space(*left) == is_space(*right))
}

fn is_token(run: &[u8]) -> bool {
    run.first().is_some_and(|byte| !is_space(*byte))
}

/// The tokens of a field. The grammar has single spaces between them; senders also use several, or tabs.
pub(super) fn tokens(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    runs(text).filter(|run| is_token(run))
}

/// `prefix`, then `text` with those tokens changed for which `change` (given index and token) has something new.
/// The spaces between tokens stay.
pub(super) fn replace_tokens(prefix: &[u8], text: &[u8], change: impl Fn(usize, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = prefix.to_vec();
    let mut indices = 0..;
    for run in runs(text) {
        let changed = if is_token(run) { indices.next().and_then(|index| change(index, run)) } else { None };
        match changed {
            Some(new) => out.extend_from_slice(&new),
            None => out.extend_from_slice(run),
        }
    }
    out
}

/// A decimal number of digits only: the standard parser would also take a sign.
pub(super) fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An address literal; None for a host name.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The part before the first slash: a port without its count, a multicast address without its TTL.
pub(super) fn before_slash(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &[u8]) -> Line<'_> {
        split(text).next().unwrap()
    }

    #[test]
    fn every_line_keeps_its_own_ending() {
        let found: Vec<_> = split(b"a\r\nb\n\nc").map(|line| (line.content, line.ending, line.number)).collect();
        let expected: [(&[u8], &[u8], usize); 4] =
            [(b"a", b"\r\n", 1), (b"b", b"\n", 2), (b"", b"\n", 3), (b"c", b"", 4)];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_lone_carriage_return_is_part_of_the_line() {
        assert_eq!(first(b"s=a\rb\r\r\nt=0 0").content, b"s=a\rb\r");
    }

    #[test]
    fn an_empty_body_has_no_lines() {
        assert_eq!(split(b"").count(), 0);
    }

    #[test]
    fn lines_of_zero_one_and_two_characters_are_safe_to_ask_for_fields() {
        assert_eq!(first(b"\n").field(b'm'), None);
        assert_eq!(first(b"m").field(b'm'), None);
        assert_eq!(first(b"m=").field(b'm'), Some(&b""[..]));
        assert!(!first(b"m").is_field());
        assert!(first(b"m=").is_field());
    }

    #[test]
    fn an_attribute_has_a_name_and_a_value() {
        assert_eq!(first(b"a=rtcp:1 IN").attribute(), Some((&b"rtcp"[..], &b"1 IN"[..])));
        assert_eq!(first(b"a=sendonly \r\n").attribute(), Some((&b"sendonly"[..], &b""[..])));
        assert_eq!(first(b"b=AS:64").attribute(), None);
    }

    #[test]
    fn an_attribute_name_must_match_as_a_whole() {
        assert_eq!(first(b"a=rtcp-mux").attribute_named(b"rtcp"), None);
        assert_eq!(first(b"a=rtcp:9").attribute_named(b"rtcp"), Some(&b"9"[..]));
    }

    #[test]
    fn tokens_are_separated_by_any_run_of_spaces_and_tabs() {
        let found: Vec<_> = tokens(b"  a\t b  c ").collect();
        assert_eq!(found, [b"a", b"b", b"c"]);
    }

    #[test]
    fn replacing_a_token_keeps_the_spacing() {
        let out = replace_tokens(b"x=", b" a\t bb  c ", |index, _| (index == 1).then(|| b"NEW".to_vec()));
        assert_eq!(out, b"x= a\t NEW  c ");
    }

    #[test]
    fn a_number_has_digits_only_and_fits_its_type() {
        assert_eq!(number::<u16>(b"65535"), Some(65535));
        for bad in [&b"65536"[..], b"+1", b"-1", b"", b"1a", b"\xff", b"99999999999999999999"] {
            assert_eq!(number::<u16>(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_host_name_is_no_address() {
        assert_eq!(address(b"relay.example.net"), None);
        assert_eq!(address(b"2001:db8::1"), Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn what_follows_a_slash_is_cut_off() {
        assert_eq!(before_slash(b"224.2.1.1/127/3"), b"224.2.1.1");
        assert_eq!(before_slash(b"4000"), b"4000");
        assert_eq!(before_slash(b""), b"");
    }
}
