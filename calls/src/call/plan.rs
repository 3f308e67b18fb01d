//! The streams that a call shall have, and what is to be done for that.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use border::{Component, Content, FlowOp, Interfaces, Signalled, Sink, SlotIndex, SourceSpec, Successor};

use super::dialogue::Call;
use super::leg::{Leg, Mirror};
use super::media::View;
use super::signalled::Signalled as Said;

/// Streams by slot.
pub(super) type Streams = BTreeMap<SlotIndex, SourceSpec>;

/// The streams that the call shall have: those of every media that both parties of a dialogue want, and of those that may answer before their
/// answer is known.
pub(super) fn desired(call: &Call, interfaces: &Interfaces) -> Streams {
    let mut streams = Streams::new();
    for (leg, other) in call.dialogues() {
        add(&mut streams, call, interfaces, leg, other, |_, _| true);
    }
    for (leg, caller) in call.ringing() {
        add(&mut streams, call, interfaces, leg, caller, |streams, towards| streams.contains_key(&towards));
    }
    // A party that says it is where the call itself arrives would have the call's packets go round for ever.
    let ours: HashSet<SocketAddr> = streams.values().map(|spec| spec.local).collect();
    for spec in streams.values_mut() {
        spec.party.at = spec.party.at.filter(|at| !ours.contains(at));
    }
    streams
}

/// Adds the streams from a leg to another, those that `leads` somewhere.
fn add(
    streams: &mut Streams,
    call: &Call,
    interfaces: &Interfaces,
    leg: &Leg,
    other: &Leg,
    leads: impl Fn(&Streams, SlotIndex) -> bool,
) {
    let party = |at: Option<SocketAddr>, View { said, renewals, .. }: View<'_>| {
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
    };
    let mut place = |mine: View<'_>, theirs: View<'_>, is_all: bool| {
        let Some(interface) = interfaces.get(mine.pair.interface) else { return };
        let spec = |component, port, peer, mux, other, clock_khz| SourceSpec {
            component,
            local: SocketAddr::new(interface.addr, port),
            call: call.number,
            party: Signalled {
                successor: if is_all { leg.successor() } else { Successor::Nobody },
                ..party(peer, mine)
            },
            mux,
            sinks: vec![Sink::dialogue(other)],
            tos: call.tos,
            clock_khz,
            blocked: leg.blocked || call.blocked || leg.echo == Some(Mirror::Silence),
            content: content(mine.said, theirs.said),
        };
        let has_rtcp = mine.said.has_rtcp && theirs.said.has_rtcp;
        let clock_khz = if has_rtcp { mine.clock_khz } else { 0 };
        // Where a party is told of ports but is in another family, only what it sends there is carried.
        let (rtp_peer, rtcp_peer) = if is_all { (mine.said.rtp, mine.said.rtcp) } else { (None, None) };
        let goes_to = if leg.echo == Some(Mirror::Echo) { mine.pair } else { theirs.pair };
        let (rtp_port, rtp_slot, rtcp_slot) = (mine.pair.rtp_port, goes_to.rtp_slot, goes_to.rtcp_slot);
        if leads(streams, rtp_slot) {
            streams.insert(mine.pair.rtp_slot, spec(Component::Rtp, rtp_port, rtp_peer, false, rtp_slot, clock_khz));
        }
        if has_rtcp && leads(streams, rtcp_slot) {
            let (port, peer) = if mine.mux { (rtp_port, rtp_peer) } else { (mine.pair.rtcp_port(), rtcp_peer) };
            streams.insert(mine.pair.rtcp_slot, spec(Component::Rtcp, port, peer, mine.mux, rtcp_slot, 0));
        }
    };
    let is_open = |view: &View<'_>| view.said.open;
    for (mine, theirs) in leg.medias.iter().zip(&other.medias) {
        let now = mine.now().filter(is_open).zip(theirs.now().filter(is_open));
        if let Some((mine_now, theirs_now)) = now {
            place(mine_now, theirs_now, true);
            if let Some(told) = mine.told.filter(|told| *told != mine_now.pair) {
                place(View { pair: told, ..mine_now }, theirs_now, false);
            }
        }
        // What is offered and not agreed on yet may already come, where it cannot be taken for what is.
        if let Some((mine, theirs)) = mine.next().filter(is_open).zip(theirs.next().filter(is_open)) {
            place(mine, theirs, true);
        }
    }
}

/// What the packets of a media are.
const fn content(mine: &Said, theirs: &Said) -> Content {
    match (mine.has_rtcp && theirs.has_rtcp, mine.secured || theirs.secured) {
        (false, _) => Content::Datagrams,
        (true, true) => Content::SecuredRtp,
        (true, false) => Content::Rtp,
    }
}

/// What turns the installed streams into the desired ones. What goes, goes first.
pub(super) fn plan(installed: &Streams, desired: &Streams) -> Vec<FlowOp> {
    let gone = installed.keys().filter(|slot| !desired.contains_key(slot));
    let new = desired.iter().filter(|(slot, spec)| installed.get(slot) != Some(spec));
    gone.map(|slot| FlowOp::Remove(*slot)).chain(new.map(|(slot, spec)| FlowOp::Install(*slot, spec.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(port: u16) -> SourceSpec {
        SourceSpec {
            call: 0,
            component: Component::Rtp,
            local: SocketAddr::from(([192, 0, 2, 1], port)),
            party: Signalled::default(),
            mux: false,
            sinks: Vec::new(),
            tos: None,
            clock_khz: 8,
            blocked: false,
            content: Content::Rtp,
        }
    }

    #[test]
    fn equal_states_need_nothing() {
        let streams = Streams::from([(SlotIndex(1), stream(1)), (SlotIndex(2), stream(2))]);
        assert_eq!(plan(&streams, &streams), []);
    }

    #[test]
    fn only_differences_are_planned() {
        let installed =
            Streams::from([(SlotIndex(1), stream(1)), (SlotIndex(2), stream(2)), (SlotIndex(3), stream(3))]);
        let desired = Streams::from([(SlotIndex(2), stream(2)), (SlotIndex(3), stream(9)), (SlotIndex(4), stream(4))]);
        let expected = [
            FlowOp::Remove(SlotIndex(1)),
            FlowOp::Install(SlotIndex(3), stream(9)),
            FlowOp::Install(SlotIndex(4), stream(4)),
        ];
        assert_eq!(plan(&installed, &desired), expected);
    }
}
