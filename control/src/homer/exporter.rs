//! The thread that tells Homer, and the way to it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use calls::ng::Frame;
use calls::outcome::EndedCall;
use crossbeam::channel::{Receiver, Sender, bounded};
use relay::Rtcp;

use super::collector::{Address, Collector, Transport};
use super::hep::{Packet, Protocol, TCP, UDP};
use super::{quality, rtcp};

/// So much may wait for the thread: some seconds of the RTCP of 10,000 calls.
const WAITING: usize = 16_384;
/// So much is taken at a time: for all of it together the daemon is asked for names.
const BATCH: usize = 256;
/// While there is something to tell now and then, the thread looks by itself: to be woken for each item would cost whoever has it more than the item.
const DOZE: Duration = Duration::from_millis(5);
const DOZES: u32 = 200;
/// RTCP comes from whoever talks in a call, and may take no more than this of it from what else there is to tell.
const RTCP_WAITING: usize = WAITING / 2;
/// So many bytes of NG messages may wait.
const DIALOGUE_WAITING: usize = 16 << 20;
/// The longest Call-ID that is taken.
const LONGEST_NAME: usize = 255;
/// The name of a call is remembered for so long after its last report: those that wait may be told when it has ended.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The Call-IDs of calls, by their numbers.
pub type Names = HashMap<u64, Vec<u8>>;

type Namer = Box<dyn Fn(&[u64]) -> Names + Send>;

/// What is told, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HomerConfig {
    /// Where Homer is.
    pub address: Address,
    /// By what packets go there.
    pub transport: Transport,
    /// Which capturing system this is.
    pub id: u32,
    /// Whether RTCP is told.
    pub has_rtcp: bool,
    /// Whether the NG dialogue is told, and as which protocol.
    pub dialogue: Option<u8>,
}

/// An NG message, or the reply to one.
#[derive(Clone, Debug)]
pub struct Dialogue {
    /// Whoever says it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// By TCP, and not by UDP.
    pub is_stream: bool,
    /// The message, which names the call.
    pub request: Bytes,
    /// It begins with a cookie.
    pub has_cookie: bool,
    /// What is said.
    pub said: Bytes,
    /// When.
    pub at: SystemTime,
}

impl Dialogue {
    /// What it takes while it waits.
    const fn len(&self) -> usize {
        self.request.len() + self.said.len()
    }
}

/// Packets that were sent to Homer, and that it has not got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Sent, as far as one can tell.
    pub sent: u64,
    /// Lost: there was no room for them, or no way.
    pub lost: u64,
}

enum Item {
    Rtcp(Rtcp),
    Dialogue(Dialogue),
    Ended(Box<EndedCall>),
    /// Nothing comes behind it.
    Over,
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    lost: AtomicU64,
    /// What the thread has taken, and not told yet.
    in_hand: AtomicU64,
    /// Bytes of NG messages that wait.
    waiting: AtomicUsize,
    is_over: AtomicBool,
}

/// The way to the thread.
pub struct Homer {
    sender: Sender<Item>,
    shared: Arc<Shared>,
    config: HomerConfig,
    thread: JoinHandle<()>,
}

impl Homer {
    /// Starts the thread. `names` tells the Call-IDs of these calls, of those that there are.
    ///
    /// # Errors
    /// When there is none.
    pub fn start(config: HomerConfig, names: impl Fn(&[u64]) -> Names + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = bounded(WAITING);
        let shared = Arc::<Shared>::default();
        let teller = Teller {
            collector: Collector::new(config.address.clone(), config.transport),
            config: config.clone(),
            shared: Arc::clone(&shared),
            names: Box::new(names),
            known: HashMap::new(),
            purged: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("homer".to_owned()).spawn(move || teller.run(&receiver))?;
        Ok(Self { sender, shared, config, thread })
    }

    /// Who takes RTCP; none where that is not told.
    pub fn rtcp(&self) -> Option<impl Fn(Option<Rtcp>) + Send + Sync + 'static> {
        let (sender, shared) = (self.sender.clone(), Arc::clone(&self.shared));
        self.config.has_rtcp.then_some(move |rtcp: Option<Rtcp>| {
            let is_told = rtcp.is_some_and(|rtcp| sender.len() < RTCP_WAITING && put(&sender, Item::Rtcp(rtcp)));
            if !is_told {
                lose(&shared, 1);
            }
        })
    }

    /// Whether the NG dialogue is told.
    pub const fn wants_dialogue(&self) -> bool {
        self.config.dialogue.is_some()
    }

    /// Tells of an NG message.
    pub fn tell(&self, dialogue: Dialogue) {
        let len = dialogue.len();
        if self.shared.waiting.fetch_add(len, Ordering::Relaxed) + len > DIALOGUE_WAITING
            || !put(&self.sender, Item::Dialogue(dialogue))
        {
            self.shared.waiting.fetch_sub(len, Ordering::Relaxed);
            lose(&self.shared, 1);
        }
    }

    /// Tells of calls that have ended.
    pub fn put(&self, ended: impl Iterator<Item = EndedCall>) {
        for call in ended {
            let item = Item::Ended(Box::new(call));
            if let Err(full) = self.sender.try_send(item)
                && let Item::Ended(call) = full.into_inner()
            {
                lose(&self.shared, quality::reports(&call).len() as u64);
            }
        }
    }

