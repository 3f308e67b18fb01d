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

/// A number, also where it is written as text: scripts know nothing else.
pub(super) fn number(value: &Value<'_>) -> Option<u32> {
    let text = || std::str::from_utf8(&value.as_text()?).ok()?.trim().parse().ok();
    value.as_int().map_or_else(text, |number| u32::try_from(number).ok())
}
