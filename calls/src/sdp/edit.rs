//! Writing a description back with the few changes that a relay makes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::body::{Body, Origin};
use super::connection::Connection;
use super::line::{Line, address, before_slash, number, replace_tokens, tokens};
use super::media::{Direction, Media, Profile};

/// The attributes of ICE (RFC 8839 section 5, RFC 8840 section 8.2), which describe paths that bypass the relay.
const ICE: [&[u8]; 9] = [
    b"candidate",
    b"end-of-candidates",
    b"ice-lite",
    b"ice-mismatch",
    b"ice-options",
    b"ice-pacing",
    b"ice-pwd",
    b"ice-ufrag",
    b"remote-candidates",
];

/// Where one media section is to point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMedia {
    /// The relay's address as this side is to see it.
    pub address: IpAddr,
    /// The port for the `m=` line. Written as it is, so do not give a port to a section that is to stay rejected.
    pub rtp_port: u16,
    /// The port for `a=rtcp`; the same as `rtp_port` where RTP and RTCP share one.
    pub rtcp_port: u16,
    /// Whether there is to be an `a=rtcp-mux` (RFC 5761 section 5.1.1).
    pub mux: bool,
    /// The profile that it is to have, if it is RTP. None leaves it as it is.
    pub profile: Option<Profile>,
    /// The lines of keys that it is to have instead of those that it has. None leaves it as it is.
    pub crypto: Option<Vec<String>>,
}

/// What to do about `a=rtcp` (RFC 3605) in the sections that change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RtcpAttribute {
    /// Point those that exist at the relay, in the form they have: port, or port and address.
    #[default]
    Rewrite,
    /// Write all with port and address, and add the attribute to RTP sections that lack it.
    Full,
    /// Remove it.
    Remove,
}

/// The changes to make to a body. The default changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edit {
    /// One per `m=` line, in order. None leaves the section alone because it is rejected or not relayed; missing
    /// entries are None.
    pub media: Vec<Option<NewMedia>>,
    /// Also write the address of the first changed section into the `o=` line.
    pub replace_origin: bool,
    /// Also replace the addresses `0.0.0.0` and `::` in `c=` lines, where they mean hold (RFC 2543 section B.5): the direction says that then.
    /// Otherwise they stay, in the family of the new address.
    pub replace_zero_address: bool,
    /// The relay's address as this side is to see it: for sections that are rejected, where they have one of the other family, and for the session
    /// when all are.
    pub address: Option<IpAddr>,
    /// What to do about `a=rtcp`.
    pub rtcp: RtcpAttribute,
    /// Remove the ICE attributes, at session level and in all sections, changed or not.
    pub remove_ice: bool,
}

/// Writes `body` with the changes of `edit`.
///
/// Lines that need no change come out byte for byte. In a changed section the port of the `m=` line, the address of its
/// `c=` lines and `a=rtcp` change. The session's `c=` line gets the address of the first changed section; sections for
/// which that would be wrong get a `c=` line of their own (RFC 8866 section 5.7), the old one if they are not changed.
pub fn edit(body: &Body<'_>, edit: &Edit) -> Vec<u8> {
    let changed = || body.media().iter().zip(&edit.media).filter_map(|(media, new)| Some((media, new.as_ref()?)));
    let is_all_rejected = body.media().iter().all(|media| media.port == 0);
    let first = changed().next().map(|(_, new)| new.address).or(edit.address.filter(|_| is_all_rejected));
    // The first section that has no address of its own has that of the session.
    let shown = changed().find(|(media, _)| media.connection.is_none()).map(|(media, new)| target(media, new, edit));
    let ending = body.lines().map(|line| line.ending).find(|ending| !ending.is_empty()).unwrap_or(b"\r\n");
    let mut writer =
        Writer { body, edit, first, shown: shown.or(first), ending, out: Vec::with_capacity(body.len() + 128) };
    writer.session();
    let planned = edit.media.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    for (media, new) in body.media().iter().zip(planned) {
        writer.media(media, new);
    }
    writer.out
}

/// What becomes of a line.
enum Fate {
    Keep,
    Drop,
    Replace(Vec<u8>),
}

struct Writer<'a> {
    body: &'a Body<'a>,
    edit: &'a Edit,
    /// The address of the first section that changes; None if no section does.
    first: Option<IpAddr>,
    /// The address for the `c=` line of the session level: the same, or that of hold.
    shown: Option<IpAddr>,
    /// How the body ends its lines.
    ending: &'a [u8],
    out: Vec<u8>,
}

