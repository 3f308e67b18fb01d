//! A description of our own: the offer to whoever is to get copies of what parties say.

use std::net::IpAddr;

use media::Law;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::codecs::static_name;
use super::line::{number, split, tokens};

/// How many bytes of a media's formats are kept: what a party writes beyond that is left out.
const MAX_FORMATS: usize = 2048;

/// The formats of a media: what a party may send, as it has written it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Formats {
    /// The formats of the `m=` line, a space between each.
    #[serde(with = "serde_bytes")]
    list: Vec<u8>,
    /// The attribute lines that say what they are, line endings included.
    #[serde(with = "serde_bytes")]
    lines: Vec<u8>,
}

impl Formats {
    /// The payload types of G.711 with one channel, in their order, and by which law each is.
    pub fn g711(&self) -> Vec<(u8, Law)> {
        let lines: Vec<_> = split(&self.lines).collect();
        let names: Vec<(&[u8], &[u8])> = lines
            .iter()
            .filter_map(|line| {
                let mut parts = tokens(line.attribute_named(b"rtpmap")?);
                Some((parts.next()?, parts.next()?))
            })
            .collect();
        let law = |format: &[u8]| {
            let named = names.iter().find(|(of, _)| *of == format).map(|(_, name)| *name);
            let name = named.unwrap_or_else(|| static_name(format)).to_ascii_lowercase();
            match name.strip_suffix(b"/1").unwrap_or(&name) {
                b"pcmu/8000" => Some(Law::Mu),
                b"pcma/8000" => Some(Law::A),
                _ => None,
            }
        };
        let formats = tokens(&self.list);
        formats
            .filter_map(|format| Some((number::<u8>(format).filter(|number| *number < 128)?, law(format)?)))
            .collect()
    }
}

/// The formats of each media.
pub fn formats(body: &Body<'_>) -> Vec<Formats> {
    let of = |media: &super::Media<'_>| {
        let mut formats = Formats { list: media.formats.join(&b' '), lines: Vec::new() };
        for line in &media.lines {
            let is_meant = |name: &[u8]| matches!(name, b"rtpmap" | b"fmtp" | b"ptime" | b"maxptime");
            let room = MAX_FORMATS.saturating_sub(formats.lines.len() + 2);
            if line.attribute().is_some_and(|(name, _)| is_meant(name)) && line.content.len() <= room {
                formats.lines.extend_from_slice(line.content);
                formats.lines.extend_from_slice(b"\r\n");
            }
        }
        formats.list.truncate(MAX_FORMATS);
        formats
    };
    body.media().iter().map(of).collect()
}

/// A media that is offered.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    /// `audio`, `video`.
    pub kind: &'a [u8],
    /// The transport.
    pub protocol: &'a [u8],
    /// The address that it comes from.
    pub address: IpAddr,
    /// The port that it comes from; RTCP has the next one.
    pub port: u16,
    /// What it may be.
    pub formats: &'a Formats,
    /// What it is called (RFC 4574).
    pub label: Option<&'a str>,
}

/// What an offer says of its session.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// Its number in the `o=` line.
    pub number: u64,
    /// Its version there.
    pub version: u64,
    /// Where most of it comes from.
    pub address: IpAddr,
    /// Something is sent.
    pub is_active: bool,
}

/// An offer to send these medias, or nothing for now, and to receive none.
pub fn compose(session: &Session, medias: &[Offered<'_>]) -> Vec<u8> {
    let Session { number, version, address, is_active } = *session;
    let at = |address: IpAddr| format!("IN {} {address}", if address.is_ipv4() { "IP4" } else { "IP6" });
    let at_session = at(address);
    let mut out =
        format!("v=0\r\no=- {number} {version} {at_session}\r\ns=-\r\nc={at_session}\r\nt=0 0\r\n").into_bytes();
    for media in medias {
        out.extend([b"m=", media.kind].concat());
        out.extend(format!(" {} ", media.port).into_bytes());
        out.extend([media.protocol, b" ", &media.formats.list, b"\r\n"].concat());
        if media.address != address {
            out.extend(format!("c={}\r\n", at(media.address)).into_bytes());
        }
        out.extend_from_slice(&media.formats.lines);
        if let Some(label) = media.label {
            out.extend(format!("a=label:{label}\r\n").into_bytes());
        }
        let direction = if is_active { "sendonly" } else { "inactive" };
        out.extend(format!("a={direction}\r\na=rtcp:{}\r\n", media.port.saturating_add(1)).into_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &[u8] = b"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n\
        m=audio 4000 RTP/AVP 8 101\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=sendrecv\na=ptime:20\n\
        m=video 0 RTP/AVP 31\n";

    #[test]
    fn an_offer_has_the_formats_of_the_media_and_nothing_else_of_its_party() {
        let formats = formats(&Body::parse(SDP).unwrap());
        let media = Offered {
            kind: b"audio",
            protocol: b"RTP/AVP",
            address: "2001:db8::1".parse().unwrap(),
            port: 30000,
            formats: &formats[0],
            label: Some("0"),
        };
        let bare = Offered {
            address: "192.0.2.1".parse().unwrap(),
            formats: &formats[1],
            kind: b"video",
            label: None,
            ..media
        };
        let session = Session { number: 7, version: 1, address: media.address, is_active: true };
        let sdp = compose(&session, &[media, bare]);
        let expected = "v=0\r\no=- 7 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\n\
            m=audio 30000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
            a=ptime:20\r\na=label:0\r\na=sendonly\r\na=rtcp:30001\r\n\
            m=video 30000 RTP/AVP 31\r\nc=IN IP4 192.0.2.1\r\na=sendonly\r\na=rtcp:30001\r\n";
        assert_eq!(String::from_utf8(sdp.clone()).unwrap(), expected);
        assert_eq!(Body::parse(&sdp).unwrap().media().len(), 2);
        let paused = compose(&Session { is_active: false, ..session }, &[media, bare]);
        assert_eq!(String::from_utf8(paused).unwrap(), expected.replace("a=sendonly", "a=inactive"));
    }

    #[test]
    fn formats_without_end_are_cut() {
        let many = [SDP, &b"a=fmtp:31 x=1234567890\n".repeat(1000)].concat();
        let formats = formats(&Body::parse(&many).unwrap());
        assert!(formats[1].lines.len() <= MAX_FORMATS && formats[1].lines.ends_with(b"x=1234567890\r\n"));
    }
}
