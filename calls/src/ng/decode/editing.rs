//! The words that ask for changes of the description's text: codecs and attributes.

use super::values::raw;
use crate::intent::{AttributeEdit, Level};
use crate::ng::Value;
use crate::ng::value::canonical;

/// How many attribute edits of one command are heeded: each is compared with every line.
const MAX_EDITS: usize = 16;

/// The name of a codec specification, `NAME/clock/channels/...`, in lower case; the rest is for transcoding, but for clock and channels.
pub(super) fn codec(specification: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = specification.split(|byte| *byte == b'/').take(3).collect();
    let last = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
    parts.get(..last).unwrap_or_default().join(&b'/').to_ascii_lowercase()
}

/// `{<level>: {add: [..], remove: [..], substitute: [[from, to], ..]}}`.
pub(super) fn attributes(value: &Value<'_>, edits: &mut Vec<AttributeEdit>) {
    let Some(levels) = value.as_dict() else { return };
    for (name, verbs) in levels.iter() {
        let level = level(name);
        let Some(verbs) = verbs.as_dict() else { continue };
        for (verb, values) in verbs.iter() {
            match canonical(verb).as_slice() {
                b"add" => raw(values).for_each(|text| push(edits, AttributeEdit::Add(level.clone(), text))),
                b"remove" => raw(values).for_each(|text| push(edits, AttributeEdit::Remove(level.clone(), text))),
                b"substitute" => substitutes(values, &level, edits),
                _ => {}
            }
        }
    }
}

/// A list of pairs, one pair, or strings of the form `from>to`.
fn substitutes(values: &Value<'_>, level: &Level, edits: &mut Vec<AttributeEdit>) {
    if let Value::List(items) = values
        && let [from @ Value::Text(_), to @ Value::Text(_)] = items.as_slice()
        && !raw(from).any(|text| text.contains(&b'>'))
    {
        return substitute(level, raw(from).next(), raw(to).next(), edits);
    }
    for item in values.items() {
        match item {
            Value::List(pair) => {
                let mut texts = pair.iter().flat_map(raw);
                substitute(level, texts.next(), texts.next(), edits);
            }
            Value::Text(text) => {
                let mut parts = text.splitn(2, |byte| *byte == b'>').map(<[u8]>::to_vec);
                substitute(level, parts.next(), parts.next(), edits);
            }
            Value::Int(_) | Value::Dict(_) => {}
        }
    }
}

fn substitute(level: &Level, from: Option<Vec<u8>>, to: Option<Vec<u8>>, edits: &mut Vec<AttributeEdit>) {
    if let (Some(from), Some(to)) = (from.filter(|from| !from.is_empty()), to) {
        push(edits, AttributeEdit::Substitute(level.clone(), from, to));
    }
}

/// `sdp-attr-<verb>-<level>-<text>`, with `from>to` for a substitution; false when it has no such form.
pub(super) fn attribute_flag(raw: &[u8], edits: &mut Vec<AttributeEdit>) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b'-' | b'_' | b' ');
    let Ok([_, _, verb, name, text]) = <[&[u8]; 5]>::try_from(raw.splitn(5, is_separator).collect::<Vec<_>>()) else {
        return false;
    };
    let (level, text) = (level(name), text.to_vec());
    match canonical(verb).as_slice() {
        b"add" => push(edits, AttributeEdit::Add(level, text)),
        b"remove" => push(edits, AttributeEdit::Remove(level, text)),
        b"substitute" => substitutes(&Value::from(text), &level, edits),
        _ => return false,
    }
    true
}

fn level(name: &[u8]) -> Level {
    match canonical(name).as_slice() {
        b"none" | b"global" | b"session" => Level::Session,
        kind => Level::Media(kind.to_vec()),
    }
}

fn push(edits: &mut Vec<AttributeEdit>, edit: AttributeEdit) {
    // A line break would be a way to smuggle lines that are no attributes into the description.
    let is_line = |text: &[u8]| !text.is_empty() && !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    let is_sound = match &edit {
        AttributeEdit::Add(_, text) | AttributeEdit::Remove(_, text) => is_line(text),
        AttributeEdit::Substitute(_, from, to) => is_line(from) && is_line(to),
    };
    if is_sound && edits.len() < MAX_EDITS {
        edits.push(edit);
    }
}
