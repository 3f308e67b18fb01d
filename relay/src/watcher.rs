//! The edge of `resolver`: a thread that listens to the kernel's routing and neighbour tables and keeps the next hops.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use netlink_packet_core::NetlinkPayload;
use rustix::event::{PollFd, PollFlags, poll};

use crate::netlink::{self, Netlink, for_each_message};
use crate::resolver::{Action, Event, Resolver};
use crate::table::FlowTable;

/// The running thread.
pub(crate) struct Watcher {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    table: Arc<FlowTable>,
}

impl Watcher {
    /// Starts to keep the table's next hops; frames may leave by these devices (device index to index in the device map).
    ///
    /// # Errors
    /// When the kernel gives no netlink socket or no thread.
    pub(crate) fn start(table: Arc<FlowTable>, ports: HashMap<u32, u16>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Watch {
            // The news first: what changes while everything is read comes after it.
            news: Netlink::open(&netlink::NEWS)?,
            requests: Netlink::open(&[])?,
            resolver: Resolver::new(ports),
            table: Arc::clone(&table),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new().name("next-hops".to_owned()).spawn(move || watch.run())?;
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
    table: Arc<FlowTable>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    /// The loop: the table's requests first, for calls wait for them; then the kernel's news.
    fn run(mut self) {
        self.read_everything();
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.wait() {
                tracing::error!(%error, "cannot wait for routing news; trying again in a second");
                std::thread::sleep(Duration::from_secs(1));
            }
            for request in self.table.hops().take_requests() {
                self.handle(request);
            }
            if let Err(error) = self.take_news() {
                tracing::warn!(%error, "routing news were lost; reading everything anew");
                // Nothing new comes until the old is out of the way, and the old must not come after what is read now.
                self.news.discard();
                self.read_everything();
            }
        }
        for neighbour in self.resolver.managed() {
            self.act(Action::Release(neighbour));
        }
    }

    fn wait(&self) -> rustix::io::Result<()> {
        let hops = self.table.hops().readable();
        let mut fds = [PollFd::from_borrowed_fd(hops, PollFlags::IN), PollFd::new(&self.news, PollFlags::IN)];
        match poll(&mut fds, None) {
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
                    events.extend(netlink::event(&message));
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
        if routes_changed {
            self.handle(Event::RoutesChanged);
        }
        Ok(())
    }

    /// Reads all devices and neighbours and looks all routes up.
    fn read_everything(&mut self) {
        match netlink::everything() {
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

    fn act(&mut self, action: Action) {
        match action {
            Action::Write(id, hop) => {
                if let Some(cell) = self.table.hops().cell(id) {
                    cell.write(hop);
                }
            }
            Action::Free(id) => self.table.hops().free(id),
            Action::Lookup(way) => match self.requests.lookup(way) {
                Ok(route) => self.handle(Event::Route { way, route }),
                Err(error) => {
                    tracing::error!(%error, ?way, "a route cannot be looked up; the slow path carries what takes it");
                }
            },
            Action::Manage(neighbour) => {
                if let Err(error) = self.requests.manage(neighbour, true) {
                    tracing::warn!(%error, ?neighbour, "a neighbour cannot be managed; a change of its MAC may go unnoticed");
                }
            }
            Action::Release(neighbour) => {
                if let Err(error) = self.requests.manage(neighbour, false) {
                    tracing::debug!(%error, ?neighbour, "a neighbour was gone before it could be released");
                }
            }
        }
    }
}
