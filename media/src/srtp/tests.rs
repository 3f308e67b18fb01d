//! Packets of the standards and of other implementations, and what a hostile network makes of them.

use proptest::prelude::*;

use super::*;
use crate::packet::Packet;

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn key(suite: Suite, seed: u8) -> MasterKey {
    let material: Vec<u8> = (0..suite.key_len() + suite.salt_len()).map(|place| seed ^ place as u8).collect();
    MasterKey::new(suite, &material, Mki::default()).unwrap()
}

fn rtp(ssrc: u32, index: u64) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend((index as u16).to_be_bytes());
    packet.extend((160 * index as u32).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(index.to_be_bytes().repeat(20));
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([7; 20]);
    packet
}

/// What comes of some bytes, in a buffer with room behind them.
fn with(bytes: &[u8], work: impl FnOnce(&mut Packet<'_>) -> Result<(), Refused>) -> Result<Vec<u8>, Refused> {
    let mut buffer = bytes.to_vec();
    buffer.resize(bytes.len() + crate::TAIL_ROOM, 0xee);
    let mut packet = Packet::new(&mut buffer, 0, bytes.len()).unwrap();
    work(&mut packet).map(|()| packet.payload().to_vec())
}

/// A second later each time, where nothing else is said.
fn open(unprotector: &mut Unprotector, bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    with(bytes, |packet| unprotector.rtp(packet))
}

fn seal(protector: &mut Protector, bytes: &[u8]) -> Vec<u8> {
    with(bytes, |packet| protector.rtp(packet)).unwrap()
}

/// The reference packets of libsrtp's own tests, and of RFC 7714 16 by session keys.
#[test]
fn packets_are_those_of_the_standards() {
    let plain = unhex(&format!("800f1234decafbadcafebabe{}", "ab".repeat(16)));
    for (suite, material, sealed) in [
        (
            Suite::AesCm128Sha80,
            "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6",
            "4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
        ),
        (
            Suite::AesCm256Sha80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b63b04803de51ee7c96423ab5b78d2",
            "f1d9de17ff251ff1aa007774b0b4b40da08d9d9a5b3a55d8873b",
        ),
    ] {
        let key = MasterKey::new(suite, &unhex(material), Mki::default()).unwrap();
        let expected = [&plain[..12], &unhex(sealed)].concat();
        assert_eq!(seal(&mut Protector::new(&key), &plain), expected, "{}", suite.name());
        assert_eq!(open(&mut Unprotector::new(&key), &expected).unwrap(), plain);
    }
}

/// RFC 7714 16.1.1, 16.2.1 and 17.1.
#[test]
fn gcm_is_that_of_rfc_7714() {
    use super::cipher::{Beside, Cipher, Place};
    use super::counter::AesKey;
    use super::suite::Authentication;

    let key: Vec<u8> = (0..32).collect();
    let mut salt = [0; 14];
    salt[..12].copy_from_slice(b"Quid pro quo");
    let header = unhex("8040f17b8041f8d35501a0b2");
    let text = b"Gallia est omnis divisa in partes tres";
    for (len, sealed) in [
        (
            16,
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            32,
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ] {
        let cipher = Cipher::new(Authentication::Gcm, &AesKey::of(len, &key).unwrap(), &[], &salt);
        let mut packet = [&header[..], text].concat();
        let place = Place { ssrc: 0x5501_a0b2, index: 0xf17b };
        let tag = cipher.seal(&mut packet, 12, place, Beside::Turns);
        assert_eq!([&packet[12..], &tag[..16]].concat(), unhex(sealed));
        assert!(cipher.open(&mut packet, 12, place, Beside::Turns, &tag[..16]));
        assert_eq!(&packet[12..], text);
    }
    let report =
        "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
    let sealed = "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade";
    let cipher = Cipher::new(Authentication::Gcm, &AesKey::of(16, &key).unwrap(), &[], &salt);
    let mut packet = unhex(report);
    let place = Place { ssrc: 0x4d61_7273, index: 0x5d4 };
    let tag = cipher.seal(&mut packet, 8, place, Beside::Word([0x80, 0, 5, 0xd4]));
    assert_eq!([&packet[..], &tag[..16]].concat(), unhex(sealed));
}

#[test]
fn what_one_side_protects_the_other_reads_by_every_suite_and_through_every_turn() {
    for suite in Suite::ALL {
        for mki in [Mki::default(), Mki::new(1, 1).unwrap(), Mki::new(0xabc, 4).unwrap()] {
            let material = key(suite, 3).key_and_salt().to_vec();
            let key = MasterKey::new(suite, &material, mki).unwrap();
            let (mut protector, mut unprotector) = (Protector::new(&key), Unprotector::new(&key));
            for index in (0xff00..0x1_0100).chain(0x1_fff0..0x2_0010) {
                // 0x1_0100 to 0x1_fff0 were lost: nearer by a turn than by what was lost.
                let index = if index > 0x1_0100 { index - 0xf000 } else { index };
                let plain = rtp(7, index);
                let sealed = seal(&mut protector, &plain);
                assert_ne!(sealed[12..plain.len()], plain[12..]);
                assert_eq!(open(&mut unprotector, &sealed).unwrap(), plain, "{} {index:x}", suite.name());
                if index % 64 == 0 {
                    let plain = rtcp(7);
                    let sealed = with(&plain, |packet| protector.rtcp(packet)).unwrap();
                    assert_ne!(sealed[8..plain.len()], plain[8..]);
                    assert_eq!(with(&sealed, |packet| unprotector.rtcp(packet)).unwrap(), plain);
                    assert_eq!(with(&sealed, |packet| unprotector.rtcp(packet)), Err(Refused::Replayed));
                }
            }
        }
    }
}

#[test]
fn a_packet_that_anybody_has_changed_or_kept_is_none() {
    for suite in Suite::ALL {
        let (mut protector, mut unprotector) = (Protector::new(&key(suite, 3)), Unprotector::new(&key(suite, 3)));
        let sealed = seal(&mut protector, &rtp(7, 100));
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 0x10;
            let refused = open(&mut unprotector, &changed).unwrap_err();
            assert!([Refused::Forged, Refused::Malformed].contains(&refused), "{byte} {refused}");
        }
        for len in 0..sealed.len() {
            assert!(open(&mut unprotector, &sealed[..len]).is_err());
        }
        assert_eq!(open(&mut Unprotector::new(&key(suite, 4)), &sealed), Err(Refused::Forged), "another key");
        assert!(open(&mut unprotector, &sealed).is_ok());
        assert_eq!(open(&mut unprotector, &sealed), Err(Refused::Replayed));
        let later: Vec<_> = (101..400).map(|index| seal(&mut protector, &rtp(7, index))).collect();
        assert!(open(&mut unprotector, &later[298]).is_ok());
        assert_eq!(open(&mut unprotector, &later[0]), Err(Refused::Late));
        assert!(open(&mut unprotector, &later[290]).is_ok(), "late, but not too late");
    }
}

#[test]
fn nothing_is_sent_twice_under_one_index() {
    let mut protector = Protector::new(&key(Suite::AesCm128Sha80, 3));
    seal(&mut protector, &rtp(7, 100));
    let other = [&rtp(7, 100)[..12], b"something else"].concat();
    assert_eq!(with(&other, |packet| protector.rtp(packet)), Err(Refused::Replayed));
    seal(&mut protector, &rtp(7, 5000));
    // What is behind all that is known of has another index: see below.
    let late = with(&other, |packet| protector.rtp(packet)).unwrap();
    assert_ne!(late[2..4], other[2..4]);
    let mut full = rtp(7, 5001);
    let len = full.len();
    let mut packet = Packet::new(&mut full, 0, len).unwrap();
    assert_eq!(protector.rtp(&mut packet), Err(Refused::NoRoom));
    assert_eq!(packet.payload(), rtp(7, 5001), "as it was");
}

#[test]
fn a_source_that_comes_back_goes_on_where_it_was() {
    let (mut protector, mut unprotector) =
        (Protector::new(&key(Suite::Gcm128, 3)), Unprotector::new(&key(Suite::Gcm128, 3)));
    for (ssrc, indices) in [(7, 0xfff0..0x1_0010), (8, 0..20), (7, 0x1_0010..0x1_0020), (9, 7..9), (8, 20..25)] {
        for index in indices {
            let sealed = seal(&mut protector, &rtp(ssrc, index));
            assert_eq!(open(&mut unprotector, &sealed).unwrap(), rtp(ssrc, index));
        }
    }
}

/// A peer, by its own count of turns.
struct Peer(MasterKey);

impl Peer {
    fn say(&self, ssrc: u32, index: u64) -> Vec<u8> {
        let mut protector = Protector::new(&self.0);
        protector.resume(Progress { ssrc, rtp: Some(index.saturating_sub(1)), rtcp: None }, 0);
        if index == 0 {
            protector = Protector::new(&self.0);
        }
        seal(&mut protector, &rtp(ssrc, index))
    }
}

#[test]
fn a_peer_that_counts_turns_otherwise_is_followed() {
    let peer = Peer(key(Suite::AesCm128Sha80, 3));
    let hear = |unprotector: &mut Unprotector, index| open(unprotector, &peer.say(7, index));
    // Joined in the second turn.
    let mut unprotector = Unprotector::new(&peer.0);
    assert!(hear(&mut unprotector, 0x1_2345).is_ok());
    assert!(hear(&mut unprotector, 0x1_2346).is_ok());
    // A pause of more than half a turn.
    assert!(hear(&mut unprotector, 0x2_0000).is_ok());
    assert!(hear(&mut unprotector, 0x3_2000).is_ok());
    // At a re-INVITE it counts from zero, with the sequence numbers going on.
    unprotector.renegotiated();
    assert!(hear(&mut unprotector, 0x2001).is_ok());
    assert!(hear(&mut unprotector, 0x2002).is_ok());
    // Or it does not, and goes on as the standard has it.
    let mut unprotector = Unprotector::new(&peer.0);
    unprotector.resume(Progress { ssrc: 7, rtp: Some(0x3_2000), rtcp: None });
    unprotector.renegotiated();
    assert!(hear(&mut unprotector, 0x3_2001).is_ok());
}

#[test]
fn what_somebody_has_kept_of_a_call_takes_it_nowhere_else() {
    let peer = Peer(key(Suite::AesCm128Sha80, 3));
    let kept: Vec<_> = (0x2000..0x2040).map(|index| peer.say(7, index)).collect();
    let mut unprotector = Unprotector::new(&peer.0);
    unprotector.resume(Progress { ssrc: 7, rtp: Some(0x3_1fff), rtcp: None });
    // Neither while the peer talks nor in a pause of its.
    for (number, kept) in kept.iter().enumerate() {
        assert!(open(&mut unprotector, &peer.say(7, 0x3_2000 + number as u64)).is_ok());
        assert!(open(&mut unprotector, kept).is_err());
    }
    // After the call was spoken of it could have begun anew; but when it talks again, it is heard, and nothing of that comes twice.
    unprotector.renegotiated();
    assert!(open(&mut unprotector, &kept[0]).is_ok());
    let live: Vec<_> = (0x3_2040..0x3_2080).map(|index| peer.say(7, index)).collect();
    for packet in &live {
        assert!(open(&mut unprotector, packet).is_ok());
    }
    for packet in live.iter().chain(&kept) {
        assert!(open(&mut unprotector, packet).is_err());
    }
    // A peer that goes on has not begun anew.
    unprotector.renegotiated();
    for index in 0x3_2080..0x3_2090 {
        assert!(open(&mut unprotector, &peer.say(7, index)).is_ok());
    }
    assert!(open(&mut unprotector, &peer.say(7, 0x2090)).is_err());
}

#[test]
fn a_sender_that_begins_anew_goes_on_by_indices_that_nobody_has_used() {
    let key = key(Suite::AesCm128Sha80, 3);
    let (mut protector, mut unprotector) = (Protector::new(&key), Unprotector::new(&key));
    let mut say = |index: u64, payload: u8| {
        let mut plain = rtp(7, index);
        plain[20] = payload;
        let heard = open(&mut unprotector, &seal(&mut protector, &plain)).unwrap();
        assert_eq!((heard.len(), heard[20]), (plain.len(), payload));
        u16::from_be_bytes([heard[2], heard[3]])
    };
    for index in 5000..5010 {
        assert_eq!(u64::from(say(index, 1)), index);
    }
    // Back by 2,000; and then somebody's packet far ahead, and on from where it was.
    for (start, sequences) in [(3000, 5010..5020), (3010, 5020..5030)] {
        let said: Vec<_> = (start..start + 10).map(|index| say(index, 2)).collect();
        assert_eq!(said, sequences.collect::<Vec<u16>>());
    }
    let far = say(30_000, 3);
    assert_eq!((0..10).map(|more| say(3020 + more, 4)).collect::<Vec<_>>(), (far + 1..far + 11).collect::<Vec<_>>());
}

#[test]
fn a_flood_of_forged_packets_keeps_nobody_from_being_heard() {
    let peer = Peer(key(Suite::AesCm128Sha80, 3));
    let mut unprotector = Unprotector::new(&peer.0);
    assert!(open(&mut unprotector, &peer.say(7, 0x1_0000)).is_ok());
    let mut forged = peer.say(7, 0x1_0001);
    *forged.last_mut().unwrap() ^= 1;
    for _ in 0..200_000 {
        assert_eq!(open(&mut unprotector, &forged), Err(Refused::Forged));
    }
    assert!(open(&mut unprotector, &peer.say(7, 0x1_0001)).is_ok());
    for _ in 0..1000 {
        assert_eq!(open(&mut unprotector, &forged), Err(Refused::Replayed));
    }
    assert!(open(&mut unprotector, &peer.say(7, 0x1_0002)).is_ok());
}

#[test]
fn keys_are_told_apart_by_the_names_that_packets_give_them() {
    let named = |seed, name| {
        let material = key(Suite::AesCm128Sha80, seed).key_and_salt().to_vec();
        MasterKey::new(Suite::AesCm128Sha80, &material, Mki::new(name, 2).unwrap()).unwrap()
    };
    let mut unprotector = Unprotector::new(&named(3, 1)).or(&named(4, 2));
    let [one, two, none] = [named(3, 1), named(4, 2), named(3, 9)].map(|key| Protector::new(&key));
    for (protector, index, expected) in [(one, 1, true), (two, 2, true), (none, 3, false)] {
        let mut protector = protector;
        assert_eq!(open(&mut unprotector, &seal(&mut protector, &rtp(7, index))).is_ok(), expected);
    }
}

#[test]
fn a_report_that_is_authenticated_but_not_encrypted_is_read() {
    for suite in Suite::ALL {
        let [_, cipher] = key(suite, 3).ciphers();
        let (mut bytes, word) = (rtcp(7), 5_u32.to_be_bytes());
        let len = bytes.len();
        let place = cipher::Place { ssrc: 7, index: 5 };
        let tag = cipher.seal(&mut bytes, len, place, cipher::Beside::Word(word));
        let tag = &tag[..cipher.tag_len()];
        let sealed = if cipher.is_gcm() { [&bytes, tag, &word].concat() } else { [&bytes, &word[..], tag].concat() };
        let mut unprotector = Unprotector::new(&key(suite, 3));
        assert_eq!(with(&sealed, |packet| unprotector.rtcp(packet)), Ok(rtcp(7)), "{}", suite.name());
    }
}

#[test]
fn another_process_goes_on_where_one_was() {
    let of = key(Suite::AesCm256Sha80, 3);
    let (mut protector, mut unprotector) = (Protector::new(&of), Unprotector::new(&of));
    let mut last = Vec::new();
    for index in 0x2_fff0..0x3_0010_u64 {
        if index == 0x2_fff0 {
            let at = Progress { ssrc: 7, rtp: Some(index - 1), rtcp: None };
            protector.resume(at, 0);
            unprotector.resume(at);
        }
        last = seal(&mut protector, &rtp(7, index));
        assert!(open(&mut unprotector, &last).is_ok());
    }
    let report = with(&rtcp(7), |packet| protector.rtcp(packet)).unwrap();
    assert!(with(&report, |packet| unprotector.rtcp(packet)).is_ok());
    let (mut next, mut reader) = (Protector::new(&of), Unprotector::new(&of));
    protector.progress().for_each(|progress| next.resume(progress, 100));
    unprotector.progress().for_each(|progress| reader.resume(progress));
    assert!(open(&mut reader, &last).is_err(), "it has been here");
    assert_eq!(open(&mut reader, &seal(&mut next, &rtp(7, 0x3_0010))).unwrap(), rtp(7, 0x3_0010));
    assert!(with(&report, |packet| reader.rtcp(packet)).is_err());
    assert!(with(&with(&rtcp(7), |packet| next.rtcp(packet)).unwrap(), |packet| reader.rtcp(packet)).is_ok());
}

proptest! {
    #[test]
    fn whatever_comes_is_no_panic(suite in prop::sample::select(Suite::ALL.to_vec()), bytes in prop::collection::vec(any::<u8>(), 0..200), mki in 0_usize..5) {
        let material = key(suite, 3).key_and_salt().to_vec();
        let of = MasterKey::new(suite, &material, Mki::new(1, mki).unwrap_or_default()).unwrap();
        let (mut protector, mut unprotector) = (Protector::new(&of), Unprotector::new(&of));
        let mut bytes = bytes;
        for first in [None, Some(0x80), Some(0x9f)] {
            if let (Some(first), Some(place)) = (first, bytes.first_mut()) {
                *place = first;
            }
            let _any = open(&mut unprotector, &bytes);
            let _any = with(&bytes, |packet| unprotector.rtcp(packet));
            let _any = with(&bytes, |packet| protector.rtp(packet));
            let _any = with(&bytes, |packet| protector.rtcp(packet));
        }
    }
}
