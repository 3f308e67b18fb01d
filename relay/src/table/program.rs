//! From what is known of a source and its sinks to the rule of its slot.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use border::{Passes, Sink};
use flow::slot::{Flags, Path};
use flow::{Be16, Bearing, HopId, Reason, Rule, SlotIndex};
use media::{Chain, Silence};

use crate::table::circuit;
use crate::table::fan::{Fan, Outlet};
use crate::table::flow_table::FlowTable;
use crate::table::peer::Standing;
use crate::table::seal::Sealer;
use crate::table::source::{Held, SinkState, Source};
use crate::table::sources::{Destination, Sources};

/// Nobody's address.
const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What becomes of the packets of a source, of which the peer is known.
enum Lot {
    /// They are counted, and go nowhere.
    Blocked,
    /// They go to one party as they are, also by the XDP program where that may.
    Single { to: Destination, hop: HopId, is_fast: bool },
    /// A worker sends them to these.
    Fanned(Fan),
}

impl FlowTable {
    /// From where to where the packets of a source go, sink by sink.
    pub(super) fn destinations(&self, sources: &Sources, index: SlotIndex) -> Vec<Result<Destination, Reason>> {
        let sinks = sources.get(index).map(|source| source.spec.sinks.as_slice()).unwrap_or_default();
        sinks.iter().map(|sink| self.destination(sources, index, sink)).collect()
    }

    pub(super) fn destination(&self, sources: &Sources, index: SlotIndex, sink: &Sink) -> Result<Destination, Reason> {
        if sink.passes == Passes::Nothing {
            return Err(Reason::Blocked);
        }
        let found = sources.destination(sink.party)?;
        let ours = &self.shape.ours;
        if ours.slot(found.to).is_some() && circuit::closes(sources, ours, index, found.to) {
            return Err(Reason::Ring);
        }
        Ok(found)
    }

    /// Whether there is a party that the packets of a source go to.
    ///
    /// # Errors
    /// Why there is none: why the first sink has none.
    pub(super) fn leads(&self, sources: &Sources, index: SlotIndex) -> Result<(), Reason> {
        let source = sources.get(index).ok_or(Reason::NoCall)?;
        if source.is_blocked() {
            return Err(Reason::Blocked);
        }
        let mut destinations = source.spec.sinks.iter().map(|sink| self.destination(sources, index, sink));
        let first = destinations.next().unwrap_or(Err(Reason::NoDestination));
        if first.is_ok() || destinations.any(|destination| destination.is_ok()) { Ok(()) } else { first.map(drop) }
    }

    /// Programs a slot with what its source and the parties that it feeds amount to now, and has its party hear what it is to hear.
    pub(super) fn program(&self, sources: &mut Sources, index: SlotIndex, now: Instant) {
        self.program_slot(sources, index, now);
        self.announce(sources, index);
        if let Some(source) = sources.get(index) {
            self.shape.notes.write(index, source, self.clock);
        }
    }

