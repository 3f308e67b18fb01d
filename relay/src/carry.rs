//! The slow path's packet work, apart from how packets come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use flow::compose::Outgoing;
use flow::slot::Flags;
use flow::{Endpoint4, Locals, Reason, Rule, Slot, SlotIndex, rtp};

use crate::table::FlowTable;

/// Counts of packets by reason, shared by the workers.
#[derive(Debug)]
pub(crate) struct Reasons([AtomicU64; Reason::COUNT]);

impl Default for Reasons {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Reason::COUNT])
    }
}

impl Reasons {
    pub(crate) fn count(&self, reason: Reason) {
        self.add(reason, 1);
    }

    pub(crate) fn add(&self, reason: Reason, packets: u64) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.fetch_add(packets, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> [u64; Reason::COUNT] {
        std::array::from_fn(|reason| self.0.get(reason).map_or(0, |counter| counter.load(Ordering::Relaxed)))
    }
}

/// What a worker needs to carry packets.
pub(crate) struct Carrier {
    pub(crate) table: Arc<FlowTable>,
    pub(crate) locals: Arc<Locals>,
    /// Packets that the workers lost, by reason.
    pub(crate) reasons: Arc<Reasons>,
}

/// A packet to send: its headers, and the slot that it is counted at.
pub(crate) struct Departure {
    pub(crate) headers: Outgoing,
    pub(crate) to: Endpoint4,
    pub(crate) slot: SlotIndex,
}

impl Carrier {
    /// Decides on a payload that came from `source` to `local`: how it leaves, or `None` when it cannot. `clock_ns` is a steady clock.
    pub(crate) fn carry(
        &self,
        source: Endpoint4,
        local: Endpoint4,
        payload: &[u8],
        clock_ns: u64,
    ) -> Option<Departure> {
        match self.decide(source, local, payload, clock_ns) {
            Ok(departure) => Some(departure),
            Err(reason) => {
                self.reasons.count(reason);
                None
            }
        }
    }

    fn decide(&self, source: Endpoint4, local: Endpoint4, payload: &[u8], clock_ns: u64) -> Result<Departure, Reason> {
        let index = self.locals.find(local.addr).and_then(|ports| ports.slot(local.port)).ok_or(Reason::NoCall)?;
        let slot = self.table.slot(index).ok_or(Reason::NoCall)?;
        let fields = rtp::parse(payload);
        let rule = match known(slot, source, fields.as_ref()) {
            Known::Forward(rule) => rule,
            Known::Lose(reason) => return Err(reason),
            Known::Ask => self.table.learn(index, source, payload, Instant::now())?,
        };
        let headers = Outgoing::new(&rule, payload).ok_or(Reason::Truncated)?;
        let bytes = payload.len() as u16;
        // The kind of stream is the slot's, and an inactive slot has none: an RTP slot is even (RFC 3550 11).
        let is_rtp = local.port.get().is_multiple_of(2);
        if let Some(carried) = self.table.carried(index) {
            match fields {
                Some(fields) if is_rtp && is_of_source(&rule, &fields) => {
                    carried.count_rtp(bytes, &fields, || clock_ns);
                }
                // What is no RTP, and what comes from a guest, has no place in the order of the peer's packets.
                Some(_) | None if is_rtp => carried.count_other(bytes),
                Some(_) | None => carried.count(bytes),
            }
        }
        Ok(Departure { headers, to: rule.to(), slot: index })
    }

    /// A departure that the kernel refused.
    pub(crate) fn refused(&self, slot: SlotIndex) {
        self.reasons.count(Reason::SendFailed);
        self.table.fail(slot);
    }
}

/// What a slot's rule alone says about a packet.
enum Known {
    /// It is sent on by this rule.
    Forward(Rule),
    /// It is lost, and nobody need be asked.
    Lose(Reason),
    /// It may teach the table something.
    Ask,
}

fn known(slot: &Slot, source: Endpoint4, fields: Option<&rtp::RtpFields>) -> Known {
    let rule = slot.read();
    if !slot.still(&rule) {
        // A rule that changes while it is read is one to ask the table about.
        return Known::Ask;
    }
    if !rule.flags.has(Flags::CALL) {
        return Known::Lose(Reason::NoCall);
    }
    let is_peer = rule.is_active() && rule.peer() == source;
    if !is_peer && rule.is_active() && rule.flags.has(Flags::SETTLED) {
        return Known::Lose(Reason::Stranger);
    }
    let is_accounted = fields.is_none_or(|fields| !rule.flags.has(Flags::RTP) || is_of_source(&rule, fields));
    if is_peer && is_accounted { Known::Forward(rule) } else { Known::Ask }
}

/// Whether an RTP packet is of the synchronisation source that the stream is held to.
fn is_of_source(rule: &Rule, fields: &rtp::RtpFields) -> bool {
    rule.flags.has(Flags::ANY_SSRC) || fields.ssrc == rule.ssrc
}
