//! One direction of a call, and what was captured of it.

use std::hash::{DefaultHasher, Hasher};

use super::End;
use crate::frame::{Datagram, Flow};
use crate::pcap::CaptureTime;
use crate::rtp::{self, Rtcp, Sequence, Ssrc};
use crate::signalling::CallId;

/// The two kinds of packets of a stream, which are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Rtp,
    Rtcp,
}

/// What tells a packet from its neighbours, whatever became of the rest of it: SSRC and sequence number of RTP, SSRC
/// and packet type of RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn rtp(ssrc: Ssrc, sequence: Sequence) -> Self {
        Self(u64::from(ssrc.0) << 16 | u64::from(sequence.0))
    }

    fn rtcp(packet: Rtcp) -> Self {
        Self(u64::from(packet.ssrc.0) << 16 | u64::from(packet.packet_type))
    }

    /// For sentences.
    pub(super) fn name(self, channel: Channel) -> String {
        let (ssrc, low) = (self.0 >> 16, self.0 & 0xffff);
        match channel {
            Channel::Rtp => format!("SSRC {ssrc:#010x}, sequence number {low}"),
            Channel::Rtcp => format!("SSRC {ssrc:#010x}, packet type {low}"),
        }
    }
}

/// A captured packet. Of the bytes, length and a 64-bit hash are kept: two packets that differ have one and the same
/// by an accident of 1 in 2^64 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) key: Key,
    pub(super) hash: u64,
    pub(super) length: usize,
    pub(super) time: CaptureTime,
}

impl Packet {
    /// `None` when the datagram is neither RTP nor RTCP. RTCP on the port of RTP is known by its packet type.
    fn of(channel: Channel, time: CaptureTime, payload: &[u8]) -> Option<(Channel, Self)> {
        let (channel, key) = match (Rtcp::parse(payload), channel) {
            (Some(packet), _) => (Channel::Rtcp, Key::rtcp(packet)),
            (None, Channel::Rtp) => {
                let packet = rtp::Packet::parse(payload)?;
                (Channel::Rtp, Key::rtp(packet.ssrc, packet.sequence))
            }
            (None, Channel::Rtcp) => return None,
        };
        let mut hasher = DefaultHasher::new();
        hasher.write(payload);
        Some((channel, Self { key, hash: hasher.finish(), length: payload.len(), time }))
    }

    /// All bytes are the same.
    pub(super) const fn is_same_as(&self, other: &Self) -> bool {
        self.hash == other.hash && self.length == other.length
    }
}

/// A stream as it is captured at one end.
#[derive(Debug, Clone)]
pub(super) struct Leg {
    pub(super) end: End,
    /// When the call began at this end.
    pub(super) since: CaptureTime,
    /// Addresses of the RTP packets; those of RTCP have the next higher ports.
    pub(super) flow: Flow,
    pub(super) rtp: Vec<Packet>,
    pub(super) rtcp: Vec<Packet>,
    pub(super) bad_checksums: u64,
    /// Those of the bad checksums that transmit checksum offload explains.
    pub(super) unfinished_checksums: u64,
}

impl Leg {
    pub(super) const fn new(end: End, since: CaptureTime, flow: Flow) -> Self {
        Self { end, since, flow, rtp: Vec::new(), rtcp: Vec::new(), bad_checksums: 0, unfinished_checksums: 0 }
    }

    /// Notes a captured packet of this leg.
    pub(super) fn take(&mut self, channel: Channel, time: CaptureTime, datagram: &Datagram<'_>) {
        if !datagram.ip_checksum_ok || !datagram.udp_checksum_ok {
            self.bad_checksums += 1;
        }
        if datagram.ip_checksum_ok && datagram.udp_checksum_unfinished {
            self.unfinished_checksums += 1;
        }
        match Packet::of(channel, time, datagram.payload) {
            Some((Channel::Rtp, packet)) => self.rtp.push(packet),
            Some((Channel::Rtcp, packet)) => self.rtcp.push(packet),
            None => {}
        }
    }
}

/// One direction of a call.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) call: CallId,
    pub(super) sent: Leg,
    pub(super) received: Leg,
    /// RTP or RTCP packets from the relay's address to another than that of the call.
    pub(super) misdirected: u64,
}

impl Stream {
    pub(super) const fn new(call: CallId, sent: Leg, received: Leg) -> Self {
        Self { call, sent, received, misdirected: 0 }
    }

    /// Notes a packet that came from the relay's address but went elsewhere.
    pub(super) fn misdirect(&mut self, datagram: &Datagram<'_>) {
        // As on the port of RTP, either kind counts; STUN and the like do not.
        if Packet::of(Channel::Rtp, CaptureTime::default(), datagram.payload).is_some() {
            self.misdirected += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTCP: [u8; 8] = [0x80, 200, 0, 1, 0, 0, 0, 7];

    fn rtp(sequence: u16) -> [u8; 12] {
        rtp::header(false, 8, Sequence(sequence), rtp::Timestamp(0), Ssrc(7))
    }

    fn packet(channel: Channel, payload: &[u8]) -> Option<(Channel, Packet)> {
        Packet::of(channel, CaptureTime::default(), payload)
    }

    #[test]
    fn the_key_is_what_names_the_packet() {
        let (channel, packet_8) = packet(Channel::Rtp, &rtp(8)).unwrap();
        assert_eq!(packet_8.key.name(channel), "SSRC 0x00000007, sequence number 8");
        let (channel, report) = packet(Channel::Rtcp, &RTCP).unwrap();
        assert_eq!(report.key.name(channel), "SSRC 0x00000007, packet type 200");
    }

    #[test]
    fn rtcp_is_rtcp_on_either_port_and_rtp_on_its_own_only() {
        assert_eq!(packet(Channel::Rtp, &RTCP).unwrap().0, Channel::Rtcp);
        assert_eq!(packet(Channel::Rtcp, &RTCP).unwrap().0, Channel::Rtcp);
        assert_eq!(packet(Channel::Rtp, &rtp(8)).unwrap().0, Channel::Rtp);
        assert_eq!(packet(Channel::Rtcp, &rtp(8)), None);
        assert_eq!(packet(Channel::Rtp, b"\0\x01\0\0 a STUN request"), None);
    }

    #[test]
    fn packets_of_other_bytes_or_another_length_are_not_the_same() {
        let with = |bytes: &[u8]| packet(Channel::Rtp, &[&rtp(8), bytes].concat()).unwrap().1;
        assert!(with(b"abc").is_same_as(&with(b"abc")));
        assert!(!with(b"abc").is_same_as(&with(b"abd")));
        assert!(!with(b"abc").is_same_as(&with(b"abc\0")));
        assert_eq!(with(b"abc").key, with(b"abd").key);
        let longer = Packet { length: 99, ..with(b"abc") };
        assert!(!with(b"abc").is_same_as(&longer), "a collision of the hash");
    }
}
