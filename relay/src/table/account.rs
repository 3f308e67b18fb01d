//! What a source has carried, and by which path.

use std::time::Instant;

use border::{Component, Passes, Path, SinkState, SourceTotals};
use flow::{Reason, SlotIndex};

use crate::hops::NO_PORT;
use crate::table::flow_table::FlowTable;
use crate::table::ours::Fitness;
use crate::table::peer::Standing;
use crate::table::source::Source;
use crate::table::sources::{Destination, Sources};
use crate::worker::BoundPorts;

impl FlowTable {
    /// The totals of the source in a slot, if there is one.
    pub(crate) fn totals(&self, index: SlotIndex) -> Option<SourceTotals> {
        let mut sources = self.lock();
        let cells = self.cells(index)?;
        let destinations = self.destinations(&sources, index);
        let standing = sources.standing(index)?;
        // Up to the moment, not to the last sweep: the last packets of a call are in its bill.
        self.fold(sources.get_mut(index)?, &cells, Instant::now());
        let source = sources.get(index)?;
        let sinks = source.spec.sinks.iter().zip(&destinations).map(|(sink, destination)| SinkState {
            sink: *sink,
            from: sources.get(sink.party).map(|party| party.spec.local),
            to: destination.as_ref().ok().map(|destination| destination.to),
            reason: destination.as_ref().err().copied(),
        });
        let is_rtp = source.spec.component == Component::Rtp;
        Some(SourceTotals {
            fast_packets: source.tally.fast_packets(),
            slow_packets: source.tally.slow_packets(),
            bytes: source.tally.bytes(),
            errors: source.errors,
            // RTCP has no numbers by which one could tell.
            lost: if is_rtp { source.tally.lost() } else { 0 },
            late: if is_rtp { source.tally.late() } else { 0 },
            ssrc_changes: source.tally.changes(),
            jitter_ms: source.tally.jitter_ms(source.spec.clock_khz),
            ssrc: source.ssrc.or_else(|| cells.slot.known_ssrc()).map(u32::from_be),
            peer: standing.remote,
            confirmed: standing.confirmed.is_some(),
            last_fast: source.tally.last_fast(),
            last_slow: source.tally.last_slow(),
            quality: source.ear.as_ref().map(|ear| ear.qualities()).unwrap_or_default(),
            path: self.path(index, source, &standing, &destinations, &sources),
            intake: self.taken.last(index),
            sinks: sinks.collect(),
        })
    }

    /// The path of a source. On the slow one it needs the sockets of its own port and of those that it leaves by.
    fn path(
        &self,
        index: SlotIndex,
        source: &Source,
        standing: &Standing,
        destinations: &[Result<Destination, Reason>],
        sources: &Sources,
    ) -> Path {
        let is_deaf =
            |bound: &BoundPorts| !bound.has(index) || source.spec.sinks.iter().any(|sink| !bound.has(sink.party));
        let path = self.path_by_rule(index, source, standing, destinations, sources);
        match path {
            Path::Slow(_) if self.shape.bound.as_deref().is_some_and(is_deaf) => Path::Slow(Reason::NoSocket),
            path @ (Path::Slow(_) | Path::Fast) => path,
        }
    }

    fn path_by_rule(
        &self,
        index: SlotIndex,
        source: &Source,
        standing: &Standing,
        destinations: &[Result<Destination, Reason>],
        sources: &Sources,
    ) -> Path {
        let slow = Path::Slow;
        if let Err(reason) = self.leads(sources, index) {
            return slow(reason);
        }
        if let Some(reason) = self.shape.without_fast_path {
            return slow(reason);
        }
        if self.shape.ours.fitness(index) == Fitness::Detached {
            return slow(Reason::XdpDetached);
        }
        let mut reached = source
            .spec
            .sinks
            .iter()
            .zip(&source.sinks)
            .zip(destinations)
            .filter_map(|((sink, state), destination)| Some((sink, state, destination.as_ref().ok()?)));
        let Some((sink, state, destination)) = reached.next() else { return slow(Reason::NoDestination) };
        if self.shape.ours.fitness(sink.party) == Fitness::Loses {
            return slow(Reason::DeviceLoses);
        }
        if standing.confirmed.is_none() {
            return slow(Reason::NotLearned);
        }
        if reached.next().is_some() {
            return slow(Reason::Fan);
        }
        let is_sealed = |source: &Source| source.seal.is_some();
        if self.taps.has(source.spec.call) {
            return slow(Reason::Processed);
        }
        if sink.passes == Passes::Silence || is_sealed(source) || sources.get(sink.party).is_some_and(is_sealed) {
            return slow(Reason::Processed);
        }
        if source.is_doubted {
            return slow(Reason::DeviceLoses);
        }
        if self.reads(source) {
            return slow(Reason::Rtcp);
        }
        let peer = standing.confirmed.or(standing.remote);
        if peer.is_some_and(|peer| self.shape.ours.has(peer.ip())) {
            return slow(Reason::Hairpin);
        }
        if peer.is_some_and(|peer| peer.is_ipv6() != destination.to.is_ipv6()) {
            return slow(Reason::Family);
        }
        match state.route.and_then(|(_, hop)| self.hops.hop(hop)) {
            None => slow(Reason::NextHop),
            Some(hop) if hop.port == NO_PORT && Some(hop.device) != self.shape.ours.device(index) => {
                slow(Reason::Redirect)
            }
            Some(_) => Path::Fast,
        }
    }
}
