//! A call.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use border::{Component, Edge, Extremes, Passes, Path, Quality, Sample};
use calls::outcome::{
    CallAccount, DescriptionAccount, DescriptionKind, MediaAccount, PartyAccount, Protection, SinkAccount,
    SourceAccount,
};
use calls::sdp::Direction;
use serde::{Deserialize, Serialize};

use super::text::text;
use super::trouble::{Trouble, troubles};

/// Everything about a call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CallView {
    /// What is told of it in a list.
    #[serde(flatten)]
    pub summary: Summary,
    /// Seconds since it was signalled last.
    pub signalled_ago: f64,
    /// Its parties, and those who get copies.
    pub parties: Vec<PartyView>,
    /// Its last offer and its last answer, since this daemon has it; not in records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub descriptions: Vec<DescriptionView>,
}

/// A description on its way from one party to another.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DescriptionView {
    /// `offer` or `answer`.
    pub kind: String,
    /// The tag of whoever has said it.
    pub tag: String,
    /// Seconds ago.
    pub ago: f64,
    /// As it came, without keys and passwords; what is no UTF-8 is replaced.
    pub before: String,
    /// As it went on.
    pub after: String,
}

/// A call in a list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Its Call-ID; what is no UTF-8 is escaped.
    pub call_id: String,
    /// When it came to be, in seconds since 1970.
    pub created: f64,
    /// How long ago that is, in seconds.
    pub age: f64,
    /// How many parties it has.
    pub legs: usize,
    /// The path of its RTP: `fast`, `slow`, `mixed`, or `none` where no packet is expected.
    pub path: String,
    /// Why some of it is not on the fast path: by names of reasons.
    pub reasons: Vec<String>,
    /// RTP packets that were carried, on both paths.
    pub packets: u64,
    /// RTP packets that arrived and could not be sent on.
    pub errors: u64,
    /// RTP packets that never arrived.
    pub lost: i64,
    /// The lowest of the average scores that its parties report (MOS, 1.0 to 4.5).
    pub mos: Option<f64>,
    /// Seconds since the last RTP packet of whoever spoke last.
    pub idle: Option<f64>,
    /// What is wrong with it.
    pub troubles: Vec<Trouble>,
}

/// A party.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PartyView {
    /// Its tag, once it has one.
    pub tag: Option<String>,
    /// Its name in the proxy's script.
    pub label: Option<String>,
    /// The branch on which it was offered the call.
    pub via_branch: Option<String>,
    /// The tag of whom it talks with.
    pub partner: Option<String>,
    /// Its medias.
    pub medias: Vec<MediaView>,
}

/// A media of a party.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MediaView {
    /// `audio`, `video`, `image`.
    pub kind: String,
    /// The transport, such as `RTP/SAVP`.
    pub protocol: String,
    /// The codec with its clock rate, where it is known.
    pub codec: Option<String>,
    /// Which way the party wants it to flow; none where it is rejected.
    pub direction: Option<String>,
    /// Whether it is on hold by its address.
    pub is_held: bool,
    /// `plain`, `passed` (by the parties' own keys), or the suite by which the relay protects it.
    pub protection: String,
    /// RTP and RTCP share a port.
    pub mux: bool,
    /// What is done to what the party sends: `blocked`, `silenced`; and `playing`, when it hears a recording.
    pub treatments: Vec<String>,
    /// RTP and RTCP.
    pub sources: Vec<SourceView>,
}

/// What arrives at one port.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SourceView {
    /// `rtp` or `rtcp`.
    pub component: String,
    /// Where the party sends to.
    pub local: SocketAddr,
    /// The interface's name.
    pub interface: Option<String>,
    /// Where the party says it is.
    pub signalled: Option<SocketAddr>,
    /// Where it was heard, or else where it is believed to be.
    pub peer: Option<SocketAddr>,
    /// Whether a packet has confirmed that.
    pub is_confirmed: bool,
    /// `fast` or `slow`.
    pub path: Option<String>,
    /// Why it is not the fast one.
    pub reason: Option<String>,
    /// How the last packet came that a worker carried: `xsk`, `steered` or `bound`.
    pub intake: Option<String>,
    /// Packets by the XDP program.
    pub fast_packets: u64,
    /// Packets by workers.
    pub slow_packets: u64,
    /// Bytes of UDP payload of both.
    pub bytes: u64,
    /// Packets that arrived and could not be sent on.
    pub errors: u64,
    /// Packets that never arrived; negative when there were more doubles than losses.
    pub lost: i64,
    /// Packets that came out of order or twice.
    pub late: u64,
    /// Interarrival jitter in milliseconds, where the codec's clock is known.
    pub jitter_ms: Option<f64>,
    /// The synchronisation source.
    pub ssrc: Option<u32>,
    /// How often that has changed.
    pub ssrc_changes: u64,
    /// Seconds since the last packet.
    pub last_packet_ago: Option<f64>,
    /// What the party reports of how it receives.
    pub quality: Vec<QualityView>,
    /// Where its packets go.
    pub sinks: Vec<SinkView>,
}

