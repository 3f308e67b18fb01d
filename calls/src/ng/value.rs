//! What a dictionary of the protocol is made of, whichever way it is encoded.

use std::borrow::Cow;

/// A value of a dictionary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A number.
    Int(i64),
    /// A string of bytes; nothing says that they are UTF-8.
    Text(Cow<'a, [u8]>),
    /// Values in order.
    List(Vec<Self>),
    /// Named values.
    Dict(Dict<'a>),
}

impl<'a> Value<'a> {
    /// A string.
    pub fn text(text: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::Text(text.into())
    }

    /// A number that may be too large for the encodings: then their largest.
    pub fn count(number: impl TryInto<i64>) -> Self {
        Self::Int(number.try_into().unwrap_or(i64::MAX))
    }

    /// The number. Clients may also write numbers as strings.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok(),
            Self::List(_) | Self::Dict(_) => None,
        }
    }

    /// The string. Encoders of untyped languages write a tag of digits as a number, so that counts as its digits.
    pub fn as_text(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Int(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::List(_) | Self::Dict(_) => None,
        }
    }

    /// The values of a list. A single string or number stands for a list of one.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::Int(_) | Self::Text(_) => std::slice::from_ref(self),
            Self::Dict(_) => &[],
        }
    }

    /// The dictionary.
    pub const fn as_dict(&self) -> Option<&Dict<'a>> {
        match self {
            Self::Dict(dict) => Some(dict),
            Self::Int(_) | Self::Text(_) | Self::List(_) => None,
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::text(text.as_bytes())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::text(text.into_bytes())
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self::text(text)
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(text: Vec<u8>) -> Self {
        Self::text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl<'a> From<Dict<'a>> for Value<'a> {
    fn from(dict: Dict<'a>) -> Self {
        Self::Dict(dict)
    }
}

impl<'a> From<Vec<Self>> for Value<'a> {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}

/// Named values in the order in which they came or shall go out.
///
/// A name that comes twice is kept twice, and the last one counts, as in JSON.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dict<'a>(Vec<(Cow<'a, [u8]>, Value<'a>)>);

impl<'a> Dict<'a> {
    /// No values.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a value at the end.
    pub fn push(&mut self, key: impl Into<Cow<'a, [u8]>>, value: impl Into<Value<'a>>) {
        self.0.push((key.into(), value.into()));
    }

    /// Adds a value at the end, for building a dictionary in one expression.
    #[must_use]
    pub fn with(mut self, key: &'a str, value: impl Into<Value<'a>>) -> Self {
        self.push(key.as_bytes(), value);
        self
    }

    /// Takes a key and its value out.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(other, _)| other.as_ref() != key.as_bytes());
    }

    /// The value of a name, which may be spelled as [`same_words`] allows.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.iter().rev().find_map(|(name, value)| same_words(name, key.as_bytes()).then_some(value))
    }

    /// All names and values in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &Value<'a>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    /// How many values there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<(Cow<'a, [u8]>, Value<'a>)> for Dict<'a> {
    fn from_iter<T: IntoIterator<Item = (Cow<'a, [u8]>, Value<'a>)>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The one spelling that all spellings of a name are compared in: lower case, words separated by hyphens.
pub fn canonical(name: &[u8]) -> Vec<u8> {
    name.iter().copied().map(canonical_byte).collect()
}

/// Whether two names are the same. Words may be separated by spaces, hyphens or underscores, and case does not matter.
pub fn same_words(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(a, b)| canonical_byte(*a) == canonical_byte(*b))
}

const fn canonical_byte(byte: u8) -> u8 {
    match byte {
        b' ' | b'_' => b'-',
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_be_written_as_a_string_and_the_other_way_round() {
        assert_eq!(Value::from("-17").as_int(), Some(-17));
        assert_eq!(Value::from(" 17 ").as_int(), Some(17));
        assert_eq!(Value::Int(17).as_text().as_deref(), Some(&b"17"[..]));
        for text in ["", "x", "1.5", "9223372036854775808"] {
            assert_eq!(Value::from(text).as_int(), None, "{text}");
        }
    }

    #[test]
    fn a_single_string_is_a_list_of_one() {
        assert_eq!(Value::from("origin").items(), [Value::from("origin")]);
        assert_eq!(Value::List(vec![Value::Int(1), Value::Int(2)]).items().len(), 2);
        assert!(Value::Dict(Dict::new()).items().is_empty());
    }

    #[test]
    fn lists_and_dictionaries_are_neither_numbers_nor_strings() {
        for value in [Value::List(vec![]), Value::Dict(Dict::new())] {
            assert_eq!((value.as_int(), value.as_text()), (None, None));
        }
    }

    #[test]
    fn names_are_equal_however_their_words_are_separated() {
        let dict = Dict::new().with("SIP_message type", 1);
        assert_eq!(dict.get("sip-message-type"), Some(&Value::Int(1)));
        assert_eq!(dict.get("sip-messagetype"), None);
        assert_eq!(canonical(b"SIP_source address"), b"sip-source-address");
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        let dict = Dict::new().with("call-id", "a").with("call_id", "b");
        assert_eq!(dict.get("call-id"), Some(&Value::from("b")));
        assert_eq!(dict.len(), 2);
    }

    #[test]
    fn a_number_that_is_too_large_becomes_the_largest() {
        assert_eq!(Value::count(u64::MAX), Value::Int(i64::MAX));
        assert_eq!(Value::count(3_u64), Value::Int(3));
    }
}
