//! The edge of `resolver`: a thread that listens to the kernel's routing and neighbour tables and keeps the next hops.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkPayload;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::hops::news::{self, NEWS};
use crate::hops::resolver::{Action, Event, Ports, Resolver, Way};
use crate::host::netlink::{Netlink, for_each_message};
use crate::supervise::Restarts;
use crate::table::FlowTable;

/// So many routes are looked up before new requests are asked for: some hundred microseconds.
const LOOKUPS: usize = 32;
/// After so long a look-up that the kernel did not answer is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The running thread.
pub(crate) struct Watcher {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    table: Arc<FlowTable>,
}

impl Watcher {
    /// Starts to keep the table's next hops; frames may leave by these devices.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket or no thread.
    pub(crate) fn start(table: Arc<FlowTable>, ports: Ports, restarts: Restarts) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut watch = Watch {
            // The news first: what changes while everything is read comes after it.
            news: Netlink::open(&NEWS)?,
            requests: Netlink::open(&[])?,
            resolver: Resolver::new(ports),
            lookups: Lookups::default(),
            routes_changed: false,
            table: Arc::clone(&table),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name("next-hops".to_owned())
            .spawn(move || restarts.supervise("the next-hop thread", || watch.run()))?;
        Ok(Self { thread: Some(thread), stop, table })
    }

    /// Whether the thread has ended although nobody asked it to.
    pub(crate) fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.table.hops().wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the next-hop thread had panicked");
        }
    }
}

struct Watch {
    news: Netlink,
    /// Apart from the news, so that a burst of either does not push the other out of the socket's buffer.
    requests: Netlink,
    resolver: Resolver,
    lookups: Lookups,
    /// Since all routes were looked up.
    routes_changed: bool,
    table: Arc<FlowTable>,
    stop: Arc<AtomicBool>,
}

/// Routes that are to be looked up.
#[derive(Default)]
struct Lookups {
    /// Those of new ways: calls wait for them.
    new: VecDeque<Way>,
    /// Those that may have changed; each once.
    stale: VecDeque<Way>,
    waiting: HashSet<Way>,
    /// Those that the kernel did not answer, and since when they rest.
    failed: VecDeque<(Instant, Way)>,
}

impl Lookups {
    fn add_stale(&mut self, way: Way) {
        if self.waiting.insert(way) {
            self.stale.push_back(way);
        }
    }

    /// The next one, if there is one now.
    fn next(&mut self, now: Instant) -> Option<Way> {
        if let Some(way) = self.new.pop_front() {
            return Some(way);
        }
        while let Some((_, way)) = self.failed.pop_front_if(|(since, _)| now.saturating_duration_since(*since) >= PAUSE)
        {
            self.add_stale(way);
        }
        let way = self.stale.pop_front()?;
        self.waiting.remove(&way);
        Some(way)
    }

    /// How long there is nothing to do, unless something happens; `None`: for ever.
    fn pause(&self, now: Instant) -> Option<Duration> {
        if !self.new.is_empty() || !self.stale.is_empty() {
            return Some(Duration::ZERO);
        }
        self.failed.front().map(|(since, _)| PAUSE.saturating_sub(now.saturating_duration_since(*since)))
    }
}

