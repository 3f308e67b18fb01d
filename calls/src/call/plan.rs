//! The sources that a call shall have, and what is to be done for that.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use border::{
    Component, Content, Edge, FlowOp, Interfaces, Learning, Passes, PortPair, Signalled, Sink, Sinks, SlotIndex,
    SourceSpec, Successor,
};

use super::dialogue::Call;
use super::leg::{Leg, LegId, Mirror};
use super::media::{Media, View};
use super::playing::Playing;
use super::security::{self, Security};
use super::sources::Sources;
use super::subscriber::{CopiedMedia, Subscriber};
use super::treatments::Receiver;
use crate::intent::{Finality, Treatment};

/// The sources that the call shall have, with their sinks: those of every media that both parties of a dialogue want, of those that are heard before
/// anybody has answered for good, and of those who get copies.
pub(super) fn desired(call: &Call, interfaces: &Interfaces) -> Sources {
    let mut plan = Plan { call, interfaces, sources: Sources::new(), speakers: HashMap::new() };
    for [mine, theirs] in call.dialogues() {
        plan.add(mine, theirs, Edge::Dialogue);
    }
    for [mine, caller] in call.ringing() {
        plan.add(mine, caller, Edge::Inject);
    }
    call.subscribers.iter().filter(|subscriber| subscriber.is_served()).for_each(|subscriber| plan.copy(subscriber));
    call.audible().for_each(|playing| plan.play(playing));
    let mut sources = plan.sources;
    // A party that says it is where the call itself arrives would have the call's packets go round for ever.
    let ours: HashSet<SocketAddr> = sources.values().map(|spec| spec.local).collect();
    for spec in sources.values_mut() {
        spec.party.at = spec.party.at.filter(|at| !ours.contains(at));
        // What would go nowhere is not even looked at.
        spec.blocked |= spec.sinks.is_empty();
    }
    sources.packed()
}

/// The sources of a call, as far as they are known.
struct Plan<'a> {
    call: &'a Call,
    interfaces: &'a Interfaces,
    sources: Sources,
    /// Whose source each is.
    speakers: HashMap<SlotIndex, LegId>,
}

