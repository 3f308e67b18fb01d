//! What a party's description says about each media.

use std::net::{IpAddr, SocketAddr};

use border::Family;
use serde::{Deserialize, Serialize};

use crate::intent::Options;
use crate::outcome::Refusal;
use crate::sdp::{Body, Crypto, Direction, Media, Profile, Rtcp, Transport};

/// What a party's description says about one media, as far as it concerns a relay.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Signalled {
    /// `audio`, `video`, `image`.
    #[serde(with = "serde_bytes")]
    pub kind: Vec<u8>,
    /// The transport as replies name it.
    #[serde(with = "serde_bytes")]
    pub protocol: Vec<u8>,
    /// The same as it was written.
    #[serde(with = "serde_bytes")]
    pub transport: Vec<u8>,
    /// The profile, where its keys are in the description, or it has none.
    pub profile: Option<Profile>,
    /// What it may be protected by, as far as that is known here.
    pub crypto: Vec<Crypto>,
    /// The party wants this media, and we can relay it. False for port 0 and for transports that are left alone.
    pub open: bool,
    /// RTP comes with RTCP, T.38 does not.
    pub has_rtcp: bool,
    /// That is what its own description says, and not what the proxy says instead.
    pub is_own: bool,
    /// Where the party expects RTP. None on hold, or when it has not said so yet.
    pub rtp: Option<SocketAddr>,
    /// Where the party expects RTCP.
    pub rtcp: Option<SocketAddr>,
    /// The party can do with one port for RTP and RTCP (RFC 5761).
    pub mux: bool,
    /// Media and RTCP are encrypted, and nobody between the parties can read them.
    pub secured: bool,
    /// The party is on hold by address (RFC 2543 B.5).
    pub held: bool,
    /// Which way the party wants media to flow.
    pub direction: Direction,
    /// Clock rate of the preferred format in kHz; 0 when unknown.
    pub clock_khz: u16,
    /// The name of the preferred format, with its clock rate and channels; empty when unknown.
    #[serde(with = "serde_bytes")]
    pub codec: Vec<u8>,
}

impl Signalled {
    /// What the description says, one per `m=` line.
    pub(super) fn read(body: &Body<'_>, options: &Options) -> Result<Vec<Self>, Refusal> {
        body.media().iter().map(|media| Self::of(media, options)).collect()
    }

    fn of(media: &Media<'_>, options: &Options) -> Result<Self, Refusal> {
        let (protocol, is_ours, has_rtcp) = match media.transport {
            Transport::Rtp | Transport::Srtp => (media.protocol.to_ascii_uppercase(), true, true),
            Transport::Udptl => (b"udptl".to_vec(), true, false),
            Transport::Udp(name) => (name.to_vec(), true, false),
            Transport::Other(name) => (name.to_vec(), false, false),
        };
        let mut said = Self {
            kind: media.kind.to_vec(),
            protocol,
            transport: media.protocol.to_vec(),
            profile: media.profile(),
            crypto: media.crypto(),
            open: is_ours && media.port != 0,
            has_rtcp,
            is_own: source(options).is_none(),
            rtp: None,
            rtcp: None,
            secured: media.transport == Transport::Srtp,
            mux: is_ours && has_rtcp && media.rtcp == Rtcp::Mux,
            held: media.is_held(),
            direction: media.direction,
            clock_khz: media.clock_rate.and_then(|rate| u16::try_from(rate / 1000).ok()).unwrap_or(0),
            codec: media.codec().to_vec(),
        };
        // Who will say later where it is (RFC 8838) has not said so yet.
        let is_somewhere = media.address.is_none_or(|address| !address.is_unspecified()) || source(options).is_some();
        if said.open && !said.held && is_somewhere {
            let source = source(options);
            let rtp = canonical(rtp(media, source).ok_or(Refusal::IncompleteSdp)?);
            said.rtp = Some(rtp);
            // The media's port has one family. RTCP elsewhere may still be learned.
            let is_reachable = |rtcp: &SocketAddr| rtcp.is_ipv4() == rtp.is_ipv4();
            // One that is nobody's, as of a party that will say later (RFC 8838), says nothing.
            let is_somewhere = |rtcp: &SocketAddr| !rtcp.ip().is_unspecified();
            let rtcp = rtcp(media, source).filter(|_| has_rtcp).map(canonical);
            said.rtcp = rtcp.filter(is_reachable).filter(is_somewhere);
        }
        Ok(said)
    }

    /// What a party that is yet to answer this is expected to say: yes, but not where.
    pub(super) fn awaited(&self) -> Self {
        Self {
            rtp: None,
            rtcp: None,
            mux: false,
            held: false,
            direction: Direction::SendRecv,
            crypto: Vec::new(),
            ..self.clone()
        }
    }

