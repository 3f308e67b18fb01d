//! How a table goes on with what an earlier process has left in its memory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use border::{FlowOp, SourceSpec};
use flow::slot::Flags;
use flow::{Rule, SlotIndex};

use crate::table::flow_table::FlowTable;
use crate::table::note::{Note, Noted};
use crate::table::peer::Peer;
use crate::table::program::routes;
use crate::table::source::{SinkState, Source};
use crate::table::sources::Sources;
use crate::table::suspects::Suspects;
use crate::table::tally::Tally;

/// Goes on with what a party was sent: by those that feed it.
fn resume_sealer(sources: &Sources, index: SlotIndex) {
    let Some(source) = sources.get(index) else { return };
    let ssrc = source.spec.partner().and_then(|partner| sources.get(partner)?.ssrc);
    if let Some(seal) = &source.seal {
        seal.resume_sealer(ssrc, source.sealed, index.is_odd());
    }
}

/// What an earlier process has left in the slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// Nothing: they are new.
    Nothing,
    /// Rules of calls, and everything that holds of these is on record.
    Rules,
    /// Rules of calls, and of some nothing is on record.
    Orphans,
}

impl FlowTable {
    /// Makes the table as control wants it, at the very beginning, before any worker and before routes are resolved. What is noted of a source it
    /// knows and has counted; what its slot does is right already, most likely, and then goes on without a gap. What nobody wants any more goes,
    /// unless it is an orphan's.
    pub(crate) fn adopt(&self, ops: &[FlowOp], left: Left, now: Instant) {
        let has_rules = left != Left::Nothing;
        self.open_ports(ops);
        let mut sources = self.lock();
        let mut adopted = Vec::with_capacity(ops.len());
        for op in ops {
            let FlowOp::Install(index, spec) = op else { continue };
            adopted.push(*index);
            match self.shape.notes.read(*index, spec, self.clock) {
                Some(note) => self.recall(&mut sources, *index, spec, note, has_rules, now),
                // The rule tells who was heard.
                None => match self.noted_by_rule(*index).filter(|_| has_rules) {
                    Some(note) => self.recall(&mut sources, *index, spec, note, has_rules, now),
                    None => self.install(&mut sources, *index, spec, now),
                },
            }
        }
        for index in &adopted {
            resume_sealer(&sources, *index);
            self.hold_routes(&mut sources, *index);
        }
        for index in adopted {
            self.program(&mut sources, index, now);
        }
        let mut orphans = self.lock_orphans();
        let slots = if has_rules { &self.slots[..] } else { &[] };
        for (place, slot) in slots.iter().enumerate() {
            let index = SlotIndex(place as u32);
            if slot.state().flags() != Flags::NONE
                && sources.get(index).is_none()
                && !(left == Left::Orphans && self.foster(&mut orphans, index, now))
            {
                slot.program(Rule::INACTIVE);
                self.shape.notes.clear(index);
            }
        }
        self.hops.release_unused();
    }

    /// Takes a source up of which an earlier process has noted something.
    fn recall(
        &self,
        sources: &mut Sources,
        index: SlotIndex,
        spec: &SourceSpec,
        note: Note,
        has_rules: bool,
        now: Instant,
    ) {
        let Some(cells) = self.cells(index) else { return };
        let (party, is_untrusted) = self.judged(spec);
        let mut tally = note.tally;
        if !has_rules {
            // Where its order goes on.
            cells.slot.restart(cells.timing, tally.highest().unwrap_or_default(), spec.clock_khz);
        }
        let is_counted = has_rules && self.shape.notes.are_of_maps();
        tally.go_on([(cells.fast(), !is_counted), (cells.carried.read(), false)]);
        let peer = match &note.peer {
            Noted::Words(words) => Peer::recall(spec.component, party, Suspects::default(), words, (self.clock, now)),
            Noted::Rule(source) => Peer::of_rule(spec.component, party, Suspects::default(), *source, now),
            Noted::Nothing => Peer::new(spec.component, party, Suspects::default()),
        };
        let source = Source::new(spec, peer, is_untrusted, tally, cells.carried.heard());
        let [opened, sealed] = note.sealed;
        if let (Some(seal), Some(ssrc)) = (&source.seal, note.ssrc) {
            seal.resume_opener(ssrc, opened);
        }
        let source = Source { sealed, ssrc: note.ssrc, any_ssrc: note.any_ssrc, errors: note.errors, ..source };
        sources.insert(index, source);
        sources.feed(index, &[], &spec.sinks);
        if let Some(source) = sources.get_mut(index) {
            self.listen(source, index);
        }
    }

    /// What the rule of a slot tells of its source, where it forwards.
    fn noted_by_rule(&self, index: SlotIndex) -> Option<Note> {
        let cells = self.cells(index)?;
        let rule = cells.slot.read().filter(Rule::is_active)?;
        let local = self.hops.hop(rule.hop).and(self.hops.cell(rule.hop))?.bearing().from;
        let host: IpAddr = if local.is_ipv4() {
            Ipv4Addr::from(rule.peer4()).into()
        } else {
            self.hops.hop(rule.peer6()).and(self.hops.cell(rule.peer6()))?.bearing().to
        };
        let has_ssrc = rule.flags.has(Flags::RTP) && !rule.flags.has(Flags::ANY_SSRC);
        Some(Note {
            errors: 0,
            ssrc: has_ssrc.then_some(rule.ssrc),
            any_ssrc: false,
            tally: Tally::new(cells.fast(), cells.carried.read()),
            peer: Noted::Rule(SocketAddr::new(host, rule.peer_port.get())),
            sealed: [0; 2],
        })
    }

    /// Has a source hold the numbers of its routes, which are those that its slot has: what is in the slot is left as it is.
    fn hold_routes(&self, sources: &mut Sources, index: SlotIndex) {
        let destinations = self.destinations(sources, index);
        let Some(standing) = sources.standing(index) else { return };
        let Some(source) = sources.get_mut(index) else { return };
        let (needed, towards) = routes(source, &standing, &destinations);
        source.sinks.resize_with(needed.len(), SinkState::default);
        for (sink, needed) in source.sinks.iter_mut().zip(needed) {
            self.follow_route(&mut sink.route, needed);
        }
        self.follow_route(&mut source.towards, towards);
    }
}
