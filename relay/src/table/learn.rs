//! What packets that their slot did not forward teach the table, and how they leave.

use std::net::SocketAddr;
use std::time::Instant;

use border::{Component, Event};
use flow::rtp::{self, RtpFields, Sequence};
use flow::slot::Flags;
use flow::{Be16, Bearing, Hop, HopId, Reason, Rule, SlotIndex};

use crate::engine::Output;
use crate::table::fan::Outlet;
use crate::table::flow_table::FlowTable;
use crate::table::matter::Matter;
use crate::table::peer::Admission;
use crate::table::seal::Opener;
use crate::table::source::Source;
use crate::table::sources::{Sources, rtp_slot};

/// After so many changes of its synchronisation source between two sweeps a source is no longer held to one: it mixes several, and each
/// change would cost a packet the fast path.
const SSRC_CHANGES: u8 = 3;

/// How a packet leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Departing {
    pub(crate) bearing: Bearing,
    /// Source and destination port.
    pub(crate) ports: [Be16; 2],
    /// The next hop, where packets go to the device and it is resolved.
    pub(crate) hop: Option<Hop>,
}

/// What became of a packet that was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Learned {
    /// Where it goes.
    pub(crate) outlets: Vec<Outlet>,
    /// The synchronisation source that its source is held to; bytes in network order.
    pub(crate) ssrc: Option<u32>,
    /// It is the peer's, and not of one who is heard beside it.
    pub(crate) is_peer: bool,
}

impl FlowTable {
    /// Takes a packet that its slot did not forward: learns from it what there is to learn.
    ///
    /// # Errors
    /// The reason why the packet cannot be sent on.
    pub(crate) fn learn(
        &self,
        index: SlotIndex,
        sender: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) -> Result<Learned, Reason> {
        let mut sources = self.lock();
        let local = sources.get(index).ok_or(Reason::NoCall)?.spec.local.ip();
        if self.shape.trust.judge(local, sender.ip()).is_err() {
            return Err(Reason::Untrusted);
        }
        let pupil = sources.taught(index).ok_or(Reason::NoCall)?;
        let rtp_host = rtp_slot(pupil).and_then(|rtp| sources.get(rtp)?.peer.host());
        let leads = self.leads(&sources, index);
        // RTCP of a party that shares its port comes by the slot of its RTCP; what comes by that of the RTP is nobody's who has agreed to anything.
        let is_strayed = pupil == index && !index.is_odd() && rtp::is_rtcp(payload);
        let matter = sources.get(pupil).ok_or(Reason::NoCall)?.matter(payload);
        let matter = if is_strayed { Matter::Noise } else { matter };
        let peer = &sources.get(pupil).ok_or(Reason::NoCall)?.peer;
        let (before, first_comer) = (peer.standing(), peer.heard_for_now());
        self.catch_up(&mut sources, pupil, now);
        let peer = &mut sources.get_mut(pupil).ok_or(Reason::NoCall)?.peer;
        let admission = peer.admit(sender, matter, rtp_host, now);
        let (after, heard) = (peer.standing(), peer.heard());
        if before.watched.is_none() && after.watched.is_some() {
            self.begin_watch(&mut sources, pupil);
        }
        let peer = &mut sources.get_mut(pupil).ok_or(Reason::NoCall)?.peer;
        if let Some(turn) = peer.next_turn() {
            sources.wait_for(pupil, turn);
        }
        if first_comer.is_some() && heard != first_comer {
            self.disown(&mut sources, pupil, now);
        }
        let is_peer = admission == Ok(Admission::Peer);
        // What is blocked teaches as well.
        if is_peer
            && matches!(leads, Ok(()) | Err(Reason::Blocked))
            && let Some(fields) = rtp::parse(payload)
            && let Some(source) = sources.get_mut(index)
            && source.spec.component == Component::Rtp
        {
            self.follow_ssrc(source, index, &fields, now);
        }
        if is_peer || after != before {
            self.program(&mut sources, pupil, now);
            if pupil != index {
                self.program(&mut sources, index, now);
            }
        }
        if after != before {
            self.follow_rtp(&mut sources, pupil, now);
            self.tell_learned(&sources, pupil, after.confirmed.filter(|_| after.confirmed != before.confirmed));
        }
        if after.remote != before.remote {
            self.program_feeders(&mut sources, pupil, now);
        }
        admission?;
        // Where it goes may be known only now.
        let leads = self.leads(&sources, index);
        let outlets = self.outlets(&sources, index);
        let source = sources.get_mut(index).ok_or(Reason::NoCall)?;
        if let Err(reason) = leads {
            source.errors += 1;
            self.sums.fail(1);
            return Err(reason);
        }
        Ok(Learned { outlets, ssrc: source.held_to(), is_peer })
    }

