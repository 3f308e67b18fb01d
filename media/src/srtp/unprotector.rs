//! SRTP and SRTCP to RTP and RTCP.

use super::cipher::{Beside, Cipher, Place};
use super::index::Window;
use super::parts::{IS_ENCRYPTED, RTCP_CLEAR, RtpHead, WORD, rtcp_ssrc};
use super::streams::{Progress, Stream, Streams};
use super::{MasterKey, Mki, Refused};
use crate::packet::Packet;

/// So many packets in a row that nobody seems to have sent are tried with other numbers of turns: peers count anew at a re-INVITE, or are not followed
/// through a pause. Then only one of so many is, or a flood of forged ones would cost four times as much.
const CREDIT: u16 = 64;
const SELDOM: u16 = 16;

/// Makes the packets of one direction readable, by one of several keys.
pub struct Unprotector {
    key: Key,
    /// Where keys have names, there may be more.
    others: Vec<Key>,
    streams: Streams,
    /// Packets in a row that no key fits.
    forged: u16,
    /// So many packets that go on as before are waited for until the peer, since the call was spoken of, has not begun to count anew.
    may_begin_anew: u8,
}

/// What somebody has kept of a call looks like a peer that counts anew: after so many packets that do not, nobody does any more.
const GOING_ON: u8 = 8;

/// The session keys of one master key.
struct Key {
    rtp: Cipher,
    /// It is needed every few seconds.
    rtcp: Box<Cipher>,
    mki: Mki,
}

impl Key {
    fn new(key: &MasterKey) -> Self {
        let [rtp, rtcp] = key.ciphers();
        Self { rtp, rtcp: Box::new(rtcp), mki: key.mki().clone() }
    }
}

impl Unprotector {
    /// By this key, from whichever packet comes first.
    pub fn new(key: &MasterKey) -> Self {
        Self { key: Key::new(key), others: Vec::new(), streams: Streams::default(), forged: 0, may_begin_anew: 0 }
    }

    /// By another key, too, which packets name. One with a name of another length is never named.
    #[must_use]
    pub fn or(mut self, key: &MasterKey) -> Self {
        self.others.push(Key::new(key));
        self
    }

    /// The call was spoken of: the peer may count its packets anew, by the same key. Some do at every re-INVITE, though RFC 3711 has them go on.
    pub const fn renegotiated(&mut self) {
        self.may_begin_anew = GOING_ON;
    }

    /// Makes an SRTP packet readable.
    ///
    /// # Errors
    /// When it is not what the peer has sent, or has been here; then it is as it was.
    pub fn rtp(&mut self, packet: &mut Packet<'_>) -> Result<(), Refused> {
        self.key.rtp.fetch();
        let head = RtpHead::read(packet.payload()).ok_or(Refused::Malformed)?;
        let (tag_len, mki_len) = (self.key.rtp.tag_len(), self.key.mki.bytes().len());
        let len = packet.payload().len().checked_sub(tag_len + mki_len).filter(|len| *len >= head.len);
        let len = len.ok_or(Refused::Malformed)?;
        let (bytes, behind) = packet.payload_mut().split_at_mut(len);
        let (tag, mki) = if self.key.rtp.is_gcm() {
            behind.split_at(tag_len)
        } else {
            let (mki, tag) = behind.split_at(mki_len);
            (tag, mki)
        };
        let key = named(&self.key, &self.others, mki).ok_or(Refused::Forged)?;
        let known = self.streams.find(head.ssrc).copied().unwrap_or_default();
        let likely = known.rtp.map_or(u64::from(head.sequence), |window| window.estimate(head.sequence));
        let likely_is_new = known.rtp.map_or(Ok(()), |window| window.check(likely));
        let mut open = |index| key.rtp.open(bytes, head.len, Place { ssrc: head.ssrc, index }, Beside::Turns, tag);
        let mut found = (likely_is_new.is_ok() && open(likely)).then_some((likely, Count::Same));
        if found.is_none() && (self.forged < CREDIT || self.forged.is_multiple_of(SELDOM)) {
            let others = others(&known, likely, head.sequence, self.may_begin_anew > 0);
            found = others.into_iter().flatten().find(|(index, _)| open(*index));
        }
        let Some((index, count)) = found else {
            likely_is_new?;
            // Beyond the credit it goes round, and never back to where it was given.
            self.forged = if self.forged == u16::MAX { u16::MAX - SELDOM + 1 } else { self.forged + 1 };
            return Err(Refused::Forged);
        };
        let stream = self.streams.of_receiver(head.ssrc).ok_or(Refused::Exhausted)?;
        match (&mut stream.rtp, count) {
            (Some(window), Count::Same) => {
                window.accept(index);
                self.may_begin_anew = self.may_begin_anew.saturating_sub(1);
                settle(window, &mut stream.former, stream.turned_at);
            }
            (Some(window), Count::Former) => {
                // What was counted meanwhile stays known, too: nothing of it comes again.
                let former = stream.former.replace(*window);
                *window = former.unwrap_or(Window::new(index));
                window.accept(index);
                settle(window, &mut stream.former, stream.turned_at);
            }
            (Some(window), Count::Anew) => {
                stream.turned_at = window.highest();
                stream.former = Some(std::mem::replace(window, Window::new(index)));
                self.may_begin_anew = 0;
            }
            (rtp, Count::Same | Count::Other | Count::Former | Count::Anew) => *rtp = Some(Window::new(index)),
        }
        self.forged = 0;
        packet.truncate(len);
        Ok(())
    }