    fn program_slot(&self, sources: &mut Sources, index: SlotIndex, now: Instant) {
        let Some(slot) = self.slot(index) else { return };
        let destinations = self.destinations(sources, index);
        if sources.is_described(index)
            && let Some(source) = sources.get_mut(index)
        {
            source.peer.open(now);
        }
        let standing = sources.standing(index);
        let (Some(source), Some(standing)) = (sources.get_mut(index), standing) else {
            slot.program(Rule::INACTIVE);
            return;
        };
        // The peer is who is heard, which is not always where packets for the party go: what the signalled address itself sends must be looked at as
        // long as somebody else is the peer. Where nothing was signalled, nobody is the peer yet.
        let (heard, peer) = peer(&standing);
        let local = source.spec.local;
        let (routes, towards) = routes(source, &standing, &destinations);
        let mut flags = source.flags(&standing);
        // Of a slot that no call had it is not a source that is noted there.
        let is_noted = slot.state().flags().has(Flags::CALL);
        let waiting = Rule::waiting(flags, if is_noted { slot.ssrc() } else { 0 });
        // The slot refers to the old numbers until it is programmed, and a number may be another route's as soon as it is released.
        if has_moved(source, &routes, towards) {
            slot.program(waiting);
            self.set_fan(source, index, None);
            source.sinks.resize_with(routes.len(), SinkState::default);
            for (sink, needed) in source.sinks.iter_mut().zip(routes) {
                self.follow_route(&mut sink.route, needed);
            }
            self.follow_route(&mut source.towards, towards);
        }
        source.set_chains();
        self.taps.follow(index, Some(source.spec.call));
        let towards = match source.towards {
            None => Some(HopId::NONE),
            Some((_, id)) => Some(id).filter(|id| *id != HopId::NONE),
        };
        let is_certain = standing.confirmed.is_some();
        let sealers = sealers(sources, index);
        let Some(source) = sources.get_mut(index) else { return };
        let lot = heard.and_then(|peer| self.lot(source, (peer, is_certain), &destinations, &sealers));
        let (Some(lot), Some(towards)) = (lot, towards) else {
            self.set_fan(source, index, None);
            slot.program(waiting);
            return;
        };
        // Where the packets go is in the rule of a single sink only.
        let nowhere = Destination { from: local, to: local };
        let (to, hop, fan) = match lot {
            Lot::Blocked => {
                flags = flags.with(Flags::BLOCKED);
                (nowhere, HopId::NONE, None)
            }
            Lot::Single { to, hop, is_fast } => {
                flags = if is_fast { flags.with(Flags::FAST) } else { flags };
                (to, hop, None)
            }
            Lot::Fanned(fan) => (nowhere, HopId::NONE, Some(fan)),
        };
        self.set_fan(source, index, fan);
        // Of a source that is not held to one synchronisation source, the XDP program notes the last one.
        let ssrc = match flags.has(Flags::ANY_SSRC) {
            true if is_noted => slot.ssrc(),
            true => 0,
            false => source.ssrc.unwrap_or(0),
        };
        let mut rule = Rule::new(&Path { peer, local, from: to.from, to: to.to }, towards);
        (rule.flags, rule.hop, rule.ssrc) = (flags, hop, ssrc);
        // One that is right already goes on without a gap.
        if slot.read() != Some(rule) {
            slot.program(rule);
        }
    }

    /// What becomes of the packets of a peer, that is certain or only watched.
    fn lot(
        &self,
        source: &Source,
        (peer, is_certain): (SocketAddr, bool),
        destinations: &[Result<Destination, Reason>],
        sealers: &[Option<Sealer>],
    ) -> Option<Lot> {
        if source.is_blocked() {
            // The XDP program drops it, and notes no time: who is watched is seen packet by packet.
            return is_certain.then_some(Lot::Blocked);
        }
        let mut reached =
            destinations.iter().zip(&source.sinks).filter_map(|(to, sink)| Some((*to.as_ref().ok()?, sink)));
        let (to, sink) = reached.next()?;
        let is_sealed = source.seal.is_some() || sealers.iter().any(Option::is_some);
        if reached.next().is_some() || sink.chain.is_some() || is_sealed {
            return Some(Lot::Fanned(Fan::new(source.opener(), outlets(source, destinations, sealers))));
        }
        // Without a number in the next-hop table the slow path finds the way itself, packet by packet.
        let (_, hop) = sink.route.filter(|(_, id)| *id != HopId::NONE)?;
        let is_fast = is_certain
            && self.shape.without_fast_path.is_none()
            && !self.reads(source)
            && !source.is_doubted
            // The XDP program would keep it to itself.
            && !self.taps.has(source.spec.call)
            && peer.is_ipv6() == to.to.is_ipv6()
            // A worker counts the time to live down of what comes from ourselves.
            && !self.shape.ours.has(peer.ip());
        Some(Lot::Single { to, hop, is_fast })
    }

    fn set_fan(&self, source: &mut Source, index: SlotIndex, fan: Option<Fan>) {
        if fan.is_some() || source.is_fanned {
            source.is_fanned = fan.is_some();
            self.fans.set(index, fan);
        }
    }

    /// All that is reached of a source's sinks, whether or not its slot is active.
    pub(super) fn outlets(&self, sources: &Sources, index: SlotIndex) -> Vec<Outlet> {
        let destinations = self.destinations(sources, index);
        let sealers = sealers(sources, index);
        sources.get(index).map(|source| outlets(source, &destinations, &sealers).collect()).unwrap_or_default()
    }

    /// Has a place hold the number of the route that is needed now, and no other.
    pub(super) fn follow_route(&self, held: &mut Option<Held>, needed: Option<Bearing>) {
        if !is_other(*held, needed) {
            return;
        }
        let acquired = needed.map(|bearing| (bearing, self.hops.acquire(bearing)));
        if let Some((old, id)) = std::mem::replace(held, acquired) {
            self.hops.release(old, id);
        }
    }