impl Writer<'_> {
    fn session(&mut self) {
        for line in &self.body.session {
            let fate = match self.first {
                _ if self.is_unwanted_ice(line) => Fate::Drop,
                Some(new) if line.field(b'c').is_some() => connection(line, self.shown.unwrap_or(new)),
                Some(new) if self.edit.replace_origin => origin(line, new),
                _ => Fate::Keep,
            };
            self.line(line, fate);
        }
    }

    fn media(&mut self, media: &Media<'_>, new: Option<&NewMedia>) {
        // RFC 8866 section 5: m=, i=, c=, and the attributes at the end. An empty line at the very end is not part of
        // the section to a parser that stops there, so nothing may be added after it.
        let header = media.lines.iter().skip(1).take_while(|line| line.field(b'i').is_some()).count();
        let last = media.lines.iter().rposition(Line::is_field);
        let connection = self.missing_connection(media, new);
        let rtcp = new.and_then(|new| self.missing_rtcp(media, new));
        let mux = new.and_then(|new| missing_mux(media, new));
        let hold = new.and_then(|_| self.hold(media));
        let has_direction = media.lines.iter().any(is_direction);
        for (index, line) in media.lines.iter().enumerate() {
            let fate = match new {
                _ if self.is_unwanted_ice(line) => Fate::Drop,
                Some(_) if hold.is_some() && is_direction(line) => Fate::Replace(hold.unwrap_or_default().to_vec()),
                Some(new) => self.media_line(media, line, new),
                None => self.rejected_line(media, line),
            };
            self.line(line, fate);
            if index == header {
                self.add(connection.as_deref());
            }
            if Some(index) == last {
                self.add(rtcp.as_deref());
                self.add(mux);
                self.add(hold.filter(|_| !has_direction));
                let crypto = new.and_then(|new| new.crypto.as_deref()).unwrap_or_default();
                crypto.iter().for_each(|line| self.add(Some(line.as_bytes())));
            }
        }
    }

    /// The direction of a party that is on hold by its address, where that is replaced: the other one must learn of it all the same.
    fn hold(&self, media: &Media<'_>) -> Option<&'static [u8]> {
        (self.edit.replace_zero_address && media.is_held()).then_some(match media.direction {
            Direction::SendRecv | Direction::SendOnly => &b"a=sendonly"[..],
            Direction::RecvOnly | Direction::Inactive => b"a=inactive",
        })
    }

    /// A line of a section that does not change. A rejected one says nothing of the other family.
    fn rejected_line(&self, media: &Media<'_>, line: &Line<'_>) -> Fate {
        let is_other = |new: &IpAddr| media.address.is_some_and(|old| old.is_ipv4() != new.is_ipv4());
        match self.edit.address.filter(is_other) {
            Some(new) if media.port == 0 && line.field(b'c').is_some() => connection(line, new),
            Some(_) | None => Fate::Keep,
        }
    }

    fn media_line(&self, media: &Media<'_>, line: &Line<'_>, new: &NewMedia) -> Fate {
        let profile = new.profile.filter(|new| media.profile().is_some_and(|old| old != *new));
        if let Some(text) = line.field(b'm') {
            return Fate::Replace(replace_tokens(b"m=", text, |index, token| match index {
                1 => Some(with_port(token, new.rtp_port)),
                2 => profile.map(|profile| profile.name().into()),
                _ => None,
            }));
        }
        // Feedback belongs to its profile (RFC 4585 section 4.2).
        if profile.is_some_and(|profile| !profile.has_feedback()) && line.attribute_named(b"rtcp-fb").is_some() {
            return Fate::Drop;
        }
        if new.crypto.is_some() && line.attribute_named(b"crypto").is_some() {
            return Fate::Drop;
        }
        if line.field(b'c').is_some() {
            return connection(line, target(media, new, self.edit));
        }
        if line.attribute_named(b"rtcp-mux").is_some() {
            return if new.mux { Fate::Keep } else { Fate::Drop };
        }
        match (line.attribute_named(b"rtcp"), self.edit.rtcp) {
            (None, _) => Fate::Keep,
            (Some(_), RtcpAttribute::Remove) => Fate::Drop,
            (Some(text), form) => Fate::Replace(rtcp(text, new, form == RtcpAttribute::Full)),
        }
    }

    fn is_unwanted_ice(&self, line: &Line<'_>) -> bool {
        self.edit.remove_ice && line.attribute().is_some_and(|(name, _)| ICE.contains(&name))
    }

    /// The `c=` line that a section without one needs, because the session's does not or no longer suit it.
    fn missing_connection(&self, media: &Media<'_>, new: Option<&NewMedia>) -> Option<Vec<u8>> {
        if media.connection.is_some() {
            return None;
        }
        let session = self.body.connection;
        match new {
            Some(new) => {
                let target = target(media, new, self.edit);
                let suits = session.is_some() && self.shown == Some(target);
                (!suits).then(|| format!("c=IN {} {target}", address_type(target)).into_bytes())
            }
            None => {
                let line = session?.line;
                let is_lost = match connection(&line, self.shown?) {
                    Fate::Replace(text) => text != line.content,
                    Fate::Keep | Fate::Drop => false,
                };
                (is_lost && media.port != 0).then(|| line.content.to_vec())
            }
        }
    }

    fn missing_rtcp(&self, media: &Media<'_>, new: &NewMedia) -> Option<Vec<u8>> {
        let is_wanted = self.edit.rtcp == RtcpAttribute::Full && media.transport.is_rtp();
        let is_there = media.lines.iter().any(|line| line.attribute_named(b"rtcp").is_some());
        (is_wanted && !is_there).then(|| rtcp(b"", new, true))
    }

    fn line(&mut self, line: &Line<'_>, fate: Fate) {
        match fate {
            Fate::Keep => self.out.extend_from_slice(line.content),
            Fate::Replace(text) => self.out.extend_from_slice(&text),
            Fate::Drop => return,
        }
        self.out.extend_from_slice(line.ending);
    }

    /// Adds a line of our own. The line before it may be the last of the body and lack its ending.
    fn add(&mut self, text: Option<&[u8]>) {
        let Some(text) = text else { return };
        if !self.out.ends_with(b"\n") {
            self.out.extend_from_slice(self.ending);
        }
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(self.ending);
    }
}

