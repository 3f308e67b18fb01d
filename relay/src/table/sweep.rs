//! What time does to sources: counters are folded, learning ends, who is watched or silent is noticed.

use std::time::{Duration, Instant};

use border::{Component, Event};
use flow::SlotIndex;

use crate::table::flow_table::{Cells, FlowTable};
use crate::table::source::Source;
use crate::table::sources::{CHUNK, Sources};

/// Who has been heard and sends nothing for so long has fallen silent: longer than a pause between two words that are not sent. Whoever watches is to know
/// within five seconds, and a look at all sources takes one.
const SILENCE: Duration = Duration::from_secs(3);

impl FlowTable {
    /// Folds the counters of all sources of one of so many parts of the slots, and ends the learning of those whose time is over. Every slot has
    /// its turn once a second, well before any counter can wrap.
    pub(crate) fn sweep(&self, now: Instant, part: usize, parts: usize) {
        self.turn(now);
        let chunks = self.slots.len().div_ceil(CHUNK);
        let of = |part: usize| chunks * part / parts;
        for chunk in of(part)..of(part + 1) {
            // The lock is given back in between: packets that teach wait for no more than one chunk.
            let mut sources = self.lock();
            let is_watched = |source: &Source| source.peer.standing().watched.is_some();
            let watched = sources.chunk_mut(chunk).filter(|(_, source)| is_watched(source));
            let watched: Vec<_> = watched.map(|(index, source)| (index, source.peer.standing())).collect();
            for (index, _) in &watched {
                self.catch_up(&mut sources, *index, now);
            }
            let mut changed = Vec::new();
            for (index, source) in sources.chunk_mut(chunk) {
                if let Some(cells) = self.cells(index) {
                    if source.tally.is_up_to_date(cells.slot.volume(), cells.carried.volume()) {
                        self.listen_for_silence(source, index, now);
                    } else {
                        self.fold(source, &cells, now);
                        source.is_silent = false;
                    }
                    source.ssrc_changes = 0;
                    let before = watched.iter().find(|(of, _)| *of == index).map(|(_, before)| *before);
                    let before = before.unwrap_or_else(|| source.peer.standing());
                    source.peer.advance(now);
                    let after = source.peer.standing();
                    if after.watched.is_none() {
                        // Where the watch begins, if it does.
                        source.heard = cells.carried.heard();
                    }
                    // A number that there was none of may have become free.
                    if after != before || source.wants_number() {
                        changed.push((index, after.confirmed.filter(|_| after.confirmed != before.confirmed)));
                    }
                }
            }
            for (index, learned) in changed {
                self.program(&mut sources, index, now);
                self.follow_rtp(&mut sources, index, now);
                self.tell_learned(&sources, index, learned);
            }
        }
    }

    /// Ends the waiting for parties that were signalled elsewhere and are not heard any more from where they were.
    fn turn(&self, now: Instant) {
        let mut sources = self.lock();
        for index in sources.due(now) {
            self.catch_up(&mut sources, index, now);
            let Some(source) = sources.get_mut(index) else { continue };
            source.peer.advance(now);
            if let Some(turn) = source.peer.next_turn() {
                sources.wait_for(index, turn);
                continue;
            }
            for index in [index, index.sibling()] {
                self.program(&mut sources, index, now);
                self.program_feeders(&mut sources, index, now);
            }
            self.follow_rtp(&mut sources, index, now);
        }
    }

    /// Takes when the peer of a source was heard last by its slot's own rule, and by that of RTCP that shares its port.
    pub(super) fn catch_up(&self, sources: &mut Sources, index: SlotIndex, now: Instant) {
        let Some(source) = sources.get_mut(index) else { return };
        if source.peer.standing().watched.is_none() {
            return;
        }
        let mut heard = self.cells(index).and_then(|cells| self.heard(source, &cells, now));
        if let Some(sibling) = sources.get_mut(index.sibling()).filter(|sibling| sibling.spec.mux) {
            heard = heard.max(self.cells(index.sibling()).and_then(|cells| self.heard(sibling, &cells, now)));
        }
        if let (Some(heard), Some(source)) = (heard, sources.get_mut(index)) {
            source.peer.catch_up(heard);
        }
    }

    /// A peer is watched from now on: what was noted before says nothing.
    pub(super) fn begin_watch(&self, sources: &mut Sources, index: SlotIndex) {
        for index in [index, index.sibling()] {
            if let (Some(source), Some(cells)) = (sources.get_mut(index), self.cells(index)) {
                source.heard = cells.carried.heard();
            }
        }
    }

    /// When the peer of a source was heard by its slot's own rule, if it was since this was asked last.
    fn heard(&self, source: &mut Source, cells: &Cells<'_>, now: Instant) -> Option<Instant> {
        let moment = cells.carried.heard();
        (std::mem::replace(&mut source.heard, moment) != moment).then(|| {
            let ago = Duration::from_nanos(moment.until(self.clock_ns(now)));
            now.checked_sub(ago).unwrap_or(now)
        })
    }

    /// A time by the clock that workers note moments by.
    pub(super) fn clock_ns(&self, now: Instant) -> u64 {
        self.clock.ns(now)
    }

    /// Tells once of a party that was heard and has fallen silent.
    fn listen_for_silence(&self, source: &mut Source, slot: SlotIndex, now: Instant) {
        let is_silent = source.spec.component == Component::Rtp
            && source.tally.last().is_some_and(|last| now.saturating_duration_since(last) >= SILENCE);
        if is_silent && !std::mem::replace(&mut source.is_silent, is_silent) {
            self.shape.events.tell(Event::Silent { call: source.spec.call, slot });
        }
    }
}
