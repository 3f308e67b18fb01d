//! One media section: what a relay has to know about it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::codecs::static_name;
use super::connection::Connection;
use super::crypto::{Crypto, MAX_LINES};
use super::error::Error;
use super::line::{Line, address, before_slash, number, tokens};

/// The transport of a media section: the `<proto>` of RFC 8866 section 5.14. Upper and lower case are the same here,
/// because senders do not agree on how to write `udptl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport<'a> {
    /// `RTP/AVP` (RFC 3551) or `RTP/AVPF` (RFC 4585).
    Rtp,
    /// `RTP/SAVP` (RFC 3711), `RTP/SAVPF` (RFC 5124), or either after `UDP/TLS/` (RFC 5764).
    Srtp,
    /// `udptl`: T.38 fax over UDP.
    Udptl,
    /// Other datagrams, by the transport's name: `UDP/BFCP` (RFC 8856), `UDP/DTLS/SCTP` (RFC 8841), `udp` (RFC 8866).
    Udp(&'a [u8]),
    /// Anything else, as it was written.
    Other(&'a [u8]),
}

impl<'a> Transport<'a> {
    fn parse(token: &'a [u8]) -> Self {
        match token.to_ascii_uppercase().as_slice() {
            b"RTP/AVP" | b"RTP/AVPF" => Self::Rtp,
            b"RTP/SAVP" | b"RTP/SAVPF" | b"UDP/TLS/RTP/SAVP" | b"UDP/TLS/RTP/SAVPF" => Self::Srtp,
            b"UDPTL" => Self::Udptl,
            b"UDP" | b"DTLS/SCTP" => Self::Udp(token),
            name if name.starts_with(b"UDP/") => Self::Udp(token),
            _ => Self::Other(token),
        }
    }

    pub(super) const fn is_rtp(self) -> bool {
        matches!(self, Self::Rtp | Self::Srtp)
    }
}

/// The profile of RTP, where its keys are in the description, or it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// `RTP/AVP` (RFC 3551).
    Avp,
    /// `RTP/AVPF` (RFC 4585): with feedback.
    Avpf,
    /// `RTP/SAVP` (RFC 3711): protected.
    Savp,
    /// `RTP/SAVPF` (RFC 5124): both.
    Savpf,
}

impl Profile {
    pub(super) fn parse(token: &[u8]) -> Option<Self> {
        match token.to_ascii_uppercase().as_slice() {
            b"RTP/AVP" => Some(Self::Avp),
            b"RTP/AVPF" => Some(Self::Avpf),
            b"RTP/SAVP" => Some(Self::Savp),
            b"RTP/SAVPF" => Some(Self::Savpf),
            _ => None,
        }
    }

    /// Whether packets are protected.
    pub const fn is_secured(self) -> bool {
        matches!(self, Self::Savp | Self::Savpf)
    }

    /// Whether there is feedback.
    pub(super) const fn has_feedback(self) -> bool {
        matches!(self, Self::Avpf | Self::Savpf)
    }

    /// The same without protection.
    pub const fn plain(self) -> Self {
        match self {
            Self::Avp | Self::Savp => Self::Avp,
            Self::Avpf | Self::Savpf => Self::Avpf,
        }
    }

    /// As descriptions have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avp => "RTP/AVP",
            Self::Avpf => "RTP/AVPF",
            Self::Savp => "RTP/SAVP",
            Self::Savpf => "RTP/SAVPF",
        }
    }
}

/// Where a party wants its RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rtcp {
    /// On the port after the RTP port (RFC 3550 section 11): nothing else was said.
    NextPort,
    /// On this port of the media address (RFC 3605). Also when the attribute names a host instead of an address.
    Port(u16),
    /// On another address and port (RFC 3605).
    Endpoint(IpAddr, u16),
    /// On the RTP port (RFC 5761). In an offer this is a wish: see [`Media::rtcp_endpoint_without_mux`].
    Mux,
}

/// Which way media flows, from the view of the party that wrote the description (RFC 8866 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Direction {
    /// Both ways; also when nothing was said.
    #[default]
    SendRecv,
    /// The party only sends.
    SendOnly,
    /// The party only receives.
    RecvOnly,
    /// The party does neither.
    Inactive,
}

