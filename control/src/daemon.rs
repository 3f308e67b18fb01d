//! The daemon: the pure calls and the running relay, joined.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use border::{Counts, Meter as _};
use relay::{DeadThread, Relay, TapReader};

use crate::event_log;
use crate::homer::{Dialogue, Homer, Names};
use crate::host_load::HostLoad;
use crate::journal::Journal;
use crate::library::Library;
use crate::observation::Observation;
use crate::records::Records;
use crate::view::text;
use bytes::Bytes;
use calls::call::{Calls, Settings, Watched};
use calls::intent::Intent;
use calls::ng::{Exchange, Frame, Lacked, Loaded, Proxy, encode};
use calls::outcome::{CallAccount, Load, Outcome};

/// How many ticks there are to a second.
const TICKS: usize = 250;
/// Between so many parts of a tick commands are served: none waits for more than some tens of microseconds of it, however many calls there are.
const SLICES: usize = 16;
/// How many while there is no call: nobody waits then, and a host without calls may sleep.
const IDLE_TICKS: usize = 10;

/// How long Homer is waited for when all calls end, and when the next daemon is to go on with them.
const END: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_millis(200);

/// How many events are taken at a time, between two of which no command waits.
const EVENTS: usize = 64;

/// The calls and the relay, behind one lock: commands are carried out one after another, in microseconds each, and never across a wait.
pub struct Daemon {
    state: Mutex<State>,
    library: Library,
    homer: OnceLock<Homer>,
    /// Whether the next daemon is to go on with the calls.
    is_kept: bool,
}

/// Who has spoken with the daemon, and where.
#[derive(Clone, Copy, Debug)]
pub struct Spoken {
    /// The proxy.
    pub client: SocketAddr,
    /// The daemon's socket.
    pub local: SocketAddr,
    /// By TCP, and not by UDP.
    pub is_stream: bool,
    /// Messages begin with a cookie.
    pub has_cookie: bool,
    /// When the message came.
    pub at: SystemTime,
}

impl Spoken {
    /// By a socket of this host, which has no address.
    pub fn here(is_stream: bool, has_cookie: bool) -> Self {
        const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self { client: HERE, local: HERE, is_stream, has_cookie, at: SystemTime::now() }
    }
}

/// What comes of a request at once.
#[derive(Debug)]
pub enum Reply {
    /// It is done; the reply to it, where there is one.
    Done(Option<Bytes>),
    /// It is not: this file has to be read first. [`Daemon::finish`] waits for that.
    Waits(Lacked),
}

struct State {
    calls: Calls,
    exchange: Exchange,
    relay: Relay,
    host: HostLoad,
    journal: Option<Journal>,
    records: Option<Records>,
    /// Which part of the tick is next.
    slice: usize,
}

impl Daemon {
    /// A daemon with calls that the relay knows of, and with what it has answered.
    /// `is_kept`: the next daemon is to go on with the calls, also where there is no journal for it.
    pub fn new(
        calls: Calls,
        exchange: Exchange,
        relay: Relay,
        library: Library,
        (journal, is_kept): (Option<Journal>, bool),
    ) -> Self {
        let state = State { calls, exchange, relay, host: HostLoad::default(), journal, records: None, slice: 0 };
        Self { state: Mutex::new(state), library, homer: OnceLock::new(), is_kept }
    }

    /// Writes records of calls that end from now on.
    pub fn keep_records(&self, records: Records) {
        let mut state = self.lock();
        state.calls.keep_ended();
        state.records = Some(records);
    }

    /// Tells Homer from now on.
    pub fn tell_homer(&self, homer: Homer) {
        let state = &mut *self.lock();
        state.calls.keep_ended();
        if let Some(rtcp) = homer.rtcp() {
            state.relay.export_rtcp(rtcp);
        }
        let _once = self.homer.set(homer);
    }

    /// The Call-IDs of these calls, of those that there are.
    pub fn names(&self, numbers: &[u64]) -> Names {
        let state = self.lock();
        let named = numbers.iter().filter_map(|number| Some((*number, state.calls.name_of(*number)?.to_vec())));
        named.collect()
    }

