//! One socket for each media port, for hosts where the kernel may not be told to steer all of them to one.
//!
//! The daemon's threads open and close; the workers are told, all of them: a packet that one worker receives leaves by the other leg's socket,
//! which may be another worker's to receive from. Only the one that is to receive is woken; the others take the news when they next have a packet. A socket is closed when the last of them has let go of it, so nobody ever sends by a
//! descriptor that has become another's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::{Receiver, Sender, never, unbounded};
use flow::SlotIndex;

use crate::host::Wake;
use crate::worker::socket;

/// So many ports that could not be bound are tried again at a time.
const RETRIES: usize = 64;

/// What the workers are told.
enum News {
    Open(SlotIndex, Arc<OwnedFd>),
    Close(SlotIndex),
}

/// The daemon's side.
pub(crate) struct BoundPorts {
    /// How many calls there are descriptors for.
    pub(crate) max_calls: usize,
    addrs: Vec<IpAddr>,
    lines: Vec<Line>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<SlotIndex, Open>,
    /// Ports that could not be bound, and some that are bound or closed by now.
    failed: VecDeque<SlotIndex>,
    /// Those that are among them: each stands there once, however often it is opened.
    waiting: HashSet<SlotIndex>,
}

/// A port that a source has. Without a socket it could not be bound.
struct Open {
    socket: Option<Arc<OwnedFd>>,
    tos: Option<u8>,
}

/// The way to a worker.
struct Line {
    news: Sender<News>,
    wake: Arc<Wake>,
}

impl BoundPorts {
    /// Ports at these local addresses, for so many calls, and a worker for each of these wakes; and what each worker hears of it by.
    pub(crate) fn new(addrs: Vec<IpAddr>, wakes: &[Arc<Wake>], max_calls: usize) -> (Self, Vec<Inbox>) {
        let (mut lines, mut inboxes) = (Vec::new(), Vec::new());
        for (number, wake) in wakes.iter().enumerate() {
            let (sender, news) = unbounded();
            lines.push(Line { news: sender, wake: Arc::clone(wake) });
            let (addrs, share) = (addrs.clone(), (number, wakes.len()));
            inboxes.push(Inbox { news, addrs, share, generation: 0, open: HashMap::new() });
        }
        (Self { max_calls, addrs, lines, state: Mutex::default() }, inboxes)
    }

    /// Opens a slot's port, or sees to its type of service when it is open. A port that cannot be bound is logged, and tried again by
    /// [`BoundPorts::retry`].
    pub(crate) fn open(&self, slot: SlotIndex, tos: Option<u8>) {
        let mut state = self.lock();
        let before = state.open.remove(&slot);
        let is_new = before.is_none();
        let socket = match before {
            Some(Open { socket: Some(socket), tos: old }) => {
                if old != tos {
                    set_tos(&socket, tos, self.local(slot));
                }
                Some(socket)
            }
            Some(Open { socket: None, .. }) | None => self.bind(slot, tos, is_new),
        };
        if socket.is_none() && state.waiting.insert(slot) {
            state.failed.push_back(slot);
        }
        state.open.insert(slot, Open { socket, tos });
    }

    /// Tries again to bind what could not be bound: whoever had the port, or the descriptors, may have given them back.
    pub(crate) fn retry(&self) {
        let mut state = self.lock();
        let State { open, failed, waiting } = &mut *state;
        for _ in 0..failed.len().min(RETRIES) {
            let Some(slot) = failed.pop_front() else { break };
            waiting.remove(&slot);
            let Some(port) = open.get_mut(&slot).filter(|port| port.socket.is_none()) else { continue };
            port.socket = self.bind(slot, port.tos, false);
            if port.socket.is_none() {
                waiting.insert(slot);
                failed.push_back(slot);
            }
        }
    }

    /// Binds a slot's port and tells the workers. A failure is logged when it is the first.
    fn bind(&self, slot: SlotIndex, tos: Option<u8>, is_first: bool) -> Option<Arc<OwnedFd>> {
        let local = self.local(slot)?;
        match socket::bound(local) {
            Ok(socket) => {
                set_tos(&socket, tos, Some(local));
                let socket = Arc::new(socket);
                self.tell(slot, || News::Open(slot, Arc::clone(&socket)));
                if !is_first {
                    tracing::info!(%local, "the media port is bound now");
                }
                Some(socket)
            }
            Err(error) if is_first => {
                let remedy = remedy(&error);
                tracing::error!(%error, %local, "a media port cannot be bound; its source has no media until it can: {remedy}");
                None
            }
            Err(_) => None,
        }
    }

    /// Closes a slot's port. It is free when every worker has let go of it, a turn or two later.
    pub(crate) fn close(&self, slot: SlotIndex) {
        let mut state = self.lock();
        if let Some(Open { socket: Some(_), .. }) = state.open.remove(&slot) {
            self.tell(slot, || News::Close(slot));
        }
    }

