//! Which interface each party is on.

use std::time::Instant;

use border::{Family, InterfaceId, Interfaces, Ports};

use crate::intent::Options;
use crate::outcome::Refusal;

/// The interfaces that a command names, and the families of the parties. They are looked up only when a leg needs one: later commands of a
/// call may name whatever they like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direction<'a> {
    interfaces: &'a Interfaces,
    /// Of the interfaces of a group, those with free ports take turns.
    ports: &'a Ports,
    turn: usize,
    now: Instant,
    from: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
    /// The family that the party uses, where its description says so.
    spoken: Option<Family>,
    /// The family that the other one is to be told, where the proxy says so.
    wanted: Option<Family>,
}

/// What there is to choose from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local<'a> {
    pub interfaces: &'a Interfaces,
    pub ports: &'a Ports,
    /// Whose turn it is in a group.
    pub turn: usize,
    pub now: Instant,
}

impl<'a> Direction<'a> {
    pub(super) fn new(local: Local<'a>, options: &'a Options, spoken: Option<Family>) -> Self {
        let Local { interfaces, ports, turn, now } = local;
        let (from, to) = (options.from_interface.as_deref(), options.to_interface.as_deref());
        Self { interfaces, ports, turn, now, from, to, spoken, wanted: options.address_family }
    }

    /// The interface of the party that sent the description.
    pub(super) fn from(&self) -> Result<InterfaceId, Refusal> {
        self.find(self.from, self.spoken)
    }

    /// The interface of the party that gets it: in the family that is asked for, else in that of the first party.
    pub(super) fn to(&self) -> Result<InterfaceId, Refusal> {
        self.find(self.to, self.wanted.or(self.selected()).or(self.spoken))
    }

    /// The interface of whoever gets copies: there is one name, whichever of the two it is called by.
    pub(super) fn receiver(&self) -> Result<InterfaceId, Refusal> {
        self.find(self.to.or(self.from), self.wanted)
    }

    /// The interface of a leg that is on `now`, when its party has come to use the other family.
    pub(super) fn followed(&self, now: InterfaceId) -> Option<InterfaceId> {
        self.interfaces.in_family(now, self.spoken?)
    }

    /// The interface of a leg that is on `now`, when the proxy asks for the other family towards its party.
    pub(super) fn turned(&self, now: InterfaceId) -> Option<InterfaceId> {
        self.interfaces.in_family(now, self.wanted?)
    }

    /// Whether the second interface is named at all.
    pub(super) const fn names_to(&self) -> bool {
        self.to.is_some()
    }

    /// Whether an interface is one of those that the second name stands for, in the family that is wanted.
    pub(super) fn suits_to(&self, now: InterfaceId) -> bool {
        let Ok(to) = self.to() else { return false };
        let family = |id| self.interfaces.get(id).map(|interface| Family::of(interface.addr));
        let default = self.interfaces.default_name().as_bytes();
        let is_selector = |name: &[u8]| matches!(name, b"internal" | b"external") && !self.interfaces.has(name);
        let name = self.to.filter(|name| !is_selector(name)).unwrap_or(default);
        family(to).is_some_and(|family| self.interfaces.named(name, family).any(|id| id == now))
    }

    /// Where there are no interfaces of these names, they are the old way to say IPv4 and IPv6.
    fn selected(&self) -> Option<Family> {
        match self.to? {
            name if self.interfaces.has(name) => None,
            b"internal" => Some(Family::V4),
            b"external" => Some(Family::V6),
            _ => None,
        }
    }

    /// The address of a name: in the family if there is one, else the one that there is. A name says more than a family.
    fn find(&self, name: Option<&[u8]>, family: Option<Family>) -> Result<InterfaceId, Refusal> {
        let default = self.interfaces.default_name().as_bytes();
        let name = name.unwrap_or(default);
        let is_selector = matches!(name, b"internal" | b"external") && !self.interfaces.has(name);
        let name = if is_selector { default } else { name };
        let family = family.unwrap_or(Family::V4);
        let found = self.turn_of(name, family).or_else(|| self.turn_of(name, family.other()));
        found.ok_or_else(|| Refusal::UnknownInterface {
            name: name.get(..60).unwrap_or(name).escape_ascii().to_string(),
            configured: self.configured(),
        })
    }

    /// The interface whose turn it is, or the next one that has free ports.
    fn turn_of(&self, name: &[u8], family: Family) -> Option<InterfaceId> {
        let all = self.interfaces.named(name, family);
        let count = all.clone().count();
        let first = self.turn.checked_rem(count)?;
        let mut in_turn = all.clone().cycle().skip(first).take(count);
        in_turn.find(|id| self.ports.has_free(*id, self.now)).or_else(|| all.clone().nth(first))
    }

    fn configured(&self) -> String {
        let mut names: Vec<_> = self.interfaces.iter().map(|one| one.name.as_str()).collect();
        names.dedup();
        names.join(", ")
    }
}