    /// A proxy and this daemon have spoken, as whoever watches them wants to know.
    pub fn spoken(&self, spoken: &Spoken, request: &[u8], reply: Option<&Bytes>) {
        let Some(homer) = self.homer.get().filter(|homer| homer.wants_dialogue()) else { return };
        let Spoken { client, local, is_stream, has_cookie, at } = *spoken;
        let request = Bytes::copy_from_slice(request);
        let said = request.clone();
        let dialogue = Dialogue { from: client, to: local, is_stream, request, has_cookie, said, at };
        if let Some(reply) = reply {
            let at = SystemTime::now();
            let reply = Dialogue { from: local, to: client, said: reply.clone(), at, ..dialogue.clone() };
            homer.tell(dialogue);
            homer.tell(reply);
        } else {
            homer.tell(dialogue);
        }
    }

    /// The reply to an NG datagram, if it needs no file; what it asked for has been done when this returns.
    pub fn try_datagram(&self, bytes: &[u8], proxy: Proxy) -> Reply {
        self.carry_out(bytes, proxy, None).map_or_else(Reply::Waits, Reply::Done)
    }

    /// The reply to an NG datagram that needs a file.
    pub async fn finish(&self, bytes: &[u8], proxy: Proxy, lacked: Lacked) -> Option<Bytes> {
        let loaded = self.library.load(lacked).await;
        self.carry_out(bytes, proxy, Some(loaded)).unwrap_or_default()
    }

    /// The reply to an NG datagram; what it asked for has been done then.
    pub async fn datagram(&self, bytes: &[u8], proxy: Proxy) -> Option<Bytes> {
        match self.carry_out(bytes, proxy, None) {
            Ok(reply) => reply,
            Err(lacked) => self.finish(bytes, proxy, lacked).await,
        }
    }

    /// The reply to an NG message of a stream.
    pub async fn message(&self, frame: &Frame<'_>, proxy: Proxy) -> Bytes {
        match self.carry_out_message(frame, proxy, None) {
            Ok(reply) => reply,
            Err(lacked) => {
                let loaded = self.library.load(lacked).await;
                self.carry_out_message(frame, proxy, Some(loaded)).unwrap_or_else(|_| internal_error(frame))
            }
        }
    }

    /// The reply to a datagram, or the file that it needs.
    fn carry_out(&self, bytes: &[u8], proxy: Proxy, loaded: Option<Loaded>) -> Result<Option<Bytes>, Lacked> {
        let done = self.unpanicked(|State { calls, exchange, relay, journal, records, .. }, now| {
            exchange.lay_out(loaded);
            let Some((reply, ops)) = exchange.datagram(bytes, proxy, calls, now, SystemTime::now(), relay) else {
                return Ok(None);
            };
            if let Some(lacked) = exchange.lacks() {
                return Err(lacked);
            }
            // Whoever is killed now has neither the one nor the other, or has both after all.
            record((journal, records, self.homer.get()), calls, exchange, now);
            relay.apply(&ops, now);
            exchange.took(now.elapsed());
            Ok(Some(reply))
        });
        done.unwrap_or_else(|| Ok(Frame::datagram(bytes).map(|frame| internal_error(&frame))))
    }

    /// The reply to a message, or the file that it needs.
    fn carry_out_message(&self, frame: &Frame<'_>, proxy: Proxy, loaded: Option<Loaded>) -> Result<Bytes, Lacked> {
        let done = self.unpanicked(|State { calls, exchange, relay, journal, records, .. }, now| {
            exchange.lay_out(loaded);
            let (reply, ops) = exchange.message(frame, proxy, calls, now, SystemTime::now(), relay);
            if let Some(lacked) = exchange.lacks() {
                return Err(lacked);
            }
            record((journal, records, self.homer.get()), calls, exchange, now);
            relay.apply(&ops, now);
            exchange.took(now.elapsed());
            Ok(reply)
        });
        done.unwrap_or_else(|| Ok(internal_error(frame)))
    }

    /// How the daemon is doing as a whole.
    pub fn observe(&self) -> Observation {
        let mut state = self.lock();
        let State { calls, exchange, relay, journal, .. } = &mut *state;
        let relay = calls.relay_account(Instant::now(), relay);
        Observation {
            relay,
            proxies: exchange.proxies(),
            transports: exchange.transports(),
            homer: self.homer.get().map(Homer::counts),
            journal: self.is_kept.then(|| journal.as_ref().is_some_and(Journal::is_written)),
        }
    }

