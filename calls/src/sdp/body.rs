//! Reading a description: its lines, its sections, and what holds for all of them.

use super::connection::Connection;
use super::error::{Error, MAX_BODY, MAX_LINES, MAX_MEDIA};
use super::line::{Line, split, tokens};
use super::media::{Above, Direction, Media};

/// The `o=` line (RFC 8866 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// `<sess-id>`: constant for the life of a session.
    pub session_id: &'a [u8],
    /// `<sess-version>`: goes up with every change.
    pub session_version: &'a [u8],
    /// `<unicast-address>`: an address literal or a host name.
    pub address: &'a [u8],
}

impl<'a> Origin<'a> {
    /// Reads from the end, because user names are known to be missing or to contain spaces.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let all: Vec<_> = tokens(text).collect();
        let [.., session_id, session_version, network, _, address] = *all.as_slice() else { return None };
        network.eq_ignore_ascii_case(b"IN").then_some(Self { session_id, session_version, address })
    }
}

/// A description as the lines it came in, with what a relay must know read from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body<'a> {
    /// The lines before the first `m=`.
    pub(super) session: Vec<Line<'a>>,
    /// The first `c=` among them.
    pub(super) connection: Option<Connection<'a>>,
    media: Vec<Media<'a>>,
}

impl<'a> Body<'a> {
    /// Reads a body. The order of lines and lines that a relay does not use are not checked.
    ///
    /// # Errors
    ///
    /// If the body exceeds [`MAX_BODY`], [`MAX_LINES`] or [`MAX_MEDIA`], has no `m=` line, an `m=` line lacks kind, port or
    /// transport, its port is not a 16-bit number, or a `c=` line has fewer than its three tokens.
    pub fn parse(body: &'a [u8]) -> Result<Self, Error> {
        if body.len() > MAX_BODY {
            return Err(Error::TooLong);
        }
        let mut session = Vec::new();
        let mut sections: Vec<Vec<Line<'a>>> = Vec::new();
        for line in split(body) {
            if line.number > MAX_LINES {
                return Err(Error::TooManyLines);
            }
            if line.field(b'v').is_some() && !sections.is_empty() {
                return Err(Error::Second { line: line.number });
            }
            if line.field(b'm').is_some() {
                if sections.len() == MAX_MEDIA {
                    return Err(Error::TooManyMedia);
                }
                sections.push(Vec::new());
            }
            sections.last_mut().unwrap_or(&mut session).push(line);
        }
        if sections.is_empty() {
            return Err(Error::NoMedia);
        }
        let connection = Connection::first_of(&session)?;
        // Read once: a long session level must not be searched again for each section.
        let flow = Direction::first_of(&session);
        let has_ice = session.iter().any(|line| line.attribute_named(b"ice-ufrag").is_some());
        let above = Above { connection, flow, has_ice };
        let media = sections.into_iter().map(|lines| Media::parse(lines, above)).collect::<Result<_, _>>()?;
        Ok(Self { session, connection, media })
    }

    /// The media sections in the order of their `m=` lines; at least one.
    pub fn media(&self) -> &[Media<'a>] {
        &self.media
    }