impl Plan<'_> {
    /// Adds the sources of a leg that another one hears. Beside a dialogue only those of which the other one has sources too, and no port has two.
    fn add(&mut self, (id, leg): (LegId, &Leg), (other_id, other): (LegId, &Leg), edge: Edge) {
        let is_open = |view: &View<'_>| view.said.open;
        for (mine, theirs) in leg.medias.iter().zip(&other.medias) {
            let now = mine.now().filter(is_open).zip(theirs.now().filter(is_open));
            if let Some((mine_now, theirs_now)) = now {
                self.place((id, leg), other_id, mine_now, theirs_now, edge, true);
                if let Some(told) = mine.told.filter(|told| *told != mine_now.pair) {
                    self.place((id, leg), other_id, View { pair: told, ..mine_now }, theirs_now, edge, false);
                }
            }
            // What is offered and not agreed on yet may already come, where it cannot be taken for what is.
            if let Some((mine, theirs)) = mine.next().filter(is_open).zip(theirs.next().filter(is_open)) {
                self.place((id, leg), other_id, mine, theirs, edge, true);
            }
        }
    }

    /// Adds the sources of one media. Where a party is told of ports but is in another family (`is_all` is false), only what it sends there is
    /// carried.
    fn place(
        &mut self,
        (id, leg): (LegId, &Leg),
        other: LegId,
        mine: View<'_>,
        theirs: View<'_>,
        edge: Edge,
        is_all: bool,
    ) {
        let Some(interface) = self.interfaces.get(mine.pair.interface) else { return };
        let call = self.call;
        let content = content(mine, theirs);
        let treats = |treatment| call.treatments.of_flow(id, &Receiver::Leg(other), treatment);
        let [rtp_passes, rtcp_passes] =
            [Component::Rtp, Component::Rtcp].map(|component| self.passes(id, treats, content, component));
        // Where nobody tells an announcement from an answer, a branch that has lost may be heard for long: whoever has the luck to send to its port must at
        // least be where its signalling came from.
        let is_guarded = edge == Edge::Inject && leg.finality == Finality::Unknown;
        let party = |at: Option<SocketAddr>| Signalled {
            successor: if is_all && !is_guarded { leg.successor() } else { Successor::Nobody },
            ..signalled(call, leg, at, mine)
        };
        let has_rtcp = mine.said.has_rtcp && theirs.said.has_rtcp;
        let (rtp_peer, rtcp_peer) = if is_all { (mine.said.rtp, mine.said.rtcp) } else { (None, None) };
        let keys = mine.security.and_then(Security::keys);
        // What comes before there are keys is readable to nobody, and goes nowhere as it is.
        let is_unready = |view: View<'_>| view.security.is_some_and(Security::is_awaited);
        let is_early = is_unready(mine) || is_unready(theirs);
        let goes_to = if leg.echo == Some(Mirror::Echo) { mine.pair } else { theirs.pair };
        let mut install = |slot, component, port, peer, mux, to, clock_khz| {
            let passes = match component {
                Component::Rtp => rtp_passes,
                Component::Rtcp => rtcp_passes,
            };
            let spec = SourceSpec {
                component,
                local: SocketAddr::new(interface.addr, port),
                call: call.number,
                party: party(peer),
                mux,
                sinks: Sinks::from_elem(Sink { party: to, edge, passes }, 1),
                tos: call.tos,
                clock_khz,
                blocked: call.treats_leg(id, Treatment::Block) || leg.echo == Some(Mirror::Silence) || is_early,
                content,
                announcement: None,
                security: keys.clone(),
            };
            let may_join =
                edge == Edge::Dialogue || (self.sources.contains_key(&to) && !self.sources.contains_key(&slot));
            if may_join {
                self.speakers.insert(slot, id);
                self.sources.insert(slot, spec);
            }
        };
        let rtp_port = mine.pair.rtp_port;
        let clock_khz = if has_rtcp { mine.clock_khz } else { 0 };
        install(mine.pair.rtp_slot, Component::Rtp, rtp_port, rtp_peer, false, goes_to.rtp_slot, clock_khz);
        if has_rtcp {
            let (port, peer) = if mine.mux { (rtp_port, rtp_peer) } else { (mine.pair.rtcp_port(), rtcp_peer) };
            install(mine.pair.rtcp_slot, Component::Rtcp, port, peer, mine.mux, goes_to.rtcp_slot, 0);
        }
    }

    /// What of a flow its receiver gets. Where nobody can put silence into it, nothing; reports say nothing that is to be silenced.
    fn passes(&self, id: LegId, treats: impl Fn(Treatment) -> bool, content: Content, component: Component) -> Passes {
        let is_silenced = treats(Treatment::Silence) || self.call.treats_leg(id, Treatment::Silence);
        match (is_silenced && component == Component::Rtp, content) {
            _ if treats(Treatment::Block) => Passes::Nothing,
            (false, _) => Passes::All,
            (true, Content::Rtp) => Passes::Silence,
            (true, Content::SecuredRtp | Content::Datagrams) => Passes::Nothing,
        }
    }

    /// Has parties' sources feed whoever gets copies, and adds what it sends itself: that goes nowhere.
    fn copy(&mut self, subscriber: &Subscriber) {
        let receiver = Receiver::Subscriber(subscriber.tag.clone());
        for media in subscriber.medias.iter().filter(|media| media.said.open) {
            let Some((id, index)) = media.source else { continue };
            let treats = |treatment| self.call.treatments.of_flow(id, &receiver, treatment);
            // A line that has become another media is none that the receiver knows.
            let is_alike = |source: &&Media| source.in_force().kind.eq_ignore_ascii_case(&media.said.kind);
            let source = self.call.leg(id).and_then(|leg| leg.medias.get(index)).filter(is_alike);
            let pairs: Vec<PortPair> = source.into_iter().flat_map(|media| media.pairs()).collect();
            let mut is_fed = false;
            for pair in pairs {
                for (from, to, component) in [
                    (pair.rtp_slot, media.pair.rtp_slot, Component::Rtp),
                    (pair.rtcp_slot, media.pair.rtcp_slot, Component::Rtcp),
                ] {
                    let passes = self.passes(id, treats, Content::Rtp, component);
                    // The parties of a fork share ports, and only one of them speaks there at a time.
                    if self.speakers.get(&from) != Some(&id) {
                        continue;
                    }
                    let Some(spec) = self.sources.get_mut(&from).filter(|spec| spec.content == Content::Rtp) else {
                        continue;
                    };
                    is_fed = true;
                    if spec.sinks.iter().all(|sink| sink.party != to) {
                        spec.sinks.push(Sink { party: to, edge: Edge::Copy, passes });
                    }
                }
            }
            if is_fed {
                self.install_receiver(media);
            }
        }
    }

    /// Has a party hear what nobody says, as long as it has a source.
    fn play(&mut self, playing: &Playing) {
        let medias = self.call.leg(playing.leg).map(|leg| leg.medias.as_slice()).unwrap_or_default();
        let Some(view) = medias.get(playing.media).and_then(Media::now) else { return };
        // The parties of a fork share ports, and only one of them is there at a time.
        if self.speakers.get(&view.pair.rtp_slot) == Some(&playing.leg)
            && let Some(spec) = self.sources.get_mut(&view.pair.rtp_slot)
        {
            spec.announcement = Some(Arc::clone(&playing.announcement));
        }
    }

    /// Copies go to where the receiver said it is, and never elsewhere: nobody who sends from somewhere learns what is said.
    fn install_receiver(&mut self, media: &CopiedMedia) {
        let Some(interface) = self.interfaces.get(media.pair.interface) else { return };
        let spec = |component, port, at| SourceSpec {
            component,
            local: SocketAddr::new(interface.addr, port),
            call: self.call.number,
            party: Signalled { at, learning: Learning::Off, ..Signalled::default() },
            mux: false,
            sinks: Sinks::new(),
            tos: self.call.tos,
            clock_khz: 0,
            blocked: true,
            content: Content::Rtp,
            announcement: None,
            security: None,
        };
        let rtp = spec(Component::Rtp, media.pair.rtp_port, media.said.rtp);
        let rtcp = spec(Component::Rtcp, media.pair.rtcp_port(), media.said.rtcp);
        self.sources.insert(media.pair.rtp_slot, rtp);
        self.sources.insert(media.pair.rtcp_slot, rtcp);
    }
}

