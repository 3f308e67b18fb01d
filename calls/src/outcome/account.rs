//! A call as it is: its parties, their medias, the sources and sinks of each, and what they have carried.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use ::media::srtp::Suite;
use border::{Component, Edge, Passes, Reason, SlotIndex, SourceTotals};

use crate::sdp::Direction;

/// A call as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct CallAccount {
    /// Its number, by which the data plane knows it.
    pub number: u64,
    /// Two of its parties have described their media to each other.
    pub is_answered: bool,
    /// When it came to be.
    pub created: SystemTime,
    /// When it was signalled last.
    pub last_signal: SystemTime,
    /// Since when who is heard by whom is as it is: what was signalled later has changed nothing of that.
    pub flows_since: Instant,
    /// Its parties, and those who get copies of what they say, in the order in which they came.
    pub parties: Vec<PartyAccount>,
    /// Its last descriptions; of one call alone, and since this daemon has it.
    pub descriptions: Vec<DescriptionAccount>,
    /// When this was said, by both clocks.
    pub now: (Instant, SystemTime),
}

/// Whether a description asks or agrees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DescriptionKind {
    /// It asks.
    Offer,
    /// It agrees.
    Answer,
}

/// A description on its way from one party to another, without keys and passwords.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescriptionAccount {
    /// Whether it asks or agrees.
    pub kind: DescriptionKind,
    /// The tag of whoever has said it.
    pub tag: Vec<u8>,
    /// As it came.
    pub before: Vec<u8>,
    /// As it went on.
    pub after: Vec<u8>,
    /// When.
    pub at: SystemTime,
}

/// A party as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct PartyAccount {
    /// Its tag, once it has one.
    pub tag: Option<Vec<u8>>,
    /// The branch on which it was offered the call.
    pub via_branch: Option<Vec<u8>>,
    /// Its name in scripts.
    pub label: Option<Vec<u8>>,
    /// When it came to be.
    pub created: SystemTime,
    /// The tag of the party that it talks with.
    pub partner: Option<Vec<u8>>,
    /// The proxy has said that it has left; its media goes on for a while.
    pub is_leaving: bool,
    /// Other tags that it has used.
    pub aliases: Vec<Vec<u8>>,
    /// Whom it hears.
    pub hears: Vec<Relation>,
    /// Who hears it.
    pub heard_by: Vec<Relation>,
    /// What it sends is handed to a recording daemon, where one is.
    pub is_forwarded: bool,
    /// Its medias.
    pub medias: Vec<MediaAccount>,
}

/// Somebody, and why it hears or is heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relation {
    /// The tag.
    pub tag: Vec<u8>,
    /// Why.
    pub edge: Edge,
}

/// How a media is protected towards its party.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protection {
    /// It is not.
    #[default]
    Plain,
    /// By keys that are the parties' alone.
    Passed,
    /// By keys of the relay and of the party, by this suite.
    Ended(Suite),
}

/// A media of a party as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct MediaAccount {
    /// `audio`, `video`, `image`.
    pub kind: Vec<u8>,
    /// The transport.
    pub protocol: Vec<u8>,
    /// The codec, with its clock rate and channels; empty when unknown.
    pub codec: Vec<u8>,
    /// It has ports.
    pub has_ports: bool,
    /// Which way the party wants it to flow, where it is not rejected, and whether it is on hold by its address.
    pub flow: Option<(Direction, bool)>,
    /// RTP and RTCP share a port.
    pub mux: bool,
    /// How it is protected.
    pub protection: Protection,
    /// What the party sends goes nowhere.
    pub is_blocked: bool,
    /// Silence goes in the place of what the party sends.
    pub is_silenced: bool,
    /// The party hears a recording.
    pub is_played_to: bool,
    /// The party sends from elsewhere than where it receives.
    pub is_asymmetric: bool,
    /// The party may not move once learned.
    pub strict_source: bool,
    /// The party may move without being signalled.
    pub media_handover: bool,
    /// RTP and RTCP.
    pub sources: Vec<SourceAccount>,
}

/// A source as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct SourceAccount {
    /// Its slot: several parties of a fork may share it.
    pub slot: SlotIndex,
    /// RTP or RTCP.
    pub component: Component,
    /// The local address and port that the party sends to.
    pub local: SocketAddr,
    /// The name of the interface.
    pub interface: Option<String>,
    /// Where the party says it is.
    pub signalled: Option<SocketAddr>,
    /// What has arrived, and how.
    pub totals: Option<SourceTotals>,
    /// What the party that it talks with has sent: that leaves from here.
    pub partner: Option<SourceTotals>,
    /// Where its packets go.
    pub sinks: Vec<SinkAccount>,
}

/// A sink as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct SinkAccount {
    /// The tag of the party that is fed, where it has one.
    pub tag: Option<Vec<u8>>,
    /// Why.
    pub edge: Edge,
    /// The local address and port that packets leave from.
    pub from: Option<SocketAddr>,
    /// Where they go.
    pub to: Option<SocketAddr>,
    /// What of it the party gets.
    pub passes: Passes,
    /// Why the packets go nowhere.
    pub reason: Option<Reason>,
}