    /// What makes the packets of a source readable: before anything is learned of them.
    pub(crate) fn opener(&self, index: SlotIndex) -> Option<Opener> {
        self.lock().get(index)?.opener()
    }

    /// Tells where packets have taught that a party is.
    pub(super) fn tell_learned(&self, sources: &Sources, slot: SlotIndex, at: Option<SocketAddr>) {
        if let (Some(source), Some(at)) = (sources.get(slot), at) {
            self.shape.events.tell(Event::Learned { call: source.spec.call, slot, at });
        }
    }

    /// What is known of a party's RTP has changed. RTCP that shares its port follows it; other RTCP is accepted only from the host that the
    /// RTP comes from, and that may be another one now.
    pub(super) fn follow_rtp(&self, sources: &mut Sources, rtp: SlotIndex, now: Instant) {
        let index = rtp.sibling();
        if rtp.is_odd() {
            return;
        }
        let host = sources.get(rtp).and_then(|rtp| rtp.peer.host());
        let (Some(host), Some(source)) = (host, sources.get_mut(index)) else { return };
        let before = source.peer.standing();
        source.peer.follow_rtp(host);
        if source.spec.mux || source.peer.standing() != before {
            self.program(sources, index, now);
            self.program_feeders(sources, index, now);
        }
    }

    /// How a packet leaves by a rule that forwards to one party. The answer holds if the rule still stands afterwards: a number is its route's for so
    /// long.
    pub(crate) fn departing(&self, rule: &Rule) -> Option<Departing> {
        let bearing = self.hops.cell(rule.hop)?.bearing();
        Some(Departing { bearing, ports: rule.ports, hop: self.hop(rule.hop) })
    }

    /// The next hop of a number, where packets go to the device.
    pub(crate) fn hop(&self, id: HopId) -> Option<Hop> {
        match self.shape.output {
            Output::Device | Output::Xsk => self.hops.hop(id),
            Output::Stack => None,
        }
    }

    /// Somebody else turns out to be the party of a source: what was counted of the order of packets so far was a stranger's.
    pub(super) fn disown(&self, sources: &mut Sources, index: SlotIndex, now: Instant) {
        if let (Some(source), Some(cells)) = (sources.get_mut(index), self.cells(index)) {
            self.fold(source, &cells, now);
            source.tally.disown();
        }
    }

    /// Begins to account a synchronisation source that was not seen before.
    fn follow_ssrc(&self, source: &mut Source, index: SlotIndex, fields: &RtpFields, now: Instant) {
        if source.ssrc == Some(fields.ssrc) || source.any_ssrc {
            return;
        }
        let Some(cells) = self.cells(index) else { return };
        // A packet that passed the slot's door a moment ago may still be counted; the tally allows for it.
        cells.slot.program(Rule::waiting(Flags::CALL, 0));
        self.fold(source, &cells, now);
        let before = Sequence(fields.sequence.0.wrapping_sub(1));
        cells.slot.restart(cells.timing, fields.sequence, source.spec.clock_khz);
        cells.carried.restart(before, source.spec.clock_khz);
        cells.order.forget();
        source.tally.restart(fields.sequence);
        source.ssrc_changes = source.ssrc_changes.saturating_add(1);
        source.any_ssrc = source.ssrc_changes > SSRC_CHANGES;
        source.ssrc = Some(fields.ssrc);
    }
}
