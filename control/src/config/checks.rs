//! Whether a key says what it may: addresses, numbers, words, names.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use border::{InterfaceError, Interfaces};
use relay::Prefix;

use crate::listen::Guests;

/// Refuses names that could not be those of a folder.
pub(super) fn instance(name: &str) -> anyhow::Result<()> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
        bail!("instance \"{name}\" is no name: want up to 64 letters, digits, '-' and '_'");
    }
    Ok(())
}

/// Listeners, and who may use them.
pub(super) fn guarded(
    listeners: Vec<SocketAddr>,
    allowed: Option<&[String]>,
    keys: [&str; 2],
) -> anyhow::Result<(Vec<SocketAddr>, Guests)> {
    let guests = Guests::new(prefixes(keys[1], allowed)?, &listeners, keys)?;
    Ok((listeners, guests))
}

/// Networks.
pub(super) fn prefixes(key: &str, texts: Option<&[String]>) -> anyhow::Result<Vec<Prefix>> {
    let parse = |text: &String| text.parse().with_context(|| key.to_owned());
    texts.unwrap_or_default().iter().map(parse).collect()
}

/// A number above zero; zero is the way to say that there is no limit.
pub(super) fn positive(key: &str, number: Option<f64>) -> anyhow::Result<Option<f64>> {
    match number {
        Some(number) if number.is_nan() || number < 0.0 => bail!("{key} = {number}: want a number, or 0 for no limit"),
        number => Ok(number.filter(|number| *number > 0.0)),
    }
}

/// Ten years.
const LONGEST: u64 = 315_360_000;

/// Seconds, of which there is one at least: with none, calls would end at once.
pub(super) fn seconds(key: &str, said: Option<u64>, usual: Duration) -> anyhow::Result<Duration> {
    match said {
        Some(seconds) if seconds > LONGEST => {
            bail!("{key} = {seconds}: no call lasts so long; want {LONGEST} seconds at most")
        }
        Some(0) => bail!("{key} = 0: every call would end at once; want a second at least"),
        said => Ok(said.map_or(usual, Duration::from_secs)),
    }
}

/// The value that a word stands for; the first of the list when none was said.
pub(super) fn word<T: Copy>(key: &str, said: Option<&str>, words: &[(&str, T)]) -> anyhow::Result<T> {
    let names = || words.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
    let found = match said {
        Some(said) => words.iter().find(|(name, _)| *name == said),
        None => words.first(),
    };
    found
        .map(|(_, value)| *value)
        .with_context(|| format!("{key} = \"{}\": choose {}", said.unwrap_or_default(), names()))
}

/// A user's or group's number, by number or by name in the system's list.
pub(super) fn id_of(key: &str, list: &str, name: &str) -> anyhow::Result<u32> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let text = std::fs::read_to_string(list).with_context(|| format!("{list} cannot be read"))?;
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find_map(|fields| match fields.as_slice() {
            [found, _, id, ..] if *found == name => id.parse().ok(),
            _ => None,
        })
        .with_context(|| format!("{key} = \"{name}\": {list} has no such name"))
}

/// The interfaces, with other names for some.
pub(super) fn with_aliases(mut interfaces: Interfaces, aliases: &[&String]) -> Result<Interfaces, InterfaceError> {
    aliases.iter().try_for_each(|alias| interfaces.alias(alias))?;
    Ok(interfaces)
}
