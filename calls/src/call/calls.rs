//! All calls, and what commands do to them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Instant, SystemTime};

use border::{FlowOp, Interfaces, Meter, Ports, SlotIndex};
use indexmap::IndexMap;

use super::described::Described;
use super::dialogue::Call;
use super::flows::Flows;
use super::leg::LegId;
use super::moment::{Clock, Moment};
use super::plan::{desired, plan};
use super::query::{Query, Tells};
use super::security::Entropy;
use super::settings::{Settings, Unsupported};
use super::sources::Sources;
use super::statistics::Statistics;
use super::watched::Watched;
use crate::intent::{Intent, Options};
use crate::outcome::{CallAccount, EndedCall, Load, Outcome, PortAccount, Refusal, RelayAccount};

/// What comes of an intent that is not refused, and what the relay has to do for it.
pub(super) type Done = Result<(Outcome, Vec<FlowOp>), Refusal>;

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
    /// What one instant of this process is to others.
    pub(super) clock: Clock,
    /// The number of the next call.
    pub(super) numbers: u64,
    /// The Call-ID of each number: the data plane knows calls by these.
    pub(super) names: HashMap<u64, Vec<u8>>,
    /// Calls that have changed and are to be written down.
    pub(super) changed: Vec<Vec<u8>>,
    /// When calls end of which a party has been deleted. A call that lives on after all is looked up in vain.
    pub(super) ends: BTreeSet<(Moment, Vec<u8>)>,
    /// No new calls are taken: the daemon ends with the last one.
    is_draining: bool,
    /// Told apart from the marks of other relays in descriptions.
    pub(super) mark: Vec<u8>,
    /// Tags that were made for receivers of copies.
    pub(super) tags: u64,
    /// How many announcements there were: the number of the last one.
    pub(super) announcements: u64,
    /// In which calls those are that are heard now.
    pub(super) announced: HashMap<u64, Vec<u8>>,
    /// What keys are made of.
    pub(super) entropy: Option<Entropy>,
    /// What has happened, where anybody watches.
    pub(super) watched: Option<Watched>,
    /// Calls that have ended, where anybody wants to know.
    pub(super) ended: Option<Vec<EndedCall>>,
}

/// A call, and what the relay has been told to do for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub call: Call,
    pub installed: Sources,
    /// Since when who is heard by whom is as it is.
    pub flows: Flows,
    /// What was said last.
    pub described: Described,
    /// When the call is looked at for parties that have been deleted.
    pub ends: Option<Moment>,
    /// Recordings that are played when somebody has read them: by the number of each, who is to hear it then.
    pub awaited: Vec<(u64, Vec<LegId>)>,
}

impl Calls {
    /// No calls yet. `mark` tells descriptions that have been here from those that have been at other installations: nobody else has the same.
    pub fn new(
        interfaces: Interfaces,
        ports: Ports,
        settings: Settings,
        mark: Vec<u8>,
        clock: impl Into<Clock>,
    ) -> Self {
        let clock: Clock = clock.into();
        // Another daemon may have been here before, with the same mark.
        let beginning = u64::try_from(clock.since_boot().as_nanos()).unwrap_or(0);
        Self {
            calls: IndexMap::new(),
            next: 0,
            interfaces,
            ports,
            settings,
            load: Load::default(),
            statistics: Statistics::new(clock.instant()),
            clock,
            numbers: 0,
            names: HashMap::new(),
            changed: Vec::new(),
            ends: BTreeSet::new(),
            is_draining: false,
            mark,
            tags: beginning,
            announcements: beginning,
            announced: HashMap::new(),
            entropy: None,
            watched: None,
            ended: None,
        }
    }

    /// Keys are made of this. Without it nobody is offered any.
    #[must_use]
    pub fn with_entropy(self, entropy: fn(&mut [u8])) -> Self {
        Self { entropy: Some(entropy), ..self }
    }

    /// Refuses new calls from now on.
    pub const fn refuse_new(&mut self) {
        self.is_draining = true;
    }

    /// Does as the operator has decided now. What calls have been told before holds for them.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// These pairs of ports are of calls that are on no record.
    pub fn set_orphans(&mut self, orphans: &[SlotIndex], now: Instant) {
        self.ports.set_orphans(orphans, now);
    }

