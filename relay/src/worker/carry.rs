//! The slow path's packet work, apart from how packets come and go.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use border::{Edge, Intake};
use bytes::Bytes;
use flow::Moment;
use flow::compose::Outgoing;
use flow::headers::TTL;
use flow::slot::Flags;
use flow::{Be16, Bearing, Reason, Rule, SlotIndex, rtp};
use media::{Fate, Packet};

use crate::table::{Departing, Fan, FlowTable, Heard, Learned, Outlet, Scope};
use crate::worker::departure::{Departure, Way};
use crate::worker::handler::Arrival;
use crate::worker::outbox::{Outbox, Own};
use crate::worker::oversize::Oversize;
use crate::worker::reasons::Reasons;

/// So many fans are kept before those that are superseded are looked for.
const FANS: usize = 1024;

/// What a worker needs to carry packets.
pub(crate) struct Carrier {
    table: Arc<FlowTable>,
    /// Packets that this worker lost, by reason.
    pub(crate) reasons: Arc<Reasons>,
    /// Whether packets leave by the sockets of their ports.
    has_bound_ports: bool,
    /// The number of the last packet that went to a device; each worker counts its own.
    last_id: u16,
    /// Sends what does not fit.
    oversize: Oversize,
    /// The sinks of sources that have several, as far as their packets have come here.
    fans: HashMap<SlotIndex, Arc<Fan>>,
    /// RTCP of this turn that is to be read.
    heard: Vec<Heard>,
}

/// A packet that has come, as its source knows it.
#[derive(Clone, Copy)]
struct Carried<'a> {
    index: SlotIndex,
    /// Where it came from.
    sender: IpAddr,
    /// How many routers it may still pass.
    ttl: u8,
    fields: Option<&'a rtp::RtpFields>,
    clock_ns: u64,
    /// How it has come; what nobody has sent has not.
    intake: Option<Intake>,
    /// Whether the sender is the peer for good, and not only heard for now.
    is_certain: bool,
}

impl Carrier {
    /// What a worker needs. `first_id`: each begins at a place of its own.
    pub(crate) fn new(table: Arc<FlowTable>, reasons: Arc<Reasons>, has_bound_ports: bool, first_id: u16) -> Self {
        Self {
            table,
            reasons,
            has_bound_ports,
            last_id: first_id,
            oversize: Oversize::default(),
            fans: HashMap::new(),
            heard: Vec::new(),
        }
    }

    /// Decides on a datagram: how it leaves, or `None` when it cannot, or has left in fragments. What leaves beside it is put into the outbox.
    /// `clock_ns` is a steady clock.
    pub(crate) fn carry(&mut self, arrival: &mut Arrival<'_>, clock_ns: u64, outbox: &mut Outbox) -> Option<Departure> {
        match self.decide(arrival, clock_ns, outbox) {
            Ok(departure) => departure,
            Err(reason) => {
                self.reasons.count(reason);
                None
            }
        }
    }

    /// Has what was heard in this turn read.
    pub(crate) fn tell(&mut self) {
        if !self.heard.is_empty()
            && let Some(reader) = self.table.reader()
        {
            reader.hear(std::mem::take(&mut self.heard));
        }
    }

    fn decide(
        &mut self,
        arrival: &mut Arrival<'_>,
        clock_ns: u64,
        outbox: &mut Outbox,
    ) -> Result<Option<Departure>, Reason> {
        let (sender, intake, packet) = (arrival.sender, arrival.intake, &mut arrival.packet);
        let ports = self.table.ours().locals().find(arrival.local.ip()).ok_or(Reason::NoCall)?;
        let index =
            self.source_at(ports.slot(Be16::new(arrival.local.port())).ok_or(Reason::NoCall)?, packet.payload())?;
        let tap = self.table.taps().of(index);
        if let Some(tap) = &tap {
            tap.wire(sender, arrival.local, packet.payload());
        }
        let fields = rtp::parse(packet.payload());
        let known = self.known(index, sender, fields.as_ref());
        let ttl = self.ttl(arrival.sender, arrival.ttl)?;
        // What nobody who has the key has sent is not even learned of.
        let opener = match &known {
            Known::Fan(fan, _) => fan.opener.clone(),
            Known::Ask => self.table.opener(index),
            Known::Single(..) | Known::Block | Known::Lose(_) => None,
        };
        if let Some(opener) = opener {
            opener.open(packet, index.is_odd())?;
        }
        if let Some(tap) = &tap {
            tap.plain(sender, arrival.local, packet.payload());
        }
        let payload = packet.payload();
        let carried = Carried {
            index,
            sender: sender.ip(),
            ttl,
            fields: fields.as_ref(),
            clock_ns,
            intake: Some(intake),
            is_certain: true,
        };
        match known {
            Known::Single(departing, ssrc) => {
                self.note(&carried);
                if let Some(tap) = &tap {
                    let [from, to] = ends(&departing.bearing, departing.ports);
                    tap.plain(from, to, payload);
                }
                let departure = self.outgoing(&carried, &departing, payload)?;
                self.count(&carried, payload, ssrc);
                self.listen(index, sender, payload);
                Ok(departure)
            }
            Known::Fan(fan, ssrc) => {
                self.note(&carried);
                self.count(&carried, payload, ssrc);
                self.listen(index, sender, payload);
                Ok(self.spread(&carried, &fan.outlets, packet, outbox))
            }
            Known::Block => {
                self.note(&carried);
                if let Some(carried) = self.table.carried(index) {
                    carried.count(payload.len() as u32);
                }
                Err(Reason::Blocked)
            }
            Known::Lose(reason) => Err(reason),
            Known::Ask => {
                let Learned { outlets, ssrc, is_peer } = self.table.learn(index, sender, payload, Instant::now())?;
                let carried = Carried { is_certain: is_peer, ..carried };
                self.count(&carried, payload, ssrc);
                // What somebody says who is only heard for now is nobody's report.
                if is_peer {
                    self.listen(index, sender, payload);
                }
                Ok(self.spread(&carried, &outlets, packet, outbox))
            }
        }
    }

