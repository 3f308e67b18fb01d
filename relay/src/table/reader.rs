//! Who reads RTCP for what it says about the quality of calls: a thread of its own, so that neither packets nor commands wait for it.
//!
//! ```text
//! worker --a datagram that was sent on--+
//!                                       +--queue--> listener --qualities--> ears (one a source, read by queries)
//! table ---sources come and go----------+               |
//! table <--------------doubts, seldom------------------+
//! ```

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use border::Quality;
use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, unbounded};
use flow::SlotIndex;
use flow::counters::Volume;
use flow::slot::Flags;

use crate::table::flow_table::FlowTable;
use crate::table::reports::{Reports, Sent};

/// So many batches may wait to be read. One more is not read: a later report says what it would have said.
const WAITING: usize = 1024;

/// RTCP that a worker has sent on.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) slot: SlotIndex,
    pub(crate) datagram: Bytes,
    pub(crate) at: Instant,
}

/// What the listener is told.
enum Message {
    Open(SlotIndex, Arc<Ear>),
    Close(SlotIndex),
    Heard(Vec<Heard>),
    Stop,
}

/// What a party has reported, as queries see it.
#[derive(Debug)]
pub(super) struct Ear {
    /// The RTCP of the party that it talks with.
    pub(super) partner: Option<SlotIndex>,
    qualities: Mutex<Vec<Quality>>,
}

impl Ear {
    pub(super) const fn new(partner: Option<SlotIndex>) -> Self {
        Self { partner, qualities: Mutex::new(Vec::new()) }
    }