/// What is known of a party by its signalling.
fn signalled(call: &Call, leg: &Leg, at: Option<SocketAddr>, View { said, renewals, .. }: View<'_>) -> Signalled {
    let is_direct = said.is_own && leg.signaller.is_some() && leg.signaller == said.rtp.map(|rtp| rtp.ip());
    Signalled {
        at,
        signaller: leg.signaller,
        is_direct,
        is_asymmetric: leg.asymmetric,
        renewals,
        learning: call.learning,
        successor: leg.successor(),
    }
}

/// What the packets of a media are.
const fn content(mine: View<'_>, theirs: View<'_>) -> Content {
    // By keys that the relay has, it is as if it were not protected.
    let is_ended_here = mine.security.is_some() || theirs.security.is_some();
    let (mine, theirs) = (mine.said, theirs.said);
    match (mine.has_rtcp && theirs.has_rtcp, security::passes_by(mine, theirs) && !is_ended_here) {
        (false, _) => Content::Datagrams,
        (true, true) => Content::SecuredRtp,
        (true, false) => Content::Rtp,
    }
}

/// What turns the installed sources into the desired ones. What goes, goes first.
pub(super) fn plan(installed: &Sources, desired: &Sources) -> Vec<FlowOp> {
    let gone = installed.keys().filter(|slot| !desired.contains_key(slot));
    let new = desired.iter().filter(|(slot, spec)| installed.get(slot) != Some(spec));
    gone.map(|slot| FlowOp::Remove(*slot)).chain(new.map(|(slot, spec)| FlowOp::Install(*slot, spec.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(port: u16) -> SourceSpec {
        SourceSpec {
            call: 0,
            component: Component::Rtp,
            local: SocketAddr::from(([192, 0, 2, 1], port)),
            party: Signalled::default(),
            mux: false,
            sinks: Sinks::new(),
            tos: None,
            clock_khz: 8,
            blocked: false,
            content: Content::Rtp,
            announcement: None,
            security: None,
        }
    }

    #[test]
    fn equal_states_need_nothing() {
        let sources = Sources::from([(SlotIndex(1), source(1)), (SlotIndex(2), source(2))]);
        assert_eq!(plan(&sources, &sources), []);
    }

    #[test]
    fn only_differences_are_planned() {
        let installed =
            Sources::from([(SlotIndex(1), source(1)), (SlotIndex(2), source(2)), (SlotIndex(3), source(3))]);
        let desired = Sources::from([(SlotIndex(2), source(2)), (SlotIndex(3), source(9)), (SlotIndex(4), source(4))]);
        let expected = [
            FlowOp::Remove(SlotIndex(1)),
            FlowOp::Install(SlotIndex(3), source(9)),
            FlowOp::Install(SlotIndex(4), source(4)),
        ];
        assert_eq!(plan(&installed, &desired), expected);
    }
}