    /// Makes an SRTCP packet readable.
    ///
    /// # Errors
    /// When it is not what the peer has sent, or has been here; then it is as it was.
    pub fn rtcp(&mut self, packet: &mut Packet<'_>) -> Result<(), Refused> {
        let ssrc = rtcp_ssrc(packet.payload()).ok_or(Refused::Malformed)?;
        let (tag_len, mki_len) = (self.key.rtcp.tag_len(), self.key.mki.bytes().len());
        let len = packet.payload().len().checked_sub(tag_len + WORD + mki_len).filter(|len| *len >= RTCP_CLEAR);
        let len = len.ok_or(Refused::Malformed)?;
        let (bytes, behind) = packet.payload_mut().split_at_mut(len);
        let (tag, word, mki) = if self.key.rtcp.is_gcm() {
            let (tag, rest) = behind.split_at(tag_len);
            let (word, mki) = rest.split_at(WORD);
            (tag, word, mki)
        } else {
            let (word, rest) = behind.split_at(WORD);
            let (mki, tag) = rest.split_at(mki_len);
            (tag, word, mki)
        };
        let word: [u8; WORD] = word.try_into().map_err(|_| Refused::Malformed)?;
        let (is_encrypted, index) =
            (u32::from_be_bytes(word) & IS_ENCRYPTED != 0, u64::from(u32::from_be_bytes(word) & !IS_ENCRYPTED));
        let key = named(&self.key, &self.others, mki).ok_or(Refused::Forged)?;
        if let Some(window) = self.streams.find(ssrc).and_then(|stream| stream.rtcp) {
            window.check(index)?;
        }
        let clear = if is_encrypted { RTCP_CLEAR } else { len };
        if !key.rtcp.open(bytes, clear, Place { ssrc, index }, Beside::Word(word), tag) {
            return Err(Refused::Forged);
        }
        let stream = self.streams.of_receiver(ssrc).ok_or(Refused::Exhausted)?;
        match &mut stream.rtcp {
            Some(window) => window.accept(index),
            none => *none = Some(Window::new(index)),
        }
        packet.truncate(len);
        Ok(())
    }

    /// How far it is.
    pub fn progress(&self) -> impl Iterator<Item = Progress> {
        self.streams.progress()
    }

    /// Goes on where another process was when that was noted.
    pub fn resume(&mut self, progress: Progress) {
        self.streams.resume(progress);
    }
}

/// Whoever has gone on for so long by the count that was before has not begun anew: that was somebody who has kept what it sent. What was under way
/// then is less.
fn settle(window: &Window, former: &mut Option<Window>, turned_at: u64) {
    const UNDER_WAY: u64 = 32;
    if former.is_some() && window.highest() > turned_at + UNDER_WAY {
        *former = None;
    }
}

/// The key of this name.
fn named<'a>(key: &'a Key, others: &'a [Key], mki: &[u8]) -> Option<&'a Key> {
    std::iter::once(key).chain(others).find(|key| key.mki.bytes() == mki)
}

/// As what a packet's index counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Count {
    /// As what it seems.
    Same,
    /// The number of turns is another one than was thought.
    Other,
    /// The peer has begun to count anew.
    Anew,
    /// The peer goes on with what it counted before it seemed to have begun anew.
    Former,
}

/// What an index may be as well: a turn later, or earlier where nothing is known yet; of the count before this one; or of a count that begins anew,
/// where it may.
fn others(known: &Stream, likely: u64, sequence: u16, may_restart: bool) -> [Option<(u64, Count)>; 4] {
    const TURN: u64 = 1 << 16;
    const HALF: u64 = TURN / 2;
    let is_first = known.rtp.is_none();
    let later = Some(likely + TURN);
    let earlier = likely.checked_sub(TURN).filter(|_| is_first);
    let former = known.former.map(|window| (window, window.estimate(sequence)));
    let former = former.filter(|(window, index)| window.check(*index).is_ok()).map(|(_, index)| index);
    let anew = u64::from(sequence);
    let is_beginning = known.rtp.is_some_and(|window| window.highest() >= anew + HALF);
    [
        later.map(|index| (index, Count::Other)),
        earlier.map(|index| (index, Count::Other)),
        former.map(|index| (index, Count::Former)),
        (is_beginning && may_restart).then_some((anew, Count::Anew)),
    ]
}
