//! All calls, and what commands do to them.

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use relay::{Counts, Family, FlowOp, Interfaces, Meter, Ports, Reason, Turns};

use super::account::Account;
use super::dialogue::{Call, Roles};
use super::direction::Direction;
use super::lease::Lease;
use super::leg::LegId;
use super::plan::{Streams, desired, plan};
use super::query::Query;
use super::refusal::Refusal;
use super::settings::Settings;
use super::signalled::{self, Signalled};
use crate::command::{Answer, Command, Delete, Offer, Options, RtcpForm};
use crate::ng::{Dict, Value};
use crate::reply::Reply;
use crate::sdp::{Body, Edit, NewMedia, RtcpAttribute, edit};

/// How many bytes of Call-IDs a list may have: the reply must fit a datagram.
const MAX_LIST: usize = 48 * 1024;

/// All calls of the relay.
#[derive(Debug)]
pub struct Calls {
    pub(super) calls: HashMap<Vec<u8>, Entry>,
    pub(super) interfaces: Interfaces,
    pub(super) ports: Ports,
    pub(super) settings: Settings,
}

/// A call, and what the relay has been told to do for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub call: Call,
    pub installed: Streams,
}

impl Calls {
    /// No calls yet.
    pub fn new(interfaces: Interfaces, ports: Ports, settings: Settings) -> Self {
        Self { calls: HashMap::new(), interfaces, ports, settings }
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
            Command::Statistics => Ok((self.statistics(meter), Vec::new())),
            Command::List { limit } => Ok((self.list(limit), Vec::new())),
            Command::Query { call_id } => self.query(&call_id, now, wall, meter).map(|reply| (reply, Vec::new())),
            Command::Delete(delete) => self.delete(&delete, now, wall, meter),
            Command::Answer(answer) => self.answer(&answer, now, wall),
            Command::Offer(offer) => match self.offer(&offer, now, wall) {
                Err(limit @ Refusal::SessionLimit) if offer.knows_load_limit => {
                    Ok((Reply::LoadLimit(limit.to_string().into()), Vec::new()))
                }
                done => done,
            },
        };
        done.unwrap_or_else(|refusal| {
            if let Refusal::Sdp(error) = &refusal {
                tracing::warn!(%error, "a description could not be read");
            }
            (Reply::error(&refusal), Vec::new())
        })
    }

    fn offer(&mut self, offer: &Offer, now: Instant, wall: SystemTime) -> Result<(Reply, Vec<FlowOp>), Refusal> {
        let body = Body::parse(&offer.sdp).map_err(Refusal::Sdp)?;
        let said = Signalled::read(&body, &offer.options)?;
        let mut draft = match self.calls.get(&offer.call_id) {
            Some(entry) => entry.call.clone(),
            None if self.settings.max_sessions.is_some_and(|max| self.calls.len() >= max) => {
                return Err(Refusal::SessionLimit);
            }
            None => Call::new(&self.settings, now, wall),
        };
        let direction = Direction::new(&self.interfaces, &offer.options, signalled::family(&body, &offer.options));
        let roles = draft.offer_roles(&offer.from_tag, offer.to_tag.as_deref(), direction, wall)?;
        self.check_family(&draft, roles.offerer, &said)?;
        if draft.is_agreed(roles) {
            for id in [roles.offerer, roles.answerer] {
                if let Some(leg) = draft.leg_mut(id) {
                    leg.hold_agreement();
                }
            }
        }
        let mut is_new = Vec::new();
        if let Some(leg) = draft.leg_mut(roles.offerer) {
            is_new = leg.hear(&said, &offer.options);
            leg.expect_clocks(&said);
            leg.hear_mux(&said, offer.options.mux);
        }
        if let Some(leg) = draft.leg_mut(roles.answerer) {
            leg.expect(&said, &is_new);
            leg.expect_clocks(&said);
            leg.offer_mux(&said, offer.options.mux);
            if offer.via_branch.is_some() {
                leg.via_branch.clone_from(&offer.via_branch);
            }
        }
        let relayed: Vec<_> = said.iter().map(|said| said.open).collect();
        let sdp = Signal { kind: Kind::Offer, roles, receiver: roles.answerer, relayed, options: &offer.options };
        self.apply(&offer.call_id, draft, &sdp, &body, now, wall)
    }

    fn answer(&mut self, answer: &Answer, now: Instant, wall: SystemTime) -> Result<(Reply, Vec<FlowOp>), Refusal> {
        let mut draft = self.calls.get(&answer.call_id).ok_or(Refusal::UnknownCall)?.call.clone();
        let body = Body::parse(&answer.sdp).map_err(Refusal::Sdp)?;
        let said = Signalled::read(&body, &answer.options)?;
        let roles = draft.answer_roles(&answer.from_tag, &answer.to_tag)?;
        self.check_family(&draft, roles.answerer, &said)?;
        if let Some(leg) = draft.leg_mut(roles.answerer) {
            leg.hear(&said, &answer.options);
            leg.set_clocks(&said);
            leg.agree_mux(&said);
        }
        if let Some(leg) = draft.leg_mut(roles.answerer) {
            leg.agree();
        }
        let mut relayed = vec![false; said.len()];
        if let Some(leg) = draft.leg_mut(roles.offerer) {
            leg.agree();
            leg.set_clocks(&said);
            leg.agree_mux(&said);
            for ((relayed, said), media) in relayed.iter_mut().zip(&said).zip(&leg.medias) {
                *relayed = said.open && media.said.open;
            }
        }
        let sdp = Signal { kind: Kind::Answer, roles, receiver: roles.offerer, relayed, options: &answer.options };
        self.apply(&answer.call_id, draft, &sdp, &body, now, wall)
    }

    /// Refuses a party that is in the other family than the address it talks to: neither would reach the other.
    fn check_family(&self, call: &Call, id: LegId, said: &[Signalled]) -> Result<(), Refusal> {
        let Some(interface) = call.leg(id).and_then(|leg| self.interfaces.get(leg.interface)) else { return Ok(()) };
        let mut addrs = said.iter().filter_map(|said| Some(said.rtp?.ip()));
        match addrs.find(|addr| Family::of(*addr) != Family::of(interface.addr)) {
            Some(addr) => Err(Refusal::Family { addr, local: interface.addr, interface: interface.name.clone() }),
            None => Ok(()),
        }
    }

    /// The second half of an offer or answer: ports, the new description, and the draft becomes the call.
    fn apply(
        &mut self,
        call_id: &[u8],
        mut draft: Call,
        signal: &Signal<'_>,
        body: &Body<'_>,
        now: Instant,
        wall: SystemTime,
    ) -> Result<(Reply, Vec<FlowOp>), Refusal> {
        draft.tos = signal.options.tos.or(draft.tos);
        draft.learning = signal.options.learning.unwrap_or(draft.learning);
        draft.last_signal = wall;
        draft.alive = draft.alive.max(now);
        let mut lease = Lease::new(&mut self.ports, now);
        for id in [signal.roles.offerer, signal.roles.answerer] {
            if let Some(leg) = draft.leg_mut(id) {
                leg.take_ports(&signal.relayed, &mut lease)?;
            }
        }
        lease.keep();
        let sdp = edit(body, &signal.edit(&draft, &self.interfaces));
        let ops = self.replace(call_id, draft, now);
        Ok((Reply::Ok(Dict::new().with("sdp", sdp)), ops))
    }

    /// The draft becomes the call.
    fn replace(&mut self, call_id: &[u8], draft: Call, now: Instant) -> Vec<FlowOp> {
        let desired = desired(&draft, &self.interfaces);
        let Some(entry) = self.calls.get_mut(call_id) else {
            let ops = plan(&Streams::new(), &desired);
            self.calls.insert(call_id.to_vec(), Entry { call: draft, installed: desired });
            return ops;
        };
        for pair in entry.call.pairs().filter(|pair| !draft.pairs().any(|kept| kept == *pair)) {
            self.ports.release(pair, now);
        }
        let ops = plan(&entry.installed, &desired);
        *entry = Entry { call: draft, installed: desired };
        ops
    }

    fn delete(
        &mut self,
        delete: &Delete,
        now: Instant,
        wall: SystemTime,
        meter: &dyn Meter,
    ) -> Result<(Reply, Vec<FlowOp>), Refusal> {
        let found = self.calls.get(&delete.call_id).and_then(|entry| {
            let ended = entry.call.ended_by(delete.from_tag.as_deref(), delete.to_tag.as_deref())?;
            Some((entry, ended))
        });
        let Some((entry, ended)) = found else {
            const NO_MATCH: &str = "Call-ID not found or tags didn't match";
            return if delete.fatal { Err(Refusal::NoMatch) } else { Ok((Reply::Warning(NO_MATCH), Vec::new())) };
        };
        let mut dict = Dict::new();
        if !delete.fast {
            dict = Query { interfaces: &self.interfaces, meter, now, wall }.describe(&entry.call, &entry.installed);
        }
        let mut draft = entry.call.clone();
        draft.end(&ended);
        let is_over = draft.is_over();
        let ops = if is_over {
            self.remove(&delete.call_id, "deleted", now, meter)
        } else {
            self.replace(&delete.call_id, draft, now)
        };
        Ok((Reply::Ok(dict), ops))
    }

    /// Ends a call: its ports rest, and its streams go.
    pub(super) fn remove(&mut self, call_id: &[u8], why: &str, now: Instant, meter: &dyn Meter) -> Vec<FlowOp> {
        let Some(entry) = self.calls.remove(call_id) else { return Vec::new() };
        Account::of(&entry.installed, meter).log(call_id, why);
        for pair in entry.call.pairs() {
            self.ports.release(pair, now);
        }
        plan(&entry.installed, &Streams::new())
    }

    fn query(&self, call_id: &[u8], now: Instant, wall: SystemTime, meter: &dyn Meter) -> Result<Reply, Refusal> {
        let entry = self.calls.get(call_id).ok_or(Refusal::UnknownCall)?;
        let query = Query { interfaces: &self.interfaces, meter, now, wall };
        Ok(Reply::Ok(query.describe(&entry.call, &entry.installed)))
    }

    fn statistics(&self, meter: &dyn Meter) -> Reply {
        let Counts { program, workers, fast_path: Turns { lost, regained } } = meter.counts();
        let sessions = Value::count(self.calls.len() as u64);
        let current = Dict::new().with("sessionsown", sessions.clone()).with("sessionstotal", sessions);
        let reasons = Dict::new().with("program", by_reason(&program)).with("workers", by_reason(&workers));
        let fast_path = Dict::new().with("lost", Value::count(lost)).with("regained", Value::count(regained));
        let statistics =
            Dict::new().with("currentstatistics", current).with("reasons", reasons).with("fast path", fast_path);
        Reply::Ok(Dict::new().with("statistics", statistics))
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

/// The reasons that have occurred.
fn by_reason(counts: &[(Reason, u64)]) -> Dict<'static> {
    let mut dict = Dict::new();
    for (reason, count) in counts.iter().filter(|(_, count)| *count > 0) {
        dict.push(reason.name().as_bytes(), Value::count(*count));
    }
    dict
}