/// Where packets go.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SinkView {
    /// `dialogue`, `copy` or `inject`.
    pub edge: String,
    /// The tag of whoever gets them.
    pub tag: Option<String>,
    /// The local address that they leave from.
    pub from: Option<SocketAddr>,
    /// Where they go.
    pub to: Option<SocketAddr>,
    /// `all`, `silence` or `nothing`.
    pub passes: String,
    /// Why they go nowhere.
    pub reason: Option<String>,
}

/// How a party receives, by its own reports (RTCP).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QualityView {
    /// The synchronisation source that reports.
    pub ssrc: u32,
    /// How many reports had a score.
    pub scores: u64,
    /// Packets that the party has missed, as it says.
    pub lost: i32,
    /// The mean of all reports.
    pub average: SampleView,
    /// The worst report.
    pub lowest: SampleView,
    /// The best.
    pub highest: SampleView,
    /// Jitter over all reports, in milliseconds; an older daemon does not say, nor the next.
    pub jitter_ms: Option<ExtremesView>,
    /// What was lost between two reports, in percent.
    pub loss_percent: Option<ExtremesView>,
}

/// The least and the greatest of a figure.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExtremesView {
    /// The least.
    pub least: u32,
    /// The greatest.
    pub greatest: u32,
    /// How many seconds ago that was reported for the first time.
    pub greatest_ago: f64,
}

/// A report.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SampleView {
    /// The score, 1.0 to 4.5; none where the round-trip time is not known.
    pub mos: Option<f64>,
    /// From party to party and back, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Milliseconds.
    pub jitter_ms: u32,
    /// Of the packets since the report before, in percent.
    pub loss_percent: u8,
    /// How many seconds ago it came.
    pub ago: f64,
}

impl CallView {
    /// Of an account.
    pub fn new(call_id: &[u8], account: &CallAccount) -> Self {
        let clock = Clock(account.now);
        Self {
            summary: Summary::new(call_id, account),
            signalled_ago: clock.since(account.last_signal),
            parties: account.parties.iter().map(|party| clock.party(party)).collect(),
            descriptions: account.descriptions.iter().map(|one| clock.description(one)).collect(),
        }
    }
}

impl Summary {
    /// Of an account.
    pub fn new(call_id: &[u8], account: &CallAccount) -> Self {
        let clock = Clock(account.now);
        let sources = account.parties.iter().flat_map(|party| &party.medias).flat_map(|media| &media.sources);
        // The parties of a fork share some.
        let mut seen = std::collections::HashSet::new();
        let sources: Vec<_> = sources.filter(|source| seen.insert(source.slot)).collect();
        let rtp = || sources.iter().filter(|source| source.component == Component::Rtp && !source.sinks.is_empty());
        let totals: Vec<_> = rtp().filter_map(|source| source.totals.as_ref()).collect();
        let mut reasons: Vec<String> = Vec::new();
        let (mut fast, mut slow) = (false, false);
        for totals in &totals {
            match totals.path {
                Path::Fast => fast = true,
                Path::Slow(reason) => {
                    slow = true;
                    let name = reason.name().to_owned();
                    if !reasons.contains(&name) {
                        reasons.push(name);
                    }
                }
            }
        }
        let path = match (fast, slow) {
            (true, false) => "fast",
            (false, true) => "slow",
            (true, true) => "mixed",
            (false, false) => "none",
        };
        let reports = sources.iter().filter_map(|source| source.totals.as_ref()).flat_map(|totals| &totals.quality);
        let scores = reports.filter_map(|quality| quality.average().mos).map(|mos| f64::from(mos) / 10.0);
        Self {
            call_id: text(call_id),
            created: unix(account.created),
            age: clock.since(account.created),
            legs: account.parties.len(),
            path: path.to_owned(),
            reasons,
            packets: totals.iter().map(|totals| totals.packets()).sum(),
            errors: totals.iter().map(|totals| totals.errors).sum(),
            lost: totals.iter().map(|totals| totals.lost).sum(),
            mos: scores.min_by(f64::total_cmp),
            idle: totals.iter().filter_map(|totals| totals.last_packet()).max().map(|last| clock.ago(last)),
            troubles: troubles(account),
        }
    }
}

/// How badly a call fares: what is wrong with it, then its score, then what it has lost.
pub fn badness(call: &Summary) -> (usize, u32, i64) {
    let mos = call.mos.unwrap_or(4.5);
    (call.troubles.len(), ((4.5 - mos).max(0.0) * 10.0) as u32, call.lost.saturating_add_unsigned(call.errors))
}

/// Now, by the clock that never goes back and by that of the wall.
struct Clock((Instant, SystemTime));

impl Clock {
    fn since(&self, time: SystemTime) -> f64 {
        self.0.1.duration_since(time).map_or(0.0, |since| since.as_secs_f64())
    }

    fn ago(&self, instant: Instant) -> f64 {
        self.0.0.saturating_duration_since(instant).as_secs_f64()
    }

