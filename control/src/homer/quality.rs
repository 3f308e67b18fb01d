//! How the streams of a call have fared, in the words in which Homer reads it: what its own capturing agents tell of RTP that they have seen.

use std::net::SocketAddr;
use std::time::SystemTime;

use border::{Component, SourceTotals};
use calls::outcome::{EndedCall, MediaAccount};
use serde_json::{Map, Value};

use crate::view::text;

/// Of one stream.
pub(super) struct Report {
    /// Where its party is.
    pub from: SocketAddr,
    /// Where it came to.
    pub to: SocketAddr,
    pub at: SystemTime,
    pub told: Value,
}

/// Of each RTP stream of a call that has ended, as far as anything came.
pub(super) fn reports(call: &EndedCall) -> Vec<Report> {
    let (parties, at) = (&call.account.parties, call.account.now.1);
    let mut seen = std::collections::HashSet::new();
    let mut reports = Vec::new();
    for (number, party) in parties.iter().enumerate() {
        for (place, media) in party.medias.iter().enumerate() {
            for source in media.sources.iter().filter(|source| source.component == Component::Rtp) {
                let Some(totals) = source.totals.as_ref().filter(|totals| totals.packets() > 0) else { continue };
                let Some(from) = totals.peer.or(source.signalled) else { continue };
                // The parties of a fork share some.
                if !seen.insert(source.slot) {
                    continue;
                }
                let hearer = parties.iter().find(|other| other.tag.is_some() && other.tag == party.partner);
                let heard = hearer.and_then(|hearer| hearer.medias.get(place));
                let told = report(call, (number, media), (from, source.local), totals, heard, at);
                reports.push(Report { from, to: source.local, at, told });
            }
        }
    }
    reports
}