    /// The Call-ID that is [shown](text) like this, of a call that there is.
    pub fn call_id(&self, shown: &str) -> Option<Vec<u8>> {
        // What has no escapes is what it looks like.
        if !shown.contains('\\') {
            let call_id = shown.as_bytes().to_vec();
            return matches!(self.ask(Intent::Query { call_id: call_id.clone() }), Some(Outcome::Call(_)))
                .then_some(call_id);
        }
        match self.ask(Intent::List { limit: usize::MAX }) {
            Some(Outcome::Calls(ids)) => ids.into_iter().find(|id| text(id) == shown),
            Some(_) | None => None,
        }
    }

    /// Somebody watches the calls, or nobody does any more.
    pub fn watch(&self, is_watched: bool) {
        self.lock().calls.watch(is_watched);
    }

    /// What has happened to calls since this was asked last.
    pub fn take_watched(&self) -> Watched {
        self.lock().calls.take_watched()
    }

    /// How a call is doing, for whoever looks at very many.
    pub fn glance(&self, call_id: &[u8]) -> Option<CallAccount> {
        self.unpanicked(|State { calls, relay, .. }, now| calls.glance(call_id, now, SystemTime::now(), relay))
            .flatten()
    }

    /// The Call-ID of the call in a place, from zero on. One that ends has the last one take its place.
    pub fn call_at(&self, place: usize) -> Option<Vec<u8>> {
        self.lock().calls.at(place).map(<[u8]>::to_vec)
    }

    /// Copies of what comes for a call and leaves for it, as it is on the wire, or as it is behind SRTP; `None` where somebody has them already.
    pub fn tap(&self, account: &CallAccount, is_plain: bool) -> Option<TapReader> {
        let medias = account.parties.iter().flat_map(|party| &party.medias);
        let slots: Vec<_> = medias.flat_map(|media| &media.sources).map(|source| source.slot).collect();
        self.lock().relay.tap(account.number, &slots, is_plain)
    }

    /// No copies of the call of this number any more.
    pub fn untap(&self, call: u64) {
        self.lock().relay.untap(call);
    }

    /// What comes of an intent, in nobody's words: for whoever operates the daemon. Nothing when a mistake of this program has ended it.
    pub fn ask(&self, intent: Intent) -> Option<Outcome> {
        self.unpanicked(|State { calls, exchange, relay, journal, records, .. }, now| {
            let (outcome, ops) = calls.handle(intent, now, SystemTime::now(), relay);
            record((journal, records, self.homer.get()), calls, exchange, now);
            relay.apply(&ops, now);
            outcome
        })
    }

    /// Takes some of what the relay tells; whether there may be more.
    pub fn hear(&self) -> bool {
        let heard = self.unpanicked(|State { calls, exchange, relay, journal, records, .. }, now| {
            for _ in 0..EVENTS {
                let Some(event) = relay.next_event() else { return false };
                event_log::log(&event, calls);
                let ops = calls.hear(event, now);
                record((journal, records, self.homer.get()), calls, exchange, now);
                relay.apply(&ops, now);
            }
            true
        });
        // The event is gone, and the next one may be another's.
        heard.unwrap_or(true)
    }

    /// Carries something out; `None` when it panicked. It is done on a copy of a call, so the others are whole, and a mistake of ours in one
    /// command must not cost them their media.
    fn unpanicked<T>(&self, work: impl FnOnce(&mut State, Instant) -> T) -> Option<T> {
        let (now, mut state) = (Instant::now(), self.lock());
        let done = catch_unwind(AssertUnwindSafe(|| work(&mut state, now)));
        if done.is_err() {
            tracing::error!(
                "a command was given up in the middle, by a mistake of this program; please report the lines above"
            );
        }
        done.ok()
    }

