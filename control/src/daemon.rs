//! The daemon: the pure calls and the running relay, joined.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use border::{Counts, Meter as _};
use relay::{DeadThread, Relay};

use crate::host_load::HostLoad;
use bytes::Bytes;
use calls::call::Calls;
use calls::ng::{Exchange, Frame, Proxy, encode};
use calls::outcome::Load;

/// How many ticks there are to a second.
const TICKS: usize = 250;
/// Between so many parts of a tick commands are served: none waits for more than some tens of microseconds of it, however many calls there are.
const SLICES: usize = 16;
/// How many while there is no call: nobody waits then, and a host without calls may sleep.
const IDLE_TICKS: usize = 10;

/// The calls and the relay, behind one lock: commands are carried out one after another, in microseconds each, and never across a wait.
pub struct Daemon(Mutex<State>);

struct State {
    calls: Calls,
    exchange: Exchange,
    relay: Relay,
    host: HostLoad,
    /// Which part of the tick is next.
    slice: usize,
}

impl Daemon {
    /// A daemon without calls.
    pub fn new(calls: Calls, relay: Relay) -> Self {
        Self(Mutex::new(State { calls, exchange: Exchange::new(), relay, host: HostLoad::default(), slice: 0 }))
    }

    /// The reply to an NG datagram; what it asked for has been done when this returns.
    pub fn datagram(&self, bytes: &[u8], proxy: Proxy) -> Option<Bytes> {
        let done = self.unpanicked(|State { calls, exchange, relay, .. }, now| {
            let (reply, ops) = exchange.datagram(bytes, proxy, calls, now, SystemTime::now(), relay)?;
            relay.apply(&ops, now);
            exchange.took(now.elapsed());
            Some(reply)
        });
        done.unwrap_or_else(|| Some(internal_error(&Frame::datagram(bytes)?)))
    }

    /// The reply to an NG message of a stream.
    pub fn message(&self, frame: &Frame<'_>, proxy: Proxy) -> Bytes {
        let done = self.unpanicked(|State { calls, exchange, relay, .. }, now| {
            let (reply, ops) = exchange.message(frame, proxy, calls, now, SystemTime::now(), relay);
            relay.apply(&ops, now);
            exchange.took(now.elapsed());
            reply
        });
        done.unwrap_or_else(|| internal_error(frame))
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
        let State { calls, relay, host, slice, .. } = &mut *state;
        let (ticks, slices) = if calls.is_empty() { (IDLE_TICKS, 1) } else { (TICKS, SLICES) };
        let parts = ticks * slices;
        *slice = (*slice + 1) % slices;
        let is_last = *slice == 0;
        if relay.sweep(now, parts)? {
            let (average, cpu) = host.read();
            let traffic = relay.traffic();
            calls.measure(Load { average, cpu, bandwidth: traffic.fast_rate.bytes + traffic.slow_rate.bytes });
        }
        let (expired, ops) = calls.expire(now, relay, parts);
        relay.apply(&ops, now);
        drop(state);
        for call in expired {
            tracing::warn!(call_id = %call.call_id.escape_ascii(), idle = ?call.idle, "call timed out: {}",
                call.timeout.name()
            );
        }
        Ok(if is_last { Duration::from_secs(1) / ticks as u32 } else { Duration::ZERO })
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.lock().calls.len()
    }

    /// The counts of packets by reason, for the log: left to the stack by XDP, and lost by the workers.
    pub fn reasons(&self) -> (String, String) {
        let Counts { program, workers, fast_path: _, traffic: _ } = self.lock().relay.counts();
        let list = |counts: Vec<(border::Reason, u64)>| {
            let occurred = counts.into_iter().filter(|(_, count)| *count > 0);
            occurred.map(|(reason, count)| format!("{}={count}", reason.name())).collect::<Vec<_>>().join(" ")
        };
        (list(program), list(workers))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A command is carried out on a copy of its call, so a panic in one leaves the others whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reply when a mistake of this program has ended a command.
fn internal_error(frame: &Frame<'_>) -> Bytes {
    frame.reply(&encode::error("Internal error")).into()
}
