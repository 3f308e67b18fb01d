use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// An offer as Kamailio 5.6 sent it.
pub(crate) const OFFER: &[u8] = b"d8:supportsl10:load limite3:sdp115:v=0\r\no=sipp 1 1 IN IP4 192.0.2.10\r\ns=-\r\n\
    c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 22000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n3:ICE6:remove\
    9:directionl4:pbx17:gatewaye7:replacel6:origine7:call-id17:1-9232@192.0.2.1013:received-froml3:IP4\
    10:192.0.2.10e8:from-tag7:c9232-17:command5:offere";

fn dict(value: Value<'_>) -> Dict<'_> {
    let Value::Dict(dict) = value else { panic!("{value:?} is no dictionary") };
    dict
}

#[test]
fn a_captured_offer_is_read_with_its_unsorted_keys() {
    let offer = dict(decode(OFFER).unwrap());
    assert_eq!(offer.get("command"), Some(&Value::from("offer")));
    assert_eq!(offer.get("direction").unwrap().items(), [Value::from("pbx1"), Value::from("gateway")]);
    assert_eq!(offer.len(), 9);
    assert_eq!(encode(&Value::Dict(offer)), OFFER);
}

#[test]
fn strings_are_borrowed_from_the_message() {
    let Ok(Value::Text(Cow::Borrowed(text))) = decode(b"3:abc") else { panic!("not borrowed") };
    assert_eq!(text, b"abc");
}

#[test]
fn every_cut_of_a_captured_offer_is_incomplete() {
    for length in 0..OFFER.len() {
        assert_eq!(decode_prefix(&OFFER[..length]), Err(Error::Incomplete), "{length}");
    }
}

#[test]
fn a_stream_may_go_on_after_the_value_but_a_datagram_may_not() {
    assert_eq!(decode_prefix(b"i1ei2e"), Ok((Value::Int(1), 3)));
    assert_eq!(decode(b"i1ei2e"), Err(Error::Trailing(3)));
    assert_eq!(decode(b"de\n"), Err(Error::Trailing(1)));
}

#[test]
fn numbers_of_the_whole_range_are_read_and_no_others() {
    assert_eq!(decode(b"i-9223372036854775808e"), Ok(Value::Int(i64::MIN)));
    assert_eq!(decode(b"i9223372036854775807e"), Ok(Value::Int(i64::MAX)));
    assert_eq!(decode(b"i0e"), Ok(Value::Int(0)));
    for text in ["i9223372036854775808e", "i-9223372036854775809e", "i99999999999999999999999999e"] {
        assert_eq!(decode(text.as_bytes()), Err(Error::Malformed { at: 1 }), "{text}");
    }
}

#[test]
fn a_number_has_one_spelling() {
    for text in ["ie", "i-e", "i-0e", "i00e", "i01e", "i-01e", "i+1e", "i1.5e", "i 1e", "i1", "i-"] {
        assert!(decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_length_has_one_spelling() {
    assert_eq!(decode(b"0:"), Ok(Value::from("")));
    for text in ["00:", "03:abc", "-3:abc", "+3:abc", ":abc", "3abc", "d-1:ai1ee", "3:ab"] {
        assert!(decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_huge_length_is_refused_before_its_bytes_come() {
    for text in ["99999999999:", "65537:a", "99999999999999999999999999999999999999:", "d65530:abcdefg"] {
        assert_eq!(decode_prefix(text.as_bytes()), Err(Error::TooLong), "{text}");
    }
    assert_eq!(decode_prefix(b"60000:a"), Err(Error::Incomplete));
}

#[test]
fn a_message_that_never_ends_is_refused_at_the_limit() {
    let mut bytes = b"l".to_vec();
    bytes.resize(MAX_MESSAGE - 1, b'l');
    assert_eq!(decode_prefix(&bytes), Err(Error::TooDeep));
    let list: Vec<u8> = b"l".iter().chain(b"i1e".repeat(30_000).iter()).copied().collect();
    assert_eq!(decode_prefix(&list), Err(Error::TooLong));
    assert_eq!(decode_prefix(&list[..60_000]), Err(Error::Incomplete));
}

#[test]
fn the_depth_limit_is_exact() {
    let nested = |depth: usize| [b"l".repeat(depth), b"e".repeat(depth)].concat();
    assert!(decode(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(decode(&nested(MAX_DEPTH + 1)), Err(Error::TooDeep));
    assert_eq!(decode(&b"d1:a".repeat(20_000)), Err(Error::TooDeep));
}

#[test]
fn keys_are_strings_and_have_values() {
    for text in ["di1ei2ee", "d1:ae", "dlelee", "d1:a"] {
        assert!(decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_double_key_is_kept_and_the_last_counts() {
    let twice = dict(decode(b"d1:ai1e1:ai2ee").unwrap());
    assert_eq!(twice.get("a"), Some(&Value::Int(2)));
}

#[test]
fn what_begins_with_no_type_is_refused_where_it_stands() {
    assert_eq!(decode(b"li1ex"), Err(Error::Malformed { at: 4 }));
    assert_eq!(decode(b"e"), Err(Error::Malformed { at: 0 }));
    assert_eq!(decode(b""), Err(Error::Incomplete));
}

/// Any value within the limits.
pub(crate) fn any_value() -> impl Strategy<Value = Value<'static>> {
    let text = || vec(any::<u8>(), 0..12);
    let leaf = prop_oneof![any::<i64>().prop_map(Value::Int), text().prop_map(Value::from)];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            vec((text().prop_map(Cow::Owned), inner), 0..6)
                .prop_map(|values| Value::Dict(values.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_again(value in any_value()) {
        let bytes = encode(&value);
        prop_assert_eq!(decode(&bytes), Ok(value));
    }

    #[test]
    fn random_bytes_do_no_harm_and_what_is_read_is_written_alike(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok((value, consumed)) = decode_prefix(&bytes) {
            prop_assert_eq!(encode(&value), &bytes[..consumed]);
        }
    }

    #[test]
    fn bytes_of_the_alphabet_do_no_harm(text in "[dlie0-9:-]{0,60}") {
        if let Ok((value, consumed)) = decode_prefix(text.as_bytes()) {
            prop_assert_eq!(encode(&value), &text.as_bytes()[..consumed]);
        }
    }

    #[test]
    fn a_mutated_offer_does_no_harm(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = OFFER.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok((value, consumed)) = decode_prefix(&bytes) {
            prop_assert_eq!(encode(&value), &bytes[..consumed]);
        }
    }
}