    /// Refuses new calls beyond so many, too, and beyond one for each pair of ports: a call has one at least, unless it has no media, and such
    /// must not pile up.
    pub fn limit_sessions(&mut self, most: Option<usize>) {
        let sessions = &mut self.settings.limits.sessions;
        *sessions = sessions.iter().copied().chain(most).chain([self.ports.pairs()]).min();
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// The Call-ID of a number.
    pub fn name_of(&self, number: u64) -> Option<&[u8]> {
        self.names.get(&number).map(Vec::as_slice)
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

    /// Somebody watches the calls, or nobody does any more.
    pub fn watch(&mut self, is_watched: bool) {
        match is_watched {
            true => drop(self.watched.get_or_insert_default()),
            false => self.watched = None,
        }
    }

    /// What has happened since this was asked last.
    pub fn take_watched(&mut self) -> Watched {
        self.watched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Carries out an intent: what came of it, and what the relay has to do, in this order, before that is told.
    ///
    /// The relay's totals of removed sources are read before the operations are returned, so an outcome has them.
    pub fn handle(
        &mut self,
        intent: Intent,
        now: Instant,
        wall: SystemTime,
        meter: &dyn Meter,
    ) -> (Outcome, Vec<FlowOp>) {
        let told = |outcome| Ok((outcome, Vec::new()));
        let done = match intent {
            Intent::Ping => told(Outcome::Alive),
            Intent::Statistics => told(Outcome::Relay(Box::new(self.relay_account(now, meter)))),
            Intent::List { limit } => told(Outcome::Calls(self.calls.keys().take(limit).cloned().collect())),
            Intent::Query { call_id } => {
                self.query(&call_id, now, wall, meter).and_then(|account| told(Outcome::Call(Box::new(account))))
            }
            Intent::Terminate { call_id } => self.terminate(&call_id, now, wall, meter),
            Intent::Delete(delete) => self.delete(&delete, now, wall, meter),
            Intent::Treat(treat) => self.treat(&treat, now),
            Intent::Subscribe(subscribe) => self.subscribe(&subscribe, now, wall),
            Intent::SubscribeAnswer(answer) => self.answer_subscription(&answer, now, wall, meter),
            Intent::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe, now),
            Intent::Play(play) => self.play(&play, now),
            Intent::StopPlaying(stop) => self.stop_playing(&stop, now),
            Intent::Answer(answer) => self.answer(&answer, now, wall, meter),
            Intent::Offer(offer) => match self.offer(&offer, now, wall, meter) {
                Err(limit) if limit.is_load() && offer.knows_load_limit => told(Outcome::Overloaded(limit)),
                done => done,
            },
        };
        done.unwrap_or_else(|refusal| (Outcome::Refused(refusal), Vec::new()))
    }

    /// Refuses a new call when there is too much to do.
    pub(super) fn admit(&mut self) -> Result<(), Refusal> {
        let (limits, load) = (self.settings.limits, self.load);
        let is_over = [
            (self.is_draining, Refusal::SessionLimit),
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
        self.changed.push(call_id.to_vec());
        if let Some(watched) = &mut self.watched {
            watched.note_signalled(call_id);
        }
        let desired = desired(&draft, &self.interfaces);
        let flows = Flows::of(&draft, now);
        let Some(entry) = self.calls.get_mut(call_id) else {
            let ops = plan(&Sources::new(), &desired);
            self.statistics.created += 1;
            self.numbers += 1;
            self.names.insert(draft.number, call_id.to_vec());
            self.calls.insert(
                call_id.to_vec(),
                Entry {
                    call: draft,
                    installed: desired,
                    flows,
                    described: Described::default(),
                    ends: None,
                    awaited: Vec::new(),
                },
            );
            return ops;
        };
        let kept: HashSet<_> = draft.pairs().into_iter().map(|pair| pair.rtp_slot).collect();
        for pair in entry.call.pairs().into_iter().filter(|pair| !kept.contains(&pair.rtp_slot)) {
            self.ports.release(pair, now);
        }
        let ops = plan(&entry.installed, &desired);
        let before = std::mem::replace(&mut entry.call, draft).playing;
        entry.installed = desired;
        entry.flows.follow(flows);
        let playing = entry.call.playing.clone();
        if !before.is_empty() || !playing.is_empty() {
            self.note_announcements(call_id, &before, &playing);
        }
        self.look_again(call_id);
        ops
    }

    fn query(&self, call_id: &[u8], now: Instant, wall: SystemTime, meter: &dyn Meter) -> Result<CallAccount, Refusal> {
        let entry = self.calls.get(call_id).ok_or(Refusal::UnknownCall)?;
        let account = self.account(entry, Tells { sinks: true, partners: true }, (now, wall), meter);
        Ok(CallAccount { descriptions: entry.described.accounts(), ..account })
    }

    /// How a call is doing, for whoever looks at very many: without what leaves, which is what arrives elsewhere.
    pub fn glance(&self, call_id: &[u8], now: Instant, wall: SystemTime, meter: &dyn Meter) -> Option<CallAccount> {
        let entry = self.calls.get(call_id)?;
        Some(self.account(entry, Tells { sinks: true, partners: false }, (now, wall), meter))
    }

    /// How a call is doing, or did until now.
    pub(super) fn account(
        &self,
        entry: &Entry,
        tells: Tells,
        (now, wall): (Instant, SystemTime),
        meter: &dyn Meter,
    ) -> CallAccount {
        let query = Query { interfaces: &self.interfaces, meter, now, wall, tells };
        query.describe(&entry.call, &entry.installed, entry.flows.since)
    }

    /// Everything about the relay as a whole.
    pub fn relay_account(&self, now: Instant, meter: &dyn Meter) -> RelayAccount {
        let ports = self.interfaces.iter().zip(self.ports.usage());
        let ports =
            ports.map(|(interface, usage)| PortAccount { name: interface.name.clone(), addr: interface.addr, usage });
        let (quality, lost) = self.statistics.quality();
        RelayAccount {
            quality: quality.clone(),
            lost,
            uptime: self.statistics.uptime(now),
            calls: self.calls.len(),
            load: self.load,
            created: self.statistics.created,
            is_draining: self.is_draining,
            rejected: self.statistics.rejected,
            ended: self.statistics.ended(),
            minute: self.statistics.last_minute(),
            ports: ports.collect(),
            counts: meter.counts(),
        }
    }
}