    /// The daemon ends: tells what waits and of these calls as well, as far as that takes no longer than this.
    pub fn finish(&self, ended: impl Iterator<Item = EndedCall>, limit: Duration) {
        let until = Instant::now() + limit;
        let items = ended.map(|call| Item::Ended(Box::new(call))).chain([Item::Over]);
        let left = items.fold(0_u64, |left, item| left + u64::from(self.sender.send_deadline(item, until).is_err()));
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shared.is_over.store(true, Ordering::Relaxed);
        let left = left + self.sender.len() as u64 + self.shared.in_hand.load(Ordering::Relaxed);
        if left > 0 {
            lose(&self.shared, left);
            tracing::warn!(left, "Homer does not hear of what waits, because it is too slow");
        }
    }

    /// What was sent.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts { sent: read(&self.shared.sent), lost: read(&self.shared.lost) }
    }
}

/// Whether there was room.
fn put(sender: &Sender<Item>, item: Item) -> bool {
    sender.try_send(item).is_ok()
}

fn lose(shared: &Shared, packets: u64) {
    let lost = shared.lost.fetch_add(packets, Ordering::Relaxed) + packets;
    if lost.is_power_of_two() {
        tracing::debug!(lost, "packets for Homer are lost");
    }
}

struct Teller {
    collector: Collector,
    config: HomerConfig,
    shared: Arc<Shared>,
    names: Namer,
    /// Names of calls, and when they were last wanted.
    known: HashMap<u64, (Vec<u8>, Instant)>,
    purged: Instant,
}

impl Teller {
    fn run(mut self, receiver: &Receiver<Item>) {
        let mut quiet = 0;
        loop {
            let mut batch: Vec<_> = receiver.try_iter().take(BATCH).collect();
            if batch.is_empty() && quiet < DOZES {
                quiet += 1;
                std::thread::sleep(DOZE);
                continue;
            }
            if batch.is_empty() {
                let Ok(item) = receiver.recv() else { return };
                batch.push(item);
            }
            quiet = 0;
            self.shared.in_hand.store(batch.len() as u64, Ordering::Relaxed);
            self.learn_names(&batch);
            for item in batch {
                // Nobody waits for it any more.
                if matches!(item, Item::Over) || self.shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                // What a peer sends must end nothing but its own packet.
                if catch_unwind(AssertUnwindSafe(|| self.tell(item))).is_err() {
                    lose(&self.shared, 1);
                }
                self.shared.in_hand.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Has the Call-IDs of the calls whose RTCP is in a batch: those that are not known yet are asked for, all at once.
    fn learn_names(&mut self, batch: &[Item]) {
        let now = Instant::now();
        let mut unknown = Vec::new();
        for item in batch {
            if let Item::Rtcp(rtcp) = item {
                match self.known.get_mut(&rtcp.call) {
                    Some((_, wanted)) => *wanted = now,
                    None => unknown.push(rtcp.call),
                }
            }
        }
        if !unknown.is_empty() {
            unknown.sort_unstable();
            unknown.dedup();
            self.known.extend((self.names)(&unknown).into_iter().map(|(call, name)| (call, (name, now))));
        }
        if self.purged.elapsed() >= REMEMBERED {
            self.purged = now;
            self.known.retain(|_, (_, wanted)| now.saturating_duration_since(*wanted) < REMEMBERED);
        }
    }

    fn tell(&mut self, item: Item) {
        match item {
            Item::Rtcp(rtcp) => {
                // There is nothing to tell of what is no report.
                let Some(json) = rtcp::json(&rtcp.datagram) else { return };
                let Some((name, _)) = self.known.get(&rtcp.call) else { return lose(&self.shared, 1) };
                let name = name.clone();
                let at = SystemTime::now().checked_sub(rtcp.at.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
                let payload = json.to_string();
                self.send((Protocol::RTCP, UDP), (rtcp.from, rtcp.to), at, &name, payload.as_bytes());
            }
            Item::Dialogue(dialogue) => {
                self.shared.waiting.fetch_sub(dialogue.len(), Ordering::Relaxed);
                let Some(protocol) = self.config.dialogue else { return };
                let Dialogue { from, to, is_stream, request, has_cookie, said, at } = dialogue;
                let frame = match has_cookie {
                    true => Frame::with_cookie(&request),
                    false => Some(Frame::without_cookie(request.trim_ascii())),
                };
                let mut name = frame.map(|frame| frame.call_id()).unwrap_or_default();
                // No call has a longer one.
                name.truncate(LONGEST_NAME);
                let carried_by = if is_stream { TCP } else { UDP };
                self.send((Protocol(protocol), carried_by), (from, to), at, &name, &said);
            }
            Item::Ended(call) => {
                for report in quality::reports(&call) {
                    let (ends, payload) = ((report.from, report.to), report.told.to_string());
                    self.send((Protocol::QUALITY, UDP), ends, report.at, &call.call_id, payload.as_bytes());
                }
            }
            Item::Over => {}
        }
    }

    fn send(
        &mut self,
        (protocol, carried_by): (Protocol, u8),
        (from, to): (SocketAddr, SocketAddr),
        at: SystemTime,
        correlation: &[u8],
        payload: &[u8],
    ) {
        let packet = Packet { protocol, carried_by, from, to, at, capture_id: self.config.id, correlation, payload };
        let sent = packet.encode().is_some_and(|packet| self.collector.send(&packet));
        match sent {
            true => drop(self.shared.sent.fetch_add(1, Ordering::Relaxed)),
            false => lose(&self.shared, 1),
        }
    }
}
