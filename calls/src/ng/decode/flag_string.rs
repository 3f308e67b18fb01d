//! `rtpp-flags`: everything that a script says about a call in one string, left to the relay to take apart.
//!
//! `trust-address replace-origin ICE=remove direction=pbx direction=gateway TOS=184 sdes=[off nonew]`

use crate::ng::{Dict, Value};

/// One word of the string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Word {
    Flag(Vec<u8>),
    /// A key that came several times has all its values in one list.
    Key(Vec<u8>, Value<'static>),
}

/// How many different keys of one string are read: each is compared with all before it.
const MAX_KEYS: usize = 64;

/// How deep brackets may nest; what is deeper is taken as it is.
const MAX_DEPTH: u8 = 8;

/// How long a string may be that is taken apart, in bytes: scripts write some hundred.
pub(super) const MAX_TEXT: usize = 8192;

/// The words of a string: flags in order, then keys. Brackets hold lists, or dictionaries where every word in them is a key with its value.
pub(super) fn parse(text: &[u8]) -> Vec<Word> {
    words(text, MAX_DEPTH)
}

fn words(text: &[u8], depth: u8) -> Vec<Word> {
    let mut flags = Vec::new();
    let mut keys: Vec<(Vec<u8>, Vec<Value<'static>>)> = Vec::new();
    let mut rest = text.trim_ascii_start();
    while !rest.is_empty() {
        let (word, after) = take_word(rest);
        rest = after.trim_ascii_start();
        // Only an equals sign outside brackets belongs to this word.
        let equals = word.iter().position(|byte| matches!(byte, b'=' | b'[')).filter(|at| word.get(*at) == Some(&b'='));
        let Some((name, [_, value @ ..])) = equals.and_then(|at| word.split_at_checked(at)) else {
            flags.push(Word::Flag(unescape(word)));
            continue;
        };
        let values = values(value, depth);
        let is_full = keys.len() >= MAX_KEYS;
        match keys.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some((_, before)) => before.extend(values),
            None if is_full => {}
            None => keys.push((name.to_vec(), values)),
        }
    }
    flags.extend(keys.into_iter().map(|(key, values)| Word::Key(key, single(values))));
    flags
}

/// The values of a key: one, those of a list, or one dictionary.
fn values(text: &[u8], depth: u8) -> Vec<Value<'static>> {
    let (inner, depth) = match (text, depth.checked_sub(1)) {
        ([b'[', inner @ .., b']'], Some(depth)) => (inner, depth),
        ([], _) => return Vec::new(),
        (plain, _) => return vec![Value::from(unescape(plain))],
    };
    let mut dict = Dict::new();
    let mut list = Vec::new();
    for word in words(inner, depth) {
        match word {
            Word::Flag(flag) if flag.first() == Some(&b'[') => list.push(Value::List(values(&flag, depth))),
            Word::Flag(flag) => list.push(Value::from(flag)),
            Word::Key(key, value) => dict.push(key, value),
        }
    }
    if !dict.is_empty() {
        list.push(Value::Dict(dict));
    }
    list
}

/// A list of one is its one value: most keys want a string.
fn single(mut values: Vec<Value<'static>>) -> Value<'static> {
    match values.pop() {
        Some(value) if values.is_empty() => value,
        last => {
            values.extend(last);
            Value::List(values)
        }
    }
}

/// The text up to the next space outside brackets, and the rest.
fn take_word(text: &[u8]) -> (&[u8], &[u8]) {
    let mut depth = 0_usize;
    let end = text.iter().position(|byte| {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && byte.is_ascii_whitespace()
    });
    text.split_at(end.unwrap_or(text.len()))
}

/// `--` stands for `=` and `..` for a space.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'-', b'-', after @ ..] => (b'=', after),
            [b'.', b'.', after @ ..] => (b' ', after),
            _ => (*first, after),
        };
        out.push(byte);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flag(text: &str) -> Word {
        Word::Flag(text.into())
    }

    fn key(name: &str, value: impl Into<Value<'static>>) -> Word {
        Word::Key(name.into(), value.into())
    }

    #[test]
    fn flags_and_keys_are_told_apart() {
        assert_eq!(parse(b" trust-address\tICE=remove  x "), [flag("trust-address"), flag("x"), key("ICE", "remove")]);
    }

    #[test]
    fn a_key_that_comes_twice_and_a_value_in_brackets_are_lists() {
        let both = || Value::List(vec![Value::from("pbx"), Value::from("gateway")]);
        assert_eq!(parse(b"direction=pbx a direction=gateway"), [flag("a"), key("direction", both())]);
        assert_eq!(parse(b"direction=[pbx  gateway] a"), [flag("a"), key("direction", both())]);
        assert_eq!(parse(b"SDES=[off]"), [key("SDES", "off")]);
    }

    #[test]
    fn escapes_stand_for_the_characters_that_separate() {
        assert_eq!(parse(b"label=a--b..c--- from--x"), [flag("from=x"), key("label", "a=b c=-")]);
    }

    #[test]
    fn odd_strings_are_taken_as_they_are() {
        assert_eq!(parse(b"[a b"), [flag("[a b")]);
        assert_eq!(parse(b"a="), [key("a", Value::List(vec![]))]);
        assert_eq!(parse(b"= ]"), [flag("]"), key("", Value::List(vec![]))]);
        assert_eq!(parse(b"  "), []);
    }

    #[test]
    fn a_string_of_very_many_keys_is_cut_off() {
        let text: String = (0..10_000).map(|number| format!("{number}=x ")).collect();
        assert_eq!(parse(text.as_bytes()).len(), MAX_KEYS);
    }

    proptest! {
        #[test]
        fn any_string_is_taken_apart(text in "[a=\\[\\] .-]{0,40}") {
            let _ = parse(text.as_bytes());
        }
    }
}
