//! The thread that reads RTCP: what parties report of how they receive, and whether the fast path reaches them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use border::Event;
use crossbeam::channel::RecvTimeoutError;
use flow::SlotIndex;
use flow::counters::{Carried, Volume};
use flow::slot::{Flags, Slot};

use crate::supervise::Restarts;
use crate::table::doubt::Doubt;
use crate::table::flow_table::FlowTable;
use crate::table::reader::{Ear, Heard, News, Reader, Rtcp, Told};
use crate::table::reports::{Reports, Sent};

/// Below this score, in tenths, many are dissatisfied (ITU-T G.107, annex B).
const POOR: u8 = 36;

/// So long at most what comes and goes waits to be looked at where nothing is heard.
const PAUSE: Duration = Duration::from_millis(500);

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
    pub(crate) fn start(told: Told, table: Arc<FlowTable>, restarts: Restarts) -> io::Result<Self> {
        let reader = table.reader().cloned();
        let mut listener = Listener::new(told);
        let thread = std::thread::Builder::new()
            .name("rtcp-reader".to_owned())
            .spawn(move || restarts.supervise("the reader of RTCP", || listener.run(&table)))?;
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
    /// What the source that the party hears had carried at the last report, by XDP and by a worker.
    carried: [Volume; 2],
    /// What of it is exported.
    budget: Budget,
    /// What it has said; many parties never report.
    said: Option<Box<Said>>,
}

/// How much of what a party says is exported: it reports each five seconds, and no call is to have what is everybody's.
struct Budget {
    left: u8,
    since: Option<Instant>,
}

impl Budget {
    /// At once, and then one more in so long.
    const MOST: u8 = 10;
    const PAUSE: Duration = Duration::from_millis(200);

    const fn new() -> Self {
        Self { left: Self::MOST, since: None }
    }

