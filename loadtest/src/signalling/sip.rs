//! The little of a SIP message (RFC 3261 section 7) that tells calls apart.

/// First line of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A request with its method, which is compared with case (section 7.1).
    Request(String),
    /// A response with its status code.
    Response(u16),
}

/// A SIP message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) start: Start,
    /// Value of Call-ID.
    pub(super) call_id: String,
    /// Method in CSeq: what a response responds to.
    pub(super) method: String,
    pub(super) body: String,
}

impl Message {
    /// Reads a message; `None` when it has no first line of SIP, no Call-ID or no CSeq.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        // Display names may be in any character set; nothing that is needed here is.
        let text = String::from_utf8_lossy(payload);
        // Empty lines before a message are allowed (section 7.5).
        let mut lines = text.trim_start_matches(['\r', '\n']).split('\n').map(|line| line.trim_end_matches('\r'));
        let start = start(lines.next()?)?;
        let headers = unfolded(lines.by_ref().take_while(|line| !line.is_empty()));
        let (mut call_id, mut method) = (None, None);
        for header in &headers {
            let Some((name, value)) = header.split_once(':') else { continue };
            match name.trim_end().to_ascii_lowercase().as_str() {
                "call-id" | "i" => call_id = Some(value.trim().to_owned()),
                "cseq" => method = value.split_whitespace().nth(1).map(str::to_owned),
                _ => {}
            }
        }
        let body: Vec<_> = lines.collect();
        Some(Self { start, call_id: call_id.filter(|id| !id.is_empty())?, method: method?, body: body.join("\n") })
    }
}

fn start(line: &str) -> Option<Start> {
    let mut words = line.split(' ');
    let first = words.next()?;
    if first == "SIP/2.0" {
        return words.next()?.parse().ok().map(Start::Response);
    }
    (words.next_back()? == "SIP/2.0").then(|| Start::Request(first.to_owned()))
}

/// Header lines with their continuation lines, which begin with white space (section 7.3.1), joined to them.
fn unfolded<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut headers: Vec<String> = Vec::new();
    for line in lines {
        match headers.last_mut() {
            Some(header) if line.starts_with([' ', '\t']) => {
                header.push(' ');
                header.push_str(line.trim_start());
            }
            _ => headers.push(line.to_owned()),
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read() {
        let text = "INVITE sip:b@c SIP/2.0\r\nVia: x\r\nCall-ID: a84b@c\r\nCSeq: 314 INVITE\r\n\r\nv=0\r\ns=-\r\n";
        let expected = Message {
            start: Start::Request("INVITE".into()),
            call_id: "a84b@c".into(),
            method: "INVITE".into(),
            body: "v=0\ns=-\n".into(),
        };
        assert_eq!(Message::parse(text.as_bytes()), Some(expected));
    }

    #[test]
    fn header_names_may_be_compact_in_any_case_and_before_a_space() {
        for name in ["i:", "I: ", "call-id :", "CALL-ID: ", "Call-ID\t:\t"] {
            let text = format!("SIP/2.0 200 OK\r\n{name}Ab@c\r\ncseq: 1 INVITE\r\n\r\n");
            let message = Message::parse(text.as_bytes()).unwrap();
            assert_eq!((message.call_id.as_str(), message.start), ("Ab@c", Start::Response(200)), "{name}");
        }
    }

    #[test]
    fn folded_headers_are_unfolded() {
        let text = "SIP/2.0 183 X\r\nSubject: one\r\n i: not-this\r\nCall-ID:\r\n\tthis\r\nCSeq: 1\r\n  BYE\r\n\r\n";
        let message = Message::parse(text.as_bytes()).unwrap();
        assert_eq!((message.call_id.as_str(), message.method.as_str()), ("this", "BYE"));
    }

    #[test]
    fn bare_line_feeds_leading_empty_lines_and_odd_bytes_are_borne() {
        let text = b"\r\n\r\nACK sip:b SIP/2.0\nFrom: \xe9 <sip:a>\nCall-ID: x\nCSeq: 1 ACK\n\nbody";
        let message = Message::parse(text).unwrap();
        assert_eq!((message.start, message.body.as_str()), (Start::Request("ACK".into()), "body"));
    }

    #[test]
    fn what_is_not_a_sip_message_is_nothing() {
        for text in [
            "",
            "\r\n\r\n",
            "GET / HTTP/1.1\r\nCall-ID: x\r\nCSeq: 1 GET\r\n\r\n",
            "SIP/2.0 abc\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n",
            "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\nCall-ID: x\r\n",
            "SIP/2.0 200 OK\r\nCall-ID: x\r\n\r\n",
        ] {
            assert_eq!(Message::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
