//! Where a frame of a stream ends, found out as its bytes come: each is looked at once, however few come at a time.

use super::frame::MAX_COOKIE;

/// How long a number may be, and how deep values may lie in one another, before the reader decides on what is there.
const MAX_NUMBER: usize = 20;
const MAX_DEPTH: usize = 256;

/// How far the frame at the beginning of a stream has been looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The next byte to look at; beyond the end where a string's length says so.
    at: usize,
    depth: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the cookie, or without cookies before the dictionary.
    #[default]
    Start,
    /// In the cookie.
    Cookie {
        first: usize,
    },
    /// Before the dictionary.
    Gap,
    Bencode,
    Json,
    /// In a string of JSON, behind a backslash or not.
    Text {
        is_escaped: bool,
    },
}

impl Scan {
    /// Whether it is time to read the frame that the stream begins with: it is complete, or cannot become a frame. Without that it would only be
    /// found incomplete again. The stream may only grow from one call to the next, until a frame has been taken from it; then a new scan begins.
    pub fn is_due(&mut self, stream: &[u8], has_cookie: bool) -> bool {
        loop {
            let Some(byte) = stream.get(self.at) else { return false };
            match (self.place, byte) {
                (Place::Start, byte) if byte.is_ascii_whitespace() => self.at += 1,
                (Place::Start, _) => {
                    self.place = if has_cookie { Place::Cookie { first: self.at } } else { Place::Gap }
                }
                (Place::Cookie { .. }, b' ') => self.place = Place::Gap,
                // A cookie that is too long is no cookie.
                (Place::Cookie { first }, _) if self.at - first > MAX_COOKIE => return true,
                (Place::Cookie { .. }, _) => self.at += 1,
                (Place::Gap, byte) if byte.is_ascii_whitespace() => self.at += 1,
                (Place::Gap, b'd') => self.place = Place::Bencode,
                (Place::Gap, b'{') => self.place = Place::Json,
                (Place::Gap, _) => return true,
                (Place::Bencode, byte) => match self.bencode(*byte, stream) {
                    Step::On => {}
                    Step::Wait => return false,
                    Step::Due => return true,
                },
                (Place::Json, b'{' | b'[') => {
                    self.depth += 1;
                    self.at += 1;
                }
                (Place::Json, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.at += 1;
                    if self.depth == 0 {
                        return true;
                    }
                }
                (Place::Json, b'"') => {
                    self.place = Place::Text { is_escaped: false };
                    self.at += 1;
                }
                (Place::Json, _) => self.at += 1,
                (Place::Text { is_escaped: false }, b'"') => {
                    self.place = Place::Json;
                    self.at += 1;
                }
                (Place::Text { is_escaped }, byte) => {
                    self.place = Place::Text { is_escaped: !is_escaped && *byte == b'\\' };
                    self.at += 1;
                }
            }
            if self.depth > MAX_DEPTH {
                return true;
            }
        }
    }

    fn bencode(&mut self, byte: u8, stream: &[u8]) -> Step {
        let rest = stream.get(self.at..).unwrap_or_default();
        let number = |end: u8| rest.iter().take(MAX_NUMBER + 2).position(|byte| *byte == end);
        let unfinished = if rest.len() > MAX_NUMBER + 1 { Step::Due } else { Step::Wait };
        match byte {
            b'd' | b'l' => {
                self.depth += 1;
                self.at += 1;
            }
            b'e' => {
                self.depth = self.depth.saturating_sub(1);
                self.at += 1;
                if self.depth == 0 {
                    return Step::Due;
                }
            }
            b'i' => match number(b'e') {
                Some(end) => self.at += end + 1,
                None => return unfinished,
            },
            b'0'..=b'9' => match number(b':') {
                Some(colon) => {
                    let digits = rest.get(..colon).and_then(|digits| std::str::from_utf8(digits).ok());
                    let Some(len) = digits.and_then(|digits| digits.parse::<usize>().ok()) else { return Step::Due };
                    self.at = self.at.saturating_add(colon + 1).saturating_add(len);
                }
                None => return unfinished,
            },
            _ => return Step::Due,
        }
        Step::On
    }
}

enum Step {
    On,
    Wait,
    Due,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ng::Frame;

    /// After which byte a stream that comes byte by byte is due.
    fn due(stream: &[u8], has_cookie: bool) -> Option<usize> {
        let mut scan = Scan::default();
        (1..=stream.len()).find(|len| scan.is_due(&stream[..*len], has_cookie))
    }

    const FRAMES: [&[u8]; 5] = [
        b"d7:command4:pinge",
        b"d3:sdp10:de}{e\"\\\\i1e",
        b"{\"command\":\"ping\"}",
        b"{\"sdp\":\"a\\\"}]\",\"flags\":[\"x\",{}]}",
        b"d1:ai-5e1:bld1:ci0eeee",
    ];

    #[test]
    fn a_frame_is_due_with_its_last_byte_and_not_before() {
        for frame in FRAMES {
            assert_eq!(due(frame, false), Some(frame.len()), "{}", frame.escape_ascii());
            let with_cookie = [b"\r\nab_1 ", frame].concat();
            assert_eq!(due(&with_cookie, true), Some(with_cookie.len()));
        }
    }

    #[test]
    fn what_cannot_become_a_frame_is_due_at_once() {
        for (stream, has_cookie, at) in
            [(&b"x"[..], false, 1), (b"c x", true, 3), (b"dx", false, 2), (b"d1x2345678901234567890123", false, 23)]
        {
            assert_eq!(due(stream, has_cookie), Some(at), "{}", stream.escape_ascii());
        }
    }

    proptest! {
        /// Were a complete frame not due, its client would wait for ever.
        #[test]
        fn whatever_the_reader_takes_is_due(
            bytes in proptest::collection::vec(prop::sample::select(b"d1:ali0ie5{}[]\"\\ \r".to_vec()), 0..40),
        ) {
            for len in 0..=bytes.len() {
                let stream = &bytes[..len];
                let is_read = matches!(Frame::prefix(stream), Ok(Some(_)));
                let mut scan = Scan::default();
                prop_assert!(!is_read || scan.is_due(stream, false), "{}", stream.escape_ascii());
            }
        }
    }
}
