//! The test vectors of `vectors/`, read as data: tables, and frames with what becomes of them. For tests, fuzzers and benches.

use std::format;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;
use std::string::{String, ToString as _};
use std::vec::Vec;

use crate::local::pairs;
use crate::slot::{Flags, Path};
use crate::{Addr4, Be16, Hop, HopId, Locals, Mac, Reason, Rule, SlotIndex};

/// The vectors for IPv4.
pub const IPV4: &str = include_str!("../vectors/ipv4.txt");

/// A file of vectors.
pub struct Vectors {
    /// The relay's addresses and ports.
    pub locals: Locals,
    /// How many slots that makes.
    pub slots: usize,
    /// The next hops that are resolved.
    pub hops: Vec<(HopId, Hop)>,
    /// The indices of the device map that hold a device.
    pub ports: Vec<u16>,
    /// The slots that are programmed.
    pub rules: Vec<(SlotIndex, Rule)>,
    /// The frames.
    pub vectors: Vec<Vector>,
}

/// One frame and what becomes of it.
pub struct Vector {
    /// What it shows.
    pub name: String,
    /// The frame as it arrives.
    pub input: Vec<u8>,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Passed to the stack, untouched.
    Pass(Reason),
    /// Transmitted as this frame.
    Transmit(Vec<u8>),
    /// Redirected as this frame.
    Redirect(Vec<u8>),
}

impl FromStr for Vectors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut reader = Reader::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                reader.line(line).ok_or_else(|| format!("line {}: {line}", number + 1))?;
            }
        }
        reader.finish().ok_or_else(|| "the file ends too early".to_string())
    }
}

#[derive(Default)]
struct Reader {
    addrs: Vec<Addr4>,
    range: Option<(u16, u16)>,
    hops: Vec<(HopId, Hop)>,
    ports: Vec<u16>,
    rules: Vec<(SocketAddrV4, Rule)>,
    vectors: Vec<Vector>,
    open: Option<(String, Vec<u8>)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "local" => self.addrs.push(rest.parse::<Ipv4Addr>().ok()?.into()),
            "ports" => {
                let (first, last) = rest.split_once('-')?;
                self.range = Some((first.parse().ok()?, last.parse().ok()?));
            }
            "port" => self.ports.push(rest.parse().ok()?),
            "hop" => self.hops.push(hop(rest)?),
            "slot" => self.rules.push(slot(rest)?),
            "vector" => self.open = Some((rest.to_string(), Vec::new())),
            "in" => self.open.as_mut()?.1 = hex(rest)?,
            "pass" => {
                let reason = Reason::ALL.into_iter().find(|reason| reason.name() == rest)?;
                self.close(Outcome::Pass(reason))?;
            }
            "transmit" => self.close(Outcome::Transmit(Vec::new()))?,
            "redirect" => self.close(Outcome::Redirect(Vec::new()))?,
            "out" => match &mut self.vectors.last_mut()?.outcome {
                Outcome::Transmit(frame) | Outcome::Redirect(frame) => *frame = hex(rest)?,
                Outcome::Pass(_) => return None,
            },
            _ => return None,
        }
        Some(())
    }

    fn close(&mut self, outcome: Outcome) -> Option<()> {
        let (name, input) = self.open.take()?;
        self.vectors.push(Vector { name, input, outcome });
        Some(())
    }

    fn finish(self) -> Option<Vectors> {
        let (first, last) = self.range?;
        let locals = Locals::new(&self.addrs, first, last, 1).ok()?;
        let index = |local: SocketAddrV4| locals.find((*local.ip()).into())?.slot(Be16::new(local.port()));
        let rules = self.rules.iter().map(|(local, rule)| Some((index(*local)?, *rule))).collect::<Option<_>>()?;
        let slots = self.addrs.len() * 2 * pairs(first, last) as usize;
        Some(Vectors { locals, slots, hops: self.hops, ports: self.ports, rules, vectors: self.vectors })
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn mac(text: &str) -> Option<Mac> {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect::<Option<_>>()?;
    Some(<[u8; 6]>::try_from(bytes).ok()?.into())
}

/// The word after a keyword.
fn after<'a>(words: &[&'a str], keyword: &str) -> Option<&'a str> {
    let position = words.iter().position(|word| *word == keyword)?;
    words.get(position + 1).copied()
}

fn hop(text: &str) -> Option<(HopId, Hop)> {
    let words: Vec<&str> = text.split(' ').collect();
    let hop = Hop {
        to: mac(after(&words, "to")?)?,
        from: mac(after(&words, "from")?)?,
        device: after(&words, "device")?.parse().ok()?,
        port: after(&words, "port")?.parse().ok()?,
    };
    Some((HopId(words.first()?.parse().ok()?), hop))
}

fn slot(text: &str) -> Option<(SocketAddrV4, Rule)> {
    let words: Vec<&str> = text.split(' ').collect();
    let endpoint = |keyword| after(&words, keyword)?.parse::<SocketAddrV4>().ok();
    let local: SocketAddrV4 = words.first()?.parse().ok()?;
    let mut rule = Rule::new(&Path {
        peer: endpoint("peer")?.into(),
        local: local.into(),
        from: endpoint("from")?.into(),
        to: endpoint("to")?.into(),
    });
    rule.hop = HopId(after(&words, "hop")?.parse().ok()?);
    rule.flags = Flags::ACTIVE;
    for (word, flag) in [("rtp", Flags::RTP), ("any-ssrc", Flags::ANY_SSRC), ("tos", Flags::SET_TOS)] {
        if words.contains(&word) {
            rule.flags = rule.flags.with(flag);
        }
    }
    if let Some(tos) = after(&words, "tos") {
        rule.tos = tos.parse().ok()?;
    }
    if let Some(ssrc) = after(&words, "ssrc") {
        rule.ssrc = u32::from_str_radix(ssrc, 16).ok()?.to_be();
    }
    Some((local, rule))
}
