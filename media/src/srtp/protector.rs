//! RTP and RTCP to SRTP and SRTCP.

use super::cipher::{Beside, Cipher, Place};
use super::index::Window;
use super::parts::{IS_ENCRYPTED, RTCP_CLEAR, RtpHead, WORD, rtcp_ssrc};
use super::streams::{ALL, GUESTS, Progress, Streams};
use super::{MasterKey, Mki, Refused};
use crate::packet::Packet;

/// So many packets of RTCP one key protects for a source (RFC 3711 9.2); of RTP, 48 bits of them.
const MOST_RTCP: u64 = 1 << 31;
const MOST_RTP: u64 = 1 << 48;

/// Protects the packets of one direction by a key.
pub struct Protector {
    rtp: Cipher,
    /// It is needed every few seconds.
    rtcp: Box<Cipher>,
    mki: Mki,
    streams: Streams,
    /// The index of the first report of a source.
    first_report: u64,
}

impl Protector {
    /// By this key, from the beginning on.
    pub fn new(key: &MasterKey) -> Self {
        let [rtp, rtcp] = key.ciphers();
        Self { rtp, rtcp: Box::new(rtcp), mki: key.mki().clone(), streams: Streams::default(), first_report: 0 }
    }

    /// Protects an RTP packet. A source that begins anew, by lower sequence numbers than are behind it, goes on in what is sent: its indices would
    /// be such as were used, or none that the peer thinks of.
    ///
    /// # Errors
    /// When it is none, or may not be sent; then it is as it was.
    pub fn rtp(&mut self, packet: &mut Packet<'_>) -> Result<(), Refused> {
        self.rtp_of(packet, ALL)
    }

    /// Protects a packet of somebody of whom nobody knows whether it is the party, who may be of few sources only.
    ///
    /// # Errors
    /// As the others.
    pub fn of_guest(&mut self, packet: &mut Packet<'_>, is_rtcp: bool) -> Result<(), Refused> {
        if is_rtcp { self.rtcp_of(packet, GUESTS) } else { self.rtp_of(packet, GUESTS) }
    }

    fn rtp_of(&mut self, packet: &mut Packet<'_>, most: usize) -> Result<(), Refused> {
        self.rtp.fetch();
        let head = RtpHead::read(packet.payload()).ok_or(Refused::Malformed)?;
        has_room(packet, self.rtp.tag_len() + self.mki.bytes().len())?;
        let stream = self.streams.of_sender(head.ssrc, most)?;
        let index = match &mut stream.rtp {
            Some(window) => {
                let mut index = window.estimate(head.sequence.wrapping_add(stream.shift));
                // Another payload under the same index would tell both to whoever hears them (RFC 3711 9.1).
                match window.check(index) {
                    Err(Refused::Late) => {
                        index = window.highest() + 1;
                        stream.shift = (index as u16).wrapping_sub(head.sequence);
                    }
                    checked => checked?,
                }
                if index >= MOST_RTP {
                    return Err(Refused::Exhausted);
                }
                window.accept(index);
                index
            }
            none => none.insert(Window::new(u64::from(head.sequence))).highest(),
        };
        if stream.shift != 0
            && let Some(sequence) = packet.payload_mut().get_mut(2..4)
        {
            sequence.copy_from_slice(&(index as u16).to_be_bytes());
        }
        let place = Place { ssrc: head.ssrc, index };
        let tag = self.rtp.seal(packet.payload_mut(), head.len, place, Beside::Turns);
        let (tag, mki) = (tag.get(..self.rtp.tag_len()).unwrap_or_default(), self.mki.bytes());
        // A tag of AES-GCM belongs to what is encrypted, and the key's name is behind it.
        let behind = if self.rtp.is_gcm() { [tag, mki] } else { [mki, tag] };
        append(packet, behind)
    }

    /// Protects an RTCP packet.
    ///
    /// # Errors
    /// When it is none, or may not be sent; then it is as it was.
    pub fn rtcp(&mut self, packet: &mut Packet<'_>) -> Result<(), Refused> {
        self.rtcp_of(packet, ALL)
    }

    fn rtcp_of(&mut self, packet: &mut Packet<'_>, most: usize) -> Result<(), Refused> {
        let ssrc = rtcp_ssrc(packet.payload()).ok_or(Refused::Malformed)?;
        has_room(packet, self.rtcp.tag_len() + WORD + self.mki.bytes().len())?;
        let stream = self.streams.of_sender(ssrc, most)?;
        let index = stream.rtcp.map_or(self.first_report, |window| window.highest() + 1);
        if index >= MOST_RTCP {
            return Err(Refused::Exhausted);
        }
        stream.rtcp = Some(Window::new(index));
        let word = (index as u32 | IS_ENCRYPTED).to_be_bytes();
        let place = Place { ssrc, index };
        let tag = self.rtcp.seal(packet.payload_mut(), RTCP_CLEAR, place, Beside::Word(word));
        let (tag, mki) = (tag.get(..self.rtcp.tag_len()).unwrap_or_default(), self.mki.bytes());
        append(packet, if self.rtcp.is_gcm() { [tag, &word, mki] } else { [&word, mki, tag] })
    }

    /// How far it is.
    pub fn progress(&self) -> impl Iterator<Item = Progress> {
        self.streams.progress()
    }

    /// Another process has sent reports until this index, and perhaps some more: no source begins before it.
    pub const fn skip_reports(&mut self, until: u64) {
        self.first_report = until;
    }

    /// Goes on where another process was when that was noted. It may have sent reports since then, of which none may be repeated: so many are left
    /// out.
    pub fn resume(&mut self, progress: Progress, reports: u64) {
        self.streams.resume(Progress { rtcp: progress.rtcp.map(|index| index + reports), ..progress });
    }
}

fn has_room(packet: &Packet<'_>, len: usize) -> Result<(), Refused> {
    if packet.tail_room() < len { Err(Refused::NoRoom) } else { Ok(()) }
}

fn append<const PARTS: usize>(packet: &mut Packet<'_>, parts: [&[u8]; PARTS]) -> Result<(), Refused> {
    parts.into_iter().try_for_each(|part| packet.append(part).map_err(|_| Refused::NoRoom))
}
