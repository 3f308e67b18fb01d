//! What values say, in whichever form clients write them.

use std::net::IpAddr;

use crate::ng::Value;
use crate::ng::value::canonical;

/// A string that says something.
pub(super) fn filled(value: &Value<'_>) -> Option<Vec<u8>> {
    value.as_text().filter(|text| !text.is_empty()).map(|text| text.into_owned())
}

/// How many words of a list are read. Scripts write some dozen.
const MAX_WORDS: usize = 256;

/// The words of a list, or of a single string, in their one spelling.
pub(super) fn words(value: &Value<'_>) -> impl Iterator<Item = Vec<u8>> {
    value.items().iter().take(MAX_WORDS).filter_map(|word| Some(canonical(&word.as_text()?)))
}

/// The words of a list, or of a single string, as they are.
pub(super) fn raw(value: &Value<'_>) -> impl Iterator<Item = Vec<u8>> {
    value.items().iter().take(MAX_WORDS).filter_map(|word| Some(word.as_text()?.into_owned()))
}

/// `["IP4", "192.0.2.1"]`, or only the address, or both in one string.
pub(super) fn address(value: &Value<'_>) -> Option<IpAddr> {
    let text = value.items().last()?.as_text()?;
    std::str::from_utf8(&text).ok()?.split_ascii_whitespace().last()?.parse().ok()
}

/// A number that is not below zero, also where it is written as text: scripts know nothing else. One that is too large is the largest.
pub(super) fn number(value: &Value<'_>) -> Option<u32> {
    if let Some(number) = value.as_int() {
        return u64::try_from(number).ok().map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    }
    let text = value.as_text()?;
    let digits = text.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(std::str::from_utf8(digits).ok()?.parse().unwrap_or(u32::MAX))
}