impl Watch {
    /// The loop: the table's requests first, for calls wait for them; then the kernel's news, and some of the routes that may have changed.
    fn run(&mut self) {
        // One that begins anew may have been given up in the middle of something; as after lost news, everything is read.
        self.news.discard();
        self.read_everything();
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.wait() {
                tracing::error!(%error, "cannot wait for routing news; trying again in a second");
                std::thread::sleep(Duration::from_secs(1));
            }
            for request in self.table.hops().take_requests() {
                if let Event::Want { way, .. } = &request {
                    self.lookups.new.push_back(*way);
                }
                self.handle(request);
            }
            if let Err(error) = self.take_news() {
                tracing::warn!(%error, "routing news were lost; reading everything anew");
                // Nothing new comes until the old is out of the way, and the old must not come after what is read now.
                self.news.discard();
                self.read_everything();
            }
            for _ in 0..LOOKUPS {
                let Some(way) = self.lookups.next(Instant::now()) else { break };
                self.look_up(way);
            }
            self.look_all_up();
        }
        for neighbour in self.resolver.managed() {
            self.act(Action::Release(neighbour));
        }
    }

    fn wait(&self) -> rustix::io::Result<()> {
        let hops = self.table.hops().readable();
        let mut fds = [PollFd::from_borrowed_fd(hops, PollFlags::IN), PollFd::new(&self.news, PollFlags::IN)];
        let pause = self.lookups.pause(Instant::now());
        let pause =
            pause.map(|pause| Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) });
        match poll(&mut fds, pause.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn take_news(&mut self) -> io::Result<()> {
        let mut routes_changed = false;
        while let Some(datagram) = self.news.receive()? {
            let mut events = Vec::new();
            for_each_message(&datagram, |_, payload| {
                if let NetlinkPayload::InnerMessage(message) = payload {
                    events.extend(news::event(&message));
                }
            });
            for event in events {
                // A routing daemon changes thousands of routes at once; looking ours up once is enough.
                if event == Event::RoutesChanged {
                    routes_changed = true;
                } else {
                    self.handle(event);
                }
            }
        }
        self.routes_changed |= routes_changed;
        self.look_all_up();
        Ok(())
    }

    /// Has all routes looked up when some have changed, and not again before the last time is over: a daemon that changes routes without end
    /// would have the thread do nothing else than make lists.
    fn look_all_up(&mut self) {
        if self.routes_changed && self.lookups.stale.is_empty() {
            self.routes_changed = false;
            self.handle(Event::RoutesChanged);
        }
    }

    /// Reads all devices and neighbours and looks all routes up.
    fn read_everything(&mut self) {
        match news::everything() {
            Ok(everything) => self.handle(everything),
            Err(error) => {
                tracing::error!(%error, "devices and neighbours cannot be read; the slow path carries what is missing");
            }
        }
    }

    fn handle(&mut self, event: Event) {
        for action in self.resolver.handle(event) {
            self.act(action);
        }
    }

    fn look_up(&mut self, way: Way) {
        match news::lookup(&mut self.requests, way) {
            Ok(route) => self.handle(Event::Route { way, route }),
            Err(error) => {
                tracing::error!(%error, ?way, "a route cannot be looked up; the slow path carries what takes it, and it is tried again");
                self.lookups.failed.push_back((Instant::now(), way));
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Write(id, hop) => self.table.hops().write(id, hop),
            Action::Free(id) => self.table.hops().free(id),
            // One that is wanted only now is among the new ones already.
            Action::Lookup(way) if self.lookups.new.back() == Some(&way) => {}
            Action::Lookup(way) => self.lookups.add_stale(way),
            Action::Manage(neighbour) => {
                if let Err(error) = news::manage(&mut self.requests, neighbour, true) {
                    tracing::warn!(%error, ?neighbour, "a neighbour cannot be managed; a change of its MAC may go unnoticed");
                }
            }
            Action::Release(neighbour) => {
                if let Err(error) = news::manage(&mut self.requests, neighbour, false) {
                    tracing::debug!(%error, ?neighbour, "a neighbour was gone before it could be released");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn way(last: u8) -> Way {
        Way { from: IpAddr::from([192, 0, 2, 1]), to: IpAddr::from([198, 51, 100, last]), tos: None }
    }

    #[test]
    fn new_ways_go_before_any_number_of_stale_ones_and_those_stand_once() {
        let (mut lookups, now) = (Lookups::default(), Instant::now());
        for _ in 0..2 {
            (1..=3).for_each(|last| lookups.add_stale(way(last)));
        }
        lookups.new.push_back(way(9));
        let order: Vec<_> = std::iter::from_fn(|| lookups.next(now)).collect();
        assert_eq!(order, [9, 1, 2, 3].map(way));
        assert_eq!(lookups.pause(now), None);
    }

    #[test]
    fn a_look_up_that_failed_is_tried_again_after_a_pause() {
        let (mut lookups, now) = (Lookups::default(), Instant::now());
        lookups.failed.push_back((now, way(1)));
        assert_eq!(lookups.next(now), None);
        assert_eq!(lookups.pause(now), Some(PAUSE));
        assert_eq!(lookups.next(now + PAUSE), Some(way(1)));
    }
}