    /// Whether the party is going to send.
    pub(super) fn sends(&self) -> bool {
        !self.held && matches!(self.direction, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the party wants silence in at least one direction.
    pub(super) fn is_quiet(&self) -> bool {
        self.held || self.direction != Direction::SendRecv
    }
}

/// The address that counts instead of the description's.
fn source(options: &Options) -> Option<IpAddr> {
    if options.sip_source_address { options.received_from } else { None }
}

fn rtp(media: &Media<'_>, source: Option<IpAddr>) -> Option<SocketAddr> {
    source.map_or_else(|| media.endpoint(), |address| Some(SocketAddr::new(address, media.port)))
}

/// Where RTCP is expected unless it shares the port of RTP, which is for both sides to agree on.
fn rtcp(media: &Media<'_>, source: Option<IpAddr>) -> Option<SocketAddr> {
    let said = media.rtcp_endpoint_without_mux();
    let Some(address) = source else { return said };
    let port = said.map(|endpoint| endpoint.port()).or_else(|| media.port.checked_add(1))?;
    Some(SocketAddr::new(address, port))
}

/// The family that a party's description uses; `None` where it has no address, or only host names.
pub(super) fn family(body: &Body<'_>, options: &Options) -> Option<Family> {
    let source = source(options);
    // A held party says which family it would use, too.
    let addr = source.or_else(|| body.media().iter().find_map(|media| media.address))?;
    Some(Family::of(addr.to_canonical()))
}

/// The IPv4 endpoint where it is written as an IPv6 address.
fn canonical(endpoint: SocketAddr) -> SocketAddr {
    SocketAddr::new(endpoint.ip().to_canonical(), endpoint.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, options: &Options) -> Result<Vec<Signalled>, Refusal> {
        Signalled::read(&Body::parse(text.as_bytes()).unwrap(), options)
    }

    fn one(text: &str) -> Signalled {
        read(text, &Options::default()).unwrap().remove(0)
    }

    fn endpoints(text: &str, options: &Options) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let said = read(text, options).unwrap().remove(0);
        (said.rtp, said.rtcp)
    }

    fn at(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    const AUDIO: &str = "c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n";

    #[test]
    fn audio_has_both_endpoints_and_a_clock() {
        let said = one(AUDIO);
        assert_eq!((said.rtp, said.rtcp), (at("192.0.2.1:4000"), at("192.0.2.1:4001")));
        assert_eq!((said.open, said.has_rtcp, said.clock_khz), (true, true, 8));
        assert_eq!((said.kind.as_slice(), said.protocol.as_slice()), (&b"audio"[..], &b"RTP/AVP"[..]));
    }

    #[test]
    fn fax_has_no_rtcp_and_no_clock() {
        let said = one("c=IN IP4 192.0.2.1\nm=image 4000 udptl t38\n");
        assert_eq!((said.rtp, said.rtcp, said.clock_khz), (at("192.0.2.1:4000"), None, 0));
        assert!(said.open && !said.has_rtcp);
    }

    #[test]
    fn rejected_and_strange_media_are_closed() {
        assert!(!one("m=audio 0 RTP/AVP 0\n").open);
        assert!(!one("m=application 4000 TCP/MSRP *\n").open, "also without an address");
    }

    #[test]
    fn a_held_party_is_open_but_nowhere() {
        let said = one("c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\n");
        assert!(said.open && said.held && said.is_quiet());
        assert_eq!((said.rtp, said.rtcp), (None, None));
    }

    #[test]
    fn the_source_of_the_signalling_replaces_the_address_but_not_the_ports() {
        let options = Options {
            sip_source_address: true,
            received_from: Some("203.0.113.9".parse().unwrap()),
            ..Options::default()
        };
        assert_eq!(endpoints(AUDIO, &options), (at("203.0.113.9:4000"), at("203.0.113.9:4001")));
        let own_rtcp = format!("{AUDIO}a=rtcp:5000 IN IP4 10.0.0.1\n");
        assert_eq!(endpoints(&own_rtcp, &options).1, at("203.0.113.9:5000"));
        let host = "c=IN IP4 pbx.local\nm=audio 4000 RTP/AVP 0\n";
        assert_eq!(endpoints(host, &options), (at("203.0.113.9:4000"), at("203.0.113.9:4001")));
        let held = "c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\n";
        assert_eq!(endpoints(held, &options), (None, None));
        let unknown = Options { received_from: None, ..options };
        assert_eq!(endpoints(AUDIO, &unknown).0, at("192.0.2.1:4000"));
    }

    #[test]
    fn a_wish_for_multiplexing_does_not_move_rtcp() {
        let said = one(&format!("{AUDIO}a=rtcp-mux\n"));
        assert_eq!((said.rtcp, said.mux), (at("192.0.2.1:4001"), true));
        assert!(!one(AUDIO).mux);
    }

    #[test]
    fn both_families_are_read() {
        let said = one("c=IN IP6 2001:db8::1\nm=audio 4000 RTP/AVP 0\n");
        assert_eq!((said.rtp, said.rtcp), (at("[2001:db8::1]:4000"), at("[2001:db8::1]:4001")));
        assert_eq!(one("c=IN IP6 ::ffff:192.0.2.1\nm=audio 4000 RTP/AVP 0\n").rtp, at("192.0.2.1:4000"));
    }

    #[test]
    fn the_family_of_a_description_is_told_also_when_it_is_on_hold() {
        let family_of = |text: &str| family(&Body::parse(text.as_bytes()).unwrap(), &Options::default());
        assert_eq!(family_of(AUDIO), Some(Family::V4));
        assert_eq!(family_of("c=IN IP6 ::\nm=audio 4000 RTP/AVP 0\n"), Some(Family::V6));
        assert_eq!(family_of("c=IN IP6 pbx.local\nm=audio 4000 RTP/AVP 0\n"), None);
    }

    #[test]
    fn an_address_that_is_not_known_is_refused() {
        let none = Options::default();
        assert_eq!(read("m=audio 4000 RTP/AVP 0\n", &none), Err(Refusal::IncompleteSdp));
        assert_eq!(read("c=IN IP4 pbx.local\nm=audio 4000 RTP/AVP 0\n", &none), Err(Refusal::IncompleteSdp));
        assert_eq!(one(&format!("{AUDIO}a=rtcp:5 IN IP6 2001:db8::1\n")).rtcp, None);
    }

    #[test]
    fn an_awaited_answer_says_all_but_where() {
        let awaited = one(&format!("{AUDIO}a=sendonly\n")).awaited();
        assert!(awaited.open && !awaited.is_quiet());
        assert_eq!((awaited.rtp, awaited.clock_khz), (None, 8));
    }
}
