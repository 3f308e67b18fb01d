//! A call in the words of `query` and `delete`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use border::{Component, Edge, Passes, Path, Quality, Sample, SlotIndex, SourceTotals};

use crate::ng::{Dict, Value};
use crate::outcome::{CallAccount, MediaAccount, PartyAccount, Protection, Relation, SinkAccount, SourceAccount};
use crate::sdp::Direction;

/// Sums over the sources of a call.
#[derive(Default)]
struct Sums {
    rtp: Sum,
    rtcp: Sum,
    ssrcs: BTreeMap<u32, Dict<'static>>,
    /// The slots that are in the sums: the parties of a fork share theirs.
    seen: HashSet<SlotIndex>,
    /// What the sources reported.
    reports: Vec<(u32, Dict<'static>)>,
}

#[derive(Default)]
struct Sum {
    packets: u64,
    bytes: u64,
    errors: u64,
}

impl Sum {
    fn add(&mut self, totals: &SourceTotals) {
        self.packets = self.packets.saturating_add(totals.packets());
        self.bytes = self.bytes.saturating_add(totals.bytes);
        self.errors = self.errors.saturating_add(totals.errors);
    }

    fn into_dict(self) -> Dict<'static> {
        Dict::new()
            .with("packets", Value::count(self.packets))
            .with("bytes", Value::count(self.bytes))
            .with("errors", Value::count(self.errors))
    }
}

/// Everything about one call.
pub(super) fn describe(account: &CallAccount) -> Dict<'static> {
    let clock = Clock(account.now);
    let mut sums = Sums::default();
    let mut tags = Dict::new();
    let mut untagged = 0;
    for party in &account.parties {
        // Keys must differ, or readers lose all but one.
        let key = party.tag.clone().unwrap_or_else(|| {
            untagged += 1;
            format!("<untagged {untagged}>").into_bytes()
        });
        tags.push(key, clock.party(party, &mut sums));
    }
    for (ssrc, report) in std::mem::take(&mut sums.reports) {
        let dict = sums.ssrcs.entry(ssrc).or_default();
        for (key, value) in report.iter() {
            dict.push(key.to_vec(), value.clone());
        }
    }
    let totals = Dict::new().with("RTP", sums.rtp.into_dict()).with("RTCP", sums.rtcp.into_dict());
    let ssrcs = sums.ssrcs.into_iter().map(|(ssrc, dict)| (Cow::Owned(ssrc.to_string().into_bytes()), dict.into()));
    Dict::new()
        .with("created", unix(account.created))
        .with("created_us", unix_us(account.created))
        .with("last signal", unix(account.last_signal))
        .with("SSRC", ssrcs.collect::<Dict<'_>>())
        .with("tags", tags)
        .with("totals", totals)
}

/// Now, by the clock that never goes back and by that of the wall.
struct Clock((Instant, SystemTime));

