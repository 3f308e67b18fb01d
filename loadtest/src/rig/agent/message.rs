//! A SIP message (RFC 3261 section 7), as far as a party looks at it.

use std::net::{IpAddr, SocketAddr};

/// A request or a response, with all its headers as they came.
#[derive(Clone, Debug)]
pub struct Message {
    first_line: String,
    headers: Vec<(String, String)>,
    /// What follows the headers.
    pub body: String,
}

impl Message {
    /// Reads a message; `None` when it is none.
    pub(super) fn parse(datagram: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(datagram);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let first_line = lines.next()?.to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        Some(Self { first_line, headers: lines.filter_map(header).collect(), body: body.to_owned() })
    }

    /// What it is, in a line.
    pub(super) fn first_line(&self) -> &str {
        &self.first_line
    }

    /// The status code of a response; `None` for a request.
    pub fn status(&self) -> Option<u16> {
        self.first_line.strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// The method of a request, or of the request that a response responds to.
    pub fn method(&self) -> &str {
        self.header("CSeq").split(' ').next_back().unwrap_or_default()
    }

    /// The number of the request within its call.
    pub fn sequence(&self) -> Option<u32> {
        self.header("CSeq").split(' ').next()?.parse().ok()
    }

    /// The first header of a name; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// All headers of a name, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether it belongs to a call that has been answered.
    pub fn has_to_tag(&self) -> bool {
        self.header("To").contains(";tag=")
    }

    /// Where its description wants the first media of a kind (`audio`); the port is 0 when the media is refused.
    pub fn media(&self, kind: &str) -> Option<SocketAddr> {
        let mut sections = self.body.split("\r\nm=");
        let session = sections.next()?;
        let media = sections.find(|section| section.split(' ').next() == Some(kind))?;
        let ip = connection(media).or_else(|| connection(session))?;
        Some(SocketAddr::new(ip, media.split(' ').nth(1)?.parse().ok()?))
    }

    /// The text of a response to this request.
    pub(super) fn response(&self, status: u16, to: &str, more: &str, body: &str) -> String {
        let copies = |name: &'static str| self.all(name).map(move |value| format!("{name}: {value}\r\n"));
        let copied: String = ["Via", "Record-Route", "From", "Call-ID", "CSeq"].into_iter().flat_map(copies).collect();
        // Programs read the number; the words are for people.
        format!("SIP/2.0 {status} As Told\r\n{copied}To: {to}\r\n{more}{}", ending(body))
    }
}

/// The address of a section's `c=`.
fn connection(section: &str) -> Option<IpAddr> {
    let rest = section.lines().find_map(|line| line.strip_prefix("c=IN IP"))?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// The address in a header like `Contact: <sip:a@b>`; empty when there is none.
pub(super) fn uri(value: &str) -> &str {
    let inside = value.split_once('<').map_or("", |(_, rest)| rest);
    inside.split_once('>').map_or("", |(uri, _)| uri)
}

/// The end of a message: what its body is, how long, and the body. What is no description is the word about a transfer.
pub(super) fn ending(body: &str) -> String {
    let kind = match body.get(..3) {
        None => "",
        Some("v=0") => "Content-Type: application/sdp\r\n",
        Some(_) => "Content-Type: message/sipfrag;version=2.0\r\n",
    };
    format!("{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=1\r\nvia: SIP/2.0/UDP b;branch=2\r\n\
                      To: <sip:b@c>;tag=x\r\nCSeq: 7 INVITE\r\nContact: <sip:b@192.0.2.1:5062>\r\n\r\n";
    const SDP: &str = "v=0\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n\
                       m=video 0 RTP/AVP 96\r\nm=image 4004 udptl t38\r\nc=IN IP6 2001:db8::1\r\n";

    fn parse(text: &str) -> Message {
        Message::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_response_is_read() {
        let message = parse(OK);
        assert_eq!((message.status(), message.method(), message.sequence()), (Some(200), "INVITE", Some(7)));
        assert!(message.has_to_tag() && message.header("Record-Route").is_empty());
        assert_eq!(uri(message.header("contact")), "sip:b@192.0.2.1:5062");
        assert_eq!(message.all("Via").count(), 2);
        assert!(Message::parse(b"\r\n\r\n").is_none());
    }

    #[test]
    fn every_kind_of_media_is_found_where_it_is_wanted() {
        let media = |kind| parse(&format!("{OK}{SDP}")).media(kind);
        let at = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        assert_eq!(media("audio"), at("192.0.2.1:4000"));
        assert_eq!(media("video"), at("192.0.2.1:0"));
        assert_eq!(media("image"), at("[2001:db8::1]:4004"));
        assert_eq!(media("text"), None);
    }

    #[test]
    fn a_response_has_the_request_s_headers_in_order() {
        let request = parse(&OK.replace("SIP/2.0 200 OK", "INVITE sip:b@c SIP/2.0"));
        let response = parse(&request.response(486, "<sip:b@c>;tag=y", "", SDP));
        assert_eq!((response.status(), response.header("To")), (Some(486), "<sip:b@c>;tag=y"));
        assert!(response.all("Via").eq(request.all("Via")));
        assert_eq!((response.header("Content-Type"), response.body.as_str()), ("application/sdp", SDP));
        assert_eq!(response.header("Content-Length"), SDP.len().to_string());
    }
}
