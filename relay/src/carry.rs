//! The slow path's packet work, apart from how packets come and go.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use flow::compose::Outgoing;
use flow::forward::TTL;
use flow::slot::Flags;
use flow::{Be16, Reason, Rule, SlotIndex, rtp};

use crate::departure::{Departure, Way};
use crate::handler::Arrival;
use crate::oversize::Oversize;
use crate::table::{Departing, FlowTable};
use crate::trust::Scope;

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
    /// Packets that the workers lost, by reason.
    pub(crate) reasons: Arc<Reasons>,
    /// Whether packets leave by the sockets of their ports.
    pub(crate) has_bound_ports: bool,
    /// The number of the last packet that went to a device; each worker counts its own.
    pub(crate) last_id: u16,
    /// Sends what does not fit.
    pub(crate) oversize: Oversize,
}

impl Carrier {
    /// Decides on a datagram: how it leaves, or `None` when it cannot, or has left in fragments. `clock_ns` is a steady clock.
    pub(crate) fn carry(&mut self, arrival: &Arrival<'_>, clock_ns: u64) -> Option<Departure> {
        match self.decide(arrival, clock_ns) {
            Ok(departure) => departure,
            Err(reason) => {
                self.reasons.count(reason);
                None
            }
        }
    }

    fn decide(&mut self, arrival: &Arrival<'_>, clock_ns: u64) -> Result<Option<Departure>, Reason> {
        let Arrival { source, local, payload, .. } = *arrival;
        let ports = self.table.ours().locals().find(local.ip()).ok_or(Reason::NoCall)?;
        let index = self.stream(ports.slot(Be16::new(local.port())).ok_or(Reason::NoCall)?, payload)?;
        let fields = rtp::parse(payload);
        let departing = match self.known(index, source, fields.as_ref()) {
            Known::Forward(departing) => departing,
            Known::Lose(reason) => return Err(reason),
            Known::Ask => self.table.learn(index, source, payload, Instant::now())?,
        };
        let to = departing.bearing.to;
        // Other services of this host are none of a party's business.
        if !rtp::is_media(payload) && self.table.trust().scope(to) == Scope::MediaOnly {
            return Err(Reason::NotMedia);
        }
        let way = self.way(&departing, source.ip())?;
        let ttl = self.ttl(arrival)?;
        let mut headers = Outgoing::new(&departing.bearing, departing.ports, ttl, payload).ok_or(Reason::Truncated)?;
        let bytes = payload.len() as u16;
        // The kind of stream is the slot's, and an inactive slot has none: an RTP slot is even (RFC 3550 11).
        let is_rtp = !index.is_odd();
        if let Some(carried) = self.table.carried(index) {
            match fields {
                Some(fields) if is_rtp && departing.source.is_none_or(|source| source == fields.ssrc) => {
                    carried.count_rtp(bytes, &fields, || clock_ns);
                }
                // What is no RTP, and what comes from a guest, has no place in the order of the peer's packets.
                Some(_) | None if is_rtp => carried.count_other(bytes),
                Some(_) | None => carried.count(bytes),
            }
        }
        if !self.has_bound_ports {
            let len = headers.as_bytes().len() + payload.len();
            let known = departing.hop.map(|hop| hop.mtu);
            if let Some(mtu) = self.oversize.exceeded(&departing.bearing, len, known) {
                self.send_fragments(&departing, &headers, payload, mtu, index);
                return Ok(None);
            }
        }
        if matches!(way, Way::Link(_)) {
            self.last_id = self.last_id.wrapping_add(1);
            headers.complete(self.last_id);
        }
        Ok(Some(Departure { way, headers, slot: index }))
    }

    fn send_fragments(&mut self, departing: &Departing, headers: &Outgoing, payload: &[u8], mtu: u16, slot: SlotIndex) {
        if let Err(error) = self.oversize.send(departing.bearing.from, headers, payload, mtu) {
            tracing::trace!(%error, slot = slot.0, "a packet could not be sent in fragments");
            self.refused(slot);
        }
    }

