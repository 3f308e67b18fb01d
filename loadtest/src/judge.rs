//! The judge: did every packet that left one end of a call arrive at the other, once, in order and unchanged?

mod call;
mod matching;
mod routes;
mod stream;
mod verdict;

use std::path::Path;

use crate::error::Error;
use crate::frame;
use crate::pcap::Reader;
use crate::report::{Delay, Report};
use crate::signalling::{self, Signalling};
use routes::{Role, Routes};
use stream::Stream;

/// A place of capture, by its position among the arguments: end A, end B, ...
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct End(usize);

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match u8::try_from(self.0) {
            Ok(number @ 0..26) => write!(f, "end {}", char::from(b'A' + number)),
            _ => write!(f, "end number {}", self.0 + 1),
        }
    }
}

/// Compares the captures taken at two ends of the same calls. See [`judge_ends`].
///
/// # Errors
/// When a capture cannot be read.
pub fn judge(end_a: &Path, end_b: &Path) -> Result<Report, Error> {
    judge_ends(&[end_a, end_b])
}

/// Compares captures taken at any number of ends (three trunks, say); every call must be seen at exactly two of them,
/// with the same Call-ID.
///
/// For both directions of every call, the RTP packets that left one end (from the endpoint that this end told in its
/// SDP, to the relay's endpoint that it was told) must arrive at the other end (from the relay's endpoint that the other
/// end was told, to the endpoint that it told itself): each exactly once, in order, with the same UDP payload, and with
/// right checksums at both ends. The same goes for RTCP, on the next higher port or on the same one (RFC 5761). A
/// direction in which no RTP packet was sent is a failure, for there nothing was judged. Datagrams between these
/// endpoints that look neither like RTP nor like RTCP are judged for their checksums only.
///
/// Which end made the call is told by the clock: its INVITE was captured first. So the captures must be of one machine
/// or of machines whose clocks agree better than the way of an INVITE through the proxy takes. Each capture must be of
/// one interface, be running before the first call and until after the last packet, and be whole (no snap length).
///
/// The files are read twice, record by record; 32 bytes are kept of every packet.
///
/// # Errors
/// When a capture cannot be read.
pub fn judge_ends(ends: &[&Path]) -> Result<Report, Error> {
    let mut report = Report::default();
    let told = ends.iter().map(|path| signalling::read(path)).collect::<Result<Vec<_>, _>>()?;
    for (place, signalling) in told.iter().enumerate() {
        confess_gaps(End(place), signalling, &mut report);
    }
    let calls = call::pair(&told, &mut report);
    report.calls = u64::try_from(calls.len()).unwrap_or(u64::MAX);
    if calls.is_empty() {
        report.fail("no call with audio was captured at two ends, so that nothing was judged".to_owned());
    }
    let mut streams: Vec<_> = calls.into_iter().flat_map(call::Call::streams).collect();
    for (place, path) in ends.iter().enumerate() {
        listen(path, &Routes::of(End(place), &streams), &mut streams)?;
    }
    let mut delays = Vec::new();
    for stream in &streams {
        delays.extend(verdict::pronounce(stream, &mut report));
    }
    let arrived = report.packets_received + report.rtcp_received;
    report.payload_identical = arrived > 0 && report.payload_differences == 0;
    report.added_delay_us = Delay::of(delays);
    Ok(report)
}

/// What was captured but could not be looked at might be anything, so that it must not go by in silence.
fn confess_gaps(end: End, signalling: &Signalling, report: &mut Report) {
    if signalling.cut_short > 0 {
        report.fail(format!(
            "the capture at {end} has {} UDP packets that its snap length cut short: they were not judged",
            signalling.cut_short
        ));
    }
    if signalling.fragments > 0 {
        report.fail(format!(
            "the capture at {end} has {} fragments of UDP packets: they were not judged",
            signalling.fragments
        ));
    }
}

/// Reads a capture for the packets of the streams.
fn listen(path: &Path, routes: &Routes, streams: &mut [Stream]) -> Result<(), Error> {
    let reader = Reader::open(path).map_err(Error::read(path))?;
    let link_type = reader.link_type();
    for record in reader {
        let record = record.map_err(Error::read(path))?;
        let Some(datagram) = frame::decode(link_type, &record.bytes).udp() else { continue };
        let Some(route) = routes.find(datagram.flow(), record.time) else { continue };
        let Some(stream) = streams.get_mut(route.stream) else { continue };
        match route.role {
            Role::Sent => stream.sent.take(route.channel, record.time, &datagram),
            Role::Received => stream.received.take(route.channel, record.time, &datagram),
            Role::Misdirected => stream.misdirect(&datagram),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
