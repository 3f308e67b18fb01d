//! Calls as they are written down: what the daemon that comes after this one has to know of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use border::{FlowOp, InterfaceId, PortPair};
use serde::{Deserialize, Serialize};

use super::calls::{Calls, Entry};
use super::described::Described;
use super::dialogue::Call;
use super::flows::Flows;
use super::plan::{desired, plan};
use super::sources::Sources;

/// The format of records. One more with every change of what a call is made of, for nothing in a record tells its fields apart.
const FORMAT: u16 = 3;

/// A call as it is written down, behind the number of the format.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    /// What the numbers of its interfaces mean: another configuration may have others.
    places: Vec<(InterfaceId, Cow<'a, str>, IpAddr)>,
    call: Cow<'a, Call>,
}

/// Why a call cannot be taken up again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// Another build has written it.
    #[error("its record has format {0}, and this build reads {FORMAT}")]
    Format(u16),
    /// It is not what anybody has written.
    #[error("its record is damaged: {0}")]
    Damaged(String),
    /// The configuration has changed.
    #[error("the interface {0} is not configured any more")]
    NoInterface(String),
    /// The configuration has changed, or another call has it.
    #[error("port {0} is not to be had any more")]
    NoPort(u16),
    /// There is a call of this name.
    #[error("there is one already")]
    Twice,
}

impl Calls {
    /// The calls that are not any more as they were when this was asked last, each once.
    pub fn take_changed(&mut self) -> Vec<Vec<u8>> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// The call in a place, from zero on. One that ends has the last one take its place.
    pub fn at(&self, place: usize) -> Option<&[u8]> {
        self.calls.get_index(place).map(|(call_id, _)| call_id.as_slice())
    }

    /// Adds the record of a call; `false` when there is no such call (any more).
    pub fn record(&self, call_id: &[u8], into: &mut Vec<u8>) -> bool {
        let Some(entry) = self.calls.get(call_id) else { return false };
        let mut used: Vec<InterfaceId> = entry.call.legs().map(|leg| leg.interface).collect();
        used.extend(entry.call.pairs().into_iter().map(|pair| pair.interface));
        used.sort_unstable_by_key(|id| id.0);
        used.dedup();
        let places = used.into_iter().filter_map(|id| {
            let interface = self.interfaces.get(id)?;
            Some((id, Cow::Borrowed(interface.name.as_str()), interface.addr))
        });
        let record = Record { places: places.collect(), call: Cow::Borrowed(&entry.call) };
        into.extend(FORMAT.to_le_bytes());
        // There is nothing in a call that could not be written.
        let Ok(written) = postcard::to_extend(&record, std::mem::take(into)) else { return false };
        *into = written;
        true
    }

    /// Takes a call up that another daemon has had. That is a sign of life: nobody has looked at its packets meanwhile.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn restore(&mut self, call_id: &[u8], record: &[u8], now: Instant) -> Result<(), Unreadable> {
        if self.calls.contains_key(call_id) {
            return Err(Unreadable::Twice);
        }
        let (format, body) = record.split_first_chunk().ok_or_else(|| Unreadable::Damaged("it is empty".to_owned()))?;
        let format = u16::from_le_bytes(*format);
        if format != FORMAT {
            return Err(Unreadable::Format(format));
        }
        let damaged = |error: postcard::Error| Unreadable::Damaged(error.to_string());
        let Record { places, call } = postcard::from_bytes(body).map_err(damaged)?;
        let mut call = call.into_owned();
        let interfaces = self.interfaces_of(&places)?;
        let of = |id: InterfaceId| {
            let found = interfaces.get(&id.0).copied();
            found.ok_or_else(|| Unreadable::Damaged("it does not say which interface it means".to_owned()))
        };
        for interface in call.interfaces_mut() {
            *interface = of(*interface)?;
        }
        for pair in call.pairs_mut() {
            pair.interface = of(pair.interface)?;
        }
        self.claim(&mut call)?;
        call.alive = call.alive.max(self.clock.at(now));
        self.numbers = self.numbers.max(call.number.saturating_add(1));
        let installed = desired(&call, &self.interfaces);
        let flows = Flows::of(&call, now);
        self.names.insert(call.number, call_id.to_vec());
        self.calls.insert(
            call_id.to_vec(),
            Entry { call, installed, flows, described: Described::default(), ends: None, awaited: Vec::new() },
        );
        self.look_again(call_id);
        Ok(())
    }

    /// All that the relay is to do for the calls that there are.
    pub fn desired(&self) -> Vec<FlowOp> {
        self.calls.values().flat_map(|entry| plan(&Sources::new(), &entry.installed)).collect()
    }

    /// What the interfaces of a record are called here.
    fn interfaces_of(
        &self,
        places: &[(InterfaceId, Cow<'_, str>, IpAddr)],
    ) -> Result<HashMap<usize, InterfaceId>, Unreadable> {
        let found = places.iter().map(|(id, name, addr)| {
            let is_it = |one: &border::Interface| one.name == *name && one.addr == *addr;
            let here = self.interfaces.iter().position(is_it).map(InterfaceId);
            Ok((id.0, here.ok_or_else(|| Unreadable::NoInterface(format!("{name}/{addr}")))?))
        });
        found.collect()
    }

    /// Takes the ports of a call, each once.
    fn claim(&mut self, call: &mut Call) -> Result<(), Unreadable> {
        let mut claimed: HashMap<(usize, u16), PortPair> = HashMap::new();
        for pair in call.pairs_mut() {
            let key = (pair.interface.0, pair.rtp_port);
            let found = claimed.get(&key).copied().or_else(|| self.ports.claim(pair.interface, pair.rtp_port));
            let Some(found) = found else {
                let missing = pair.rtp_port;
                claimed.into_values().for_each(|pair| self.ports.cancel(pair));
                return Err(Unreadable::NoPort(missing));
            };
            claimed.insert(key, found);
            *pair = found;
        }
        Ok(())
    }
}
