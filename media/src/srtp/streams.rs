//! The synchronisation sources of one direction: one that comes back goes on where it was.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::Refused;
use super::index::Window;

/// So many sources are at hand by one key. A call has a few; each hold may make another.
const MOST: usize = 256;
/// Of so many more a sender knows how far they were: none may begin anew, and repeat what has been used.
const MOST_GONE: usize = 1 << 14;
/// So many there may be for senders of whom nobody knows whether they are the party.
pub(super) const GUESTS: usize = 16;
/// No less than that for the party itself.
pub(super) const ALL: usize = MOST + MOST_GONE;

/// How far a source is, for whoever goes on with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The source.
    pub ssrc: u32,
    /// The highest index of its RTP.
    pub rtp: Option<u64>,
    /// The highest index of its RTCP.
    pub rtcp: Option<u64>,
}

/// One source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    pub(super) ssrc: u32,
    pub(super) rtp: Option<Window>,
    pub(super) rtcp: Option<Window>,
    /// Where its RTP was before it began to be counted anew.
    pub(super) former: Option<Window>,
    /// The highest index by then.
    pub(super) turned_at: u64,
    /// What is added to its sequence numbers, where it is a sender's: one that begins anew goes on in its packets.
    pub(super) shift: u16,
    /// When it was used last, in changes from one source to another.
    turn: u64,
}

/// All of them; the first is the one that was used last.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Most keys have one: beside the key it is no miss of its own.
    known: SmallVec<[Stream; 1]>,
    /// A sender's that have made room for others.
    gone: BTreeMap<u32, Progress>,
    turn: u64,
}

impl Streams {
    /// A source that is known.
    pub(super) fn find(&mut self, ssrc: u32) -> Option<&mut Stream> {
        let place = self.known.iter().position(|stream| stream.ssrc == ssrc)?;
        if place > 0 {
            self.known.swap(0, place);
            self.turn += 1;
            if let Some(stream) = self.known.first_mut() {
                stream.turn = self.turn;
            }
        }
        self.known.first_mut()
    }

    /// One more source.
    fn add(&mut self, stream: Stream) -> Option<&mut Stream> {
        self.turn += 1;
        self.known.push(Stream { turn: self.turn, ..stream });
        let last = self.known.len() - 1;
        self.known.swap(0, last);
        self.known.first_mut()
    }

    /// A source, known or new, for whoever sends. A new one only where there are fewer than so many.
    pub(super) fn of_sender(&mut self, ssrc: u32, most: usize) -> Result<&mut Stream, Refused> {
        if self.known.iter().any(|stream| stream.ssrc == ssrc) {
            return self.find(ssrc).ok_or(Refused::Exhausted);
        }
        let before = self.gone.remove(&ssrc);
        if before.is_none() && self.known.len() + self.gone.len() >= most {
            return Err(Refused::Exhausted);
        }
        if self.known.len() >= MOST
            && let Some(Stream { ssrc, rtp, rtcp, .. }) = self.take_oldest()
        {
            let [rtp, rtcp] = [rtp, rtcp].map(|window| window.map(|window| window.highest()));
            self.gone.insert(ssrc, Progress { ssrc, rtp, rtcp });
        }
        let of = |index: fn(&Progress) -> Option<u64>| before.as_ref().and_then(index).map(Window::after);
        let (rtp, rtcp) = (of(|before| before.rtp), of(|before| before.rtcp));
        self.add(Stream { ssrc, rtp, rtcp, ..Stream::default() }).ok_or(Refused::Exhausted)
    }

    /// The one that was not used for the longest time.
    fn take_oldest(&mut self) -> Option<Stream> {
        let turn = |place: &usize| self.known.get(*place).map(|known| known.turn);
        let oldest = (0..self.known.len()).min_by_key(turn)?;
        Some(self.known.swap_remove(oldest))
    }

    /// A source, known or new, of which a packet was authenticated. The one that was not heard of for the longest time makes room.
    pub(super) fn of_receiver(&mut self, ssrc: u32) -> Option<&mut Stream> {
        if self.known.iter().any(|stream| stream.ssrc == ssrc) {
            return self.find(ssrc);
        }
        if self.known.len() >= MOST {
            self.take_oldest();
        }
        self.add(Stream { ssrc, ..Stream::default() })
    }

    /// How far each is.
    pub(super) fn progress(&self) -> impl Iterator<Item = Progress> {
        self.known.iter().map(|Stream { ssrc, rtp, rtcp, .. }| Progress {
            ssrc: *ssrc,
            rtp: rtp.map(|window| window.highest()),
            rtcp: rtcp.map(|window| window.highest()),
        })
    }

    /// Goes on with a source of another process. What was before counts as having been here.
    pub(super) fn resume(&mut self, progress: Progress) {
        let Progress { ssrc, rtp, rtcp } = progress;
        if self.known.len() < MOST && self.find(ssrc).is_none() {
            self.add(Stream { ssrc, rtp: rtp.map(Window::after), rtcp: rtcp.map(Window::after), ..Stream::default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_forgets_no_source_and_a_receiver_the_oldest() {
        let (mut sender, mut receiver) = (Streams::default(), Streams::default());
        for ssrc in 0..MOST as u32 {
            sender.of_sender(ssrc, ALL).unwrap().rtp = Some(Window::new(7));
            receiver.of_receiver(ssrc).unwrap().rtp = Some(Window::new(7));
        }
        assert!(sender.of_sender(1000, ALL).unwrap().rtp.is_none());
        assert_eq!(sender.of_sender(0, ALL).unwrap().rtp, Some(Window::after(7)), "it has made room, and goes on");
        assert!(sender.of_sender(5, ALL).unwrap().rtp.is_some());
        assert!(receiver.find(0).is_some(), "it comes back");
        assert!(receiver.of_receiver(1000).unwrap().rtp.is_none());
        assert!(receiver.find(0).is_some() && receiver.find(1).is_none());
    }

    #[test]
    fn guests_leave_room_for_the_party() {
        let mut sender = Streams::default();
        let taken = (0..100).filter(|ssrc| sender.of_sender(*ssrc, GUESTS).is_ok()).count();
        assert_eq!(taken, GUESTS);
        assert!(sender.of_sender(1000, ALL).is_ok() && sender.of_sender(3, GUESTS).is_ok());
        let taken = (2000..40_000).filter(|ssrc| sender.of_sender(*ssrc, ALL).is_ok()).count();
        assert_eq!(taken, ALL - GUESTS - 1);
    }
}
