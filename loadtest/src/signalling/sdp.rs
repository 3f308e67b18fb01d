//! The audio endpoint of a session description (RFC 8866).

use std::net::{IpAddr, SocketAddr};

/// Address and port of the first `m=audio` that is not switched off with port 0; the address from the media's own
/// `c=`, else from the session's. `None` without such a pair, for a host name instead of an address, and for the
/// address of zeros that once meant hold (RFC 3264 section 8.4).
pub(super) fn audio_endpoint(body: &str) -> Option<SocketAddr> {
    let mut session_address = None;
    let mut media_address = None;
    let mut port = None;
    let mut in_session = true;
    for line in body.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            if port.is_some() {
                break;
            }
            in_session = false;
            port = audio_port(media);
        } else if let Some(connection) = line.strip_prefix("c=") {
            if in_session {
                session_address = address(connection);
            } else if port.is_some() {
                media_address = address(connection);
            }
        }
    }
    let address = media_address.or(session_address).filter(|address| !address.is_unspecified())?;
    Some(SocketAddr::new(address, port?))
}

/// Port of `audio 30000 RTP/AVP 8` or `audio 30000/2 RTP/AVP 8`.
fn audio_port(media: &str) -> Option<u16> {
    let port = media.strip_prefix("audio ")?.split([' ', '/']).next()?;
    port.parse().ok().filter(|port| *port != 0)
}

/// Address of `IN IP4 192.0.2.1` or `IN IP6 2001:db8::1`, without a multicast address's TTL.
fn address(connection: &str) -> Option<IpAddr> {
    connection.split_whitespace().nth(2)?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(body: &str) -> Option<String> {
        audio_endpoint(body).map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn the_address_of_the_session_serves_the_media() {
        let body = "v=0\no=- 1 1 IN IP4 203.0.113.1\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 30000 RTP/AVP 8\na=sendrecv\n";
        assert_eq!(endpoint(body).as_deref(), Some("192.0.2.1:30000"));
        assert_eq!(endpoint(&body.replace('\n', "\r\n")).as_deref(), Some("192.0.2.1:30000"));
    }

    #[test]
    fn the_address_of_the_media_goes_before_that_of_the_session() {
        let body = "c=IN IP4 192.0.2.1\nm=audio 30000/2 RTP/AVP 8\nc=IN IP6 2001:db8::1\n";
        assert_eq!(endpoint(body).as_deref(), Some("[2001:db8::1]:30000"));
    }

    #[test]
    fn the_first_audio_that_is_switched_on_counts_and_nothing_after_it() {
        let body = "c=IN IP4 192.0.2.1\nm=video 1 RTP/AVP 96\nc=IN IP4 192.0.2.2\nm=audio 0 RTP/AVP 8\n\
                    c=IN IP4 192.0.2.3\nm=audio 5 RTP/AVP 8\nm=audio 7 RTP/AVP 8\nc=IN IP4 192.0.2.4\n";
        assert_eq!(endpoint(body).as_deref(), Some("192.0.2.1:5"));
    }

    #[test]
    fn a_description_without_a_usable_audio_endpoint_gives_none() {
        for body in [
            "",
            "c=IN IP4 192.0.2.1\nm=video 1 RTP/AVP 96\n",
            "m=audio 5 RTP/AVP 8\n",
            "c=IN IP4 0.0.0.0\nm=audio 5 RTP/AVP 8\n",
            "c=IN IP4 relay.example\nm=audio 5 RTP/AVP 8\n",
            "c=IN IP4 192.0.2.1\nm=audio 65536 RTP/AVP 8\n",
        ] {
            assert_eq!(endpoint(body), None, "{body:?}");
        }
    }
}