    /// The `o=` line. None if it is missing or cannot be read, which is no reason to refuse a call.
    pub fn origin(&self) -> Option<Origin<'a>> {
        self.session.iter().find_map(|line| Origin::parse(line.field(b'o')?))
    }

    /// How long the body is, in bytes.
    pub(super) fn len(&self) -> usize {
        self.lines().map(|line| line.content.len() + line.ending.len()).sum()
    }

    /// Every line in order.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line<'a>> {
        self.session.iter().chain(self.media.iter().flat_map(|media| &media.lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &[u8]) -> Error {
        Body::parse(text).unwrap_err()
    }

    #[test]
    fn a_body_without_media_is_refused() {
        for text in [&b""[..], b"\r\n", b"v=0\r\ns=-\r\n", b" m=audio 4 RTP/AVP 0\n", b"M=audio 4 RTP/AVP 0\n"] {
            assert_eq!(error(text), Error::NoMedia, "{text:?}");
        }
    }

    #[test]
    fn a_media_line_with_too_few_tokens_is_refused() {
        for text in [&b"v=0\nm=audio 4000\n"[..], b"v=0\nm=", b"v=0\nm=audio\r\n", b"v=0\nm=  \r\n"] {
            assert_eq!(error(text), Error::Incomplete { line: 2, field: "m=" });
        }
    }

    #[test]
    fn a_port_out_of_range_is_refused() {
        for port in ["65536", "-1", "+4", "x", "/2", "4000.", "99999999999999999999999"] {
            let text = format!("v=0\nm=audio {port} RTP/AVP 0\n");
            assert_eq!(error(text.as_bytes()), Error::Port { line: 2 }, "{port}");
        }
    }

    #[test]
    fn a_second_description_is_refused() {
        let twice = "v=0\nm=audio 4 RTP/AVP 0\n".repeat(2);
        assert_eq!(error(twice.as_bytes()), Error::Second { line: 3 });
    }

    #[test]
    fn a_connection_with_too_few_tokens_is_refused_at_both_levels() {
        assert_eq!(error(b"c=IN IP4\nm=audio 4 RTP/AVP 0\n"), Error::Incomplete { line: 1, field: "c=" });
        let second = b"m=audio 4 RTP/AVP 0\nc=IN IP4 192.0.2.1\nc=\n";
        assert_eq!(error(second), Error::Incomplete { line: 3, field: "c=" });
    }

    #[test]
    fn the_length_limit_is_exact() {
        let mut text = b"m=audio 4 RTP/AVP 0\n".to_vec();
        text.resize(MAX_BODY, b'x');
        assert_eq!(Body::parse(&text).unwrap().lines().count(), 2);
        text.push(b'x');
        assert_eq!(error(&text), Error::TooLong);
    }

    #[test]
    fn the_limit_of_lines_is_exact() {
        let mut text = b"m=audio 4 RTP/AVP 0\n".to_vec();
        text.resize(text.len() + MAX_LINES - 1, b'\n');
        assert_eq!(Body::parse(&text).unwrap().lines().count(), MAX_LINES);
        text.push(b'\n');
        assert_eq!(error(&text), Error::TooManyLines);
    }

    #[test]
    fn the_limit_of_media_sections_is_exact() {
        let line = b"m=audio 4 RTP/AVP 0\n";
        assert_eq!(Body::parse(&line.repeat(MAX_MEDIA)).unwrap().media().len(), 64);
        assert_eq!(error(&line.repeat(65)), Error::TooManyMedia);
    }

    #[test]
    fn a_thousand_lines_are_read() {
        let mut text = b"v=0\r\nm=audio 4 RTP/AVP 96\r\n".to_vec();
        text.extend(b"a=x:y\r\n".repeat(997));
        text.extend(b"a=rtpmap:96 opus/48000/2\r\n");
        let body = Body::parse(&text).unwrap();
        assert_eq!((body.lines().count(), body.media()[0].clock_rate), (1000, Some(48000)));
    }

    #[test]
    fn lines_belong_to_the_media_line_before_them() {
        let body = Body::parse(b"v=0\ns=-\nm=audio 4 RTP/AVP 0\na=x\nm=video 6 RTP/AVP 31\n").unwrap();
        assert_eq!(body.session.len(), 2);
        assert_eq!(body.media().iter().map(|media| media.lines.len()).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn binary_bytes_do_not_matter() {
        let body = Body::parse(b"s=\x00\xff\r\nm=au\xffdio 4 RTP/AVP 0\r\n\x00\xff").unwrap();
        assert_eq!(body.media()[0].kind, b"au\xffdio");
        assert_eq!(body.lines().count(), 3);
    }

    #[test]
    fn the_connection_may_come_before_the_origin() {
        let body = Body::parse(b"c=IN IP4 192.0.2.1\no=me 17 18 IN IP4 192.0.2.2\nm=audio 4 RTP/AVP 0\n").unwrap();
        let origin = Origin { session_id: b"17", session_version: b"18", address: b"192.0.2.2" };
        assert_eq!(body.origin(), Some(origin));
        assert_eq!(body.media()[0].endpoint(), Some("192.0.2.1:4".parse().unwrap()));
    }

    #[test]
    fn an_origin_is_read_without_user_name_or_with_spaces_in_it() {
        let origin = Some(Origin { session_id: b"1", session_version: b"2", address: b"pbx" });
        assert_eq!(Origin::parse(b" 1 2 IN IP4 pbx"), origin);
        assert_eq!(Origin::parse(b"John Doe 1 2 IN IP4 pbx"), origin);
    }

    #[test]
    fn an_origin_that_cannot_be_read_is_none() {
        for text in [&b"o=-\nm=audio 4 RTP/AVP 0\n"[..], b"o=- 1 2 X IP4 pbx\nm=audio 4 RTP/AVP 0\n"] {
            assert_eq!(Body::parse(text).unwrap().origin(), None);
        }
    }

    #[test]
    fn an_error_says_where_and_what() {
        assert_eq!(Error::Incomplete { line: 7, field: "m=" }.to_string(), "SDP line 7: incomplete m= line");
        assert_eq!(Error::TooLong.to_string(), "SDP body is longer than 49152 bytes");
    }
}