    fn description(&self, one: &DescriptionAccount) -> DescriptionView {
        let plain = |sdp: &[u8]| {
            // What a terminal would take for an order is none of a description's lines.
            let text = String::from_utf8_lossy(sdp);
            text.chars().filter(|letter| !letter.is_control() || *letter == '\n').collect()
        };
        DescriptionView {
            kind: if one.kind == DescriptionKind::Offer { "offer" } else { "answer" }.to_owned(),
            tag: text(&one.tag),
            ago: self.since(one.at),
            before: plain(&one.before),
            after: plain(&one.after),
        }
    }

    fn party(&self, party: &PartyAccount) -> PartyView {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(text);
        PartyView {
            tag: text(&party.tag),
            label: text(&party.label),
            via_branch: text(&party.via_branch),
            partner: text(&party.partner),
            medias: party.medias.iter().map(|media| self.media(media)).collect(),
        }
    }

    fn media(&self, media: &MediaAccount) -> MediaView {
        let direction = media.flow.map(|(direction, _)| match direction {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        });
        let protection = match media.protection {
            Protection::Plain => "plain",
            Protection::Passed => "passed",
            Protection::Ended(suite) => suite.name(),
        };
        let treatments =
            [(media.is_blocked, "blocked"), (media.is_silenced, "silenced"), (media.is_played_to, "playing")];
        MediaView {
            kind: text(&media.kind),
            protocol: text(&media.protocol),
            codec: (!media.codec.is_empty()).then(|| text(&media.codec)),
            direction: direction.map(str::to_owned),
            is_held: media.flow.is_some_and(|(_, is_held)| is_held),
            protection: protection.to_owned(),
            mux: media.mux,
            treatments: treatments.iter().filter(|(is_so, _)| *is_so).map(|(_, name)| (*name).to_owned()).collect(),
            sources: media.sources.iter().map(|source| self.source(source)).collect(),
        }
    }

    fn source(&self, source: &SourceAccount) -> SourceView {
        let totals = source.totals.as_ref();
        let reason = totals.and_then(|totals| match totals.path {
            Path::Fast => None,
            Path::Slow(reason) => Some(reason.name().to_owned()),
        });
        let path = totals.map(|totals| if totals.path == Path::Fast { "fast" } else { "slow" });
        let number = |of: fn(&border::SourceTotals) -> u64| totals.map_or(0, of);
        SourceView {
            component: if source.component == Component::Rtp { "rtp" } else { "rtcp" }.to_owned(),
            local: source.local,
            interface: source.interface.clone(),
            signalled: source.signalled,
            peer: totals.and_then(|totals| totals.peer).or(source.signalled),
            is_confirmed: totals.is_some_and(|totals| totals.confirmed),
            path: path.map(str::to_owned),
            reason,
            intake: totals.and_then(|totals| totals.intake).map(|intake| intake.name().to_owned()),
            fast_packets: number(|totals| totals.fast_packets),
            slow_packets: number(|totals| totals.slow_packets),
            bytes: number(|totals| totals.bytes),
            errors: number(|totals| totals.errors),
            lost: totals.map_or(0, |totals| totals.lost),
            late: number(|totals| totals.late),
            jitter_ms: totals.and_then(|totals| totals.jitter_ms),
            ssrc: totals.and_then(|totals| totals.ssrc),
            ssrc_changes: number(|totals| totals.ssrc_changes),
            last_packet_ago: totals.and_then(|totals| totals.last_packet()).map(|last| self.ago(last)),
            quality: totals
                .map_or_else(Vec::new, |totals| totals.quality.iter().map(|one| self.quality(one)).collect()),
            sinks: source.sinks.iter().map(sink).collect(),
        }
    }

    fn quality(&self, quality: &Quality) -> QualityView {
        QualityView {
            ssrc: quality.ssrc,
            scores: quality.scores(),
            lost: quality.cumulative_loss,
            average: self.sample(&quality.average()),
            lowest: self.sample(&quality.lowest),
            highest: self.sample(&quality.highest),
            jitter_ms: Some(self.extremes(quality.jitter_ms)),
            loss_percent: Some(self.extremes(quality.loss_percent)),
        }
    }

    fn extremes(&self, Extremes { least, greatest, greatest_at }: Extremes) -> ExtremesView {
        ExtremesView { least, greatest, greatest_ago: self.ago(greatest_at) }
    }

    fn sample(&self, sample: &Sample) -> SampleView {
        SampleView {
            mos: sample.mos.map(|mos| f64::from(mos) / 10.0),
            round_trip_ms: sample.round_trip.map(|time| time.as_secs_f64() * 1000.0),
            jitter_ms: sample.jitter_ms,
            loss_percent: sample.loss_percent,
            ago: self.ago(sample.at),
        }
    }
}

fn sink(sink: &SinkAccount) -> SinkView {
    let edge = match sink.edge {
        Edge::Dialogue => "dialogue",
        Edge::Copy => "copy",
        Edge::Inject => "inject",
    };
    let passes = match sink.passes {
        Passes::All => "all",
        Passes::Silence => "silence",
        Passes::Nothing => "nothing",
    };
    SinkView {
        edge: edge.to_owned(),
        tag: sink.tag.as_deref().map(text),
        from: sink.from,
        to: sink.to,
        passes: passes.to_owned(),
        reason: sink.reason.map(|reason| reason.name().to_owned()),
    }
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