impl Direction {
    /// The first direction of a level.
    pub(super) fn first_of(lines: &[Line<'_>]) -> Option<Self> {
        lines.iter().find_map(|line| match line.attribute()?.0 {
            b"sendrecv" => Some(Self::SendRecv),
            b"sendonly" => Some(Self::SendOnly),
            b"recvonly" => Some(Self::RecvOnly),
            b"inactive" => Some(Self::Inactive),
            _ => None,
        })
    }
}

/// How long a word of an `m=` line may be, in bytes. The longest that is registered has less than half of that.
const MAX_TOKEN: usize = 64;

/// One media section: an `m=` line (RFC 8866 section 5.14) and the lines that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media<'a> {
    /// `<media>`, such as `audio`.
    pub kind: &'a [u8],
    /// The RTP port. 0 in a rejected or disabled section (RFC 3264 section 6).
    pub port: u16,
    /// `<proto>`.
    pub transport: Transport<'a>,
    /// `<proto>` as it was written.
    pub protocol: &'a [u8],
    /// `<fmt>`: for RTP the payload types, the preferred one first. May be empty: some endpoints reject that way.
    pub formats: Vec<&'a [u8]>,
    /// From the section's own `c=` line, else from that of the session. None without either, or if it is a host name.
    pub address: Option<IpAddr>,
    /// Where RTCP is expected; `a=rtcp-mux` goes before `a=rtcp`.
    pub rtcp: Rtcp,
    /// The section's own direction, else that of the session.
    pub direction: Direction,
    /// The RTP clock rate in Hz of the first format: from `a=rtpmap` (RFC 8866 section 6.6), else that of the static
    /// payload type (RFC 3551 section 6). Never 0.
    pub clock_rate: Option<u32>,
    /// RTCP as if `a=rtcp-mux` were absent.
    rtcp_without_mux: Rtcp,
    /// The party has credentials for ICE.
    has_ice: bool,
    /// The first `c=` of the section itself.
    pub(super) connection: Option<Connection<'a>>,
    /// All lines of the section; the first is the `m=` line.
    pub(super) lines: Vec<Line<'a>>,
}

/// What the session level says, for where a section says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Above<'a> {
    pub connection: Option<Connection<'a>>,
    pub flow: Option<Direction>,
    pub has_ice: bool,
}

