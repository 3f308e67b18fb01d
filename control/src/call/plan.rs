//! The streams that a call shall have, and what is to be done for that.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use relay::{Component, Content, FlowOp, Interfaces, PortPair, Signalled, SlotIndex, StreamSpec};

use super::dialogue::Call;
use super::leg::{Leg, Media};
use super::signalled::Signalled as Said;

/// Streams by slot.
pub(super) type Streams = BTreeMap<SlotIndex, StreamSpec>;

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
    let Some(interface) = interfaces.get(leg.interface) else { return };
    let party = |at: Option<SocketAddr>, said: &Said| {
        let is_direct = said.is_own && leg.signaller.is_some() && leg.signaller == said.rtp.map(|rtp| rtp.ip());
        Signalled {
            at,
            signaller: leg.signaller,
            is_direct,
            is_asymmetric: leg.asymmetric,
            renewals: leg.renewals,
            learning: call.learning,
            successor: leg.successor(),
        }
    };
    for (mine, pair, theirs, their_pair) in relayed(leg, other) {
        let spec = |component, port, peer, mux, other, clock_khz| StreamSpec {
            component,
            local: SocketAddr::new(interface.addr, port),
            call: call.number,
            party: party(peer, mine.in_force()),
            mux,
            other: Some(other),
            tos: call.tos,
            clock_khz,
            blocked: leg.blocked || call.blocked,
            content: content(mine.in_force(), theirs.in_force()),
        };
        let has_rtcp = mine.in_force().has_rtcp && theirs.in_force().has_rtcp;
        let clock_khz = if has_rtcp { mine.clock_khz } else { 0 };
        let (rtp_port, rtp_peer) = (pair.rtp_port, mine.in_force().rtp);
        if leads(streams, their_pair.rtp_slot) {
            let rtp = spec(Component::Rtp, rtp_port, rtp_peer, false, their_pair.rtp_slot, clock_khz);
            streams.insert(pair.rtp_slot, rtp);
        }
        if has_rtcp && leads(streams, their_pair.rtcp_slot) {
            let (port, peer) = match mine.mux {
                true => (rtp_port, rtp_peer),
                false => (pair.rtcp_port(), mine.in_force().rtcp),
            };
            let rtcp = spec(Component::Rtcp, port, peer, mine.mux, their_pair.rtcp_slot, 0);
            streams.insert(pair.rtcp_slot, rtcp);
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

/// The medias that both legs want and have ports for.
fn relayed<'a>(leg: &'a Leg, other: &'a Leg) -> impl Iterator<Item = (&'a Media, PortPair, &'a Media, PortPair)> {
    let both = leg.medias.iter().zip(&other.medias);
    both.filter(|(mine, theirs)| mine.in_force().open && theirs.in_force().open)
        .filter_map(|(mine, theirs)| Some((mine, mine.pair?, theirs, theirs.pair?)))
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

    fn stream(port: u16) -> StreamSpec {
        StreamSpec {
            call: 0,
            component: Component::Rtp,
            local: SocketAddr::from(([192, 0, 2, 1], port)),
            party: Signalled::default(),
            mux: false,
            other: None,
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
