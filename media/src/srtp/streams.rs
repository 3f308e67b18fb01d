//! The synchronisation sources of one direction: one that comes back goes on where it was.

use smallvec::SmallVec;

use super::Refused;
use super::index::Window;

/// So many sources are known by one key. A call has a few; each hold may make another.
const MOST: usize = 256;

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
    /// When its RTP was heard last, by the clock of whoever receives.
    pub(super) heard_ns: u64,
    /// When it was used last, in changes from one source to another.
    turn: u64,
}

/// All of them; the first is the one that was used last.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Most keys have one: beside the key it is no miss of its own.
    known: SmallVec<[Stream; 1]>,
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

    /// A source, known or new, for whoever sends: one that was forgotten would begin anew, and repeat what has been used.
    pub(super) fn of_sender(&mut self, ssrc: u32) -> Result<&mut Stream, Refused> {
        if self.known.iter().any(|stream| stream.ssrc == ssrc) {
            return self.find(ssrc).ok_or(Refused::Exhausted);
        }
        if self.known.len() >= MOST {
            return Err(Refused::Exhausted);
        }
        self.add(Stream { ssrc, ..Stream::default() }).ok_or(Refused::Exhausted)
    }

    /// A source, known or new, of which a packet was authenticated. The one that was not heard of for the longest time makes room.
    pub(super) fn of_receiver(&mut self, ssrc: u32) -> Option<&mut Stream> {
        if self.known.iter().any(|stream| stream.ssrc == ssrc) {
            return self.find(ssrc);
        }
        if self.known.len() >= MOST
            && let Some(oldest) =
                (0..self.known.len()).min_by_key(|place| self.known.get(*place).map(|known| known.turn))
        {
            self.known.swap_remove(oldest);
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
            sender.of_sender(ssrc).unwrap().rtp = Some(Window::new(7));
            receiver.of_receiver(ssrc).unwrap().rtp = Some(Window::new(7));
        }
        assert_eq!(sender.of_sender(1000).err(), Some(Refused::Exhausted));
        assert!(sender.of_sender(5).unwrap().rtp.is_some());
        assert!(receiver.find(0).is_some(), "it comes back");
        assert!(receiver.of_receiver(1000).unwrap().rtp.is_none());
        assert!(receiver.find(0).is_some() && receiver.find(1).is_none());
    }
}