impl Clock {
    fn party(&self, party: &PartyAccount, sums: &mut Sums) -> Dict<'static> {
        let mut dict = Dict::new();
        if let Some(tag) = &party.tag {
            dict.push(&b"tag"[..], tag.clone());
        }
        if let Some(branch) = &party.via_branch {
            dict.push(&b"via-branch"[..], branch.clone());
        }
        if let Some(label) = &party.label {
            dict.push(&b"label"[..], label.clone());
        }
        dict.push(&b"created"[..], unix(party.created));
        if let Some(tag) = &party.partner {
            dict.push(&b"in dialogue with"[..], tag.clone());
        }
        let aliases = party.aliases.iter().map(|alias| Value::from(alias.clone()));
        dict.push(&b"tag-aliases"[..], Value::List(aliases.collect()));
        for (key, relations) in [("subscriptions", &party.hears), ("subscribers", &party.heard_by)] {
            dict.push(key.as_bytes(), Value::List(relations.iter().map(relation).collect()));
        }
        let medias = (1..).zip(&party.medias).map(|(index, media)| self.media(index, party, media, sums));
        dict.with("medias", Value::List(medias.collect()))
    }

    fn media(&self, index: i64, party: &PartyAccount, media: &MediaAccount, sums: &mut Sums) -> Value<'static> {
        let suite = match media.protection {
            Protection::Ended(suite) => Some(suite.name()),
            Protection::Plain | Protection::Passed => None,
        };
        let source = |source, sums: &mut Sums| {
            let mut dict = self.source(source, party, sums);
            if let Some(suite) = suite {
                dict.push(&b"crypto suite"[..], suite);
            }
            dict.into()
        };
        let sources: Vec<_> = media.sources.iter().map(|one| source(one, sums)).collect();
        let mut flags = Vec::new();
        if media.has_ports {
            flags.push(Value::from("initialized"));
        }
        if let Some((direction, is_held)) = media.flow {
            let (sends, receives) = match direction {
                Direction::SendRecv => (true, true),
                Direction::SendOnly => (true, false),
                Direction::RecvOnly => (false, true),
                Direction::Inactive => (false, false),
            };
            // From the party's view, as in its description.
            flags.extend(sends.then_some(Value::from("send")));
            flags.extend((receives && !is_held).then_some(Value::from("recv")));
        }
        for (is_set, flag) in [
            (media.mux, "rtcp-mux"),
            (matches!(media.protection, Protection::Ended(_)), "SDES"),
            (media.protection == Protection::Passed, "passthrough"),
            (media.is_blocked, "blocked"),
            (media.is_silenced, "silenced"),
            (media.is_played_to, "playing"),
            (party.is_forwarded, "forwarding"),
            (media.is_asymmetric, "asymmetric"),
            (media.strict_source, "strict source"),
            (media.media_handover, "media handover"),
        ] {
            flags.extend(is_set.then_some(Value::from(flag)));
        }
        Dict::new()
            .with("index", index)
            .with("type", media.kind.clone())
            .with("protocol", media.protocol.clone())
            .with("codec", media.codec.clone())
            .with("streams", Value::List(sources))
            .with("flags", Value::List(flags))
            .into()
    }

    fn source(&self, source: &SourceAccount, party: &PartyAccount, sums: &mut Sums) -> Dict<'static> {
        let SourceAccount { slot, component, local, totals, partner, .. } = source;
        let peer = totals.as_ref().and_then(|totals| totals.peer).or(source.signalled);
        let mut dict = Dict::new()
            .with("local port", i64::from(local.port()))
            .with("local address", local.ip().to_string())
            .with("family", family(*local));
        if let Some(interface) = &source.interface {
            dict.push(&b"interface"[..], interface.clone());
        }
        if let Some(peer) = peer {
            dict.push(&b"endpoint"[..], endpoint(peer));
        }
        if let Some(signalled) = source.signalled {
            dict.push(&b"advertised endpoint"[..], endpoint(signalled));
        }
        let last = |of: fn(&SourceTotals) -> Option<Instant>| totals.as_ref().and_then(of);
        // Without a packet the time counts from the beginning, as monitoring scripts expect.
        let time = |last: Option<Instant>| last.map_or_else(|| unix(party.created), |last| self.unix_of(last));
        dict.push(&b"last packet"[..], time(last(SourceTotals::last_packet)));
        dict.push(&b"last user packet"[..], time(last(|totals| totals.last_slow)));
        dict.push(&b"last kernel packet"[..], time(last(|totals| totals.last_fast)));
        let mut flags = vec![Value::from(match component {
            Component::Rtp => "RTP",
            Component::Rtcp => "RTCP",
        })];
        flags.extend(peer.map(|_| Value::from("filled")));
        let mut sum = Sum::default();
        if let Some(totals) = totals {
            flags.extend(totals.confirmed.then_some(Value::from("confirmed")));
            flags.extend((totals.path == Path::Fast).then_some(Value::from("kernelized")));
            sum.add(totals);
            if *component == Component::Rtp
                && let Some(ssrc) = totals.ssrc
            {
                dict.push(&b"SSRC"[..], i64::from(ssrc));
            }
            if sums.seen.insert(*slot) {
                self.add(*component, totals, sums);
            }
        }
        dict.push(&b"flags"[..], Value::List(flags));
        dict.push(&b"stats"[..], sum.into_dict());
        let mut sum = Sum::default();
        if let Some(partner) = partner {
            sum.add(partner);
        }
        dict.push(&b"stats_out"[..], sum.into_dict());
        if *component == Component::Rtp {
            dict.push(&b"ingress SSRCs"[..], sources(totals.as_ref()));
            dict.push(&b"egress SSRCs"[..], sources(partner.as_ref()));
        }
        if let Some(totals) = totals {
            path(&mut dict, totals);
        }
        dict.with("sinks", Value::List(source.sinks.iter().map(sink).collect()))
    }

    /// Adds a source to the sums of the call.
    fn add(&self, component: Component, totals: &SourceTotals, sums: &mut Sums) {
        match component {
            Component::Rtp => {
                sums.rtp.add(totals);
                if let Some(ssrc) = totals.ssrc {
                    sums.ssrcs.insert(ssrc, quality(totals));
                }
            }
            Component::Rtcp => {
                sums.rtcp.add(totals);
                sums.reports.extend(totals.quality.iter().map(|quality| (quality.ssrc, self.reported(quality))));
            }
        }
    }

    /// How a party receives, by its own reports. Scores are in tenths, times in microseconds, jitter in milliseconds, loss in percent.
    fn reported(&self, quality: &Quality) -> Dict<'static> {
        let score = |sample: &Sample| {
            let mut dict = Dict::new();
            if let Some(mos) = sample.mos {
                dict.push(&b"MOS"[..], i64::from(mos));
            }
            for (key, time) in
                [(&b"round-trip time"[..], sample.round_trip), (b"round-trip time leg", sample.leg_round_trip)]
            {
                if let Some(time) = time {
                    dict.push(key, Value::count(time.as_micros()));
                }
            }
            dict.with("jitter", i64::from(sample.jitter_ms)).with("packet loss", i64::from(sample.loss_percent))
        };
        let reported = |sample: &Sample| score(sample).with("reported at", self.unix_of(sample.at));
        Dict::new()
            .with("cumulative loss", i64::from(quality.cumulative_loss))
            .with("average MOS", score(&quality.average()).with("samples", Value::count(quality.scores())))
            .with("lowest MOS", reported(&quality.lowest))
            .with("highest MOS", reported(&quality.highest))
    }

    fn unix_of(&self, instant: Instant) -> i64 {
        let Self((now, wall)) = self;
        let ago = now.saturating_duration_since(instant);
        wall.checked_sub(ago).map_or(0, unix)
    }
}