fn report(
    call: &EndedCall,
    (number, media): (usize, &MediaAccount),
    (from, to): (SocketAddr, SocketAddr),
    totals: &SourceTotals,
    heard: Option<&MediaAccount>,
    at: SystemTime,
) -> Value {
    // As it stands in the packet and in SIP, so that both are found together.
    let call_id = String::from_utf8_lossy(&call.call_id).into_owned();
    let codec = text(&media.codec);
    let (name, clock) = codec.split_once('/').unwrap_or((&codec, ""));
    let clock = clock.split('/').next().and_then(|clock| clock.parse::<u32>().ok());
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let jitter = totals.jitter_ms;
    let mut told = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            told.insert(key.to_owned(), value);
        }
    };
    put("CORRELATION_ID", call_id.clone().into());
    put("RTP_SIP_CALL_ID", call_id.into());
    put("REPORT_TS", seconds.into());
    put("TL_BYTE", totals.bytes.into());
    put("TOTAL_PK", totals.packets().into());
    put("EXPECTED_PK", totals.packets().saturating_add_signed(totals.lost).into());
    put("PACKET_LOSS", totals.lost.into());
    put("OUT_ORDER", totals.late.into());
    put("SSRC_CHG", totals.ssrc_changes.into());
    put("JITTER", jitter.into());
    put("MEAN_JITTER", jitter.into());
    put("CODEC_NAME", name.into());
    put("CLOCK", clock.into());
    for (key, addr) in [("SRC", from), ("DST", to)] {
        put(&format!("{key}_IP"), addr.ip().to_string().into());
        put(&format!("{key}_PORT"), addr.port().into());
    }
    put("REPORT_NAME", from.to_string().into());
    put("PARTY", number.into());
    put("DIR", 0.into());
    put("TYPE", "HANGUP".into());
    // What the party that has heard it says of that.
    let rtcp = heard.into_iter().flat_map(|media| &media.sources).filter_map(|source| source.totals.as_ref());
    let quality = rtcp.flat_map(|totals| &totals.quality).max_by_key(|quality| quality.scores());
    if let Some(quality) = quality {
        let score = |mos: Option<u8>| mos.map(|mos| f64::from(mos) / 10.0);
        let average = quality.average();
        put("MOS", score(average.mos).into());
        put("MEAN_MOS", score(average.mos).into());
        put("MIN_MOS", score(quality.lowest.mos).into());
    }
    Value::Object(told)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use border::{Path, Quality, Sample, SlotIndex};
    use calls::outcome::{CallAccount, PartyAccount, Protection, SourceAccount};

    use super::*;

    fn totals(lost: i64, quality: Vec<Quality>) -> SourceTotals {
        SourceTotals {
            fast_packets: 90,
            slow_packets: 10,
            bytes: 17_200,
            errors: 0,
            lost,
            late: 2,
            ssrc_changes: 1,
            jitter_ms: Some(1.25),
            ssrc: Some(7),
            peer: Some("192.0.2.66:4066".parse().unwrap()),
            confirmed: true,
            last_fast: None,
            last_slow: None,
            quality,
            path: Path::Fast,
            intake: None,
            sinks: Vec::new(),
        }
    }

    fn party(tag: &str, partner: &str, slot: u32, lost: i64, quality: Vec<Quality>) -> PartyAccount {
        let source = |component, slot, totals| SourceAccount {
            slot: SlotIndex(slot),
            component,
            local: format!("192.0.2.1:{}", 30_000 + slot).parse().unwrap(),
            interface: None,
            signalled: None,
            totals: Some(totals),
            partner: None,
            sinks: Vec::new(),
        };
        let sources = vec![
            source(Component::Rtp, slot, totals(lost, Vec::new())),
            source(Component::Rtcp, slot + 1, totals(0, quality)),
        ];
        let media = MediaAccount {
            kind: b"audio".to_vec(),
            protocol: b"RTP/AVP".to_vec(),
            codec: b"PCMA/8000".to_vec(),
            has_ports: true,
            flow: None,
            mux: false,
            protection: Protection::Plain,
            is_blocked: false,
            is_silenced: false,
            is_played_to: false,
            is_asymmetric: false,
            strict_source: false,
            media_handover: false,
            sources,
        };
        PartyAccount {
            tag: Some(tag.as_bytes().to_vec()),
            via_branch: None,
            label: None,
            created: SystemTime::UNIX_EPOCH,
            is_leaving: false,
            partner: Some(partner.as_bytes().to_vec()),
            aliases: Vec::new(),
            hears: Vec::new(),
            heard_by: Vec::new(),
            is_forwarded: false,
            medias: vec![media],
        }
    }

    #[test]
    fn each_stream_is_told_once_with_what_whoever_has_heard_it_says() {
        let at = Instant::now();
        let sample = |mos, jitter_ms| Sample {
            mos: Some(mos),
            round_trip: None,
            leg_round_trip: None,
            jitter_ms,
            loss_percent: 0,
            at,
        };
        let mut quality = Quality::new(7, sample(43, 3));
        quality.add(sample(43, 3), 0);
        quality.add(sample(31, 9), 2);
        let account = CallAccount {
            number: 1,
            is_answered: true,
            created: SystemTime::UNIX_EPOCH,
            last_signal: SystemTime::UNIX_EPOCH,
            flows_since: at,
            parties: vec![party("a", "b", 0, 5, Vec::new()), party("b", "a", 2, -1, vec![quality])],
            descriptions: Vec::new(),
            now: (at, SystemTime::UNIX_EPOCH),
        };
        let told = reports(&EndedCall { call_id: b"call".to_vec(), reason: "deleted", account });
        assert_eq!(told.len(), 2);
        let [of_a, of_b] = &told[..] else { panic!("two") };
        for (key, expected) in [
            ("CORRELATION_ID", json!("call")),
            ("TOTAL_PK", json!(100)),
            ("EXPECTED_PK", json!(105)),
            ("PACKET_LOSS", json!(5)),
            ("MIN_MOS", json!(3.1)),
            ("MEAN_MOS", json!(3.7)),
            ("JITTER", json!(1.25)),
            ("CODEC_NAME", json!("PCMA")),
            ("CLOCK", json!(8000)),
            ("SRC_IP", json!("192.0.2.66")),
            ("DST_PORT", json!(30_000)),
        ] {
            assert_eq!(of_a.told[key], expected, "{key}");
        }
        assert_eq!((&of_b.told["EXPECTED_PK"], of_b.told.get("MOS")), (&json!(99), None));
    }
}