/// Whether a description asks or agrees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Offer,
    Answer,
}

/// A description on its way from one party to the other.
struct Signal<'a> {
    kind: Kind,
    roles: Roles,
    /// The leg of the party that gets it.
    receiver: LegId,
    /// Which of its medias are relayed; the others stay as they are.
    relayed: Vec<bool>,
    options: &'a Options,
}

impl Signal<'_> {
    fn edit(&self, call: &Call, interfaces: &Interfaces) -> Edit {
        let leg = call.leg(self.receiver);
        let address = leg.and_then(|leg| interfaces.get(leg.interface)).map(|interface| interface.advertised);
        let medias = leg.map(|leg| leg.medias.as_slice()).unwrap_or_default();
        let new = medias.iter().zip(&self.relayed).map(|(media, is_relayed)| {
            let pair = media.pair.filter(|_| *is_relayed)?;
            let (mux, is_only) = match self.kind {
                Kind::Offer => (media.is_offered_mux(), self.options.mux.require),
                Kind::Answer => (media.mux, true),
            };
            let rtcp_port = if mux && is_only { pair.rtp_port } else { pair.rtcp_port() };
            Some(NewMedia { address: address?, rtp_port: pair.rtp_port, rtcp_port, mux })
        });
        Edit {
            media: new.collect(),
            replace_origin: self.options.replace_origin,
            replace_zero_address: self.options.replace_zero_address,
            rtcp: match self.options.rtcp {
                RtcpForm::Keep => RtcpAttribute::Rewrite,
                RtcpForm::Full => RtcpAttribute::Full,
                RtcpForm::Remove => RtcpAttribute::Remove,
            },
            // ICE would lead the parties past the relay.
            remove_ice: true,
        }
    }
}
