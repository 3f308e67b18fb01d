//! The fast path: from a frame to a verdict.
//!
//! The order is the safety: everything that can fail comes before the first write, so that a frame which is passed on to the stack is
//! untouched. Any doubt is a pass.

use crate::datagram::{Datagram, Frame, Packet, Readdressing};
use crate::headers::{RTCP_LEN, RTP_LEN};
use crate::local::SlotIndex;
use crate::reason::Reason;
use crate::rtp::Kind;
use crate::slot::{Flags, Slot, State};
use crate::tables::Tables;

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To the stack, untouched.
    Pass(Reason),
    /// Nowhere: it is for a media port, and its sender has no business there.
    Drop(Reason),
    /// Rewritten, out of the device it came from.
    Transmit,
    /// Rewritten, out of another device.
    Redirect,
}

/// Forwards a frame, whose headers are `packet`, that came in by the device `ingress`, or leaves it to the stack.
#[inline(always)]
pub fn forward<P: Packet, T: Tables>(packet: &mut P, frame: &impl Frame, ingress: u32, tables: &T) -> Verdict {
    try_forward(packet, frame, ingress, tables).unwrap_or_else(|refusal| refusal)
}

/// Each piece of the tables is read as late as can be: BPF has five registers that outlive a call, and what does not fit goes over the stack.
#[inline(always)]
fn try_forward<P: Packet, T: Tables>(
    packet: &mut P,
    frame: &impl Frame,
    ingress: u32,
    tables: &T,
) -> Result<Verdict, Verdict> {
    let (index, payload) = address(packet.envelope(), frame.length(), tables).map_err(Verdict::Pass)?;
    let Door { index, slot, state } = admit(packet, index, payload, tables)?;
    let cell = tables.hop(slot.hop()).ok_or(Verdict::Pass(Reason::NextHop))?;
    let egress = cell.egress().ok_or(Verdict::Pass(Reason::NextHop))?;
    if payload > u32::from(cell.payload_max()) {
        return Err(Verdict::Pass(Reason::TooLong));
    }
    if tables.has_unfinished() && packet.envelope().is_unfinished(frame) {
        return Err(Verdict::Pass(Reason::Unfinished));
    }
    let verdict = if egress.reflector == ingress {
        Verdict::Transmit
    } else if tables.redirect(cell.port()) {
        Verdict::Redirect
    } else {
        return Err(Verdict::Pass(Reason::Redirect));
    };
    let is_rtp = state.flags().has(Flags::RTP);
    let is_held = !state.flags().has(Flags::ANY_SSRC);
    if is_rtp && is_held && slot.ssrc() != packet.rtp().ssrc() {
        return Err(Verdict::Pass(Reason::NewSsrc));
    }
    let macs = cell.macs();
    let way = Readdressing {
        addresses: P::Envelope::addresses(cell),
        ports: slot.ports(),
        ip_delta: slot.ip_delta(),
        udp_delta: slot.udp_delta(),
        kind: cell.kind(),
    };
    if !cell.still(egress) {
        return Err(Verdict::Pass(Reason::NextHop));
    }
    if !slot.still(state) {
        return Err(Verdict::Pass(Reason::Reprogrammed));
    }
    packet.envelope_mut().ethernet().macs = macs.words();
    packet.envelope_mut().readdress(&way);
    if is_rtp {
        let fields = packet.rtp().fields();
        if !is_held && slot.ssrc() != fields.ssrc {
            slot.note_ssrc(&fields, tables.timing(index));
        }
        slot.count_rtp(payload, &fields, || tables.timing(index), || tables.clock());
    } else {
        slot.count(payload);
    }
    Ok(verdict)
}

/// What becomes of a frame that has no room for RTP headers.
#[inline(always)]
pub fn short<D: Datagram, T: Tables>(envelope: &D, frame_len: usize, tables: &T) -> Verdict {
    let (index, _) = match address(envelope, frame_len, tables) {
        Ok(found) => found,
        Err(reason) => return Verdict::Pass(reason),
    };
    let Some(slot) = tables.slot(index) else { return Verdict::Pass(Reason::TooShort) };
    let state = slot.state();
    if state.flags().has(Flags::ACTIVE) && !envelope.is_from(slot, tables) {
        return stranger(slot, state);
    }
    if state.flags().has(Flags::CALL) {
        return Verdict::Pass(Reason::TooShort);
    }
    inactive(envelope, slot, state, tables)
}

/// The slot that a frame is for, and the length of its UDP payload.
#[inline(always)]
fn address<D: Datagram, T: Tables>(envelope: &D, frame_len: usize, tables: &T) -> Result<(SlotIndex, u32), Reason> {
    let local = envelope.local(tables.locals())?;
    let index = local.slot(envelope.udp().ports[1]).ok_or(Reason::NotOurs)?;
    Ok((index, envelope.payload(frame_len)?))
}

/// A slot that takes a packet.
struct Door<'a> {
    index: SlotIndex,
    slot: &'a Slot,
    state: State,
}

