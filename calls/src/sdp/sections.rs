//! Sections that one party has and the other does not get to see.

use super::line::{Line, before_slash, ending_of, levels, number, split, tokens};

/// A body without the sections for which `hidden` is true, in the order of the `m=` lines.
pub fn hide(body: &[u8], hidden: &[bool]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut hidden = hidden.iter().copied();
    let mut is_hidden = false;
    for line in split(body) {
        if line.field(b'm').is_some() {
            is_hidden = hidden.next().unwrap_or(false);
        }
        if !is_hidden {
            line.write(&mut out);
        }
    }
    out
}

/// A body with rejected sections (RFC 3264 section 6) where the party that wrote it did not see one: `lines` are the `m=` lines of these, and
/// the number that each has.
pub fn restore(body: &[u8], lines: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let ending = ending_of(body);
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut missing = lines.iter().peekable();
    let mut number = 0;
    let mut insert = |out: &mut Vec<u8>, number: &mut usize| {
        while let Some((_, line)) = missing.next_if(|(at, _)| at == number) {
            super::attributes::append(out, line, ending);
            *number += 1;
        }
    };
    for level in levels(body) {
        level.lines.iter().for_each(|line| line.write(&mut out));
        number += usize::from(level.media().is_some());
        // Before what a parser may stop at.
        insert(&mut out, &mut number);
        level.tail.iter().for_each(|line| line.write(&mut out));
    }
    out
}

/// An answer as it should be: as many sections as the offer had (RFC 3264 section 6). What is too much goes, for the party that made the offer
/// cannot tell what it is; what is missing is rejected, by the `m=` lines of `rejections`.
pub fn fit(body: &[u8], offered: usize, rejections: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let answered = sections(body);
    if answered > offered {
        return hide(body, &(0..answered).map(|at| at >= offered).collect::<Vec<_>>());
    }
    let missing: Vec<_> = rejections.enumerate().skip(answered).take(offered - answered).collect();
    restore(body, &missing)
}

/// How many sections a body has.
pub fn sections(body: &[u8]) -> usize {
    split(body).filter(|line| line.field(b'm').is_some()).count()
}

/// The `m=` line of a section that is rejected.
pub fn rejected(kind: &[u8], transport: &[u8]) -> Vec<u8> {
    [b"m=", [kind, b"0", transport, b"0"].join(&b' ').as_slice()].concat()
}

/// The `m=` lines of a body, each with port 0 and no more than one format: what a party that does not see the section would answer.
pub fn rejections(body: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    split(body).filter_map(|line| rejection(&line))
}

fn rejection(line: &Line<'_>) -> Option<Vec<u8>> {
    let mut parts = tokens(line.field(b'm')?);
    let (kind, port, transport) = (parts.next()?, parts.next()?, parts.next()?);
    number::<u16>(before_slash(port))?;
    let rest = [kind, b"0", transport, parts.next().unwrap_or(b"0")].join(&b' ');
    Some([b"m=", rest.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        "v=0\r\nm=audio 4 RTP/AVP 8 0\r\na=x\r\nm=video 6/2 RTP/AVP 31\r\na=y\r\nm=text 8 RTP/AVP 98\r\n";

    #[test]
    fn a_hidden_section_goes_with_all_its_lines() {
        let out = String::from_utf8(hide(BODY.as_bytes(), &[false, true, false])).unwrap();
        assert_eq!(out, "v=0\r\nm=audio 4 RTP/AVP 8 0\r\na=x\r\nm=text 8 RTP/AVP 98\r\n");
        assert_eq!(hide(BODY.as_bytes(), &[]), BODY.as_bytes());
    }

    #[test]
    fn an_answer_has_as_many_sections_as_its_offer() {
        let fitted = |body: &str, offered| {
            let rejections = (0..4).map(|_| rejected(b"video", b"RTP/AVP"));
            String::from_utf8(fit(body.as_bytes(), offered, rejections)).unwrap()
        };
        let video = "m=video 0 RTP/AVP 0\r\n";
        assert_eq!(fitted(BODY, 3), BODY);
        assert_eq!(fitted(BODY, 4), format!("{BODY}{video}"));
        assert_eq!(fitted(BODY, 1), "v=0\r\nm=audio 4 RTP/AVP 8 0\r\na=x\r\n");
        assert_eq!(
            fitted("v=0\r\nm=audio 4 RTP/AVP 8\r\n\r\n", 2),
            format!("v=0\r\nm=audio 4 RTP/AVP 8\r\n{video}\r\n")
        );
    }

    #[test]
    fn what_was_hidden_comes_back_rejected_in_its_place() {
        let rejections: Vec<_> = rejections(BODY.as_bytes()).collect();
        let restored = |body: &str, at: &[usize]| {
            let lines: Vec<_> = at.iter().map(|at| (*at, rejections[*at].clone())).collect();
            String::from_utf8(restore(body.as_bytes(), &lines)).unwrap()
        };
        let one = "v=0\r\nm=audio 9 RTP/AVP 8\r\nm=text 7 RTP/AVP 98\r\n";
        assert_eq!(
            restored(one, &[1]),
            "v=0\r\nm=audio 9 RTP/AVP 8\r\nm=video 0 RTP/AVP 31\r\nm=text 7 RTP/AVP 98\r\n"
        );
        assert_eq!(
            restored("v=0\r\nm=video 9 RTP/AVP 31", &[0, 2]),
            "v=0\r\nm=audio 0 RTP/AVP 8\r\nm=video 9 RTP/AVP 31\r\nm=text 0 RTP/AVP 98\r\n"
        );
    }
}