/// The address that a section is to have: of one on hold, that of hold.
fn target(media: &Media<'_>, new: &NewMedia, edit: &Edit) -> IpAddr {
    match (media.is_held() && !edit.replace_zero_address, new.address) {
        (false, address) => address,
        (true, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (true, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A `c=` line that is to have this address.
fn connection(line: &Line<'_>, new: IpAddr) -> Fate {
    match (line.field(b'c'), Connection::parse(line)) {
        // As nearly everybody writes it; a body may have many.
        (Some(text), Ok(Some(old))) if is_plain(text) && old.address != Some(new) => {
            Fate::Replace(format!("c=IN {} {new}", address_type(new)).into_bytes())
        }
        (Some(text), Ok(Some(_))) => {
            Fate::Replace(replace_tokens(b"c=", text, |index, token| address_token(index, token, new)))
        }
        _ => Fate::Keep,
    }
}

fn is_direction(line: &Line<'_>) -> bool {
    Direction::first_of(std::slice::from_ref(line)).is_some()
}

/// The wish to share a port that a section lacks.
fn missing_mux(media: &Media<'_>, new: &NewMedia) -> Option<&'static [u8]> {
    let is_there = media.lines.iter().any(|line| line.attribute_named(b"rtcp-mux").is_some());
    (new.mux && !is_there && media.transport.is_rtp()).then_some(b"a=rtcp-mux")
}

/// An `o=` line with the address `new`; any other line, and one that cannot be read, stays.
fn origin(line: &Line<'_>, new: IpAddr) -> Fate {
    let Some(text) = line.field(b'o').filter(|text| Origin::parse(text).is_some()) else { return Fate::Keep };
    // The address is in the last three tokens; how many there are before them depends on the user name.
    let before = tokens(text).count().saturating_sub(3);
    Fate::Replace(replace_tokens(b"o=", text, |index, token| address_token(index.checked_sub(before)?, token, new)))
}

/// An `a=rtcp` line from the value it had.
fn rtcp(text: &[u8], new: &NewMedia, full: bool) -> Vec<u8> {
    let port = new.rtcp_port;
    match (tokens(text).count(), full) {
        (0, false) => format!("a=rtcp:{port}").into_bytes(),
        (1, false) | (4.., _) => replace_tokens(b"a=rtcp:", text, |index, token| match index.checked_sub(1) {
            None => Some(with_port(token, port)),
            Some(index) => address_token(index, token, new.address),
        }),
        // What has two or three tokens broke off within the address.
        _ => format!("a=rtcp:{port} IN {} {}", address_type(new.address), new.address).into_bytes(),
    }
}

/// The port of an `m=` line. Without a count: one pair of ports is relayed for a section.
fn with_port(token: &[u8], port: u16) -> Vec<u8> {
    // Not only to save work: leading zeros are odd but legal, and no reason to touch the line.
    let old = before_slash(token);
    if number(old) == Some(port) { old.to_vec() } else { port.to_string().into_bytes() }
}

/// Whether the text of a `c=` line is of the form `IN IP4 <address>` with single spaces and nothing more.
fn is_plain(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"IN IP4 ").or_else(|| text.strip_prefix(b"IN IP6 "));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'/')))
}

/// The change for one of the tokens `<nettype> <addrtype> <address>`. What already says the same stays as written:
/// an IPv6 address has many spellings.
fn address_token(index: usize, token: &[u8], new: IpAddr) -> Option<Vec<u8>> {
    let (is_same, text) = match index {
        0 => (token.eq_ignore_ascii_case(b"IN"), "IN".to_owned()),
        1 => (token == address_type(new).as_bytes(), address_type(new).to_owned()),
        2 => (address(token) == Some(new), new.to_string()),
        _ => return None,
    };
    (!is_same).then(|| text.into_bytes())
}

const fn address_type(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IP4",
        IpAddr::V6(_) => "IP6",
    }
}

#[cfg(test)]
mod tests;