    /// Folds counters and ends calls that have died, a part of them each time, because commands wait while it lasts; tells how long to pause
    /// before the next part: not at all means that others are to have a turn first.
    ///
    /// # Errors
    /// When the relay is not whole any more.
    pub fn tick(&self) -> Result<Duration, DeadThread> {
        let (now, mut state) = (Instant::now(), self.lock());
        let State { calls, exchange, relay, host, journal, records, slice } = &mut *state;
        let (ticks, slices) = if calls.is_empty() { (IDLE_TICKS, 1) } else { (TICKS, SLICES) };
        let parts = ticks * slices;
        *slice = (*slice + 1) % slices;
        let is_last = *slice == 0;
        if relay.sweep(now, parts)? {
            let (average, cpu) = host.read();
            calls.set_orphans(relay.orphans(), now);
            let traffic = relay.traffic();
            calls.measure(Load { average, cpu, bandwidth: traffic.fast_rate.bytes + traffic.slow_rate.bytes });
        }
        let (expired, ops) = calls.expire(now, relay, parts);
        record((journal, records, self.homer.get()), calls, exchange, now);
        if let Some(journal) = journal {
            journal.tick(calls, now);
        }
        relay.apply(&ops, now);
        drop(state);
        for call in expired {
            tracing::warn!(call_id = %call.call_id.escape_ascii(), idle = ?call.idle, "call timed out: {}",
                call.timeout.name()
            );
        }
        Ok(if is_last { Duration::from_secs(1) / ticks as u32 } else { Duration::ZERO })
    }

    /// Stops, and has calls go on without a daemon until the next one takes them over.
    pub fn leave(&self) {
        let mut state = self.lock();
        state.relay.note(Instant::now());
        // Waits until they are written.
        drop(state.records.take());
        // Its thread may want the lock for what it still has to tell.
        drop(state);
        if let Some(homer) = self.homer.get() {
            homer.finish(std::iter::empty(), SOON);
        }
    }

    /// Stops, and ends all calls.
    pub fn end(&self) {
        let mut state = self.lock();
        // First of all: whoever is killed in the middle leaves no call that would come back.
        if let Some(journal) = &mut state.journal {
            journal.end();
        }
        let State { calls, relay, records, .. } = &mut *state;
        let records = records.take();
        if self.homer.get().is_none()
            && let Some(records) = records
        {
            records.finish(calls.all_ended(Instant::now(), relay));
        } else if let Some(homer) = self.homer.get() {
            let ended: Vec<_> = calls.all_ended(Instant::now(), relay).collect();
            if let Some(records) = records {
                records.finish(ended.iter().cloned());
            }
            // Its thread may want the lock for what it still has to tell.
            drop(state);
            homer.finish(ended.into_iter(), END);
            state = self.lock();
        }
        state.relay.end();
    }

    /// Refuses new calls from now on: proxies turn to another relay. Those that stand go on.
    pub fn drain(&self) {
        self.lock().calls.refuse_new();
    }

    /// Does as these settings say from now on, in commands that are yet to come.
    pub fn reload(&self, settings: Settings) {
        let mut state = self.lock();
        let most = state.relay.max_calls();
        state.calls.set_settings(settings);
        state.calls.limit_sessions(most);
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.lock().calls.len()
    }

    /// The counts of packets by reason, for the log: left to the stack by XDP, and lost by the workers.
    pub fn reasons(&self) -> (String, String) {
        let Counts { program, workers, .. } = self.lock().relay.counts();
        let list = |counts: Vec<(border::Reason, u64)>| {
            let occurred = counts.into_iter().filter(|(_, count)| *count > 0);
            occurred.map(|(reason, count)| format!("{}={count}", reason.name())).collect::<Vec<_>>().join(" ")
        };
        (list(program), list(workers))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A command is carried out on a copy of its call, so a panic in one leaves the others whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts what has changed on record, where there is one.
fn record(
    (journal, records, homer): (&mut Option<Journal>, &Option<Records>, Option<&Homer>),
    calls: &mut Calls,
    exchange: &mut Exchange,
    now: Instant,
) {
    let ended = calls.take_ended();
    match (homer, records) {
        (Some(homer), Some(records)) => {
            homer.put(ended.iter().cloned());
            records.put(ended);
        }
        (Some(homer), None) => homer.put(ended.into_iter()),
        (None, Some(records)) => records.put(ended),
        (None, None) => {}
    }
    let answered = exchange.take_answered();
    match journal {
        Some(journal) => journal.record(calls, answered.as_ref(), now),
        None => drop(calls.take_changed()),
    }
}

/// The reply when a mistake of this program has ended a command.
fn internal_error(frame: &Frame<'_>) -> Bytes {
    // It may be the reading that has failed.
    let call_id = catch_unwind(AssertUnwindSafe(|| frame.call_id())).unwrap_or_default();
    tracing::error!(call_id = %call_id.escape_ascii(), "that was a command about this call");
    frame.reply(&encode::error("Internal error")).into()
}