impl<'a> Media<'a> {
    /// Reads a section.
    pub(super) fn parse(lines: Vec<Line<'a>>, above: Above<'a>) -> Result<Self, Error> {
        let (line, text) = lines.first().and_then(|line| Some((line, line.field(b'm')?))).ok_or(Error::NoMedia)?;
        let mut parts = tokens(text);
        let (Some(kind), Some(port), Some(transport)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::Incomplete { line: line.number, field: "m=" });
        };
        let port = number(before_slash(port)).ok_or(Error::Port { line: line.number })?;
        // They are kept with the call.
        if tokens(text).skip(3).chain([kind, transport]).any(|token| token.len() > MAX_TOKEN) {
            return Err(Error::LongToken { line: line.number });
        }
        let (protocol, transport) = (transport, Transport::parse(transport));
        let formats: Vec<_> = parts.collect();
        let connection = Connection::first_of(&lines)?;
        let rtcp_without_mux = lines.iter().find_map(rtcp_attribute).unwrap_or(Rtcp::NextPort);
        let mux = lines.iter().any(|line| line.attribute_named(b"rtcp-mux").is_some());
        Ok(Self {
            kind,
            port,
            transport,
            protocol,
            address: connection.or(above.connection).and_then(|connection| connection.address),
            rtcp: if mux { Rtcp::Mux } else { rtcp_without_mux },
            direction: Direction::first_of(&lines).or(above.flow).unwrap_or_default(),
            clock_rate: formats.first().and_then(|format| clock_rate(&lines, transport, format)),
            formats,
            rtcp_without_mux,
            has_ice: above.has_ice || lines.iter().any(|line| line.attribute_named(b"ice-ufrag").is_some()),
            connection,
            lines,
        })
    }

    /// What it may be protected by, as far as that is known here (RFC 4568).
    pub fn crypto(&self) -> Vec<Crypto> {
        let lines = self.lines.iter().filter_map(|line| line.attribute_named(b"crypto"));
        lines.take(MAX_LINES).filter_map(Crypto::parse).collect()
    }

    /// The profile, where its keys are in the description, or it has none.
    pub fn profile(&self) -> Option<Profile> {
        Profile::parse(self.protocol)
    }

    /// The name of the first format, `<encoding>/<clock>/<channels>`; empty where nothing says it.
    pub fn codec(&self) -> &'a [u8] {
        let Some(format) = self.formats.first() else { return b"" };
        let mapped = self.lines.iter().find_map(|line| {
            let mut parts = tokens(line.attribute_named(b"rtpmap")?);
            parts.next().filter(|found| found == format).and_then(|_| parts.next())
        });
        let known = if self.transport.is_rtp() { static_name(format) } else { b"" };
        mapped.filter(|name| name.len() <= MAX_TOKEN).unwrap_or(known)
    }

    /// Whether the section is put on hold the old way, with an address of zero (RFC 2543 section B.5). Hold by
    /// direction (RFC 3264 section 8.4) is in [`Media::direction`].
    ///
    /// A party that will say later where it is, by ICE (RFC 8838, RFC 8840 section 4.1.1: port 9), is not on hold.
    pub fn is_held(&self) -> bool {
        let is_later = self.has_ice && self.port == 9;
        self.address.is_some_and(|address| address.is_unspecified()) && !is_later
    }

    /// Where RTP is expected. None if the section is rejected or held, or its address is not known.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        endpoint(self.address?, self.port)
    }

    /// Where RTCP is expected. None if the section is rejected or held, or the address is not known.
    pub fn rtcp_endpoint(&self) -> Option<SocketAddr> {
        self.rtcp_at(self.rtcp)
    }

    /// Where RTCP is expected if the other side does not agree to `a=rtcp-mux` (RFC 5761 section 5.1.1).
    pub fn rtcp_endpoint_without_mux(&self) -> Option<SocketAddr> {
        self.rtcp_at(self.rtcp_without_mux)
    }

    fn rtcp_at(&self, rtcp: Rtcp) -> Option<SocketAddr> {
        if self.port == 0 || self.address.is_some_and(|address| address.is_unspecified()) {
            return None;
        }
        match rtcp {
            Rtcp::NextPort => endpoint(self.address?, self.port.checked_add(1)?),
            Rtcp::Port(port) => endpoint(self.address?, port),
            Rtcp::Endpoint(address, port) => endpoint(address, port),
            Rtcp::Mux => self.endpoint(),
        }
    }
}

/// A pair that can be sent to.
fn endpoint(address: IpAddr, port: u16) -> Option<SocketAddr> {
    (port != 0 && !address.is_unspecified()).then(|| SocketAddr::new(address, port))
}

/// `a=rtcp:<port> [<nettype> <addrtype> <address>]` (RFC 3605 section 2.1). One that cannot be read says nothing.
fn rtcp_attribute(line: &Line<'_>) -> Option<Rtcp> {
    let mut parts = tokens(line.attribute_named(b"rtcp")?);
    let port = number(parts.next()?)?;
    Some(parts.nth(2).and_then(address).map_or(Rtcp::Port(port), |address| Rtcp::Endpoint(address, port)))
}

fn clock_rate(lines: &[Line<'_>], transport: Transport<'_>, format: &[u8]) -> Option<u32> {
    let mapped = lines.iter().find_map(|line| {
        let mut parts = tokens(line.attribute_named(b"rtpmap")?);
        let encoding = parts.next().filter(|found| *found == format).and_then(|_| parts.next())?;
        number(encoding.split(|byte| *byte == b'/').nth(1)?).filter(|rate| *rate != 0)
    });
    mapped.or_else(|| if transport.is_rtp() { static_clock_rate(number(format)?) } else { None })
}

/// RFC 3551 section 6, tables 4 and 5. G722 (9) samples at 16 kHz, yet its RTP clock is 8 kHz (section 4.5.2).
const fn static_clock_rate(payload_type: u8) -> Option<u32> {
    match payload_type {
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => Some(8000),
        6 => Some(16000),
        10 | 11 => Some(44100),
        16 => Some(11025),
        17 => Some(22050),
        14 | 25 | 26 | 28 | 31..=34 => Some(90000),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
