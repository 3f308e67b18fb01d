//! What a stream has carried, and by which path.

use std::time::Instant;

use border::{Path, StreamTotals};
use flow::slot::Path as Addresses;
use flow::{Reason, SlotIndex};

use super::FlowTable;
use crate::bound::BoundPorts;
use crate::learning::Standing;
use crate::next_hops::NO_PORT;
use crate::ours::Fitness;
use crate::stream::Stream;
use crate::streams::{standing, stream_mut};

impl FlowTable {
    /// The totals of the stream in a slot, if there is one.
    pub(crate) fn totals(&self, index: SlotIndex) -> Option<StreamTotals> {
        let mut streams = self.lock();
        let cells = self.cells(index)?;
        let addresses = self.addresses(&streams, index);
        let standing = standing(&streams, index)?;
        let stream = stream_mut(&mut streams, index)?;
        // Up to the moment, not to the last sweep: the last packets of a call are in its bill.
        self.sums.add(stream.tally.fold(cells.fast(), cells.carried.read(), Instant::now()));
        Some(StreamTotals {
            fast_packets: stream.tally.fast_packets(),
            slow_packets: stream.tally.slow_packets(),
            bytes: stream.tally.bytes(),
            errors: stream.errors,
            lost: stream.tally.lost(),
            late: stream.tally.late(),
            ssrc_changes: stream.tally.changes(),
            jitter_ms: stream.tally.jitter_ms(stream.spec.clock_khz),
            ssrc: stream.ssrc.or_else(|| Some(cells.slot.ssrc()).filter(|ssrc| *ssrc != 0)).map(u32::from_be),
            peer: standing.remote,
            confirmed: standing.confirmed.is_some(),
            last_fast: stream.tally.last_fast(),
            last_slow: stream.tally.last_slow(),
            quality: stream.reports.as_ref().map(|reports| reports.qualities.clone()).unwrap_or_default(),
            path: self.path(index, stream, &standing, addresses),
        })
    }

    /// The path of a stream. On the slow one it needs the sockets of its own port and of the one that it leaves by.
    fn path(
        &self,
        index: SlotIndex,
        stream: &Stream,
        standing: &Standing,
        addresses: Result<Addresses, Reason>,
    ) -> Path {
        let is_deaf =
            |bound: &BoundPorts| !bound.has(index) || stream.spec.other.is_some_and(|other| !bound.has(other));
        match self.path_by_rule(index, stream, standing, addresses) {
            Path::Slow(_) if self.shape.bound.as_deref().is_some_and(is_deaf) => Path::Slow(Reason::NoSocket),
            path @ (Path::Slow(_) | Path::Fast) => path,
        }
    }

    fn path_by_rule(
        &self,
        index: SlotIndex,
        stream: &Stream,
        standing: &Standing,
        addresses: Result<Addresses, Reason>,
    ) -> Path {
        let loses = |other| self.shape.ours.fitness(other) == Fitness::Loses;
        match (addresses, stream.way) {
            (Err(reason), _) => Path::Slow(reason),
            (Ok(_), _) if let Some(reason) = self.shape.without_fast_path => Path::Slow(reason),
            (Ok(_), _) if self.shape.ours.fitness(index) == Fitness::Detached => Path::Slow(Reason::XdpDetached),
            (Ok(_), _) if stream.spec.other.is_some_and(loses) => Path::Slow(Reason::DeviceLoses),
            (Ok(_), _) if standing.confirmed.is_none() => Path::Slow(Reason::NotLearned),
            (Ok(_), _) if stream.is_doubted => Path::Slow(Reason::DeviceLoses),
            (Ok(_), _) if self.reads(stream) => Path::Slow(Reason::Rtcp),
            (Ok(addresses), _) if self.shape.ours.has(addresses.peer.ip()) => Path::Slow(Reason::Hairpin),
            (Ok(addresses), _) if addresses.peer.is_ipv6() != addresses.to.is_ipv6() => Path::Slow(Reason::Family),
            (Ok(_), way) => match way.and_then(|(_, hop)| self.hops.hop(hop)) {
                None => Path::Slow(Reason::NextHop),
                Some(hop) if hop.port == NO_PORT && Some(hop.device) != self.shape.ours.device(index) => {
                    Path::Slow(Reason::Redirect)
                }
                Some(_) => Path::Fast,
            },
        }
    }
}
