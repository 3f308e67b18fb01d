mod blocks;
mod captured;
mod copies;
mod editing;
mod endings;
mod families;
mod forks;
mod learning;
mod life;
mod limits;
mod media;
mod mux;
mod playing;
mod ports;
mod query;
mod random;
mod records;
mod security;
mod timeouts;
mod watched;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use border::{
    Component, Counts, FlowOp, Interfaces, Meter, NoTraffic, PastStack, Ports, Reason, Signalled, SlotIndex,
    SourceSpec, SourceTotals, Traffic, Turns, Untrusted,
};

use super::plan::desired;
use super::{Calls, ExpiredCall, Limits, Settings};
use crate::intent::{Answer, Delete, Intent, Offer, Options, Party, Towards, Treat, Treatment};
use crate::ng::encode::in_dictionary;
use crate::ng::{Dict, Value};
use crate::outcome::Outcome;

/// An outcome as a proxy is told it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Reply {
    Pong,
    Ok(Dict<'static>),
    Warning(String),
    Error(String),
    LoadLimit(String),
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Self {
        let mut dict = in_dictionary(&outcome);
        let said = |key: &str| dict.get(key).map(text).unwrap_or_default();
        match said("result").as_str() {
            "pong" => Self::Pong,
            "error" => Self::Error(said("error-reason")),
            "load limit" => Self::LoadLimit(said("message")),
            _ if dict.get("warning").is_some() => Self::Warning(said("warning")),
            _ => {
                dict.remove("result");
                Self::Ok(dict)
            }
        }
    }
}

/// Calls, and a relay that does what it is told.
struct Rig {
    calls: Calls,
    installed: BTreeMap<SlotIndex, SourceSpec>,
    now: Instant,
    meter: Packets,
}

/// What the relay has counted.
#[derive(Default)]
struct Packets(HashMap<SlotIndex, SourceTotals>);

impl Meter for Packets {
    fn counts(&self) -> Counts {
        Counts {
            fast_path_missing: 0,
            program: vec![(Reason::Stranger, 7), (Reason::NotMedia, 0)],
            workers: vec![(Reason::NoCall, 1)],
            fast_path: Turns { lost: 2, regained: 1 },
            steering: Turns { lost: 1, regained: 1 },
            past_stack: PastStack { queues: 2, packets: 9 },
            restarts: 3,
            orphans: 0,
            hops: border::Hops::default(),
            is_pinned: true,
            traffic: Traffic::default(),
        }
    }

    fn totals(&self, slot: SlotIndex) -> Option<SourceTotals> {
        self.0.get(&slot).cloned()
    }

    fn judge(&self, local: IpAddr, party: IpAddr) -> Result<(), Untrusted> {
        NoTraffic.judge(local, party)
    }
}

/// What is deleted ends at once.
fn at_once() -> Settings {
    Settings { delete_delay: Duration::ZERO, ..Settings::default() }
}

/// When the tests take place.
const WALL: Duration = Duration::from_secs(1_700_000_000);

impl Rig {
    /// Two interfaces, the second behind a static NAT, with the ports 30000 to 30099 each.
    fn new() -> Self {
        Self::with(at_once(), 30099)
    }

    fn with(settings: Settings, last_port: u16) -> Self {
        Self::on(&["pbx/192.0.2.1", "gateway/198.51.100.1!203.0.113.1"], settings, last_port)
    }

    fn on(interfaces: &[&str], settings: Settings, last_port: u16) -> Self {
        let interfaces: Vec<border::Interface> = interfaces.iter().map(|text| text.parse().unwrap()).collect();
        let range = |one: &border::Interface| one.ports.unwrap_or((30000, last_port));
        let ports = Ports::new(&interfaces.iter().map(range).collect::<Vec<_>>()).unwrap();
        let interfaces = Interfaces::new(interfaces).unwrap();
        let now = Instant::now();
        let calls = Calls::new(interfaces, ports, settings, b"mark".to_vec(), now);
        Self { calls, installed: BTreeMap::new(), now, meter: Packets::default() }
    }

