//! What packets that their slot did not forward teach the table, and how they leave.

use std::net::SocketAddr;
use std::time::Instant;

use border::Component;
use flow::rtp::{self, RtpFields, Sequence};
use flow::slot::Flags;
use flow::{Be16, Bearing, Hop, Reason, Rule, SlotIndex};

use super::FlowTable;
use crate::engine::Output;
use crate::learning::Admission;
use crate::matter::Matter;
use crate::quality::Sent;
use crate::stream::Stream;
use crate::streams::{Streams, rtp_slot, stream, stream_mut, taught};

/// After so many changes of its synchronisation source between two sweeps a stream is no longer held to one: it mixes several, and each
/// change would cost a packet the fast path.
const SSRC_CHANGES: u8 = 3;

/// How a packet leaves, and how it is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Departing {
    pub(crate) bearing: Bearing,
    /// Source and destination port.
    pub(crate) ports: [Be16; 2],
    /// The synchronisation source that the stream is held to; bytes in network order.
    pub(crate) source: Option<u32>,
    /// The next hop, where packets go to the device and it is resolved.
    pub(crate) hop: Option<Hop>,
}

impl FlowTable {
    /// Takes a packet that its slot did not forward: learns from it what there is to learn.
    ///
    /// # Errors
    /// The reason why the packet cannot be sent on.
    pub(crate) fn learn(
        &self,
        index: SlotIndex,
        source: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) -> Result<Departing, Reason> {
        let mut streams = self.lock();
        let local = stream(&streams, index).ok_or(Reason::NoCall)?.spec.local.ip();
        if self.shape.trust.judge(local, source.ip()).is_err() {
            return Err(Reason::Untrusted);
        }
        let pupil = taught(&streams, index).ok_or(Reason::NoCall)?;
        let rtp_host = rtp_slot(pupil).and_then(|rtp| stream(&streams, rtp)?.peer.host());
        let has_way = self.addresses(&streams, index).is_ok();
        // RTCP of a party that shares its port comes by the slot of its RTCP; what comes by that of the RTP is nobody's who has agreed to anything.
        let is_strayed = pupil == index && !index.is_odd() && rtp::is_rtcp(payload);
        let matter = stream(&streams, pupil).ok_or(Reason::NoCall)?.matter(payload);
        let matter = if is_strayed { Matter::Noise } else { matter };
        let peer = &mut stream_mut(&mut streams, pupil).ok_or(Reason::NoCall)?.peer;
        let before = peer.standing();
        let admission = peer.admit(source, matter, rtp_host, now);
        let after = peer.standing();
        if let Some(turn) = peer.next_turn() {
            streams.wait_for(pupil, turn);
        }
        let is_peer = admission == Ok(Admission::Peer);
        if is_peer
            && has_way
            && let Some(fields) = rtp::parse(payload)
            && let Some(stream) = stream_mut(&mut streams, index)
            && stream.spec.component == Component::Rtp
        {
            self.follow_ssrc(stream, index, &fields, now);
        }
        if is_peer || after != before {
            self.program(&mut streams, pupil, now);
            if pupil != index {
                self.program(&mut streams, index, now);
            }
        }
        if after != before {
            self.follow_rtp(&mut streams, pupil, now);
        }
        if after.remote != before.remote {
            self.program_other(&mut streams, pupil, now);
        }
        admission?;
        // What somebody says who is only heard for now is nobody's report.
        if is_peer {
            self.read_report(&mut streams, index, payload, now);
        }
        let rule = self.send_only(&mut streams, index);
        if let (Err(_), Some(stream)) = (&rule, stream_mut(&mut streams, index)) {
            stream.errors += 1;
            self.sums.fail();
        }
        rule
    }

    /// What is known of a party's RTP has changed. RTCP that shares its port follows it; other RTCP is accepted only from the host that the
    /// RTP comes from, and that may be another one now.
    pub(super) fn follow_rtp(&self, streams: &mut Streams, rtp: SlotIndex, now: Instant) {
        let index = rtp.sibling();
        if rtp.is_odd() {
            return;
        }
        let host = stream(streams, rtp).and_then(|rtp| rtp.peer.host());
        let (Some(host), Some(stream)) = (host, stream_mut(streams, index)) else { return };
        let before = stream.peer.standing();
        stream.peer.follow_rtp(host);
        if stream.spec.mux || stream.peer.standing() != before {
            self.program(streams, index, now);
            self.program_other(streams, index, now);
        }
    }

