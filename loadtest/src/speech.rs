//! The maker of speech captures: what sipp's `play_pcap_audio` plays during a call.
//!
//! sipp takes Ethernet frames of UDP from the capture, keeps their spacing in time, replaces addresses and ports with
//! those of the call and recomputes the checksum.

use std::path::Path;

use crate::error::Error;
use crate::frame::{self, Flow};
use crate::pcap::{CaptureTime, Reader, Writer};
use crate::rtp::{self, Packet, Sequence, Ssrc, Timestamp};

/// Bytes, and ticks of the RTP clock, of one packet: 20 ms of G.711 at 8000 Hz (RFC 3551 section 4.5.14).
const SAMPLES_PER_PACKET: u32 = 160;
/// Packets in a second.
const PACKETS_PER_SECOND: u64 = 50;
/// Microseconds from packet to packet.
const PACKET_MICROS: u64 = 20_000;
/// Capture time of the first packet, in seconds: any would do, a fixed one makes equal files.
const FIRST_SECOND: u64 = 1_000_000_000;

/// The capture that gives the speech.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a>(pub &'a Path);

/// The capture to write.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a>(pub &'a Path);

/// What the written stream shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeechPlan {
    /// How long it plays, in seconds.
    pub seconds: u32,
    /// SSRC of all packets.
    pub ssrc: Ssrc,
    /// Sequence number of the first packet; near 65535, the stream wraps.
    pub first_sequence: Sequence,
    /// Timestamp of the first packet.
    pub first_timestamp: Timestamp,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeechInfo {
    /// RTP packets, 50 for every second.
    pub packets: u64,
    /// RTP payload type, that of the source: 0 (PCMU) or 8 (PCMA).
    pub payload_type: u8,
}

/// Writes a capture that plays the speech of `source` again and again for exactly `plan.seconds`.
///
/// The speech is the payload of the first G.711 stream in the source, cut anew into 20 ms whatever the packets were
/// there, so that it loops without a gap. The target is a classic pcap file of Ethernet frames with IPv4, 20 ms apart,
/// sequence numbers and timestamps continuous, the marker on the first packet only.
///
/// # Errors
/// When the source cannot be read or has no G.711 RTP, or the target cannot be written.
pub fn write(source: Source<'_>, target: Target<'_>, plan: &SpeechPlan) -> Result<SpeechInfo, Error> {
    let (payload_type, speech) = read(source.0)?;
    let failed = || Error::write(target.0);
    let mut writer = Writer::create(target.0).map_err(failed())?;
    // Documentation addresses (RFC 5737), for sipp puts its own in their place. sipp sends to the call's port plus what
    // a packet's port is above the lowest one of the file, so that all packets must have one port.
    let flow = Flow { src: ([192, 0, 2, 1], 6000).into(), dst: ([192, 0, 2, 2], 6000).into() };
    let packets = u64::from(plan.seconds) * PACKETS_PER_SECOND;
    let mut samples = speech.iter().copied().cycle();
    let (mut sequence, mut timestamp) = (plan.first_sequence, plan.first_timestamp);
    for number in 0..packets {
        let header = rtp::header(number == 0, payload_type, sequence, timestamp, plan.ssrc);
        let mut payload = header.to_vec();
        payload.extend(samples.by_ref().take(SAMPLES_PER_PACKET as usize));
        let time = CaptureTime::from_micros(FIRST_SECOND * 1_000_000 + number * PACKET_MICROS);
        writer.write(time, &frame::ethernet_udp(flow, &payload)?).map_err(failed())?;
        sequence = Sequence(sequence.0.wrapping_add(1));
        timestamp = Timestamp(timestamp.0.wrapping_add(SAMPLES_PER_PACKET));
    }
    writer.finish().map_err(failed())?;
    Ok(SpeechInfo { packets, payload_type })
}