fn relation(relation: &Relation) -> Value<'static> {
    Dict::new().with("tag", relation.tag.clone()).with("type", edge_type(relation.edge)).into()
}

/// As the contract names the kinds of subscriptions.
const fn edge_type(edge: Edge) -> &'static str {
    match edge {
        Edge::Dialogue => "offer/answer",
        Edge::Copy | Edge::Inject => "pub/sub",
    }
}

/// Where packets of a source go: what no other relay tells.
fn sink(sink: &SinkAccount) -> Value<'static> {
    let mut dict = Dict::new().with(
        "edge",
        match sink.edge {
            Edge::Dialogue => "dialogue",
            Edge::Copy => "copy",
            Edge::Inject => "inject",
        },
    );
    if let Some(tag) = &sink.tag {
        dict.push(&b"tag"[..], tag.clone());
    }
    if let Some(from) = sink.from {
        dict.push(&b"from"[..], endpoint(from));
    }
    if let Some(to) = sink.to {
        dict.push(&b"to"[..], endpoint(to));
    }
    match sink.passes {
        Passes::All => {}
        Passes::Silence => dict.push(&b"silenced"[..], 1),
        Passes::Nothing => dict.push(&b"blocked"[..], 1),
    }
    if let Some(reason) = sink.reason {
        dict.push(&b"reason"[..], reason.name());
    }
    dict.into()
}

/// Which way a stream's packets go, why, and how they fare: what no other relay tells.
fn path(dict: &mut Dict<'_>, totals: &SourceTotals) {
    match totals.path {
        Path::Fast => dict.push(&b"path"[..], "fast"),
        Path::Slow(reason) => {
            dict.push(&b"path"[..], "slow");
            dict.push(&b"reason"[..], reason.name());
        }
    }
    if let Some(intake) = totals.intake {
        dict.push(&b"intake"[..], intake.name());
    }
    dict.push(&b"fast packets"[..], Value::count(totals.fast_packets));
    dict.push(&b"slow packets"[..], Value::count(totals.slow_packets));
    dict.push(&b"lost"[..], totals.lost);
    dict.push(&b"out of order"[..], Value::count(totals.late));
    dict.push(&b"SSRC changes"[..], Value::count(totals.ssrc_changes));
    if let Some(jitter) = totals.jitter_ms {
        dict.push(&b"jitter us"[..], microseconds(jitter));
    }
}

fn quality(totals: &SourceTotals) -> Dict<'static> {
    let mut dict = Dict::new()
        .with("packets", Value::count(totals.packets()))
        .with("bytes", Value::count(totals.bytes))
        .with("lost", totals.lost);
    if let Some(jitter) = totals.jitter_ms {
        dict.push(&b"jitter us"[..], microseconds(jitter));
    }
    dict
}

/// The synchronisation source of a stream, as a list.
fn sources(totals: Option<&SourceTotals>) -> Value<'static> {
    let of = |totals: &SourceTotals| {
        let dict = Dict::new().with("SSRC", i64::from(totals.ssrc?));
        let dict = dict.with("packets", Value::count(totals.packets())).with("bytes", Value::count(totals.bytes));
        Some(dict.into())
    };
    Value::List(totals.and_then(of).into_iter().collect())
}

/// Whole microseconds, because bencode has no fractions. What is out of range saturates.
fn microseconds(milliseconds: f64) -> i64 {
    (milliseconds * 1000.0).round() as i64
}

fn endpoint(endpoint: SocketAddr) -> Dict<'static> {
    Dict::new()
        .with("family", family(endpoint))
        .with("address", endpoint.ip().to_string())
        .with("port", i64::from(endpoint.port()))
}

const fn family(endpoint: SocketAddr) -> &'static str {
    if endpoint.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Whole microseconds since 1970.
fn unix_us(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Whole seconds since 1970.
fn unix(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