    /// Programs the slots whose packets go to a source's party.
    pub(super) fn program_feeders(&self, sources: &mut Sources, index: SlotIndex, now: Instant) {
        let feeders: Vec<SlotIndex> = sources.feeders(index).into_iter().filter(|feeder| *feeder != index).collect();
        for feeder in feeders {
            self.program(sources, feeder, now);
        }
    }
}

/// Who is heard, and whom the slot is to know as its peer: where nothing was signalled, nobody yet.
fn peer(standing: &Standing) -> (Option<SocketAddr>, SocketAddr) {
    let heard = standing.confirmed.or(standing.watched);
    (heard, heard.or(standing.remote).unwrap_or(UNSPECIFIED))
}

/// The routes that a source needs: one for each sink that is reached, and that to an IPv6 peer, by which it is known.
pub(super) fn routes(
    source: &Source,
    standing: &Standing,
    destinations: &[Result<Destination, Reason>],
) -> (Vec<Option<Bearing>>, Option<Bearing>) {
    let (_, peer) = peer(standing);
    let (local, tos) = (source.spec.local, source.spec.tos);
    let bearing = |from: SocketAddr, to: SocketAddr| Bearing { from: from.ip(), to: to.ip(), tos };
    let is_blocked = source.is_blocked();
    let is_needed = is_blocked || destinations.iter().any(Result::is_ok);
    // The route back may be another slot's too, if the type of service is the same.
    let towards = (is_needed && peer.is_ipv6()).then(|| bearing(local, peer));
    let route = |destination: &Result<Destination, Reason>| {
        let reached = destination.as_ref().ok().filter(|_| !is_blocked);
        reached.map(|destination| bearing(destination.from, destination.to))
    };
    (destinations.iter().map(route).collect(), towards)
}

impl Source {
    /// Whether what comes goes to nobody.
    pub(super) fn is_blocked(&self) -> bool {
        let sinks = &self.spec.sinks;
        self.spec.blocked || (!sinks.is_empty() && sinks.iter().all(|sink| sink.passes == Passes::Nothing))
    }

    /// Has the work on packets that its sinks want, which keeps its state where it was wanted before.
    fn set_chains(&mut self) {
        let silence = || Arc::new(Mutex::new(Chain::new().with(Silence)));
        for (state, sink) in self.sinks.iter_mut().zip(&self.spec.sinks) {
            match sink.passes {
                Passes::Silence => drop(state.chain.get_or_insert_with(silence)),
                Passes::All | Passes::Nothing => state.chain = None,
            }
        }
    }
}

/// What protects the packets of a source's sinks, for the party of each.
fn sealers(sources: &Sources, index: SlotIndex) -> Vec<Option<Sealer>> {
    let sinks = sources.get(index).map(|source| source.spec.sinks.as_slice()).unwrap_or_default();
    sinks.iter().map(|sink| sources.get(sink.party)?.seal.as_ref().map(|seal| seal.sealer())).collect()
}

fn outlets<'a>(
    source: &'a Source,
    destinations: &'a [Result<Destination, Reason>],
    sealers: &'a [Option<Sealer>],
) -> impl Iterator<Item = Outlet> + 'a {
    let sealers = sealers.iter().chain(std::iter::repeat(&None));
    let sinks = source.spec.sinks.iter().zip(&source.sinks).zip(destinations).zip(sealers);
    let reached = sinks.filter_map(|(((sink, state), to), sealer)| Some((sink, state, to.as_ref().ok()?, sealer)));
    reached.map(|(sink, state, Destination { from, to }, sealer)| Outlet {
        bearing: Bearing { from: from.ip(), to: to.ip(), tos: source.spec.tos },
        ports: [from, to].map(|endpoint| Be16::new(endpoint.port())),
        edge: sink.edge,
        hop: state.route.map_or(HopId::NONE, |(_, id)| id),
        chain: state.chain.clone(),
        sealer: sealer.clone(),
        is_rtcp: sink.party.is_odd(),
    })
}

/// Whether a source holds other routes than it needs now, or lacks a number.
fn has_moved(source: &Source, routes: &[Option<Bearing>], towards: Option<Bearing>) -> bool {
    routes.len() != source.sinks.len()
        || source.sinks.iter().zip(routes).any(|(sink, route)| is_other(sink.route, *route))
        || is_other(source.towards, towards)
}

/// Whether what is held is not what is needed, or has no number, because there was none.
fn is_other(held: Option<Held>, needed: Option<Bearing>) -> bool {
    held.map(|(bearing, _)| bearing) != needed || held.is_some_and(|(_, id)| id == HopId::NONE)
}
