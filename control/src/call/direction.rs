//! Which interface each party is on.

use relay::{InterfaceId, Interfaces};

use super::refusal::Refusal;
use crate::command::Options;

/// The interfaces that a command names. They are looked up only when a leg needs one: later commands of a call may name
/// whatever they like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direction<'a> {
    interfaces: &'a Interfaces,
    from: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
}

impl<'a> Direction<'a> {
    pub(super) fn new(interfaces: &'a Interfaces, options: &'a Options) -> Self {
        Self { interfaces, from: options.from_interface.as_deref(), to: options.to_interface.as_deref() }
    }

    /// The interface of the party that sent the description.
    pub(super) fn from(&self) -> Result<InterfaceId, Refusal> {
        self.find(self.from)
    }

    /// The interface of the party that gets it.
    pub(super) fn to(&self) -> Result<InterfaceId, Refusal> {
        self.find(self.to)
    }

    /// Whether the second interface is named at all.
    pub(super) const fn names_to(&self) -> bool {
        self.to.is_some()
    }

    fn find(&self, name: Option<&[u8]>) -> Result<InterfaceId, Refusal> {
        let Some(name) = name else { return Ok(self.interfaces.default_id()) };
        match self.interfaces.find(name) {
            Some(id) => Ok(id),
            // Without an interface of that name these are the old way to say IPv4 and IPv6.
            None if matches!(name, b"internal" | b"external") => Ok(self.interfaces.default_id()),
            None => Err(Refusal::UnknownInterface {
                name: name.get(..60).unwrap_or(name).escape_ascii().to_string(),
                configured: self.interfaces.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", "),
            }),
        }
    }
}