    /// How the party receives, by its own reports.
    pub(super) fn qualities(&self) -> Vec<Quality> {
        self.qualities.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what an ear of the same party has heard.
    pub(super) fn inherit(&self, before: &Self) {
        self.publish(&before.qualities());
    }

    fn publish(&self, qualities: &[Quality]) {
        qualities.clone_into(&mut self.qualities.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The way to the listener.
#[derive(Clone)]
pub(crate) struct Reader {
    messages: Sender<Message>,
    /// Packets of each RTP source that were lost before they came here, as of the last time its counters were folded.
    lost: Arc<[AtomicI32]>,
    unread: Arc<AtomicU64>,
}

impl Reader {
    /// A way for so many slots, and the listener at its end.
    pub(crate) fn new(slots: usize) -> (Self, Listener) {
        let (messages, received) = unbounded();
        let lost = (0..slots).map(|_| AtomicI32::new(0)).collect();
        (Self { messages, lost, unread: Arc::default() }, Listener { received, ears: HashMap::new() })
    }

    /// Has datagrams read that were sent on, when there is time.
    pub(crate) fn hear(&self, heard: Vec<Heard>) {
        if self.messages.len() < WAITING {
            // Without a listener the relay is about to end.
            drop(self.messages.send(Message::Heard(heard)));
            return;
        }
        let unread = self.unread.fetch_add(heard.len() as u64, Ordering::Relaxed) + heard.len() as u64;
        if unread.is_power_of_two() {
            tracing::warn!(
                unread,
                "RTCP comes faster than it can be read: it is sent on, but the quality of calls misses reports"
            );
        }
    }

    /// RTCP of a slot is to be read from now on.
    pub(super) fn open(&self, slot: SlotIndex, ear: Arc<Ear>) {
        drop(self.messages.send(Message::Open(slot, ear)));
    }

    /// And no more.
    pub(super) fn close(&self, slot: SlotIndex) {
        drop(self.messages.send(Message::Close(slot)));
    }

    /// The listener is to end.
    fn stop(&self) {
        drop(self.messages.send(Message::Stop));
    }

    /// So many packets of a source have been lost before they came here.
    pub(super) fn lose(&self, slot: SlotIndex, lost: i64) {
        if let Some(place) = self.lost.get(slot.0 as usize) {
            place.store(i32::try_from(lost).unwrap_or(i32::MAX), Ordering::Relaxed);
        }
    }

    fn lost(&self, slot: SlotIndex) -> u64 {
        let lost = self.lost.get(slot.0 as usize).map_or(0, |place| place.load(Ordering::Relaxed));
        u64::try_from(lost).unwrap_or(0)
    }
}

/// The running listener. Dropping it ends it.
pub(crate) struct ReadingThread {
    thread: Option<JoinHandle<()>>,
    reader: Option<Reader>,
}

impl ReadingThread {
    /// Starts a listener.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub(crate) fn start(listener: Listener, table: Arc<FlowTable>) -> io::Result<Self> {
        let reader = table.reader().cloned();
        let thread = std::thread::Builder::new().name("rtcp-reader".to_owned()).spawn(move || listener.run(&table))?;
        Ok(Self { thread: Some(thread), reader })
    }

    /// Whether it has ended although nobody asked it to.
    pub(crate) fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for ReadingThread {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.stop();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the reader of RTCP had panicked");
        }
    }
}

/// Reads what it is told.
pub(crate) struct Listener {
    received: Receiver<Message>,
    ears: HashMap<SlotIndex, Listening>,
}

/// One party that is listened to.
struct Listening {
    ear: Arc<Ear>,
    reports: Reports,
    /// What the source that the party hears had carried at the last report, by XDP and by a worker.
    carried: [Volume; 2],
    /// Packets that the party was sent since, likewise.
    sent: [u64; 2],
}

impl Listener {
    /// Reads until it is told to stop.
    fn run(mut self, table: &FlowTable) {
        while let Ok(message) = self.received.recv() {
            if matches!(message, Message::Stop) {
                break;
            }
            self.take(table, message);
        }
    }

    /// Reads what there is now.
    #[cfg(test)]
    pub(super) fn drain(&mut self, table: &FlowTable) {
        while let Ok(message) = self.received.try_recv() {
            self.take(table, message);
        }
    }

    fn take(&mut self, table: &FlowTable, message: Message) {
        match message {
            Message::Open(slot, ear) => {
                let carried = ear.partner.map_or([Volume(0); 2], |partner| carried(table, partner.sibling()));
                match self.ears.get_mut(&slot) {
                    Some(listening) => (listening.ear, listening.carried) = (ear, carried),
                    None => {
                        let listening = Listening { ear, reports: Reports::default(), carried, sent: [0; 2] };
                        self.ears.insert(slot, listening);
                    }
                }
            }
            Message::Close(slot) => drop(self.ears.remove(&slot)),
            Message::Heard(heard) => heard.into_iter().for_each(|heard| self.read(table, &heard)),
            Message::Stop => {}
        }
    }

    fn read(&mut self, table: &FlowTable, heard: &Heard) {
        let Some(mut listening) = self.ears.remove(&heard.slot) else { return };
        let sent = listening.sent(table, heard.slot);
        let other = listening.ear.partner.and_then(|partner| self.ears.get(&partner));
        let was_doubted = listening.reports.doubt.is_doubted();
        listening.reports.read(other.map(|other| &other.reports), sent, &heard.datagram, heard.at);
        listening.ear.publish(&listening.reports.qualities);
        let is_doubted = listening.reports.doubt.is_doubted();
        self.ears.insert(heard.slot, listening);
        if is_doubted != was_doubted {
            table.doubt(heard.slot, is_doubted, Instant::now());
        }
    }
}

impl Listening {
    /// What the party of an RTCP source was sent of its media: what the other party's RTP source has carried.
    fn sent(&mut self, table: &FlowTable, slot: SlotIndex) -> Sent {
        let clock_khz = table.carried(slot.sibling()).map_or(0, flow::counters::Carried::clock_khz);
        let Some(sender) = self.ear.partner.map(SlotIndex::sibling) else {
            return Sent { clock_khz, ..Sent::default() };
        };
        let now = carried(table, sender);
        let is_blocked = table.slot(sender).is_some_and(|slot| slot.state().flags().has(Flags::BLOCKED));
        for ((sent, now), last) in self.sent.iter_mut().zip(now).zip(&mut self.carried) {
            let (packets, _) = now.since(std::mem::replace(last, now));
            // What is blocked is counted and not sent. A counter that seems to go back has lost an update.
            *sent += if is_blocked || packets > u32::MAX / 2 { 0 } else { u64::from(packets) };
        }
        let [fast, slow] = self.sent;
        // With what was lost on the way to the relay, which the party misses too.
        let lost = table.reader().map_or(0, |reader| reader.lost(sender));
        Sent { packets: fast + slow + lost, fast, slow, clock_khz }
    }
}

/// What a source has carried by XDP, and by a worker.
fn carried(table: &FlowTable, slot: SlotIndex) -> [Volume; 2] {
    let fast = table.slot(slot).map_or(Volume(0), |slot| slot.volume());
    [fast, table.carried(slot).map_or(Volume(0), flow::counters::Carried::volume)]
}
