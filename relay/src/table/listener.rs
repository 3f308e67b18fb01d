//! The thread that reads RTCP: what parties report of how they receive, and whether the fast path reaches them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use flow::SlotIndex;
use flow::counters::{Carried, Volume};
use flow::slot::Flags;

use crate::table::flow_table::FlowTable;
use crate::table::reader::{Ear, Heard, Message, Reader, Told};
use crate::table::reports::{Reports, Sent};

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
    pub(crate) fn start(told: Told, table: Arc<FlowTable>) -> io::Result<Self> {
        let reader = table.reader().cloned();
        let thread = std::thread::Builder::new()
            .name("rtcp-reader".to_owned())
            .spawn(move || Listener::new(told).run(&table))?;
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
pub(super) struct Listener {
    told: Told,
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
    /// Nothing is read yet.
    pub(super) fn new(told: Told) -> Self {
        Self { told, ears: HashMap::new() }
    }

    /// Reads until it is told to stop.
    fn run(mut self, table: &FlowTable) {
        while let Ok(message) = self.told.0.recv() {
            if matches!(message, Message::Stop) {
                break;
            }
            self.take(table, message);
        }
    }

    /// Reads what there is now.
    #[cfg(test)]
    pub(super) fn drain(&mut self, table: &FlowTable) {
        while let Ok(message) = self.told.0.try_recv() {
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
        let clock_khz = table.carried(slot.sibling()).map_or(0, Carried::clock_khz);
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
    [fast, table.carried(slot).map_or(Volume(0), Carried::volume)]
}
