//! What protects the packets between a party and the relay: SRTP by the keys of a call, with the state of both directions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use border::Security;
use flow::Reason;
use media::Packet;
use media::srtp::{Progress, Protector, Refused, Unprotector};

/// Makes what a party sends readable.
#[derive(Clone)]
pub(crate) struct Opener(Arc<Mutex<Unprotector>>);

/// Protects what a party gets.
#[derive(Clone)]
pub(crate) struct Sealer(Arc<Mutex<Protector>>);

/// Both, by the keys of a call.
pub(super) struct Seal {
    by: Arc<Security>,
    opener: Opener,
    sealer: Sealer,
}

impl Seal {
    /// By these keys, from the beginning on.
    pub(super) fn new(by: &Arc<Security>) -> Self {
        Self { by: Arc::clone(by), opener: Opener::new(by), sealer: Sealer::new(by) }
    }

    /// By these keys from now on: a direction whose key stays goes on.
    pub(super) fn follow(&mut self, by: &Arc<Security>) {
        if self.by.theirs != by.theirs {
            self.opener = Opener::new(by);
        } else if self.by.renewals != by.renewals {
            self.opener.lock().renegotiated();
        }
        if self.by.ours != by.ours {
            self.sealer = Sealer::new(by);
        }
        self.by = Arc::clone(by);
    }

    /// How far both directions are, for whoever comes next: of RTP the indices of the sources that were heard and sent to last, of RTCP that of the
    /// last report that was sent.
    pub(super) fn progress(&self, is_rtcp: bool) -> [u64; 2] {
        let opened = self.opener.lock().progress().next().and_then(|last| last.rtp);
        let sealed = self.sealer.lock().progress().next();
        let sealed = sealed.and_then(|last| if is_rtcp { last.rtcp } else { last.rtp });
        [opened, sealed].map(|index| index.map_or(0, |index| index + 1))
    }

    /// Goes on with what the party has sent, where an earlier process was.
    pub(super) fn resume_opener(&self, ssrc: u32, progress: u64) {
        if let Some(index) = progress.checked_sub(1) {
            self.opener.lock().resume(Progress { ssrc: ssrc_of(ssrc), rtp: Some(index), rtcp: None });
        }
    }

    /// Goes on with what the party was sent.
    pub(super) fn resume_sealer(&self, ssrc: Option<u32>, progress: u64, is_rtcp: bool) {
        let mut sealer = self.sealer.lock();
        match (progress.checked_sub(1), ssrc) {
            (Some(index), _) if is_rtcp => sealer.skip_reports(index + REPORTS),
            (Some(index), Some(ssrc)) => {
                sealer.resume(Progress { ssrc: ssrc_of(ssrc), rtp: Some(index), rtcp: None }, 0);
            }
            (Some(_) | None, _) => {}
        }
    }

    pub(super) fn opener(&self) -> Opener {
        self.opener.clone()
    }

    pub(super) fn sealer(&self) -> Sealer {
        self.sealer.clone()
    }
}

/// More reports than are sent between two notes, and while nobody notes: none may have the index of another.
const REPORTS: u64 = 1000;

/// A synchronisation source as SRTP counts it; elsewhere its bytes lie as in the packet.
const fn ssrc_of(bytes: u32) -> u32 {
    u32::from_be_bytes(bytes.to_ne_bytes())
}

impl PartialEq for Sealer {
    /// Whether it is the very same: others have other keys, or are elsewhere in their count.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Opener {
    fn new(by: &Security) -> Self {
        let mut keys = by.theirs.iter();
        let first = Unprotector::new(keys.next().unwrap_or(&by.ours));
        Self(Arc::new(Mutex::new(keys.fold(first, Unprotector::or))))
    }

    fn lock(&self) -> MutexGuard<'_, Unprotector> {
        // It is whole between any two packets.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a packet readable, in place.
    ///
    /// # Errors
    /// Why it is lost.
    pub(crate) fn open(&self, packet: &mut Packet<'_>, is_rtcp: bool) -> Result<(), Reason> {
        let mut unprotector = self.lock();
        let opened = if is_rtcp { unprotector.rtcp(packet) } else { unprotector.rtp(packet) };
        opened.map_err(reason)
    }
}

impl Sealer {
    fn new(by: &Security) -> Self {
        Self(Arc::new(Mutex::new(Protector::new(&by.ours))))
    }

    fn lock(&self) -> MutexGuard<'_, Protector> {
        // It is whole between any two packets.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Protects a packet, in place. `is_certain`: whoever has sent it is the party.
    ///
    /// # Errors
    /// Why it is lost.
    pub(crate) fn seal(&self, packet: &mut Packet<'_>, is_rtcp: bool, is_certain: bool) -> Result<(), Reason> {
        let mut protector = self.lock();
        let sealed = match (is_certain, is_rtcp) {
            (false, _) => protector.of_guest(packet, is_rtcp),
            (true, true) => protector.rtcp(packet),
            (true, false) => protector.rtp(packet),
        };
        sealed.map_err(reason)
    }
}

const fn reason(refused: Refused) -> Reason {
    match refused {
        Refused::Malformed => Reason::NotMedia,
        Refused::Forged => Reason::Forged,
        Refused::Replayed | Refused::Late | Refused::Exhausted => Reason::Replayed,
        Refused::NoRoom => Reason::Truncated,
    }
}
