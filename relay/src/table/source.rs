//! A source of the flow table.

use std::sync::{Arc, Mutex};

use border::{Component, Content, SourceSpec};
use flow::Moment;
use flow::slot::Flags;
use flow::{Be16, Bearing, HopId, SlotIndex};
use media::Chain;
use smallvec::SmallVec;

use crate::table::matter::Matter;
use crate::table::peer::{Peer, Standing};
use crate::table::reader::Ear;
use crate::table::seal::{Opener, Seal, Sealer};
use crate::table::tally::Tally;

/// A route and its number, as acquired from the next hops.
pub(super) type Held = (Bearing, HopId);

/// A source and what packets taught about it.
pub(super) struct Source {
    pub(super) spec: SourceSpec,
    pub(super) peer: Peer,
    /// The party that it talks with does not hear what the fast path sends.
    pub(super) is_doubted: bool,
    /// The party said it would be where none may be.
    pub(super) is_untrusted: bool,
    pub(super) ssrc: Option<u32>,
    pub(super) ssrc_changes: u8,
    pub(super) any_ssrc: bool,
    /// The route to the source's own peer, by which an IPv6 peer is known.
    pub(super) towards: Option<Held>,
    /// What is kept of each sink of the specification, in their order.
    pub(super) sinks: SmallVec<[SinkState; 1]>,
    /// The slots of the sources that feed its party.
    pub(super) feeders: SmallVec<[SlotIndex; 4]>,
    /// The workers have been told of several sinks, or of work on packets.
    pub(super) is_fanned: bool,
    pub(super) tally: Tally,
    pub(super) errors: u64,
    /// What the party reports by RTCP, where that is read.
    pub(super) ear: Option<Arc<Ear>>,
    /// What its party hears beside its feeders, as a worker was told.
    pub(super) played: Option<Box<PlayState>>,
    /// When its peer was heard by the slot's own rule, as of the last look.
    pub(super) heard: Moment,
    /// It was told that the party has fallen silent.
    pub(super) is_silent: bool,
    /// What protects the packets between its party and the relay.
    pub(super) seal: Option<Box<Seal>>,
    /// How far an earlier process was with what its party was sent.
    pub(super) sealed: u64,
}

/// Where a party stands for who plays to it: bearing, ports and next hop.
pub(super) type Stand = (Bearing, [Be16; 2], HopId);

/// What a worker was told to play.
#[derive(Default)]
pub(super) struct PlayState {
    /// Which announcement, and where.
    pub(super) told: Option<(u64, Option<Stand>, Option<Sealer>)>,
    /// The route that its packets take now.
    pub(super) route: Option<Held>,
}

/// What is kept of a sink.
#[derive(Default)]
pub(super) struct SinkState {
    /// The route that its packets take now.
    pub(super) route: Option<Held>,
    /// The work on its packets; its state outlives changes of the route.
    pub(super) chain: Option<Arc<Mutex<Chain>>>,
}

impl Source {
    /// A source of which nothing has been seen since the tally and the moment began.
    pub(super) fn new(spec: &SourceSpec, peer: Peer, is_untrusted: bool, tally: Tally, heard: Moment) -> Self {
        Self {
            spec: spec.clone(),
            peer,
            is_untrusted,
            is_doubted: false,
            ssrc: None,
            ssrc_changes: 0,
            any_ssrc: false,
            towards: None,
            sinks: spec.sinks.iter().map(|_| SinkState::default()).collect(),
            feeders: SmallVec::new(),
            is_fanned: false,
            tally,
            errors: 0,
            ear: None,
            played: None,
            heard,
            is_silent: false,
            seal: spec.security.as_ref().map(|by| Box::new(Seal::new(by))),
            sealed: 0,
        }
    }

    /// What the slot is to do with packets, given what is known of the peer.
    pub(super) fn flags(&self, standing: &Standing) -> Flags {
        let mut flags = Flags::ACTIVE.with(Flags::CALL);
        if standing.is_settled {
            flags = flags.with(Flags::SETTLED);
        }
        if self.spec.component == Component::Rtp {
            flags = flags.with(Flags::RTP);
        }
        if self.spec.mux {
            flags = flags.with(Flags::MUX);
        }
        if self.any_ssrc || self.ssrc.is_none() {
            flags = flags.with(Flags::ANY_SSRC);
        }
        flags
    }

    /// The synchronisation source that it is held to; bytes in network order.
    pub(super) fn held_to(&self) -> Option<u32> {
        self.ssrc.filter(|_| !self.any_ssrc)
    }

    /// What a payload is to the source, and so what it may teach.
    pub(super) fn matter(&self, payload: &[u8]) -> Matter {
        Matter::of(self.spec.content, self.spec.component, payload)
    }

    /// Whether it is RTCP that can be read: of what is encrypted there is nothing to see.
    pub(super) fn is_readable(&self) -> bool {
        self.spec.component == Component::Rtcp && self.spec.content == Content::Rtp
    }

    /// The routes that it holds numbers of.
    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        let played = self.played.as_ref().and_then(|played| played.route);
        self.sinks.iter().filter_map(|sink| sink.route).chain(self.towards).chain(played)
    }

    /// What makes its packets readable, where they are protected.
    pub(super) fn opener(&self) -> Option<Opener> {
        self.seal.as_ref().map(|seal| seal.opener())
    }

    /// Has its packets protected as is said now.
    pub(super) fn follow_security(&mut self) {
        self.seal = match (self.seal.take(), &self.spec.security) {
            (Some(mut seal), Some(by)) => {
                seal.follow(by);
                Some(seal)
            }
            (None, Some(by)) => Some(Box::new(Seal::new(by))),
            (_, None) => None,
        };
    }

    /// Whether a route of it got no number, because there was none.
    pub(super) fn wants_number(&self) -> bool {
        self.held().any(|(_, id)| id == HopId::NONE)
    }
}