/// Holds a packet to the slot's peer, and to the kind of source that the slot is of.
#[inline(always)]
fn admit<'a, P: Packet, T: Tables>(
    packet: &P,
    index: SlotIndex,
    payload: u32,
    tables: &'a T,
) -> Result<Door<'a>, Verdict> {
    let slot = tables.slot(index).ok_or(Verdict::Pass(Reason::Inactive))?;
    let state = slot.state();
    let flags = state.flags();
    if !flags.is_fast() {
        return Err(leave(packet, payload, slot, state, tables));
    }
    if !packet.envelope().is_from(slot, tables) {
        return Err(stranger(slot, state));
    }
    // Nearly all there is.
    if packet.rtp().kind() == Kind::Rtp && flags.has(Flags::RTP) && payload >= u32::from(RTP_LEN) {
        return Ok(Door { index, slot, state });
    }
    match packet.rtp().kind() {
        _ if payload < u32::from(RTCP_LEN) => Err(Verdict::Pass(Reason::TooShort)),
        Kind::Other => Err(Verdict::Pass(Reason::NotMedia)),
        Kind::Rtcp if flags.has(Flags::RTP) => sibling(packet, index, tables),
        Kind::Rtp if flags.has(Flags::RTP) => Err(Verdict::Pass(Reason::TooShort)),
        // This source's packets come by the RTP port.
        Kind::Rtp | Kind::Rtcp if flags.has(Flags::MUX) => Err(Verdict::Pass(Reason::RtcpOnRtp)),
        Kind::Rtp | Kind::Rtcp => Ok(Door { index, slot, state }),
    }
}

/// The slot of RTCP that came by the RTP port: its own, if the leg shares the port.
#[inline(always)]
fn sibling<'a, P: Packet, T: Tables>(packet: &P, rtp: SlotIndex, tables: &'a T) -> Result<Door<'a>, Verdict> {
    let index = rtp.sibling();
    let slot = tables.slot(index).ok_or(Verdict::Pass(Reason::RtcpOnRtp))?;
    let state = slot.state();
    if !state.flags().has(Flags::MUX) || state.flags().has(Flags::RTP) {
        return Err(Verdict::Pass(Reason::RtcpOnRtp));
    }
    if !state.flags().is_fast() {
        // Whether its sender is a stranger has been asked already, and a worker tells RTCP that may teach from RTCP that may not.
        let is_known = state.flags().has(Flags::ACTIVE);
        return Err(Verdict::Pass(if is_known { Reason::Worker } else { Reason::RtcpOnRtp }));
    }
    if !packet.envelope().is_from(slot, tables) {
        return Err(stranger(slot, state));
    }
    Ok(Door { index, slot, state })
}

/// What becomes of a packet for a slot by which the program does not forward: nobody else need look at what goes nowhere.
#[inline(always)]
fn leave<P: Packet, T: Tables>(packet: &P, payload: u32, slot: &Slot, state: State, tables: &T) -> Verdict {
    let flags = state.flags();
    if !flags.has(Flags::ACTIVE) {
        return inactive(packet.envelope(), slot, state, tables);
    }
    if !packet.envelope().is_from(slot, tables) {
        return stranger(slot, state);
    }
    if !flags.has(Flags::BLOCKED) {
        return Verdict::Pass(Reason::Worker);
    }
    // It is a sign of life all the same. What may teach something is for others to see.
    let is_plain = match (packet.rtp().kind(), flags.has(Flags::RTP)) {
        (Kind::Rtp, true) => {
            payload >= u32::from(RTP_LEN) && (flags.has(Flags::ANY_SSRC) || slot.ssrc() == packet.rtp().ssrc())
        }
        (Kind::Rtcp, false) => payload >= u32::from(RTCP_LEN) && !flags.has(Flags::MUX),
        _ => false,
    };
    if !is_plain || !slot.still(state) {
        return Verdict::Pass(Reason::Blocked);
    }
    slot.count(payload);
    Verdict::Drop(Reason::Blocked)
}

/// What becomes of a packet for a slot that has no whole rule.
#[inline(always)]
fn inactive<D: Datagram, T: Tables>(envelope: &D, slot: &Slot, state: State, tables: &T) -> Verdict {
    let flags = state.flags();
    if flags.has(Flags::CALL) {
        return Verdict::Pass(Reason::Inactive);
    }
    // Whoever sends before there is a call is none of its parties.
    slot.knock(state, envelope.knocker(), tables.epoch());
    if tables.owns_ports() { Verdict::Drop(Reason::NoCall) } else { Verdict::Pass(Reason::NoCall) }
}

/// What becomes of a packet that is not from the slot's peer.
#[inline(always)]
fn stranger(slot: &Slot, state: State) -> Verdict {
    // Only a whole rule may condemn: a peer that was read while the slot was being programmed is none.
    if state.flags().has(Flags::SETTLED) && slot.still(state) {
        Verdict::Drop(Reason::Stranger)
    } else {
        Verdict::Pass(Reason::Stranger)
    }
}