    /// Carries out a command, does what the relay is told, and checks that all states agree. Told is what is new, but for the renewal of what was
    /// said before.
    fn run(&mut self, command: Intent) -> (Reply, Vec<FlowOp>) {
        let (outcome, mut ops) = self.calls.handle(command, self.now, SystemTime::UNIX_EPOCH + WALL, &self.meter);
        let before = self.installed.clone();
        self.obey(&ops);
        ops.retain(|op| match op {
            FlowOp::Install(slot, spec) => !before.get(slot).is_some_and(|old| is_renewal(old, spec)),
            FlowOp::Remove(_) => true,
        });
        (outcome.into(), ops)
    }

    /// A second is over.
    fn tick(&mut self) -> Vec<ExpiredCall> {
        let (expired, ops) = self.calls.expire(self.now, &self.meter, 1);
        self.obey(&ops);
        expired
    }

    fn obey(&mut self, ops: &[FlowOp]) {
        for op in ops {
            match op {
                FlowOp::Install(slot, spec) => {
                    assert_ne!(self.installed.insert(*slot, spec.clone()).as_ref(), Some(spec), "installed in vain");
                }
                FlowOp::Remove(slot) => assert!(self.installed.remove(slot).is_some(), "removed in vain"),
            }
        }
        let calls = &self.calls;
        let expected = calls.calls.values().flat_map(|entry| desired(&entry.call, &calls.interfaces)).collect();
        assert_eq!(self.installed, expected, "the relay has what the calls want");
        let playing = calls.calls.values().flat_map(|entry| &entry.call.playing);
        let ids: HashSet<u64> = playing.map(|playing| playing.announcement.id).collect();
        assert_eq!(calls.announced.keys().copied().collect::<HashSet<_>>(), ids, "every announcement is known");
        let held: Vec<_> = calls.calls.values().flat_map(|entry| entry.call.pairs()).collect();
        assert_eq!(calls.ports.used(), held.len(), "every port belongs to a call");
        for (slot, spec) in &self.installed {
            assert!(held.iter().any(|pair| pair.rtp_slot == *slot || pair.rtcp_slot == *slot));
            assert!(spec.sinks.iter().all(|sink| self.installed.contains_key(&sink.party)), "nothing leads nowhere");
        }
    }

    /// The new description, and what the relay was told.
    fn sdp(&mut self, command: Intent) -> (String, Vec<FlowOp>) {
        let (reply, ops) = self.run(command);
        let Reply::Ok(dict) = reply else { panic!("{reply:?}") };
        (text(dict.get("sdp").unwrap()), ops)
    }

    fn error(&mut self, command: Intent) -> String {
        let (reply, ops) = self.run(command);
        assert_eq!(ops, []);
        let Reply::Error(reason) = reply else { panic!("{reply:?}") };
        reason
    }

    /// An answered call from tag a on `pbx` to tag b on `gateway`.
    fn call(&mut self) {
        self.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
        self.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    }

    /// The stream at a local endpoint.
    fn at(&self, local: &str) -> &SourceSpec {
        let local: SocketAddr = local.parse().unwrap();
        self.installed.values().find(|spec| spec.local == local).unwrap()
    }

    /// The slot of the stream at a local endpoint.
    fn slot_of(&self, local: &str) -> Option<SlotIndex> {
        let local: SocketAddr = local.parse().unwrap();
        self.installed.iter().find(|(_, spec)| spec.local == local).map(|(slot, _)| *slot)
    }

    /// The slots of the parties that hear what arrives at a local endpoint.
    fn feeds(&self, local: &str) -> Vec<SlotIndex> {
        self.at(local).sinks.iter().map(|sink| sink.party).collect()
    }

    fn peer(&self, local: &str) -> Option<String> {
        self.at(local).party.at.map(|peer| peer.to_string())
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn end(&mut self) {
        self.run(delete(None, None));
        assert!(self.calls.is_empty() && self.installed.is_empty());
        assert_eq!(self.calls.ports().used(), 0);
    }
}

/// Whether a party has said again what it has said before.
fn is_renewal(old: &SourceSpec, new: &SourceSpec) -> bool {
    let party = Signalled { renewals: old.party.renewals, ..new.party };
    SourceSpec { party, ..new.clone() } == *old
}

fn text(value: &Value<'_>) -> String {
    String::from_utf8(value.as_text().unwrap().into_owned()).unwrap()
}

/// What is in a reply at the end of a path of keys.
fn find<'a>(dict: &'a Dict<'static>, path: &[&str]) -> &'a Value<'static> {
    let (last, before) = path.split_last().unwrap();
    let dict = before.iter().fold(dict, |dict, key| dict.get(key).unwrap().as_dict().unwrap());
    dict.get(last).unwrap_or_else(|| panic!("no {last} in {dict:?}"))
}