    /// Whether there is one more.
    fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let more = now.saturating_duration_since(since).as_millis() / Self::PAUSE.as_millis();
        if more > 0 {
            self.left =
                u8::try_from(more.min(255)).map_or(Self::MOST, |more| self.left.saturating_add(more)).min(Self::MOST);
            self.since = Some(now);
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

/// What a party has said.
#[derive(Default)]
struct Said {
    reports: Reports,
    /// Packets that the party was sent until its last report, by XDP and by a worker.
    sent: [u64; 2],
}

impl Listener {
    /// Nothing is read yet.
    pub(super) fn new(told: Told) -> Self {
        Self { told, ears: HashMap::new() }
    }

    /// Reads until it is told to stop.
    fn run(&mut self, table: &FlowTable) {
        loop {
            let heard = self.told.heard.recv_timeout(PAUSE);
            self.take_news(table);
            match heard {
                Ok(heard) if heard.is_empty() => break,
                Ok(heard) => heard.iter().for_each(|heard| self.try_read(table, heard)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Reads what there is now.
    #[cfg(test)]
    pub(super) fn drain(&mut self, table: &FlowTable) {
        self.take_news(table);
        while let Ok(heard) = self.told.heard.try_recv() {
            heard.iter().for_each(|heard| self.try_read(table, heard));
        }
    }

    fn take_news(&mut self, table: &FlowTable) {
        while let Ok(news) = self.told.news.try_recv() {
            match news {
                News::Open(slot, ear) => self.open(table, slot, ear),
                News::Close(slot) => drop(self.ears.remove(&slot)),
            }
        }
    }

    fn open(&mut self, table: &FlowTable, slot: SlotIndex, ear: Arc<Ear>) {
        let carried = ear.partner.map_or([Volume(0); 2], |partner| carried(table, partner.sibling()));
        let Some(listening) = self.ears.get_mut(&slot) else {
            self.ears.insert(slot, Listening { ear, carried, budget: Budget::new(), said: None });
            return;
        };
        // Its word about another one's media is not its word about this one's; the table has forgotten it, too.
        if listening.ear.partner != ear.partner
            && let Some(said) = &mut listening.said
        {
            said.reports.doubt = Doubt::default();
        }
        (listening.ear, listening.carried) = (ear, carried);
    }

    /// Reads a datagram. A fault in that costs its party's account, and nobody else's anything.
    fn try_read(&mut self, table: &FlowTable, heard: &Heard) {
        let call = self.ears.get(&heard.slot).map(|listening| listening.ear.call);
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.read(table, heard)));
        if read.is_err()
            && let Some(call) = call
        {
            table.tell(Event::Faulty { call, slot: heard.slot });
        }
    }

    fn read(&mut self, table: &FlowTable, heard: &Heard) {
        // What was heard of who had the port before says nothing of who has it now.
        if self.ears.get(&heard.slot).is_none_or(|listening| heard.at < listening.ear.since) {
            return;
        }
        let Some(mut listening) = self.ears.remove(&heard.slot) else { return };
        if let Some(reader) = table.reader() {
            let Ear { call, local, .. } = *listening.ear;
            let listening = &mut listening;
            reader.exported(move || {
                let datagram = heard.datagram.clone();
                let rtcp = Rtcp { call, from: heard.sender, to: local, at: heard.at, datagram };
                listening.budget.take(heard.at).then_some(rtcp)
            });
        }
        let mut said = listening.said.take().unwrap_or_default();
        let sent = listening.sent(table, heard.slot, &mut said.sent);
        let other = listening.ear.partner.and_then(|partner| self.ears.get(&partner)?.said.as_ref());
        let was_doubted = said.reports.doubt.is_doubted();
        let before = said.reports.lowest();
        said.reports.read(other.map(|other| &other.reports), sent, &heard.datagram, heard.at);
        listening.ear.publish(&said.reports.qualities);
        if let Some(mos) = said.reports.lowest().filter(|mos| *mos < POOR && before.is_none_or(|before| *mos < before))
        {
            table.tell(Event::Poor { call: listening.ear.call, slot: heard.slot, mos });
        }
        let is_doubted = said.reports.doubt.is_doubted();
        listening.said = Some(said);
        self.ears.insert(heard.slot, listening);
        if is_doubted != was_doubted {
            table.doubt(heard.slot, is_doubted, Instant::now());
        }
    }
}

impl Listening {
    /// What the party of an RTCP source was sent of its media: what the other party's RTP source has carried.
    fn sent(&mut self, table: &FlowTable, slot: SlotIndex, counted: &mut [u64; 2]) -> Sent {
        let clock_khz = table.carried(slot.sibling()).map_or(0, Carried::clock_khz);
        let Some(sender) = self.ear.partner.map(SlotIndex::sibling) else {
            return Sent { clock_khz, ..Sent::default() };
        };
        let now = carried(table, sender);
        let is_blocked = table.slot(sender).is_some_and(|slot| slot.state().flags().has(Flags::BLOCKED));
        for ((sent, now), last) in counted.iter_mut().zip(now).zip(&mut self.carried) {
            let (packets, _) = now.since(std::mem::replace(last, now));
            // What is blocked is counted and not sent. A counter that seems to go back has lost an update.
            *sent += if is_blocked || packets > u32::MAX / 2 { 0 } else { u64::from(packets) };
        }
        let [fast, slow] = *counted;
        // With what was lost on the way to the relay, which the party misses too.
        let lost = table.reader().map_or(0, |reader| reader.lost(sender));
        let ssrc = table.slot(sender).and_then(Slot::known_ssrc).map_or(0, u32::from_be);
        Sent { packets: fast + slow + lost, fast, slow, clock_khz, ssrc }
    }
}

/// What a source has carried by XDP, and by a worker.
fn carried(table: &FlowTable, slot: SlotIndex) -> [Volume; 2] {
    let fast = table.slot(slot).map_or(Volume(0), |slot| slot.volume());
    [fast, table.carried(slot).map_or(Volume(0), Carried::volume)]
}