    /// How many routers a packet may pass. One that comes from an address of our own has been here before, and may not go on for ever.
    fn ttl(&self, arrival: &Arrival<'_>) -> Result<u8, Reason> {
        match arrival.ttl {
            Some(ttl) if self.table.ours().has(arrival.source.ip()) => {
                ttl.checked_sub(1).filter(|ttl| *ttl > 0).ok_or(Reason::Ring)
            }
            Some(_) | None => Ok(TTL),
        }
    }

    fn way(&self, departing: &Departing, source: IpAddr) -> Result<Way, Reason> {
        let ours = self.table.ours();
        let (from, [from_port, to_port]) = (departing.bearing.from, departing.ports);
        let local = ours.locals().find(from).ok_or(Reason::NoCall)?;
        if self.has_bound_ports {
            // The kernel writes the time to live, so nothing would count these down.
            let to = SocketAddr::new(departing.bearing.to, to_port.get());
            if ours.has(source) && ours.slot(to).is_some() {
                return Err(Reason::Ring);
            }
            return local.slot(from_port).map(Way::Port).ok_or(Reason::NoCall);
        }
        Ok(departing.hop.map_or_else(|| Way::Stack(local.number()), |hop| Way::Link(hop.into())))
    }

    /// The slot of the stream that a payload at a port belongs to: RTCP may share the port of its RTP (RFC 5761).
    fn stream(&self, port: SlotIndex, payload: &[u8]) -> Result<SlotIndex, Reason> {
        let rtcp = if port.is_odd() { port } else { port.sibling() };
        let is_shared = self.table.slot(rtcp).is_some_and(|slot| slot.state().flags().has(Flags::MUX));
        if !is_shared {
            return Ok(port);
        }
        let is_rtcp = matches!(payload, [first, second, ..] if rtp::classify(*first, *second) == rtp::Kind::Rtcp);
        match (port == rtcp, is_rtcp) {
            (false, true) => Ok(rtcp),
            (false, false) => Ok(port),
            // Its sender and its party have agreed on the other port, and it must not teach where the party's RTP is.
            (true, _) => Err(Reason::RtcpOnRtp),
        }
    }

    /// What a slot alone says about a packet.
    fn known(&self, index: SlotIndex, source: SocketAddr, fields: Option<&rtp::RtpFields>) -> Known {
        // A rule that changes while it is read is one to ask the table about.
        let Some(slot) = self.table.slot(index) else { return Known::Lose(Reason::NoCall) };
        let state = slot.state();
        let Some(rule) = slot.read() else { return Known::Ask };
        if !rule.flags.has(Flags::CALL) {
            return Known::Lose(Reason::NoCall);
        }
        if !rule.is_active() {
            return Known::Ask;
        }
        if !self.is_peer(&rule, source) {
            let is_lost = rule.flags.has(Flags::SETTLED) && slot.still(state);
            return if is_lost { Known::Lose(Reason::Stranger) } else { Known::Ask };
        }
        let is_accounted = !rule.flags.has(Flags::RTP)
            || rule.flags.has(Flags::ANY_SSRC)
            || fields.is_none_or(|fields| fields.ssrc == rule.ssrc);
        if !is_accounted {
            return Known::Ask;
        }
        match self.table.departing(&rule) {
            Some(departing) if slot.still(state) => Known::Forward(departing),
            Some(_) | None => Known::Ask,
        }
    }

    fn is_peer(&self, rule: &Rule, source: SocketAddr) -> bool {
        let addr = match source.ip() {
            IpAddr::V4(addr) => rule.peer4() == addr.into(),
            IpAddr::V6(addr) => {
                let towards = self.table.hops().cell(rule.peer6());
                towards.is_some_and(|cell| cell.bearing().to == IpAddr::V6(addr))
            }
        };
        addr && rule.peer_port.get() == source.port()
    }

    /// A departure that the kernel refused.
    pub(crate) fn refused(&self, slot: SlotIndex) {
        self.reasons.count(Reason::SendFailed);
        self.table.fail(slot);
    }
}

/// What a slot alone says about a packet.
enum Known {
    /// It is sent on like this.
    Forward(Departing),
    /// It is lost, and nobody need be asked.
    Lose(Reason),
    /// It may teach the table something.
    Ask,
}
