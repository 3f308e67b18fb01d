//! The fast path: from a frame to a verdict.
//!
//! The order is the safety: everything that can fail comes before the first write, so that a frame which is passed on to the stack is
//! untouched. Any doubt is a pass.

use crate::checksum::Delta;
use crate::headers::{
    Addr4, ETHERNET_LEN, ETHERTYPE_IPV4, Envelope, FRAGMENT_BITS, Headers, IPV4_LEN, PROTOCOL_UDP, RTCP_LEN, RTP_LEN,
    UDP_LEN, VERSION_IHL,
};
use crate::hop::{HopCell, HopId};
use crate::local::{Locals, SlotIndex};
use crate::reason::Reason;
use crate::rtp::{Kind, classify};
use crate::slot::{Door, Flags, Rule, Slot};

/// The time to live of everything that leaves the relay: it is the source of the packets, not a router (RFC 1700).
pub const TTL: u8 = 64;

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To the stack, untouched.
    Pass(Reason),
    /// Rewritten, out of the device it came from.
    Transmit,
    /// Rewritten, out of another device.
    Redirect,
}

/// The tables behind the fast path: maps in the kernel, plain memory on the host.
pub trait Tables {
    /// The local addresses.
    fn locals(&self) -> &Locals;
    /// A slot of the flow table.
    fn slot(&self, index: SlotIndex) -> Option<&Slot>;
    /// A next hop.
    fn hop(&self, id: HopId) -> Option<&HopCell>;
    /// Prepares the redirection to a device of the device map; false when it takes no frames.
    fn redirect(&self, port: u16) -> bool;
    /// Nanoseconds of a steady clock.
    fn clock(&self) -> u64;
}

/// Forwards a frame of `frame_len` bytes that came in by the device `ingress`, or leaves it to the stack.
#[inline(always)]
pub fn forward<T: Tables>(headers: &mut Headers, frame_len: usize, ingress: u32, tables: &T) -> Verdict {
    match try_forward(headers, frame_len, ingress, tables) {
        Ok(verdict) => verdict,
        Err(reason) => Verdict::Pass(reason),
    }
}

/// Each piece of the tables is read as late as can be: BPF has five registers that outlive a call, and what does not fit goes over the stack.
#[inline(always)]
fn try_forward<T: Tables>(
    headers: &mut Headers,
    frame_len: usize,
    ingress: u32,
    tables: &T,
) -> Result<Verdict, Reason> {
    let (index, payload) = address(&headers.envelope, frame_len, tables)?;
    let slot = tables.slot(index).ok_or(Reason::Inactive)?;
    let door = slot.door();
    admit(headers, payload, &door)?;
    let cell = tables.hop(door.hop).ok_or(Reason::NextHop)?;
    let egress = cell.egress().ok_or(Reason::NextHop)?;
    let verdict = if egress.device == ingress {
        Verdict::Transmit
    } else if tables.redirect(egress.port) {
        Verdict::Redirect
    } else {
        return Err(Reason::Redirect);
    };
    let (to, from) = cell.macs(egress).ok_or(Reason::NextHop)?;
    let rule = slot.complete(door).ok_or(Reason::Reprogrammed)?;
    let is_rtp = rule.flags.has(Flags::RTP);
    if is_rtp && !rule.flags.has(Flags::ANY_SSRC) && rule.ssrc != headers.rtp.fields().ssrc {
        return Err(Reason::NewSsrc);
    }
    headers.envelope.ethernet.to = to.0;
    headers.envelope.ethernet.from = from.0;
    rewrite(&mut headers.envelope, &rule);
    if is_rtp {
        slot.counters.count_rtp(payload, &headers.rtp.fields(), || tables.clock());
    } else {
        slot.counters.count(payload);
    }
    Ok(verdict)
}

/// Why a frame that has no room for RTP headers is left to the stack.
#[inline(always)]
pub fn short<T: Tables>(envelope: &Envelope, frame_len: usize, tables: &T) -> Reason {
    address(envelope, frame_len, tables).map_or_else(|reason| reason, |_| Reason::TooShort)
}

/// The slot that a frame is for, and the length of its UDP payload.
#[inline(always)]
fn address<T: Tables>(envelope: &Envelope, frame_len: usize, tables: &T) -> Result<(SlotIndex, u16), Reason> {
    let (ip, udp) = (&envelope.ip, &envelope.udp);
    if envelope.ethernet.kind != ETHERTYPE_IPV4 || ip.protocol != PROTOCOL_UDP {
        return Err(Reason::NotOurs);
    }
    let local = tables.locals().find(Addr4::from_halves(ip.to)).ok_or(Reason::NotOurs)?;
    if ip.version_ihl != VERSION_IHL {
        return Err(Reason::IpOptions);
    }
    if ip.fragment.get() & FRAGMENT_BITS != 0 {
        return Err(Reason::Fragment);
    }
    let index = local.slot(udp.to).ok_or(Reason::NotOurs)?;
    let (ip_len, udp_len) = (ip.length.get(), udp.length.get());
    // The frame may be longer than the datagram (padding), never shorter.
    if ETHERNET_LEN + usize::from(ip_len) > frame_len {
        return Err(Reason::Truncated);
    }
    if udp_len < UDP_LEN || ip_len != udp_len.wrapping_add(IPV4_LEN) {
        return Err(Reason::UdpLength);
    }
    Ok((index, udp_len - UDP_LEN))
}

/// Holds a packet to the slot's peer, and to the kind of stream that the slot carries.
#[inline(always)]
fn admit(headers: &Headers, payload: u16, door: &Door) -> Result<(), Reason> {
    if !door.flags.has(Flags::ACTIVE) {
        return Err(Reason::Inactive);
    }
    if door.peer_addr != Addr4::from_halves(headers.envelope.ip.from) || door.peer_port != headers.envelope.udp.from {
        return Err(Reason::Stranger);
    }
    let is_rtp = door.flags.has(Flags::RTP);
    if payload < if is_rtp { RTP_LEN } else { RTCP_LEN } {
        return Err(Reason::TooShort);
    }
    match classify(headers.rtp.first, headers.rtp.second) {
        Kind::Other => Err(Reason::NotMedia),
        Kind::Rtcp if is_rtp => Err(Reason::RtcpOnRtp),
        Kind::Rtp | Kind::Rtcp => Ok(()),
    }
}

/// Addresses the frame anew. What was not replaced keeps its checksum, right or wrong: a packet that was damaged on its way here is still
/// recognisably damaged when it arrives.
#[inline(always)]
fn rewrite(envelope: &mut Envelope, rule: &Rule) {
    let Envelope { ip, udp, .. } = envelope;
    let mut delta = rule.ip_delta;
    delta = delta.replace(word(ip.ttl, ip.protocol), word(TTL, PROTOCOL_UDP));
    ip.ttl = TTL;
    if rule.flags.has(Flags::SET_TOS) {
        delta = delta.replace(word(VERSION_IHL, ip.tos), word(VERSION_IHL, rule.tos));
        ip.tos = rule.tos;
    }
    ip.checksum = Delta::apply(delta, ip.checksum);
    ip.from = rule.from_addr.halves();
    ip.to = rule.to_addr.halves();

    udp.checksum = rule.udp_delta.apply_udp(udp.checksum);
    udp.from = rule.from_port;
    udp.to = rule.to_port;
}

/// Two neighbouring bytes of a header as the word that checksums see.
#[inline(always)]
const fn word(first: u8, second: u8) -> u16 {
    u16::from_ne_bytes([first, second])
}
