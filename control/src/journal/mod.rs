//! The journal: what calls there are is on record, so that the daemon that comes after this one goes on with them.
//!
//! ```text
//! in:  calls that a command, an event or time has changed; replies
//! out: all that holds, to the next daemon
//! ```
//!
//! What a command has changed is on record before its reply leaves. A record costs a call to the kernel and no wait for a disk: what the kernel
//! has, outlives the process, and no call outlives the host. Where it cannot be written, calls go on without.

mod entry;
mod log;
mod store;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use calls::call::{Calls, Clock};
use calls::ng::{Answered, Exchange};

pub use entry::Entry;
pub use log::{Found, Heading, Log, find};
pub use store::Store;

/// So many calls are written at a time into a chapter that is to have them all: some tens of microseconds.
const BATCH: usize = 16;
/// A chapter is followed by another when it is so many times as long as it was when it had everything, and at least so long.
const GROWTH: u64 = 4;
const LEAST: u64 = 16 << 20;
/// Replies are on record for at least so long: no proxy asks again after so long a time.
const REPLIES: Duration = Duration::from_secs(15);
/// Unless what is kept for their sake alone is longer than this. It is memory of the host, and who asks again then is answered anew.
const MOST: u64 = 256 << 20;
/// After so long it is tried again to write.
const PAUSE: Duration = Duration::from_secs(5);

/// The journal of this process.
pub struct Journal {
    store: Box<dyn Store>,
    clock: Clock,
    chapter: Chapter,
    /// Those before it, the oldest first.
    earlier: VecDeque<Earlier>,
    /// There is something in the chapters before this one that does not hold any more and of which nothing says so: they go as soon as this one has
    /// everything.
    is_fresh_start: bool,
    /// The chapter was begun after one that could not be written.
    is_retry: bool,
    /// How long a chapter was when it had everything.
    whole: u64,
    /// Since when no chapter could be begun, while the one before goes on.
    refused: Option<Instant>,
    /// Records on their way.
    records: Vec<u8>,
}

/// How far the chapter is that is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chapter {
    /// The calls before this place are still to be written into it; those behind are there, and so is what has changed since it began.
    Filling { place: usize },
    /// It has everything. Those before it may have replies.
    Whole,
    /// It cannot be written: since when.
    Broken(Instant),
}

/// A chapter that is not written any more.
#[derive(Clone, Copy, Debug)]
struct Earlier {
    ended: Instant,
    bytes: u64,
}

impl Journal {
    /// A journal that begins with the calls that there are.
    pub fn new(store: Box<dyn Store>, clock: Clock, now: Instant) -> Self {
        let mut journal = Self {
            store,
            clock,
            chapter: Chapter::Broken(now),
            earlier: VecDeque::new(),
            is_fresh_start: true,
            is_retry: false,
            whole: 0,
            refused: None,
            records: Vec::new(),
        };
        journal.begin(now);
        journal
    }

    /// Whether calls are put on record.
    pub const fn is_written(&self) -> bool {
        !matches!(self.chapter, Chapter::Broken(_))
    }

    /// Puts replies of the process before on record once more: what it has left is not needed then.
    pub fn keep(&mut self, replies: &[(u64, Answered)], now: Instant) {
        let mut entries = replies.iter().map(|(at, Answered { cookie, fingerprint, reply })| Entry::Reply {
            cookie,
            fingerprint: *fingerprint,
            at: *at,
            reply,
        });
        if let Err(error) = self.store.append(&mut entries) {
            self.fail(&error, now);
        }
    }

    /// Puts all calls on record at once: before anybody is served. What the process before has left is not needed then, and does not pile up where
    /// one after another ends soon.
    pub fn complete(&mut self, calls: &Calls, now: Instant) {
        while matches!(self.chapter, Chapter::Filling { .. }) {
            self.tick(calls, now);
        }
    }

    /// Puts on record which calls have changed, and the reply that is about to leave for it. Where nothing has changed, whoever asks again may be
    /// answered anew.
    pub fn record(&mut self, calls: &mut Calls, answered: Option<&Answered>, now: Instant) {
        let changed = calls.take_changed();
        if changed.is_empty() || matches!(self.chapter, Chapter::Broken(_)) {
            return;
        }
        let at = u64::try_from(self.clock.elapsed(now).as_nanos()).unwrap_or(u64::MAX);
        let reply = answered.map(|Answered { cookie, fingerprint, reply }| Entry::Reply {
            cookie,
            fingerprint: *fingerprint,
            at,
            reply,
        });
        self.write(calls, changed.iter().map(Vec::as_slice), reply, now);
    }

    /// Goes on with what takes longer than a command may: to be called some hundred times a second.
    pub fn tick(&mut self, calls: &Calls, now: Instant) {
        match self.chapter {
            Chapter::Filling { place } => {
                let place = place.min(calls.len());
                let first = place.saturating_sub(BATCH);
                self.write(calls, (first..place).filter_map(|place| calls.at(place)), None, now);
                if matches!(self.chapter, Chapter::Filling { .. }) {
                    // From the last one to the first: one that ends has the last one take its place, which has been written, or will be.
                    self.chapter = Chapter::Filling { place: first };
                    if first == 0 {
                        self.whole = self.store.size();
                        self.chapter = Chapter::Whole;
                        self.is_retry = false;
                        if std::mem::take(&mut self.is_fresh_start) {
                            self.earlier.clear();
                            self.remove_earlier();
                        }
                    }
                }
            }
            Chapter::Whole => {
                self.forget(now);
                let is_refused = self.refused.is_some_and(|since| now.saturating_duration_since(since) < PAUSE);
                if self.store.size() > LEAST.max(GROWTH * self.whole) && !is_refused {
                    self.begin(now);
                }
            }
            Chapter::Broken(since) if now.saturating_duration_since(since) >= PAUSE => self.begin(now),
            Chapter::Broken(_) => {}
        }
    }