/// From `pbx` to `gateway`.
fn across() -> Options {
    Options { from_interface: Some(b"pbx".to_vec()), to_interface: Some(b"gateway".to_vec()), ..Options::default() }
}

fn offer(from: &str, to: Option<&str>, sdp: &str) -> Intent {
    offer_with(from, to, sdp, across())
}

fn offer_with(from: &str, to: Option<&str>, sdp: &str, options: Options) -> Intent {
    Intent::Offer(Box::new(Offer {
        call_id: b"call".to_vec(),
        from_tag: from.into(),
        to_tag: to.map(Into::into),
        via_branch: None,
        sdp: sdp.into(),
        options,
        knows_load_limit: false,
    }))
}

fn answer(from: &str, to: &str, sdp: &str) -> Intent {
    answer_with(from, to, sdp, Options::default())
}

fn answer_with(from: &str, to: &str, sdp: &str, options: Options) -> Intent {
    Intent::Answer(Box::new(Answer {
        call_id: b"call".to_vec(),
        from_tag: from.into(),
        to_tag: to.into(),
        via_branch: None,
        sdp: sdp.into(),
        options,
    }))
}

fn delete(from: Option<&str>, to: Option<&str>) -> Intent {
    Intent::Delete(Delete {
        call_id: b"call".to_vec(),
        from_tag: from.map(Into::into),
        to_tag: to.map(Into::into),
        via_branch: None,
        delay: None,
        fast: false,
        fatal: false,
    })
}

/// The command, for a branch of a forked call.
fn on_branch(branch: &str, mut command: Intent) -> Intent {
    match &mut command {
        Intent::Offer(offer) => offer.via_branch = Some(branch.into()),
        Intent::Answer(answer) => answer.via_branch = Some(branch.into()),
        Intent::Delete(delete) => delete.via_branch = Some(branch.into()),
        Intent::Query { .. }
        | Intent::Treat(_)
        | Intent::Subscribe(_)
        | Intent::SubscribeAnswer(_)
        | Intent::Unsubscribe(_)
        | Intent::Play(_)
        | Intent::StopPlaying(_)
        | Intent::Ping
        | Intent::Statistics
        | Intent::List { .. }
        | Intent::Terminate { .. } => {}
    }
    command
}

fn block(party: Party, is_on: bool) -> Intent {
    treat(Treatment::Block, party, Towards::Anywhere, is_on)
}

fn treat(treatment: Treatment, party: Party, towards: Towards, is_on: bool) -> Intent {
    Intent::Treat(Treat { call_id: b"call".to_vec(), party, towards, treatment, is_on, forgets_parties: false })
}

fn named(mut command: Intent, name: &str) -> Intent {
    match &mut command {
        Intent::Offer(offer) => offer.call_id = name.into(),
        Intent::Answer(answer) => answer.call_id = name.into(),
        Intent::Delete(delete) => delete.call_id = name.into(),
        Intent::Query { call_id } | Intent::Terminate { call_id } => *call_id = name.into(),
        Intent::Treat(treat) => treat.call_id = name.into(),
        Intent::Subscribe(subscribe) => subscribe.call_id = name.into(),
        Intent::SubscribeAnswer(answer) => answer.call_id = name.into(),
        Intent::Unsubscribe(unsubscribe) => unsubscribe.call_id = name.into(),
        Intent::Play(play) => play.call_id = name.into(),
        Intent::StopPlaying(stop) => stop.call_id = name.into(),
        Intent::Ping | Intent::Statistics | Intent::List { .. } => {}
    }
    command
}

/// A description with these media lines, `m=` left out.
fn session(address: &str, medias: &[&str]) -> String {
    let family = if address.contains(':') { "IP6" } else { "IP4" };
    let medias: String = medias.iter().map(|media| format!("m={media}\r\n")).collect();
    format!("v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n{medias}")
}

fn audio(address: &str, port: u16) -> String {
    session(address, &[&format!("audio {port} RTP/AVP 8")])
}
