//! Bencode: `i42e`, `4:text`, `l...e`, `d...e`.
//!
//! The decoder borrows strings from the message. It is strict about the one spelling that each value has (no leading
//! zeros, no `-0`, no sign in a length), because nobody sends others, and lax about the order of keys, because everybody
//! sends them unsorted.

use std::borrow::Cow;

use super::value::{Dict, Value};
use super::{MAX_DEPTH, MAX_MESSAGE};

/// Why bytes are not a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The value does not end before the bytes do. On a stream the rest may still come.
    #[error("the value is cut off")]
    Incomplete,
    /// The value is, or says that it will be, longer than [`MAX_MESSAGE`].
    #[error("the value is longer than {MAX_MESSAGE} bytes")]
    TooLong,
    /// More than [`MAX_DEPTH`] lists and dictionaries inside each other.
    #[error("more than {MAX_DEPTH} levels of lists and dictionaries")]
    TooDeep,
    /// A byte that cannot stand where it stands.
    #[error("unexpected byte at position {at}")]
    Malformed {
        /// Where, counted from 0.
        at: usize,
    },
    /// More bytes after the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
}

/// The value that the bytes are, all of them.
///
/// # Errors
/// When they are not exactly one value within the limits.
pub fn decode(bytes: &[u8]) -> Result<Value<'_>, Error> {
    let (value, consumed) = decode_prefix(bytes)?;
    match bytes.len().saturating_sub(consumed) {
        0 => Ok(value),
        more => Err(Error::Trailing(more)),
    }
}

/// The value that the bytes begin with, and how many bytes it takes: streams have no other framing.
///
/// # Errors
/// [`Error::Incomplete`] when more bytes may complete the value, any other when none can.
pub fn decode_prefix(bytes: &[u8]) -> Result<(Value<'_>, usize), Error> {
    // What is beyond the limit is not looked at, so a value that reaches it is too long, not incomplete.
    let window = bytes.get(..MAX_MESSAGE).unwrap_or(bytes);
    let mut decoder = Decoder { bytes: window, at: 0 };
    match decoder.value(0) {
        Ok(value) => Ok((value, decoder.at)),
        Err(Error::Incomplete) if bytes.len() >= MAX_MESSAGE => Err(Error::TooLong),
        Err(error) => Err(error),
    }
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        match self.peek()? {
            b'i' => {
                self.at += 1;
                self.int().map(Value::Int)
            }
            b'0'..=b'9' => self.text().map(|text| Value::Text(Cow::Borrowed(text))),
            _ if depth == MAX_DEPTH => Err(Error::TooDeep),
            b'l' => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.end()? {
                    items.push(self.value(depth + 1)?);
                }
                Ok(Value::List(items))
            }
            b'd' => {
                self.at += 1;
                let mut dict = Dict::new();
                while !self.end()? {
                    let key = self.text()?;
                    dict.push(key, self.value(depth + 1)?);
                }
                Ok(Value::Dict(dict))
            }
            _ => Err(self.malformed()),
        }
    }

    fn peek(&self) -> Result<u8, Error> {
        self.bytes.get(self.at).copied().ok_or(Error::Incomplete)
    }

    const fn malformed(&self) -> Error {
        Error::Malformed { at: self.at }
    }

    /// Takes the `e` of a list or dictionary, if it is next.
    fn end(&mut self) -> Result<bool, Error> {
        let is_end = self.peek()? == b'e';
        self.at += usize::from(is_end);
        Ok(is_end)
    }

    /// The rest of `i<number>e`. Counted downwards, because the smallest number has no positive twin.
    fn int(&mut self) -> Result<i64, Error> {
        let start = self.at;
        let is_negative = self.peek()? == b'-';
        self.at += usize::from(is_negative);
        let first = self.at;
        let mut number = 0_i64;
        while let digit @ b'0'..=b'9' = self.peek()? {
            if self.at > first && number == 0 {
                return Err(self.malformed());
            }
            number = number
                .checked_mul(10)
                .and_then(|number| number.checked_sub(i64::from(digit - b'0')))
                .ok_or(Error::Malformed { at: start })?;
            self.at += 1;
        }
        if self.at == first || self.peek()? != b'e' || (is_negative && number == 0) {
            return Err(self.malformed());
        }
        self.at += 1;
        if is_negative { Ok(number) } else { number.checked_neg().ok_or(Error::Malformed { at: start }) }
    }

    /// `<length>:<bytes>`.
    fn text(&mut self) -> Result<&'a [u8], Error> {
        let first = self.at;
        let mut length = 0_usize;
        while let digit @ b'0'..=b'9' = self.peek()? {
            if self.at > first && length == 0 {
                return Err(self.malformed());
            }
            length = length * 10 + usize::from(digit - b'0');
            // Said before the bytes come, so that nobody waits for them; and the next multiplication cannot overflow.
            if length > MAX_MESSAGE {
                return Err(Error::TooLong);
            }
            self.at += 1;
        }
        if self.at == first || self.peek()? != b':' {
            return Err(self.malformed());
        }
        let start = self.at + 1;
        let end = start + length;
        if end > MAX_MESSAGE {
            return Err(Error::TooLong);
        }
        let text = self.bytes.get(start..end).ok_or(Error::Incomplete)?;
        self.at = end;
        Ok(text)
    }
}

/// The bytes of a value.
pub fn encode(value: &Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(value, &mut out);
    out
}

/// Adds the bytes of a value.
pub fn encode_into(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Int(number) => {
            out.push(b'i');
            if *number < 0 {
                out.push(b'-');
            }
            encode_digits(number.unsigned_abs(), out);
            out.push(b'e');
        }
        Value::Text(text) => encode_text(text, out),
        Value::List(items) => {
            out.push(b'l');
            for item in items {
                encode_into(item, out);
            }
            out.push(b'e');
        }
        Value::Dict(dict) => encode_dict(dict, out),
    }
}

/// Adds the bytes of a dictionary.
pub fn encode_dict(dict: &Dict<'_>, out: &mut Vec<u8>) {
    out.push(b'd');
    for (key, value) in dict.iter() {
        encode_text(key, out);
        encode_into(value, out);
    }
    out.push(b'e');
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    encode_digits(text.len() as u64, out);
    out.push(b':');
    out.extend_from_slice(text);
}

/// Every string has its length before it, so this must not allocate.
fn encode_digits(mut number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

#[cfg(test)]
pub(crate) mod tests;