    /// Notes that a peer is heard, for whoever watches it.
    fn note(&self, carried: &Carried<'_>) {
        if let Some(counters) = self.table.carried(carried.index) {
            counters.hear(Moment::of(carried.clock_ns));
        }
    }

    /// Counts a packet of a source that is held to this synchronisation source, or to none.
    fn count(&self, carried: &Carried<'_>, payload: &[u8], ssrc: Option<u32>) {
        let Carried { index, fields, clock_ns, intake, is_certain, .. } = *carried;
        if let Some(intake) = intake {
            self.table.take(index, intake);
        }
        let Some(carried) = self.table.carried(index) else { return };
        let bytes = payload.len() as u32;
        // The kind of source is the slot's, and an inactive slot has none: an RTP slot is even (RFC 3550 11).
        let is_rtp = !index.is_odd();
        match fields {
            Some(fields) if is_rtp && ssrc.is_none_or(|ssrc| ssrc == fields.ssrc) => {
                if ssrc.is_none()
                    && is_certain
                    && let (Some(slot), Some(order)) = (self.table.slot(index), self.table.order(index))
                {
                    slot.note_carried_ssrc(fields, self.table.timing(index), (carried, order));
                }
                carried.count_rtp(bytes, fields, || clock_ns);
            }
            // What is no RTP, and what comes from a guest, has no place in the order of the peer's packets.
            Some(_) | None if is_rtp => carried.count_other(bytes),
            Some(_) | None => carried.count(bytes),
        }
    }

    /// Keeps RTCP to be read after it has been sent on.
    fn listen(&mut self, index: SlotIndex, sender: SocketAddr, payload: &[u8]) {
        if index.is_odd() && self.table.reader().is_some() && rtp::is_rtcp(payload) {
            let datagram = Bytes::copy_from_slice(payload);
            self.heard.push(Heard { slot: index, sender, datagram, at: Instant::now() });
        }
    }

    /// Sends a packet to all sinks of its source: the first one, who talks with it, gets it from the buffer that it came in, the others copies.
    fn spread(
        &mut self,
        carried: &Carried<'_>,
        outlets: &[Outlet],
        packet: &mut Packet<'_>,
        outbox: &mut Outbox,
    ) -> Option<Departure> {
        let (first, others) = outlets.split_first()?;
        // Before the first one's work changes it.
        for outlet in others {
            let mut copy = outbox.copy(packet.payload());
            let sent = copy.packet().map(|mut packet| {
                let sent = self.send_by(carried, outlet, &mut packet);
                (sent, packet.range())
            });
            match sent {
                Some((Some(departure), range)) => {
                    copy.set_range(range);
                    outbox.send(departure, copy);
                }
                Some((None, _)) | None => outbox.recycle(copy),
            }
        }
        self.send_by(carried, first, packet)
    }

