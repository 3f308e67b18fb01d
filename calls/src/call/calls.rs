//! All calls, and what commands do to them.

use std::collections::{BTreeSet, HashSet};
use std::time::{Instant, SystemTime};

use border::{FlowOp, Interfaces, Meter, Ports};
use indexmap::IndexMap;

use super::dialogue::Call;
use super::plan::{Streams, desired, plan};
use super::query::Query;
use super::refusal::Refusal;
use super::settings::{Load, Settings, Unsupported};
use super::statistics::Statistics;
use crate::command::{Block, Command, Options, Party};
use crate::ng::{Dict, Value};
use crate::reply::Reply;

/// How many bytes of Call-IDs a list may have: the reply must fit a datagram.
const MAX_LIST: usize = 48 * 1024;

/// All calls of the relay.
#[derive(Debug)]
pub struct Calls {
    pub(super) calls: IndexMap<Vec<u8>, Entry>,
    /// The place of the call that is to be looked at next for its age.
    pub(super) next: usize,
    pub(super) interfaces: Interfaces,
    pub(super) ports: Ports,
    pub(super) settings: Settings,
    pub(super) load: Load,
    pub(super) statistics: Statistics,
    /// When calls end of which a party has been deleted. A call that lives on after all is looked up in vain.
    pub(super) ends: BTreeSet<(Instant, Vec<u8>)>,
    /// Descriptions that could not be read.
    unreadable: u64,
    /// Told apart from the marks of other relays in descriptions.
    pub(super) mark: Vec<u8>,
}

/// A call, and what the relay has been told to do for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub call: Call,
    pub installed: Streams,
    /// When the call is looked at for parties that have been deleted.
    pub ends: Option<Instant>,
}

