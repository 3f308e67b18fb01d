//! Who reads RTCP for what it says about the quality of calls: a thread of its own, so that neither packets nor commands wait for it.
//!
//! ```text
//! worker --datagrams that were sent on--queue, wakes--+
//!                                                     +--> listener --qualities--> ears (one a source, read by queries)
//! table ---sources come and go---------queue----------+        |
//! table <--------------doubts, seldom--------------------------+
//! ```
//!
//! Commands wake nobody: what comes and goes is looked at before the next datagram is read, and now and then.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use border::Quality;
use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use flow::SlotIndex;

/// So many batches may wait to be read. One more is not read: a later report says what it would have said.
const WAITING: usize = 1024;

/// RTCP that a worker has sent on.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) slot: SlotIndex,
    pub(crate) sender: SocketAddr,
    pub(crate) datagram: Bytes,
    pub(crate) at: Instant,
}

/// RTCP of a call, as a party has sent it or as it was behind SRTCP.
#[derive(Clone, Debug)]
pub struct Rtcp {
    /// The number of its call.
    pub call: u64,
    /// Whoever has sent it.
    pub from: SocketAddr,
    /// The media port that it came to.
    pub to: SocketAddr,
    /// When it came.
    pub at: Instant,
    /// It, untrusted.
    pub datagram: Bytes,
}

/// Who gets the RTCP that is read; none is one of a source that sends more than anybody needs to.
type Export = Box<dyn Fn(Option<Rtcp>) + Send + Sync>;

/// What comes and goes.
pub(super) enum News {
    /// RTCP of this slot is to be read from now on.
    Open(SlotIndex, Arc<Ear>),
    Close(SlotIndex),
}

/// What a party has reported, as queries see it.
#[derive(Debug)]
pub(super) struct Ear {
    /// The number of its call.
    pub(super) call: u64,
    /// Its port.
    pub(super) local: SocketAddr,
    /// The RTCP of the party that it talks with.
    pub(super) partner: Option<SlotIndex>,
    /// Since when the party has the port: what was heard there before is another one's.
    pub(super) since: Instant,
    qualities: Mutex<Vec<Quality>>,
}

impl Ear {
    pub(super) const fn new((call, local): (u64, SocketAddr), partner: Option<SlotIndex>, since: Instant) -> Self {
        Self { call, local, partner, since, qualities: Mutex::new(Vec::new()) }
    }

    /// How the party receives, by its own reports.
    pub(super) fn qualities(&self) -> Vec<Quality> {
        self.qualities.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what an ear of the same party has heard.
    pub(super) fn inherit(&self, before: &Self) {
        self.publish(&before.qualities());
    }

    pub(super) fn publish(&self, qualities: &[Quality]) {
        qualities.clone_into(&mut self.qualities.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What the listener is told, at its end of the queues.
pub(crate) struct Told {
    pub(super) news: Receiver<News>,
    pub(super) heard: Receiver<Vec<Heard>>,
}

/// The way to the listener.
#[derive(Clone)]
pub(crate) struct Reader {
    export: Arc<OnceLock<Export>>,
    news: Sender<News>,
    /// An empty one ends the listener.
    heard: Sender<Vec<Heard>>,
    /// Packets of each RTP source that were lost before they came here, as of the last time its counters were folded.
    lost: Arc<[AtomicI32]>,
    unread: Arc<AtomicU64>,
}

impl Reader {
    /// A way for so many slots, and its other end.
    pub(crate) fn new(slots: usize) -> (Self, Told) {
        let (news, to_news) = unbounded();
        let (heard, to_heard) = bounded(WAITING);
        let lost = (0..slots).map(|_| AtomicI32::new(0)).collect();
        (
            Self { export: Arc::default(), news, heard, lost, unread: Arc::default() },
            Told { news: to_news, heard: to_heard },
        )
    }

    /// Has datagrams read that were sent on, when there is time.
    pub(crate) fn hear(&self, heard: Vec<Heard>) {
        let count = heard.len() as u64;
        if !matches!(self.heard.try_send(heard), Err(TrySendError::Full(_))) {
            // Without a listener the relay is about to end.
            return;
        }
        let unread = self.unread.fetch_add(count, Ordering::Relaxed) + count;
        if unread.is_power_of_two() {
            tracing::warn!(
                unread,
                "RTCP comes faster than it can be read: it is sent on, but the quality of calls misses reports"
            );
        }
    }

    /// All that is read is given to this, too, from now on; the first one that is named stays. It must not wait.
    pub(crate) fn export(&self, export: impl Fn(Option<Rtcp>) + Send + Sync + 'static) {
        let _first = self.export.set(Box::new(export));
    }

    /// Whoever gets all that is read, if anybody does.
    pub(super) fn exported(&self, rtcp: impl FnOnce() -> Option<Rtcp>) {
        if let Some(export) = self.export.get() {
            export(rtcp());
        }
    }

    /// RTCP of a slot is to be read from now on.
    pub(super) fn open(&self, slot: SlotIndex, ear: Arc<Ear>) {
        drop(self.news.send(News::Open(slot, ear)));
    }

    /// And no more.
    pub(super) fn close(&self, slot: SlotIndex) {
        drop(self.news.send(News::Close(slot)));
    }

    /// The listener is to end.
    pub(super) fn stop(&self) {
        drop(self.heard.send(Vec::new()));
    }

    /// So many packets of a source have been lost before they came here.
    pub(super) fn lose(&self, slot: SlotIndex, lost: i64) {
        if let Some(place) = self.lost.get(slot.0 as usize) {
            place.store(i32::try_from(lost).unwrap_or(i32::MAX), Ordering::Relaxed);
        }
    }

    pub(super) fn lost(&self, slot: SlotIndex) -> u64 {
        let lost = self.lost.get(slot.0 as usize).map_or(0, |place| place.load(Ordering::Relaxed));
        u64::try_from(lost).unwrap_or(0)
    }
}