    /// Has a packet worked on for a sink; tells how it leaves. What is in the way of one sink is in no other's.
    fn send_by(&mut self, carried: &Carried<'_>, outlet: &Outlet, packet: &mut Packet<'_>) -> Option<Departure> {
        if let Some(chain) = &outlet.chain {
            // A processor is whole between any two packets; one that has panicked has cost its packet.
            let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
            if chain.process(packet, carried.clock_ns) == Fate::Ends {
                return None;
            }
        }
        if let Some(tap) = self.table.taps().of(carried.index) {
            let [from, to] = ends(&outlet.bearing, outlet.ports);
            tap.plain(from, to, packet.payload());
        }
        if let Some(sealer) = &outlet.sealer
            && let Err(reason) = sealer.seal(packet, outlet.is_rtcp, carried.is_certain)
        {
            self.reasons.count(reason);
            return None;
        }
        let hop = self.table.hop(outlet.hop).filter(|_| {
            // A number that has become another route's says where that one's packets go.
            self.table.hops().cell(outlet.hop).is_some_and(|cell| cell.bearing() == outlet.bearing)
        });
        let departing = Departing { bearing: outlet.bearing, ports: outlet.ports, hop };
        let departure = self.outgoing(carried, &departing, packet.payload()).unwrap_or_else(|reason| {
            self.reasons.count(reason);
            None
        })?;
        // A copy that cannot be sent is no error of the call.
        let slot = departure.slot.filter(|_| outlet.edge != Edge::Copy);
        Some(Departure { slot, ..departure })
    }

    /// Makes a packet for a party that nobody has sent; tells how it leaves, if it does.
    pub(crate) fn originate(
        &mut self,
        party: SlotIndex,
        outlet: &Outlet,
        payload: &[u8],
        outbox: &mut Outbox,
    ) -> Option<(Departure, Own)> {
        let nobody = IpAddr::from([0; 4]);
        let carried = Carried {
            index: party,
            sender: nobody,
            ttl: TTL,
            fields: None,
            clock_ns: 0,
            intake: None,
            is_certain: true,
        };
        let mut own = outbox.copy(payload);
        let departure = own.packet().and_then(|mut packet| {
            let departure = self.send_by(&carried, outlet, &mut packet)?;
            Some((departure, packet.range()))
        });
        match departure {
            // No call misses it.
            Some((departure, range)) => {
                own.set_range(range);
                Some((Departure { slot: None, ..departure }, own))
            }
            None => {
                outbox.recycle(own);
                None
            }
        }
    }

    /// How a payload leaves; `None` when it has left in fragments.
    fn outgoing(
        &mut self,
        carried: &Carried<'_>,
        departing: &Departing,
        payload: &[u8],
    ) -> Result<Option<Departure>, Reason> {
        let Carried { index, sender, ttl, .. } = *carried;
        // Other services of this host are none of a party's business.
        if !rtp::is_media(payload) && self.table.trust().scope(departing.bearing.to) == Scope::MediaOnly {
            return Err(Reason::NotMedia);
        }
        if let Some(tap) = self.table.taps().of(index) {
            let [from, to] = ends(&departing.bearing, departing.ports);
            tap.wire(from, to, payload);
        }
        let way = self.way(departing, sender)?;
        let mut headers = Outgoing::new(&departing.bearing, departing.ports, ttl, payload).ok_or(Reason::Truncated)?;
        if !self.has_bound_ports {
            let len = headers.as_bytes().len() + payload.len();
            let known = departing.hop.map(|hop| hop.mtu);
            if let Some(mtu) = self.oversize.exceeded(&departing.bearing, len, known) {
                self.send_fragments(departing, &headers, payload, mtu, index);
                return Ok(None);
            }
        }
        if matches!(way, Way::Link(_)) {
            self.last_id = self.last_id.wrapping_add(1);
            headers.complete(self.last_id);
        }
        Ok(Some(Departure { way, headers, slot: Some(index) }))
    }

    fn send_fragments(&mut self, departing: &Departing, headers: &Outgoing, payload: &[u8], mtu: u16, slot: SlotIndex) {
        if let Err(error) = self.oversize.send(departing.bearing.from, headers, payload, mtu) {
            tracing::trace!(%error, slot = slot.0, "a packet could not be sent in fragments");
            self.refused(Some(slot));
        }
    }

    /// How many routers a packet may pass. One that comes from an address of our own has been here before, and may not go on for ever.
    fn ttl(&self, sender: SocketAddr, ttl: Option<u8>) -> Result<u8, Reason> {
        match ttl {
            Some(ttl) if self.table.ours().has(sender.ip()) => {
                ttl.checked_sub(1).filter(|ttl| *ttl > 0).ok_or(Reason::Ring)
            }
            Some(_) | None => Ok(TTL),
        }
    }