impl Calls {
    /// No calls yet. `mark` tells descriptions that have been here from those that have been at other installations: nobody else has the same.
    pub fn new(interfaces: Interfaces, ports: Ports, settings: Settings, mark: Vec<u8>, now: Instant) -> Self {
        Self {
            calls: IndexMap::new(),
            next: 0,
            interfaces,
            ports,
            settings,
            load: Load::default(),
            statistics: Statistics::new(now),
            ends: BTreeSet::new(),
            unreadable: 0,
            mark,
        }
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The ports of all interfaces.
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Takes notice of how busy the host and the relay are: new calls may be refused for it.
    pub const fn measure(&mut self, load: Load) {
        self.load = load;
    }

    /// Carries out a command: the reply, and what the relay has to do, in this order, before the reply is sent.
    ///
    /// The relay's totals of removed streams are read before the operations are returned, so a reply has them.
    pub fn handle(
        &mut self,
        command: Command,
        now: Instant,
        wall: SystemTime,
        meter: &dyn Meter,
    ) -> (Reply, Vec<FlowOp>) {
        let done = match command {
            Command::Ping => Ok((Reply::Pong, Vec::new())),
            Command::Statistics => Ok((self.statistics(now, meter), Vec::new())),
            Command::List { limit } => Ok((self.list(limit), Vec::new())),
            Command::Query { call_id } => self.query(&call_id, now, wall, meter).map(|reply| (reply, Vec::new())),
            Command::Delete(delete) => self.delete(&delete, now, wall, meter),
            Command::Block(block) => self.block(&block, now),
            Command::Answer(answer) => self.answer(&answer, now, wall, meter),
            Command::Offer(offer) => match self.offer(&offer, now, wall, meter) {
                Err(limit) if limit.is_load() && offer.knows_load_limit => {
                    Ok((Reply::LoadLimit(limit.to_string().into()), Vec::new()))
                }
                done => done,
            },
        };
        done.unwrap_or_else(|refusal| {
            if let Refusal::Sdp(error) = &refusal {
                self.unreadable += 1;
                // Whoever may place calls may send descriptions without end.
                if self.unreadable.is_power_of_two() {
                    tracing::warn!(%error, unreadable = self.unreadable, "a description could not be read");
                }
            }
            (Reply::error(&refusal), Vec::new())
        })
    }

    /// Refuses a new call when there is too much to do.
    pub(super) fn admit(&mut self) -> Result<(), Refusal> {
        let (limits, load) = (self.settings.limits, self.load);
        let is_over = [
            (limits.sessions.is_some_and(|max| self.calls.len() >= max), Refusal::SessionLimit),
            (limits.cpu.is_some_and(|max| load.cpu >= max), Refusal::Cpu),
            (limits.load.is_some_and(|max| load.average >= max), Refusal::Load),
            (limits.bandwidth.is_some_and(|max| load.bandwidth >= max), Refusal::Bandwidth),
        ];
        match is_over.into_iter().find(|(is_over, _)| *is_over) {
            Some((_, refusal)) => {
                self.statistics.rejected += 1;
                Err(refusal)
            }
            None => Ok(()),
        }
    }

    /// Refuses what needs a part that does not exist, where the operator wants that.
    pub(super) fn can_do(&self, options: &Options) -> Result<(), Refusal> {
        match options.unbuilt.first() {
            Some(word) if self.settings.unsupported == Unsupported::Refuse => Err(Refusal::Unbuilt(word.clone())),
            Some(_) | None => Ok(()),
        }
    }

    /// The draft becomes the call.
    pub(super) fn replace(&mut self, call_id: &[u8], draft: Call, now: Instant) -> Vec<FlowOp> {
        let desired = desired(&draft, &self.interfaces);
        let Some(entry) = self.calls.get_mut(call_id) else {
            let ops = plan(&Streams::new(), &desired);
            self.statistics.created += 1;
            self.calls.insert(call_id.to_vec(), Entry { call: draft, installed: desired, ends: None });
            return ops;
        };
        let kept: HashSet<_> = draft.pairs().into_iter().map(|pair| pair.rtp_slot).collect();
        for pair in entry.call.pairs().into_iter().filter(|pair| !kept.contains(&pair.rtp_slot)) {
            self.ports.release(pair, now);
        }
        let ops = plan(&entry.installed, &desired);
        (entry.call, entry.installed) = (draft, desired);
        ops
    }

    fn block(&mut self, block: &Block, now: Instant) -> Result<(Reply, Vec<FlowOp>), Refusal> {
        let entry = self.calls.get(&block.call_id).ok_or(Refusal::UnknownCallId)?;
        let mut draft = entry.call.clone();
        let some = |ids: Vec<_>, refusal| if ids.is_empty() { Err(refusal) } else { Ok(Some(ids)) };
        let ids = match &block.party {
            Party::All => None,
            Party::Tag(tag) => some(draft.find(tag).into_iter().collect(), Refusal::NoSuchTag)?,
            Party::Label(label) => some(draft.labelled(label), Refusal::NoSuchLabel)?,
            Party::Address(address) => some(draft.at(*address), Refusal::NoSuchAddress)?,
        };
        draft.block(ids.as_deref(), block.is_on);
        let ops = self.replace(&block.call_id, draft, now);
        Ok((Reply::Ok(Dict::new()), ops))
    }

    fn query(&self, call_id: &[u8], now: Instant, wall: SystemTime, meter: &dyn Meter) -> Result<Reply, Refusal> {
        let entry = self.calls.get(call_id).ok_or(Refusal::UnknownCall)?;
        let query = Query { interfaces: &self.interfaces, meter, now, wall };
        Ok(Reply::Ok(query.describe(&entry.call, &entry.installed)))
    }

    fn list(&self, limit: usize) -> Reply {
        let mut size = 0;
        let ids = self.calls.keys().take(limit).take_while(|id| {
            size += id.len();
            size <= MAX_LIST
        });
        Reply::Ok(Dict::new().with("calls", Value::List(ids.map(|id| Value::from(id.clone())).collect())))
    }
}