/// Payload type and samples of the first G.711 stream of a capture; the samples are never empty.
fn read(path: &Path) -> Result<(u8, Vec<u8>), Error> {
    let reader = Reader::open(path).map_err(Error::read(path))?;
    let link_type = reader.link_type();
    let mut stream = None;
    let mut speech = Vec::new();
    for record in reader {
        let record = record.map_err(Error::read(path))?;
        let Some(datagram) = frame::decode(link_type, &record.bytes).udp() else { continue };
        let Some(packet) = Packet::parse(datagram.payload).filter(|packet| matches!(packet.payload_type, 0 | 8)) else {
            continue;
        };
        // A second stream (the other direction, say) between the packets would chop the speech.
        let this = (packet.ssrc, packet.payload_type);
        if *stream.get_or_insert(this) == this {
            speech.extend(packet.payload().unwrap_or_default());
        }
    }
    stream
        .filter(|_| !speech.is_empty())
        .map(|(_, payload_type)| (payload_type, speech))
        .ok_or_else(|| Error::NoSpeech { path: path.to_path_buf() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcap::LinkType;
    use crate::testing::TempFile;

    const PLAN: SpeechPlan = SpeechPlan {
        seconds: 3,
        ssrc: Ssrc(0xfeed),
        first_sequence: Sequence(65_500),
        first_timestamp: Timestamp(u32::MAX - 159),
    };

    /// A capture of three packets of one stream, 100 different bytes each, with two that are not of it in between.
    fn source() -> TempFile {
        let file = TempFile::new();
        let mut writer = Writer::create(file.path()).unwrap();
        let flow = Flow { src: "[::1]:1".parse().unwrap(), dst: "[::1]:2".parse().unwrap() };
        let mut put = |payload_type, ssrc, bytes: Vec<u8>| {
            let header = rtp::header(false, payload_type, Sequence(0), Timestamp(0), Ssrc(ssrc));
            let frame = frame::ethernet_udp(flow, &[&header[..], &bytes].concat()).unwrap();
            writer.write(CaptureTime::default(), &frame).unwrap();
        };
        put(101, 1, vec![0xee; 4]);
        put(0, 1, (0..100).collect());
        put(0, 2, vec![0xdd; 160]);
        put(0, 1, (100..200).collect());
        put(0, 1, (0..100).map(|byte| 255 - byte).collect());
        writer.finish().unwrap();
        file
    }

    /// Time in microseconds and UDP payload of all packets of a capture, having checked what is alike in all.
    fn written(path: &Path) -> Vec<(u64, Vec<u8>)> {
        let reader = Reader::open(path).unwrap();
        assert_eq!(reader.link_type(), LinkType::Ethernet);
        let packet = |bytes: &[u8]| {
            let datagram = frame::decode(LinkType::Ethernet, bytes).udp().unwrap();
            assert!(datagram.ip_checksum_ok && datagram.udp_checksum_ok);
            assert_eq!(datagram.dst.port(), 6000);
            datagram.payload.to_vec()
        };
        reader.map(Result::unwrap).map(|record| (record.time.nanos() / 1_000, packet(&record.bytes))).collect()
    }

    #[test]
    fn the_stream_is_continuous_and_of_the_length_asked_for() {
        let (source, target) = (source(), TempFile::new());
        let info = write(Source(source.path()), Target(target.path()), &PLAN).unwrap();
        assert_eq!(info, SpeechInfo { packets: 150, payload_type: 0 });
        let packets = written(target.path());
        assert_eq!(packets.len(), 150);
        let first_time = packets[0].0;
        for ((number, (time, bytes)), place) in (0u32..).zip(&packets).zip(0u64..) {
            let packet = Packet::parse(bytes).unwrap();
            assert_eq!(*time, first_time + place * 20_000);
            assert_eq!((packet.marker, packet.payload_type, packet.ssrc), (number == 0, 0, Ssrc(0xfeed)));
            assert_eq!(u32::from(packet.sequence.0), (65_500 + number) % 65_536);
            assert_eq!(packet.timestamp.0, (u32::MAX - 159).wrapping_add(number * 160));
            assert_eq!(packet.payload().unwrap().len(), 160);
        }
    }

    #[test]
    fn the_speech_of_the_first_stream_loops_without_a_gap() {
        let (source, target) = (source(), TempFile::new());
        write(Source(source.path()), Target(target.path()), &PLAN).unwrap();
        let played: Vec<u8> = written(target.path())
            .iter()
            .flat_map(|(_, bytes)| Packet::parse(bytes).unwrap().payload().unwrap().to_vec())
            .collect();
        let speech: Vec<u8> = (0..200).chain((0..100).map(|byte| 255 - byte)).collect();
        let expected: Vec<u8> = speech.into_iter().cycle().take(150 * 160).collect();
        assert!(played == expected);
    }

    #[test]
    fn a_capture_without_g711_is_refused() {
        let (empty, target) = (TempFile::new(), TempFile::new());
        Writer::create(empty.path()).unwrap().finish().unwrap();
        let result = write(Source(empty.path()), Target(target.path()), &PLAN);
        assert!(matches!(result, Err(Error::NoSpeech { .. })), "{result:?}");
    }

    #[test]
    fn the_speech_that_comes_with_sipp_is_played() {
        let real = Path::new("/usr/share/sip-tester/g711a.pcap");
        if !real.exists() {
            eprintln!("skipped: {} is not installed", real.display());
            return;
        }
        let (payload_type, speech) = read(real).unwrap();
        assert_eq!((payload_type, speech.len()), (8, 236 * 240), "236 packets of 30 ms of A-law");
        let target = TempFile::new();
        let info = write(Source(real), Target(target.path()), &SpeechPlan { seconds: 10, ..PLAN }).unwrap();
        assert_eq!((info.packets, info.payload_type), (500, 8));
        assert_eq!(written(target.path())[353].1[12..], speech[353 * 160..354 * 160]);
    }
}