    /// How a packet of a slot is sent on, whether or not the slot is active.
    fn send_only(&self, streams: &mut Streams, index: SlotIndex) -> Result<Departing, Reason> {
        let addresses = self.addresses(streams, index)?;
        let stream = stream_mut(streams, index).ok_or(Reason::NoCall)?;
        Ok(Departing {
            bearing: Bearing { from: addresses.from.ip(), to: addresses.to.ip(), tos: stream.spec.tos },
            ports: [addresses.from, addresses.to].map(|endpoint| Be16::new(endpoint.port())),
            source: stream.held_to(),
            hop: None,
        })
    }

    /// How a packet leaves by a rule that forwards. The answer holds if the rule still stands afterwards: a number is its way's for so long.
    pub(crate) fn departing(&self, rule: &Rule) -> Option<Departing> {
        let bearing = self.hops.cell(rule.hop)?.bearing();
        let source = if rule.flags.has(Flags::ANY_SSRC) { None } else { Some(rule.ssrc) };
        let hop = match self.shape.output {
            Output::Device => self.hops.hop(rule.hop),
            Output::Stack => None,
        };
        Some(Departing { bearing, ports: rule.ports, source, hop })
    }

    /// Begins to account a synchronisation source that was not seen before.
    fn follow_ssrc(&self, stream: &mut Stream, index: SlotIndex, fields: &RtpFields, now: Instant) {
        if stream.ssrc == Some(fields.ssrc) || stream.any_ssrc {
            return;
        }
        let Some(cells) = self.cells(index) else { return };
        // A packet that passed the slot's door a moment ago may still be counted; the tally allows for it.
        cells.slot.program(Rule::waiting(Flags::CALL, 0));
        self.sums.add(stream.tally.fold(cells.fast(), cells.carried.read(), now));
        let before = Sequence(fields.sequence.0.wrapping_sub(1));
        cells.slot.restart(cells.timing, fields.sequence, stream.spec.clock_khz);
        cells.carried.restart(before, stream.spec.clock_khz);
        stream.tally.restart(fields.sequence);
        stream.ssrc_changes = stream.ssrc_changes.saturating_add(1);
        stream.any_ssrc = stream.ssrc_changes > SSRC_CHANGES;
        stream.ssrc = Some(fields.ssrc);
    }

    /// What the party of an RTCP stream was sent of its media: what the other party's RTP stream has carried.
    fn sent(&self, streams: &mut Streams, rtcp: SlotIndex) -> Sent {
        let clock_khz = stream(streams, rtcp.sibling()).map_or(0, |rtp| rtp.spec.clock_khz);
        let other = stream(streams, rtcp.sibling()).and_then(|rtp| rtp.spec.other);
        let sent = other.and_then(|other| {
            let (cells, stream) = (self.cells(other)?, stream_mut(streams, other)?);
            self.sums.add(stream.tally.fold(cells.fast(), cells.carried.read(), Instant::now()));
            // With what was lost on the way to the relay, which the party misses too.
            let lost = u64::try_from(stream.tally.lost()).unwrap_or(0);
            let (fast, slow) = (stream.tally.fast_packets(), stream.tally.slow_packets());
            Some(Sent { packets: fast + slow + lost, fast, slow, clock_khz })
        });
        sent.unwrap_or(Sent { clock_khz, ..Sent::default() })
    }

    /// Reads what a party reports by RTCP.
    fn read_report(&self, streams: &mut Streams, index: SlotIndex, payload: &[u8], now: Instant) {
        let sent = self.sent(streams, index);
        let Some(mut reports) = stream_mut(streams, index)
            .filter(|stream| self.reads(stream))
            .map(|stream| stream.reports.take().unwrap_or_default())
        else {
            return;
        };
        let other = stream(streams, index).and_then(|here| stream(streams, here.spec.other?));
        reports.read(other.and_then(|other| other.reports.as_deref()), sent, payload, now);
        let is_doubted = reports.doubt.is_doubted();
        if let Some(stream) = stream_mut(streams, index) {
            stream.reports = Some(reports);
        }
        // It is the other party's media that this one hears or not.
        let sender = stream(streams, index.sibling()).and_then(|rtp| rtp.spec.other);
        if let Some(sender) = sender
            && let Some(stream) = stream_mut(streams, sender)
            && stream.is_doubted != is_doubted
        {
            stream.is_doubted = is_doubted;
            tracing::info!(
                local = %stream.spec.local,
                is_doubted,
                "a party reports that it hears nothing of what XDP sends: the slow path takes over, and gives back if it is not heard either"
            );
            self.program(streams, sender, now);
        }
    }
}
