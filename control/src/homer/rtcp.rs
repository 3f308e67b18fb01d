//! RTCP as JSON, in the words in which Homer reads it.

use serde_json::{Map, Value, json};

/// Packet types (RFC 3550 12.1).
const SENDER: u8 = 200;
const RECEIVER: u8 = 201;
const DESCRIPTION: u8 = 202;
/// All that RTCP has (RFC 5761 4).
const KINDS: std::ops::RangeInclusive<u8> = 192..=223;

/// A datagram's reports and descriptions; `None` when it has none, or is no compound of whole packets (RFC 3550 6.1, A.2): then it is encrypted, or noise.
pub(super) fn json(datagram: &[u8]) -> Option<Value> {
    let mut told = Map::new();
    let mut rest = datagram;
    let first = part(datagram)?.kind;
    if first != SENDER && first != RECEIVER {
        return None;
    }
    while let Some(Part { kind, count, body, behind }) = part(rest) {
        match kind {
            SENDER | RECEIVER if !told.contains_key("type") => report(&mut told, (kind, count), body)?,
            DESCRIPTION if !told.contains_key("sdes_ssrc") => describe(&mut told, count, body),
            // One that says more than another relay tells: its words would have no place.
            _ if !KINDS.contains(&kind) => return None,
            _ => {}
        }
        rest = behind;
    }
    (rest.is_empty() && told.contains_key("type")).then_some(Value::Object(told))
}

/// A packet of a compound.
struct Part<'a> {
    kind: u8,
    count: u8,
    /// Behind the first word.
    body: &'a [u8],
    behind: &'a [u8],
}

fn part(bytes: &[u8]) -> Option<Part<'_>> {
    let [first, kind, words @ ..] = *bytes.first_chunk::<4>()?;
    let len = 4 * (usize::from(u16::from_be_bytes(words)) + 1);
    let (packet, behind) = bytes.split_at_checked(len)?;
    (first >> 6 == 2).then_some(Part { kind, count: first & 31, body: packet.get(4..)?, behind })
}

fn report(told: &mut Map<String, Value>, (kind, count): (u8, u8), body: &[u8]) -> Option<()> {
    let (ssrc, mut rest) = word(body)?;
    if kind == SENDER {
        let words;
        (words, rest) = words_of::<5>(rest)?;
        let [seconds, fraction, rtp, packets, octets] = words;
        let information = json!({"ntp_timestamp_sec": seconds, "ntp_timestamp_usec": fraction, "rtp_timestamp": rtp,
            "packets": packets, "octets": octets});
        told.insert("sender_information".to_owned(), information);
    }
    let mut blocks = Vec::new();
    // What a profile adds behind the blocks is none.
    for _ in 0..count {
        let Some((words, behind)) = words_of::<6>(rest) else { break };
        let [source, lost, highest, jitter, last, delay] = words;
        blocks.push(json!({"source_ssrc": source, "fraction_lost": lost >> 24,
            // 24 bits with a sign.
            "packets_lost": (lost << 8).cast_signed() >> 8, "highest_seq_no": highest, "ia_jitter": jitter, "lsr": last, "dlsr": delay}));
        rest = behind;
    }
    told.insert("ssrc".to_owned(), ssrc.into());
    told.insert("type".to_owned(), kind.into());
    told.insert("report_count".to_owned(), blocks.len().into());
    told.insert("report_blocks".to_owned(), blocks.into());
    Some(())
}

/// So many items of a description are told: there are eight kinds.
const ITEMS: usize = 16;

/// The first chunk of a description; more than one come from mixers only.
fn describe(told: &mut Map<String, Value>, count: u8, body: &[u8]) {
    let Some((ssrc, mut rest)) = word(body) else { return };
    let mut items = Vec::new();
    while let [kind @ 1..=255, len, behind @ ..] = rest
        && items.len() < ITEMS
    {
        let Some((text, behind)) = behind.split_at_checked(usize::from(*len)) else { break };
        items.push(json!({"type": kind, "text": String::from_utf8_lossy(text)}));
        rest = behind;
    }
    told.insert("sdes_ssrc".to_owned(), ssrc.into());
    told.insert("sdes_report_count".to_owned(), count.into());
    told.insert("sdes_information".to_owned(), items.into());
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*word), rest))
}

fn words_of<const N: usize>(mut bytes: &[u8]) -> Option<([u32; N], &[u8])> {
    let mut words = [0; N];
    for place in &mut words {
        (*place, bytes) = word(bytes)?;
    }
    Some((words, bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(kind: u8, count: u8, words: &[u32]) -> Vec<u8> {
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        [&[0x80 | count, kind][..], &(words.len() as u16).to_be_bytes(), &body].concat()
    }

    #[test]
    fn a_report_with_a_description_is_told_whole() {
        let report = packet(200, 1, &[7, 1000, 2000, 3000, 40, 5000, 9, 0x40ff_ffff, 60, 70, 80, 90]);
        let description = packet(202, 1, &[7, 0x0104_6140, 0x6263_0000]);
        let told = json(&[report, description].concat()).unwrap();
        assert_eq!(
            told,
            json!({
                "sender_information": {"ntp_timestamp_sec": 1000, "ntp_timestamp_usec": 2000, "rtp_timestamp": 3000, "packets": 40,
                    "octets": 5000},
                "ssrc": 7, "type": 200, "report_count": 1,
                "report_blocks": [{"source_ssrc": 9, "fraction_lost": 64, "packets_lost": -1, "highest_seq_no": 60, "ia_jitter": 70,
                    "lsr": 80, "dlsr": 90}],
                "sdes_ssrc": 7, "sdes_report_count": 1, "sdes_information": [{"type": 1, "text": "a@bc"}],
            })
        );
    }

    #[test]
    fn a_receivers_report_has_no_words_of_a_sender_and_others_than_reports_are_none() {
        let told = json(&packet(201, 0, &[7])).unwrap();
        assert_eq!(told, json!({"ssrc": 7, "type": 201, "report_count": 0, "report_blocks": []}));
        for other in [&packet(203, 1, &[7])[..], &packet(200, 0, &[7, 1]), b"", b"\x80", b"\x80\xc8\xff\xff\0\0\0\x01"]
        {
            assert_eq!(json(other), None, "{other:x?}");
        }
    }

    #[test]
    fn what_may_be_encrypted_is_not_told() {
        let report = packet(200, 0, &[7, 1, 2, 3, 4, 5]);
        assert!(json(&report).is_some());
        let tag = [&[0x80, 0, 0, 1][..], &[7; 10]].concat();
        for behind in [&tag[..], &[0x80, 100, 0, 0], &[1]] {
            assert_eq!(json(&[&report[..], behind].concat()), None, "{behind:x?}");
        }
        assert_eq!(json(&[packet(202, 0, &[]), report].concat()), None, "a report comes first");
    }

    proptest! {
        #[test]
        fn any_datagram_does_no_harm(datagram in prop::collection::vec(any::<u8>(), 0..300)) {
            let _told = json(&datagram);
            let _told = json(&[&packet(200, 31, &[1, 2, 3, 4, 5, 6])[..], &datagram].concat());
        }
    }
}
