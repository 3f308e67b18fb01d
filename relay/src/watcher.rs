//! The edge of `resolver`: a thread that listens to the kernel's routing and neighbour tables and keeps the next hops.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
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
        let netlink = Netlink::open(&netlink::NEWS)?;
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Watch {
            netlink,
            resolver: Resolver::new(ports),
            table: Arc::clone(&table),
            lookups: HashMap::new(),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new().name("next-hops".to_owned()).spawn(move || watch.run())?;
        Ok(Self { thread: Some(thread), stop, table })
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
    netlink: Netlink,
    resolver: Resolver,
    table: Arc<FlowTable>,
    /// Lookups under way, by the sequence number of their request.
    lookups: HashMap<u32, Ipv4Addr>,
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
            loop {
                match self.netlink.receive() {
                    Ok(Some(datagram)) => self.news(&datagram),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "routing news were lost; reading all routes and neighbours anew");
                        self.read_everything();
                        break;
                    }
                }
            }
        }
        for neighbour in self.resolver.managed() {
            self.act(Action::Release(neighbour));
        }
    }

    fn wait(&self) -> rustix::io::Result<()> {
        let hops = self.table.hops().readable();
        let mut fds = [PollFd::from_borrowed_fd(hops, PollFlags::IN), PollFd::new(&self.netlink, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks for all devices and neighbours and tells them to the resolver. Routes are looked up again.
    fn read_everything(&mut self) {
        for request in [netlink::all_devices(), netlink::all_neighbours()] {
            let read = Netlink::open(&[]).and_then(|mut netlink| netlink.dump(request, |message| self.tell(&message)));
            if let Err(error) = read {
                tracing::error!(%error, "cannot read devices and neighbours: the slow path carries what is missing");
            }
        }
        self.handle(Event::RoutesChanged);
    }

    fn news(&mut self, datagram: &[u8]) {
        for_each_message(datagram, |header, payload| {
            let asked = self.lookups.remove(&header.sequence_number);
            match (payload, asked) {
                (NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)), Some(dest)) => {
                    self.handle(Event::Route { dest, route: netlink::usable(dest, &route) });
                }
                // A lookup that fails says that there is no route.
                (NetlinkPayload::Error(_), Some(dest)) => self.handle(Event::Route { dest, route: None }),
                (NetlinkPayload::InnerMessage(message), _) => self.tell(&message),
                (NetlinkPayload::Error(error), None) if error.code.is_some() => {
                    tracing::debug!(error = %error.to_io(), "a neighbour could not be managed");
                }
                // Acknowledgements.
                (_, _) => {}
            }
        });
    }

    fn tell(&mut self, message: &RouteNetlinkMessage) {
        if let Some(event) = netlink::event(message) {
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        for action in self.resolver.handle(event) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        let done = match action {
            Action::Write(id, hop) => {
                if let Some(cell) = self.table.hops().cell(id) {
                    cell.write(hop);
                }
                Ok(())
            }
            Action::Free(id) => {
                self.table.hops().free(id);
                Ok(())
            }
            Action::Lookup(dest) => self.netlink.lookup(dest).map(|sequence| {
                self.lookups.insert(sequence, dest);
            }),
            Action::Manage(neighbour) => self.netlink.manage(neighbour, true),
            Action::Release(neighbour) => self.netlink.manage(neighbour, false),
        };
        if let Err(error) = done {
            tracing::error!(%error, "a request to the kernel's routing tables failed; the slow path carries what depends on it");
        }
    }
}