    fn way(&self, departing: &Departing, sender: IpAddr) -> Result<Way, Reason> {
        let ours = self.table.ours();
        let (from, [from_port, to_port]) = (departing.bearing.from, departing.ports);
        let local = ours.locals().find(from).ok_or(Reason::NoCall)?;
        if self.has_bound_ports {
            // The kernel writes the time to live, so nothing would count these down.
            let to = SocketAddr::new(departing.bearing.to, to_port.get());
            if ours.has(sender) && ours.slot(to).is_some() {
                return Err(Reason::Ring);
            }
            return local.slot(from_port).map(Way::Port).ok_or(Reason::NoCall);
        }
        Ok(departing.hop.map_or_else(|| Way::Stack(local.number()), |hop| Way::Link(hop.into())))
    }

    /// The slot of the source that a payload at a port belongs to: RTCP may share the port of its RTP (RFC 5761).
    fn source_at(&self, port: SlotIndex, payload: &[u8]) -> Result<SlotIndex, Reason> {
        let is_shared = |slot| self.table.slot(slot).is_some_and(|slot| slot.state().flags().has(Flags::MUX));
        if port.is_odd() {
            // Its sender and its party have agreed on the other port, and it must not teach where the party's RTP is.
            return if is_shared(port) { Err(Reason::RtcpOnRtp) } else { Ok(port) };
        }
        let is_rtcp = matches!(payload, [first, second, ..] if rtp::classify(*first, *second) == rtp::Kind::Rtcp);
        Ok(if is_rtcp && is_shared(port.sibling()) { port.sibling() } else { port })
    }

    /// What a slot alone says about a packet.
    fn known(&mut self, index: SlotIndex, sender: SocketAddr, fields: Option<&rtp::RtpFields>) -> Known {
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
        if !self.is_peer(&rule, sender) {
            let is_lost = rule.flags.has(Flags::SETTLED) && slot.still(state);
            return if is_lost { Known::Lose(Reason::Stranger) } else { Known::Ask };
        }
        let is_accounted = !rule.flags.has(Flags::RTP)
            || rule.flags.has(Flags::ANY_SSRC)
            || fields.is_none_or(|fields| fields.ssrc == rule.ssrc);
        if !is_accounted {
            return Known::Ask;
        }
        let ssrc = if rule.flags.has(Flags::ANY_SSRC) { None } else { Some(rule.ssrc) };
        if rule.flags.has(Flags::BLOCKED) {
            return if slot.still(state) { Known::Block } else { Known::Ask };
        }
        if !rule.is_single() {
            let table = Arc::clone(&self.table);
            let still = || table.slot(index).is_some_and(|slot| slot.still(state));
            return match self.fan(index) {
                Some(fan) if still() => Known::Fan(fan, ssrc),
                Some(_) | None => Known::Ask,
            };
        }
        match self.table.departing(&rule) {
            Some(departing) if slot.still(state) => Known::Single(departing, ssrc),
            Some(_) | None => Known::Ask,
        }
    }

    /// The sinks of a source that has several.
    fn fan(&mut self, index: SlotIndex) -> Option<Arc<Fan>> {
        if let Some(fan) = self.fans.get(&index).filter(|fan| !fan.is_superseded()) {
            return Some(Arc::clone(fan));
        }
        if self.fans.len() >= FANS {
            self.fans.retain(|_, fan| !fan.is_superseded());
        }
        let fan = self.table.fan(index)?;
        self.fans.insert(index, Arc::clone(&fan));
        Some(fan)
    }

    fn is_peer(&self, rule: &Rule, sender: SocketAddr) -> bool {
        let addr = match sender.ip() {
            IpAddr::V4(addr) => rule.peer4() == addr.into(),
            IpAddr::V6(addr) => {
                let towards = self.table.hops().cell(rule.peer6());
                towards.is_some_and(|cell| cell.bearing().to == IpAddr::V6(addr))
            }
        };
        addr && rule.peer_port.get() == sender.port()
    }

    /// A departure that the kernel refused.
    pub(crate) fn refused(&self, slot: Option<SlotIndex>) {
        self.reasons.count(Reason::SendFailed);
        if let Some(slot) = slot {
            self.table.fail(slot);
        }
    }
}

/// From where to where a packet goes.
const fn ends(bearing: &Bearing, [from, to]: [Be16; 2]) -> [SocketAddr; 2] {
    [SocketAddr::new(bearing.from, from.get()), SocketAddr::new(bearing.to, to.get())]
}

/// What a slot alone says about a packet. Where it is forwarded, with the synchronisation source that the slot is held to.
enum Known {
    /// It goes to one party.
    Single(Departing, Option<u32>),
    /// It goes to several, or is worked on.
    Fan(Arc<Fan>, Option<u32>),
    /// It is its peer's, and goes nowhere.
    Block,
    /// It is lost, and nobody need be asked.
    Lose(Reason),
    /// It may teach the table something.
    Ask,
}

#[cfg(test)]
mod tests;
