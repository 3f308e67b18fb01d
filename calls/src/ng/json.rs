//! JSON: the same dictionaries, by way of `serde_json`.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::value::{Dict, Value};
use super::{MAX_DEPTH, MAX_MESSAGE};

/// Why bytes are not a value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is longer than [`MAX_MESSAGE`].
    #[error("the text is longer than {MAX_MESSAGE} bytes")]
    TooLong,
    /// More than [`MAX_DEPTH`] lists and dictionaries inside each other.
    #[error("more than {MAX_DEPTH} levels of lists and dictionaries")]
    TooDeep,
    /// Not JSON.
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
}

/// The value that the text is.
///
/// What the other encoding cannot say becomes the nearest that it can: true and false are 1 and 0, a number that is no
/// 64-bit integer is the string of its digits, and null is as if it were not there.
///
/// # Errors
/// When the text is not exactly one value within the limits.
pub fn decode(text: &[u8]) -> Result<Value<'static>, Error> {
    if text.len() > MAX_MESSAGE {
        return Err(Error::TooLong);
    }
    Ok(from_json(serde_json::from_slice(text)?, 0)?.unwrap_or(Value::List(Vec::new())))
}

/// How long the value is that the text begins with; `None` while it is not complete.
///
/// # Errors
/// When no more text can make it a value within the limits.
pub fn prefix(text: &[u8]) -> Result<Option<usize>, Error> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<serde::de::IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Ok(Some(values.byte_offset())),
        Some(Err(error)) if error.is_eof() && text.len() < MAX_MESSAGE => Ok(None),
        Some(Err(error)) if error.is_eof() => Err(Error::TooLong),
        Some(Err(error)) => Err(Error::Malformed(error)),
        None => Ok(None),
    }
}

fn from_json(json: Json, depth: usize) -> Result<Option<Value<'static>>, Error> {
    Ok(Some(match json {
        Json::Null => return Ok(None),
        Json::Bool(is_true) => Value::Int(i64::from(is_true)),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::from(number.to_string()), Value::Int),
        Json::String(text) => Value::from(text),
        Json::Array(_) | Json::Object(_) if depth == MAX_DEPTH => return Err(Error::TooDeep),
        Json::Array(items) => Value::List(
            items.into_iter().filter_map(|item| from_json(item, depth + 1).transpose()).collect::<Result<_, _>>()?,
        ),
        Json::Object(values) => {
            let entry = |(key, value): (String, Json)| {
                let value = from_json(value, depth + 1).transpose()?;
                Some(value.map(|value| (Cow::Owned(key.into_bytes()), value)))
            };
            Value::Dict(values.into_iter().filter_map(entry).collect::<Result<_, _>>()?)
        }
    }))
}

/// The text of a dictionary. JSON is UTF-8, so bytes that are not (a session description may have some) become U+FFFD.
pub fn encode(dict: &Dict<'_>) -> Vec<u8> {
    object(dict).to_string().into_bytes()
}

fn to_json(value: &Value<'_>) -> Json {
    match value {
        Value::Int(number) => Json::from(*number),
        Value::Text(text) => Json::String(String::from_utf8_lossy(text).into_owned()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Dict(dict) => object(dict),
    }
}

fn object(dict: &Dict<'_>) -> Json {
    Json::Object(dict.iter().map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), to_json(value))).collect())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Value<'static> {
        decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_dictionary_keeps_its_order() {
        let text = r#"{"supports":["load limit"],"call-id":"a","limit":3,"sub":{"z":1,"b":-1}}"#;
        let Value::Dict(dict) = read(text) else { panic!("no dictionary") };
        assert_eq!(String::from_utf8(encode(&dict)).unwrap(), text);
    }

    #[test]
    fn what_bencode_cannot_say_becomes_the_nearest() {
        let text = r#"{"a":true,"b":false,"c":null,"d":1.5,"e":18446744073709551615,"f":[null,1]}"#;
        let expected = Dict::new()
            .with("a", 1)
            .with("b", 0)
            .with("d", "1.5")
            .with("e", "18446744073709551615")
            .with("f", vec![Value::Int(1)]);
        assert_eq!(read(text), Value::Dict(expected));
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        let Value::Dict(dict) = read(r#"{"a":1,"a":2}"#) else { panic!("no dictionary") };
        assert_eq!(dict.get("a"), Some(&Value::Int(2)));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{\"a\":}", "{a:1}", "{} {}", "{\"a\":\"\u{1}\"}", "{\"a\":1,}", "nul"] {
            assert!(matches!(decode(text.as_bytes()), Err(Error::Malformed(_))), "{text}");
        }
        assert!(matches!(decode(b"{\"a\":\"\xff\"}"), Err(Error::Malformed(_))));
    }

    #[test]
    fn too_long_and_too_deep_are_refused() {
        assert!(matches!(decode(&vec![b' '; MAX_MESSAGE + 1]), Err(Error::TooLong)));
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(decode(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(matches!(decode(nested(MAX_DEPTH + 1).as_bytes()), Err(Error::TooDeep)));
        assert!(decode(nested(30_000).as_bytes()).is_err());
    }

    #[test]
    fn bytes_that_are_not_utf8_do_not_break_a_reply() {
        let reply = Dict::new().with("sdp", &b"s=\xff\r\n"[..]).with("result", "ok");
        assert_eq!(encode(&reply), "{\"sdp\":\"s=\u{fffd}\\r\\n\",\"result\":\"ok\"}".as_bytes());
    }

    fn any_value() -> impl Strategy<Value = Value<'static>> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::Int), any::<String>().prop_map(Value::from)];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(Value::List),
                // JSON has each name once.
                prop::collection::btree_map("[a-z]{0,4}", inner, 0..5).prop_map(|values| {
                    let entry = |(key, value): (String, Value<'static>)| (Cow::Owned(key.into_bytes()), value);
                    Value::Dict(values.into_iter().map(entry).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_again(value in any_value()) {
            let dict = Dict::new().with("value", value);
            prop_assert_eq!(decode(&encode(&dict)).unwrap(), Value::Dict(dict));
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..100), text in "[\\[\\]{}:,\"a0-9.e\\\\-]{0,60}") {
            let _ = decode(&bytes);
            let _ = decode(text.as_bytes());
        }
    }
}
