//! What control tells the relay: which sources there shall be, and where their packets go.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use flow::SlotIndex;
use media::srtp::MasterKey;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::announcement::Announcement;

/// Which of a media's two sources of a party.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Component {
    /// The media itself.
    Rtp,
    /// Its control protocol (RFC 3550 6).
    Rtcp,
}

/// What a source's packets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Content {
    /// RTP with its RTCP.
    #[default]
    Rtp,
    /// The same, encrypted (SRTP): RTCP cannot be read. The handshake that agrees on keys (DTLS) may come first.
    SecuredRtp,
    /// Datagrams of whatever kind: fax (T.38), BFCP, data channels.
    Datagrams,
}

/// How the peer of a source is found. In all modes but [`Learning::Off`] a packet from exactly the signalled address decides at once, and of two
/// sources the one that is nearer to what was signalled: at the description's host, then at the host that signalled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Learning {
    /// The signalled address is the peer: nothing is learned, and the first packet is already forwarded by the fast path.
    Off,
    /// The first packet's sender is the peer, until a nearer one sends.
    Immediate,
    /// Whoever sends when three seconds have passed is the peer. Until then the slow path carries what comes.
    Delayed,
    /// The first packet's sender is the peer, until a nearer one sends; for three seconds an equal one takes its place when it falls silent.
    #[default]
    Heuristic,
}

/// Who may take the place of a peer that has been learned, without being signalled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Successor {
    /// The party at its signalled address, when the peer was learned elsewhere.
    #[default]
    Signalled,
    /// Nobody (`strict source`).
    Nobody,
    /// Anyone who sends media (`media handover`): also somebody who wants to hear or to be heard in another's call.
    Anyone,
}

/// What is known of a party by its signalling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Signalled {
    /// The party's own address; packets are expected from there, and packets for the party go there until one was learned.
    pub at: Option<SocketAddr>,
    /// The host that its signalling came from, where the proxy tells: that of a NAT, perhaps.
    pub signaller: Option<IpAddr>,
    /// That host is the one that the party's own description names: no NAT is before it that it does not know of.
    pub is_direct: bool,
    /// The party receives elsewhere than it sends from: packets teach only whom to hear, and packets for it go to where it said.
    pub is_asymmetric: bool,
    /// How often the party has said again what holds for it. With each time, also where it is the same, it may send from elsewhere.
    pub renewals: u32,
    /// Whether and how the peer is learned from packets.
    pub learning: Learning,
    /// Who may take the place of the peer once it has been learned.
    pub successor: Successor,
}

/// Why a source feeds a party.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Edge {
    /// The two talk with each other.
    Dialogue,
    /// The party is given a copy of what is said between others: a recorder.
    Copy,
    /// The party hears the source beside the one that it talks with: a branch of a fork, an announcement.
    Inject,
}

/// What a party gets of what its source sends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Passes {
    /// Everything, as it is.
    #[default]
    All,
    /// Silence in the place of what is said.
    Silence,
    /// Nothing, for now.
    Nothing,
}

/// Where packets of a source go: to the party of another source, from that one's local address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sink {
    /// The slot that the party sends to.
    pub party: SlotIndex,
    /// Why it is fed.
    pub edge: Edge,
    /// What of it.
    pub passes: Passes,
}

/// The sinks of a source: nearly always one, or one and a recorder, which need no memory of their own.
pub type Sinks = SmallVec<[Sink; 2]>;

impl Sink {
    /// The plain sink of two that talk with each other.
    pub const fn dialogue(party: SlotIndex) -> Self {
        Self { party, edge: Edge::Dialogue, passes: Passes::All }
    }
}

/// One source: what arrives at one local port, from one party, and where it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceSpec {
    /// The number of its call: what one call has heard at a port is another one's suspect.
    pub call: u64,
    /// RTP or RTCP.
    pub component: Component,
    /// The local address and port that the leg's party sends to.
    pub local: SocketAddr,
    /// What its signalling says of the party.
    pub party: Signalled,
    /// RTCP shares the port, and the party, of its RTP (RFC 5761): `local` and `party` are those of the sibling slot, and so is what is learned.
    pub mux: bool,
    /// Where its packets go, each time to all of them; each party once. Who feeds nobody only receives: a recorder.
    pub sinks: Sinks,
    /// Type of service of the packets that leave; `None` leaves it as it came (slow path: 0).
    pub tos: Option<u8>,
    /// Clock rate of the payload in kHz, for jitter; 0 when unknown.
    pub clock_khz: u16,
    /// What arrives goes nowhere. It is counted as an error, and is a sign of life.
    pub blocked: bool,
    /// What its packets are.
    pub content: Content,
    /// What its party hears beside those whose sources feed it.
    pub announcement: Option<Arc<Announcement>>,
    /// How packets are protected between its party and the relay; `None`: they are not, or not by keys that the relay has.
    pub security: Option<Arc<Security>>,
}

/// How packets are protected between a party and the relay (SRTP, RFC 3711).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Security {
    /// What the party protects by: one key, or several that packets name.
    pub theirs: Vec<MasterKey>,
    /// What is protected by that the party gets.
    pub ours: MasterKey,
    /// How often keys were spoken of: with each time the party may count its packets anew.
    pub renewals: u32,
}

impl SourceSpec {
    /// The slot of the party that this one's talks with: the first of its sinks by dialogue.
    pub fn partner(&self) -> Option<SlotIndex> {
        self.sinks.iter().find(|sink| sink.edge == Edge::Dialogue).map(|sink| sink.party)
    }
}

/// One change of the flow table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FlowOp {
    /// There shall be this source, instead of whatever was there.
    Install(SlotIndex, SourceSpec),
    /// There shall be none.
    Remove(SlotIndex),
}
