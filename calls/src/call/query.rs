//! What is told about a call.

use std::time::{Instant, SystemTime};

use border::{Component, Edge, Interfaces, Meter, Sink, SinkState, SlotIndex, SourceTotals};

use super::dialogue::Call;
use super::leg::{Leg, LegId};
use super::sources::Sources;
use super::subscriber::Subscriber;
use crate::outcome::{CallAccount, MediaAccount, PartyAccount, Protection, Relation, SinkAccount, SourceAccount};
use crate::sdp::Crypto;

/// Tells about calls.
pub(super) struct Query<'a> {
    pub interfaces: &'a Interfaces,
    pub meter: &'a dyn Meter,
    pub now: Instant,
    pub wall: SystemTime,
    pub tells: Tells,
}

/// What of it.
#[derive(Clone, Copy)]
pub(super) struct Tells {
    /// Where packets go: of a call that ends, nowhere.
    pub sinks: bool,
    /// Of each source what leaves from its port, which is what arrives elsewhere.
    pub partners: bool,
}

impl Query<'_> {
    /// Everything about one call.
    pub(super) fn describe(&self, call: &Call, installed: &Sources, flows_since: Instant) -> CallAccount {
        let legs = call.legs.iter().map(|(id, leg)| self.leg(call, *id, leg, installed));
        let subscribers = call.subscribers.iter().map(|subscriber| self.subscriber(call, subscriber, installed));
        CallAccount {
            number: call.number,
            is_answered: call.is_answered(),
            created: call.created,
            last_signal: call.last_signal,
            flows_since,
            parties: legs.chain(subscribers).collect(),
            descriptions: Vec::new(),
            now: (self.now, self.wall),
        }
    }

    fn leg(&self, call: &Call, id: LegId, leg: &Leg, installed: &Sources) -> PartyAccount {
        let partner = leg.other.and_then(|other| call.leg(other)).and_then(|other| other.tag.clone());
        // Whoever talks with another hears that one, and is heard.
        let talk = || partner.iter().map(|tag| Relation { tag: tag.clone(), edge: Edge::Dialogue });
        let copies = call.subscribers.iter().filter(|subscriber| subscriber.hears(id));
        let copies = copies.map(|subscriber| Relation { tag: subscriber.tag.clone(), edge: Edge::Copy });
        PartyAccount {
            tag: leg.tag.clone(),
            via_branch: leg.via_branch.clone(),
            label: leg.label.clone(),
            created: leg.created,
            is_leaving: leg.ends.is_some(),
            aliases: leg.aliases.clone(),
            hears: talk().collect(),
            heard_by: talk().chain(copies).collect(),
            partner,
            is_forwarded: call.treats_leg(id, crate::intent::Treatment::Forward),
            medias: (0..leg.medias.len()).filter_map(|number| self.media(call, (id, leg), number, installed)).collect(),
        }
    }

    fn media(&self, call: &Call, (id, leg): (LegId, &Leg), number: usize, installed: &Sources) -> Option<MediaAccount> {
        let media = leg.medias.get(number)?;
        let mut sources = Vec::new();
        if let Some(pair) = media.now().map(|view| view.pair) {
            for (slot, component) in [(pair.rtp_slot, Component::Rtp), (pair.rtcp_slot, Component::Rtcp)] {
                let signalled = match component {
                    Component::Rtp => media.said.rtp,
                    Component::Rtcp => media.said.rtcp,
                };
                let source = self.source(call, slot, component, installed);
                let interface = self.interfaces.get(leg.interface).map(|interface| interface.name.clone());
                sources.extend(source.map(|source| SourceAccount { signalled, interface, ..source }));
            }
        }
        Some(MediaAccount {
            kind: media.said.kind.clone(),
            protocol: media.said.protocol.clone(),
            codec: media.codec.clone(),
            has_ports: media.pair.is_some(),
            flow: media.said.open.then_some((media.said.direction, media.said.held)),
            mux: media.mux,
            protection: match media.security_in_force() {
                Some(security) => {
                    let ended = |(_, ours): &(Crypto, Crypto)| Protection::Ended(ours.suite());
                    security.agreed.as_ref().map_or(Protection::Plain, ended)
                }
                None if call.is_readable(id, number) => Protection::Plain,
                None => Protection::Passed,
            },
            is_blocked: call.treats_leg(id, crate::intent::Treatment::Block),
            is_silenced: call.treats_leg(id, crate::intent::Treatment::Silence),
            is_played_to: media
                .now()
                .and_then(|view| installed.get(&view.pair.rtp_slot))
                .is_some_and(|spec| spec.announcement.is_some()),
            is_asymmetric: leg.asymmetric,
            strict_source: leg.strict_source,
            media_handover: leg.media_handover,
            sources,
        })
    }

    fn subscriber(&self, call: &Call, subscriber: &Subscriber, installed: &Sources) -> PartyAccount {
        let tags = subscriber.sources().filter_map(|id| call.leg(id)?.tag.clone());
        let medias = subscriber.medias.iter().map(|media| {
            let pair = media.pair;
            let slots = [(pair.rtp_slot, Component::Rtp), (pair.rtcp_slot, Component::Rtcp)];
            let sources = slots.into_iter().filter_map(|(slot, component)| {
                let signalled = match component {
                    Component::Rtp => media.said.rtp,
                    Component::Rtcp => media.said.rtcp,
                };
                let interface = self.interfaces.get(pair.interface).map(|interface| interface.name.clone());
                let source = self.source(call, slot, component, installed)?;
                Some(SourceAccount { signalled, interface, ..source })
            });
            MediaAccount {
                kind: media.said.kind.clone(),
                protocol: media.said.protocol.clone(),
                codec: media.said.codec.clone(),
                has_ports: true,
                flow: (subscriber.is_served() && media.said.open).then_some((media.said.direction, media.said.held)),
                mux: false,
                protection: Protection::Plain,
                is_blocked: false,
                is_silenced: false,
                is_played_to: false,
                is_asymmetric: false,
                strict_source: false,
                media_handover: false,
                sources: sources.collect(),
            }
        });
        PartyAccount {
            tag: Some(subscriber.tag.clone()),
            via_branch: None,
            label: subscriber.label.clone(),
            created: subscriber.created,
            is_leaving: false,
            partner: None,
            aliases: Vec::new(),
            hears: tags.map(|tag| Relation { tag, edge: Edge::Copy }).collect(),
            heard_by: Vec::new(),
            is_forwarded: false,
            medias: medias.collect(),
        }
    }

    fn source(&self, call: &Call, slot: SlotIndex, component: Component, installed: &Sources) -> Option<SourceAccount> {
        let spec = installed.get(&slot)?;
        let totals = self.meter.totals(slot);
        // What the data plane does not know (yet) is as it was asked for.
        let sinks_of = |totals: &SourceTotals| if self.tells.sinks { totals.sinks.clone() } else { Vec::new() };
        let asked = |sink: &Sink| SinkState { sink: *sink, from: None, to: None, reason: None };
        let sinks = totals.as_ref().map_or_else(|| spec.sinks.iter().map(asked).collect(), sinks_of);
        let sinks = sinks.into_iter().map(|SinkState { sink, from, to, reason }| SinkAccount {
            tag: call.tag_at(sink.party),
            edge: sink.edge,
            from: from.or_else(|| installed.get(&sink.party).map(|party| party.local)),
            to,
            passes: sink.passes,
            reason,
        });
        Some(SourceAccount {
            slot,
            component,
            local: spec.local,
            interface: None,
            signalled: None,
            // What arrives at the other party's port leaves from here.
            partner: spec.partner().filter(|_| self.tells.partners).and_then(|partner| self.meter.totals(partner)),
            sinks: sinks.collect(),
            totals,
        })
    }
}