    /// Whether a slot's port is bound.
    pub(crate) fn has(&self, slot: SlotIndex) -> bool {
        self.lock().open.get(&slot).is_some_and(|open| open.socket.is_some())
    }

    fn local(&self, slot: SlotIndex) -> Option<SocketAddr> {
        Some(SocketAddr::new(*self.addrs.get(slot.local() as usize)?, slot.port()))
    }

    fn tell(&self, slot: SlotIndex, news: impl Fn() -> News) {
        for (number, line) in self.lines.iter().enumerate() {
            // A worker that has died is noticed elsewhere.
            let _is_dead = line.news.send(news());
            if owner(slot, self.lines.len()) == number {
                line.wake.ring();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement above.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set_tos(socket: &OwnedFd, tos: Option<u8>, local: Option<SocketAddr>) {
    let is_ipv6 = local.is_some_and(|local| local.is_ipv6());
    if let Err(error) = socket::set_tos(socket, is_ipv6, tos.unwrap_or(0)) {
        tracing::warn!(%error, ?local, "the type of service of a media port cannot be set");
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (LimitNOFILE= in the unit file)",
        Some(libc::EADDRINUSE) => "another program has it; `ss -lunp` shows whose, or change port-min and port-max",
        Some(_) | None => "see the error",
    }
}

/// A worker's side.
pub(crate) struct Inbox {
    news: Receiver<News>,
    addrs: Vec<IpAddr>,
    /// The worker's number, and how many there are.
    share: (usize, usize),
    generation: u32,
    open: HashMap<SlotIndex, Port>,
}

/// A bound port, as a worker knows it.
struct Port {
    socket: Arc<OwnedFd>,
    /// Tells it from those that had the slot before.
    generation: u32,
    /// What its socket had lost when that was last told.
    lost: u32,
}

/// What has become of a port that is this worker's to receive from; with its generation.
pub(crate) enum Change {
    /// It is open.
    Opened(SlotIndex, u32),
    /// It is closed.
    Closed(SlotIndex, u32),
}

impl Inbox {
    /// One that no news come to.
    pub(crate) fn closed() -> Self {
        Self { news: never(), addrs: Vec::new(), share: (0, 1), generation: 0, open: HashMap::new() }
    }

    /// The ports that this worker receives from, with their generations.
    pub(crate) fn mine(&self) -> impl Iterator<Item = (SlotIndex, u32)> {
        let mine = self.open.iter().filter(|(slot, _)| self.is_mine(**slot));
        mine.map(|(slot, port)| (*slot, port.generation))
    }

    /// The next news that concerns what this worker receives. What concerns its sending is done by the way.
    pub(crate) fn next(&mut self) -> Option<Change> {
        loop {
            match self.news.try_recv().ok()? {
                News::Open(slot, socket) => {
                    self.generation = (self.generation + 1) % (1 << 24);
                    self.open.insert(slot, Port { socket, generation: self.generation, lost: 0 });
                    if self.is_mine(slot) {
                        return Some(Change::Opened(slot, self.generation));
                    }
                }
                News::Close(slot) => {
                    if let Some(port) = self.open.remove(&slot).filter(|_| self.is_mine(slot)) {
                        return Some(Change::Closed(slot, port.generation));
                    }
                }
            }
        }
    }

    /// The socket of a slot's port, to send by.
    pub(crate) fn socket(&self, slot: SlotIndex) -> Option<&OwnedFd> {
        Some(&self.open.get(&slot)?.socket)
    }

    /// The same, if it is still that of this generation.
    pub(crate) fn port(&self, slot: SlotIndex, generation: u32) -> Option<&OwnedFd> {
        self.open.get(&slot).filter(|port| port.generation == generation).map(|port| &*port.socket)
    }

    /// The address of a slot's port.
    pub(crate) fn local(&self, slot: SlotIndex) -> Option<SocketAddr> {
        Some(SocketAddr::new(*self.addrs.get(slot.local() as usize)?, slot.port()))
    }

    /// How many datagrams a port has lost since this was asked last, when its socket has now lost so many in all.
    pub(crate) fn newly_lost(&mut self, slot: SlotIndex, lost: Option<u32>) -> u32 {
        let (Some(lost), Some(port)) = (lost, self.open.get_mut(&slot)) else { return 0 };
        lost.wrapping_sub(std::mem::replace(&mut port.lost, lost))
    }

    fn is_mine(&self, slot: SlotIndex) -> bool {
        let (number, workers) = self.share;
        owner(slot, workers) == number
    }
}

/// The worker that receives from a port. The sharing is the steering program's: the two ports of a media have one worker.
fn owner(slot: SlotIndex, workers: usize) -> usize {
    usize::from(slot.port() / 2).checked_rem(workers).unwrap_or(0)
}
