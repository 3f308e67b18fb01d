//! The test vectors of `vectors/`, read as data: tables, and frames with what becomes of them. For tests, fuzzers and benches.

use std::format;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::string::{String, ToString as _};
use std::vec::Vec;

use crate::local::SLOTS_PER_LOCAL;
use crate::slot::{Flags, Path};
use crate::{Be16, Bearing, Hop, HopCell, HopId, Locals, Mac, Reason, Rule, Slot, SlotIndex};

/// The files of vectors: one for each family.
pub const FILES: [&str; 2] = [include_str!("../vectors/ipv4.txt"), include_str!("../vectors/ipv6.txt")];

/// A file of vectors.
pub struct Vectors {
    addrs: Vec<IpAddr>,
    range: (u16, u16),
    /// How many slots that makes.
    pub slots: usize,
    /// The next hops that are resolved.
    pub hops: Vec<(HopId, Hop)>,
    /// What the packets of each next hop bear, resolved or not.
    pub bearings: Vec<(HopId, Bearing)>,
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
    /// Dropped.
    Drop(Reason),
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
    addrs: Vec<IpAddr>,
    range: Option<(u16, u16)>,
    hops: Vec<(HopId, Hop)>,
    bearings: Vec<(HopId, Bearing)>,
    ports: Vec<u16>,
    rules: Vec<(SocketAddr, Rule)>,
    vectors: Vec<Vector>,
    open: Option<(String, Vec<u8>)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "local" => self.addrs.push(rest.parse().ok()?),
            "ports" => {
                let (first, last) = rest.split_once('-')?;
                self.range = Some((first.parse().ok()?, last.parse().ok()?));
            }
            "port" => self.ports.push(rest.parse().ok()?),
            "hop" => self.hops.push(hop(rest)?),
            "bears" => self.bearings.push(bearing(rest)?),
            "slot" => self.rules.push(slot(rest)?),
            "vector" => self.open = Some((rest.to_string(), Vec::new())),
            "in" => self.open.as_mut()?.1 = hex(rest)?,
            "pass" => self.close(Outcome::Pass(reason(rest)?))?,
            "drop" => self.close(Outcome::Drop(reason(rest)?))?,
            "transmit" => self.close(Outcome::Transmit(Vec::new()))?,
            "redirect" => self.close(Outcome::Redirect(Vec::new()))?,
            "out" => match &mut self.vectors.last_mut()?.outcome {
                Outcome::Transmit(frame) | Outcome::Redirect(frame) => *frame = hex(rest)?,
                Outcome::Pass(_) | Outcome::Drop(_) => return None,
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
        let index = |local: SocketAddr| locals.find(local.ip())?.slot(Be16::new(local.port()));
        let rules = self.rules.iter().map(|(local, rule)| Some((index(*local)?, *rule))).collect::<Option<_>>()?;
        let slots = self.addrs.len() * SLOTS_PER_LOCAL as usize;
        let Self { addrs, hops, bearings, ports, vectors, .. } = self;
        Some(Vectors { addrs, range: (first, last), slots, hops, bearings, ports, rules, vectors })
    }
}

impl Vectors {
    /// The relay's addresses and ports.
    pub fn locals(&self) -> Locals {
        let (first, last) = self.range;
        Locals::new(&self.addrs, first, last, 1).unwrap_or_else(|_| Locals::none())
    }

    /// Writes the slots and the next hops into tables, as far as they have room.
    pub fn program(&self, slots: &[Slot], hops: &[HopCell]) {
        let cell = |id: HopId| hops.get(usize::from(id.0));
        for (id, bearing) in &self.bearings {
            cell(*id).into_iter().for_each(|cell| cell.bear(bearing));
        }
        for (id, hop) in &self.hops {
            cell(*id).into_iter().for_each(|cell| cell.write(Some(*hop)));
        }
        for (index, rule) in &self.rules {
            slots.get(index.0 as usize).into_iter().for_each(|slot| slot.program(*rule));
        }
    }
}

fn reason(name: &str) -> Option<Reason> {
    Reason::ALL.into_iter().find(|reason| reason.name() == name)
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
        reflects: !words.contains(&"redirects"),
        mtu: after(&words, "mtu").map_or(Some(1500), |mtu| mtu.parse().ok())?,
    };
    Some((HopId(words.first()?.parse().ok()?), hop))
}

fn bearing(text: &str) -> Option<(HopId, Bearing)> {
    let words: Vec<&str> = text.split(' ').collect();
    let tos = match after(&words, "tos") {
        Some(tos) => Some(tos.parse().ok()?),
        None => None,
    };
    let bearing = Bearing { from: after(&words, "from")?.parse().ok()?, to: after(&words, "to")?.parse().ok()?, tos };
    Some((HopId(words.first()?.parse().ok()?), bearing))
}

fn slot(text: &str) -> Option<(SocketAddr, Rule)> {
    let words: Vec<&str> = text.split(' ').collect();
    let endpoint = |keyword| after(&words, keyword)?.parse().ok();
    let id = |keyword| Some(HopId(after(&words, keyword)?.parse().ok()?));
    let local: SocketAddr = words.first()?.parse().ok()?;
    if words.get(1) == Some(&"waiting") {
        return Some((local, Rule::waiting(Flags::CALL, 0)));
    }
    // RTCP that shares RTP's port arrives there, not at the port of its slot.
    let arrives = after(&words, "arrives").map_or(Some(local), |arrives| arrives.parse().ok())?;
    let path = Path { peer: endpoint("peer")?, local: arrives, from: endpoint("from")?, to: endpoint("to")? };
    let mut rule = Rule::new(&path, id("towards").unwrap_or(HopId::NONE));
    rule.hop = id("hop")?;
    rule.flags = Flags::ACTIVE.with(Flags::CALL);
    if !words.contains(&"worker") && !words.contains(&"blocked") {
        rule.flags = rule.flags.with(Flags::FAST);
    }
    let flags = [
        ("rtp", Flags::RTP),
        ("any-ssrc", Flags::ANY_SSRC),
        ("mux", Flags::MUX),
        ("settled", Flags::SETTLED),
        ("blocked", Flags::BLOCKED),
    ];
    for (word, flag) in flags {
        if words.contains(&word) {
            rule.flags = rule.flags.with(flag);
        }
    }
    if let Some(ssrc) = after(&words, "ssrc") {
        rule.ssrc = u32::from_str_radix(ssrc, 16).ok()?.to_be();
    }
    Some((local, rule))
}