    /// Forgets chapters of which nobody needs a reply any more; of calls this one has everything.
    fn forget(&mut self, now: Instant) {
        let mut bytes: u64 = self.earlier.iter().map(|earlier| earlier.bytes).sum();
        let before = self.earlier.len();
        while let Some(oldest) = self.earlier.front()
            && (bytes > MOST || now.saturating_duration_since(oldest.ended) >= REPLIES)
        {
            bytes -= oldest.bytes;
            self.earlier.pop_front();
        }
        if self.earlier.len() < before {
            self.remove_earlier();
        }
    }

    fn remove_earlier(&mut self) {
        if let Err(error) = self.store.forget_earlier(self.earlier.len()) {
            tracing::warn!(%error, "what is not needed any more of the journal cannot be removed");
        }
    }

    /// Nobody is to go on with the calls.
    pub fn end(&mut self) {
        if let Err(error) = self.store.end() {
            tracing::warn!(%error, "the journal cannot be removed");
        }
    }

    fn begin(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_retry) {
            // It failed as the one before it did: were each kept, they would take all the room that comes.
            self.store.give_up_chapter();
        }
        let bytes = self.store.size();
        match self.store.begin_chapter() {
            Ok(()) => {
                // Before the first one of this process there was none of it.
                if bytes > 0 {
                    self.earlier.push_back(Earlier { ended: now, bytes });
                }
                if matches!(self.chapter, Chapter::Broken(since) if since != now) {
                    self.is_retry = true;
                    tracing::info!("the journal can be written again: all calls will be on record in a moment");
                }
                self.chapter = Chapter::Filling { place: usize::MAX };
                self.refused = None;
            }
            // The one before goes on: it is only longer than it has to be.
            Err(error) if self.chapter == Chapter::Whole => {
                if self.refused.replace(now).is_none() {
                    tracing::warn!(%error, "the journal grows, because no other chapter can be begun; it is tried again every {} s",
                        PAUSE.as_secs()
                    );
                }
            }
            Err(error) => self.fail(&error, now),
        }
    }

    /// Puts calls, as they are, and a reply on record.
    fn write<'a>(
        &mut self,
        calls: &'a Calls,
        ids: impl Iterator<Item = &'a [u8]>,
        reply: Option<Entry<'_>>,
        now: Instant,
    ) {
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        let mut places = Vec::new();
        for call_id in ids {
            let start = records.len();
            let is_there = calls.record(call_id, &mut records);
            places.push((call_id, is_there.then_some(start..records.len())));
        }
        let of_calls = places.into_iter().map(|(call_id, place)| match place {
            Some(place) => Entry::Call { call_id, record: records.get(place).unwrap_or_default() },
            None => Entry::Ended { call_id },
        });
        if let Err(error) = self.store.append(&mut of_calls.chain(reply)) {
            self.fail(&error, now);
        }
        self.records = records;
    }

    fn fail(&mut self, error: &io::Error, now: Instant) {
        // Once, and not with every command.
        if !matches!(self.chapter, Chapter::Broken(since) if since != now) {
            tracing::error!(
                %error,
                "the journal cannot be written: calls go on, but would not outlive this daemon; it is tried again every {} s",
                PAUSE.as_secs()
            );
        }
        if std::mem::replace(&mut self.chapter, Chapter::Broken(now)) == Chapter::Whole {
            // What they have is replies, and the room is needed.
            self.earlier.clear();
            self.remove_earlier();
        }
        // Nobody is told of what ends meanwhile.
        self.is_fresh_start = true;
    }
}

/// What came of what an earlier daemon has left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// Calls that go on.
    pub calls: usize,
    /// Those that do not.
    pub lost: usize,
    /// Replies that may be asked for once more, and when each was sent, in nanoseconds since the host was booted.
    pub replies: Vec<(u64, Answered)>,
}

/// Takes up what an earlier daemon has left. A call that cannot be taken up is lost with a word, and keeps nobody from starting.
pub fn restore(found: &Found, calls: &mut Calls, exchange: &mut Exchange, clock: Clock, now: Instant) -> Restored {
    let mut latest: HashMap<&[u8], (u64, &[u8])> = HashMap::new();
    let (mut restored, mut entries) = (Restored::default(), 0);
    found.each(|entry| {
        entries += 1;
        match entry {
            Entry::Call { call_id, record } => drop(latest.insert(call_id, (entries, record))),
            Entry::Ended { call_id } => drop(latest.remove(call_id)),
            Entry::Reply { cookie, fingerprint, at, reply } => {
                let age = clock.elapsed(now).saturating_sub(Duration::from_nanos(at));
                let Some(since) = now.checked_sub(age) else { return };
                let answered = Answered { cookie: cookie.into(), fingerprint, reply: Bytes::copy_from_slice(reply) };
                exchange.recall(answered.clone(), since);
                if age < REPLIES {
                    restored.replies.push((at, answered));
                }
            }
        }
    });
    // Where two want the same port, the one that was heard of last has it.
    let mut latest: Vec<_> = latest.into_iter().collect();
    latest.sort_unstable_by_key(|(_, (entry, _))| std::cmp::Reverse(*entry));
    for (call_id, (_, record)) in latest {
        match calls.restore(call_id, record, now) {
            Ok(()) => restored.calls += 1,
            Err(error) => {
                restored.lost += 1;
                tracing::error!(call_id = %call_id.escape_ascii(), %error, "a call of the daemon before cannot be taken up");
            }
        }
    }
    restored
}

#[cfg(test)]
mod tests;
