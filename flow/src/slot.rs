//! The slot: everything of one flow that its packets need, in half a cache line.

use core::net::{IpAddr, SocketAddr};

use crate::checksum::Delta;
use crate::counters::{self, Carried, Counters, Order, Timing, Volume};
use crate::headers::{Addr4, Addr6, Be16};
use crate::hop::{HopCell, HopId};
use crate::knock::{Epoch, Knocker, Knockers};
use crate::rtp::{RtpFields, Sequence};
use crate::word::{Word, fence_loads, fence_stores};

/// What a slot does with packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u8);

impl Flags {
    /// None set: the slot forwards nothing.
    pub const NONE: Self = Self(0);
    /// The rule is whole: whoever has a packet of the peer forwards it by the rule without asking anybody. The XDP program does so only where
    /// the slot is [`Flags::FAST`] too.
    pub const ACTIVE: Self = Self(1);
    /// The slot carries RTP: account it by its header, and hold it to the slot's SSRC. Without this flag it carries RTCP.
    pub const RTP: Self = Self(2);
    /// Do not hold the stream to one synchronisation source: it mixes several, or its first is not known. The last one seen is noted.
    pub const ANY_SSRC: Self = Self(4);
    /// RTP and RTCP share the RTP slot's port (RFC 5761). RTCP that arrives there is the RTCP slot's, and nothing else is.
    pub const MUX: Self = Self(8);
    /// A call has the slot, active or not: what the slot does not forward may teach its peer. Without this flag nobody need ask.
    pub const CALL: Self = Self(16);
    /// Where the slot's peer is is beyond doubt: what others send is dropped.
    pub const SETTLED: Self = Self(32);
    /// The XDP program forwards too: there is one sink of the same family, and nothing has to be done to the packets. Only with
    /// [`Flags::ACTIVE`].
    pub const FAST: Self = Self(64);
    /// What the peer sends is counted and goes nowhere. Only with [`Flags::ACTIVE`].
    pub const BLOCKED: Self = Self(128);

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without others.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is left of the flags while the slot does not forward.
    const fn waiting(self) -> Self {
        Self(self.0 & (Self::CALL.0 | Self::MUX.0))
    }

    /// Whether the XDP program may forward.
    #[inline(always)]
    pub(crate) const fn is_fast(self) -> bool {
        self.has(Self::FAST)
    }

    /// Whether all of the other's flags are set.
    #[inline(always)]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The addresses of a flow, each by its role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Where packets are accepted from: the remote party of this leg.
    pub peer: SocketAddr,
    /// Where they arrive: the local address and port that the leg's party sends to.
    pub local: SocketAddr,
    /// The source address they leave with: the local address and port that the other leg's party knows.
    pub from: SocketAddr,
    /// Where they go: the remote party of the other leg.
    pub to: SocketAddr,
}

/// What a slot is programmed with. What all flows between two hosts have in common is with the next hop ([`crate::hop::Bearing`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// What to do.
    pub flags: Flags,
    /// The peer's port.
    pub peer_port: Be16,
    /// The peer's address: an IPv4 address as it lies in memory, or for IPv6 the number of the next hop towards the peer, whose destination
    /// it is.
    peer: u32,
    /// Source and destination port of the packets that leave.
    pub ports: [Be16; 2],
    /// The next hop on the way to the destination.
    pub hop: HopId,
    pub(crate) ip_delta: Delta,
    pub(crate) udp_delta: Delta,
    /// The synchronisation source that the stream is held to, bytes in network order.
    pub ssrc: u32,
}

impl Rule {
    /// A rule that forwards nothing.
    pub const INACTIVE: Self = Self {
        flags: Flags::NONE,
        peer_port: Be16::new(0),
        peer: 0,
        ports: [Be16::new(0); 2],
        hop: HopId::NONE,
        ip_delta: Delta::NONE,
        udp_delta: Delta::NONE,
        ssrc: 0,
    };

    /// A rule that forwards nothing, of a slot that a call has, and that will have these flags when it forwards. The source that was noted
    /// stays.
    pub const fn waiting(flags: Flags, ssrc: u32) -> Self {
        Self { flags: flags.waiting(), ssrc, ..Self::INACTIVE }
    }

    /// A rule for packets on this path; flags, next hop and SSRC are for the caller to set. `towards_peer` is the next hop whose destination
    /// is the peer: IPv6 peers are known by it.
    pub fn new(path: &Path, towards_peer: HopId) -> Self {
        let ip_delta = replace_addr(Delta::NONE, path.peer.ip(), path.from.ip());
        let ip_delta = replace_addr(ip_delta, path.local.ip(), path.to.ip());
        let [peer_port, local_port, from_port, to_port] =
            [path.peer, path.local, path.from, path.to].map(|endpoint| Be16::new(endpoint.port()));
        let udp_delta = ip_delta.replace(peer_port.raw(), from_port.raw()).replace(local_port.raw(), to_port.raw());
        let peer = match path.peer.ip() {
            IpAddr::V4(addr) => Addr4::from(addr).raw(),
            IpAddr::V6(_) => u32::from(towards_peer.0),
        };
        Self { peer_port, peer, ports: [from_port, to_port], ip_delta, udp_delta, ..Self::INACTIVE }
    }

    /// The peer's address, of an IPv4 flow.
    pub const fn peer4(&self) -> Addr4 {
        Addr4::from_raw(self.peer)
    }

    /// The next hop whose destination is the peer, of an IPv6 flow.
    pub const fn peer6(&self) -> HopId {
        HopId(self.peer as u16)
    }

    /// Whether whoever has a packet of the peer may forward it by this rule, or drop it.
    pub const fn is_active(&self) -> bool {
        self.flags.has(Flags::ACTIVE)
    }

    /// Whether all packets of the peer go to one party as they are; otherwise the rule does not say where they go.
    pub fn is_single(&self) -> bool {
        self.hop != HopId::NONE
    }

    /// Whether the XDP program forwards by this rule.
    pub const fn is_fast(&self) -> bool {
        self.flags.is_fast()
    }
}

fn replace_addr(delta: Delta, old: IpAddr, new: IpAddr) -> Delta {
    let words = |addr| match addr {
        IpAddr::V4(addr) => {
            let [high, low] = Addr4::from(addr).halves();
            [high, low, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(addr) => Addr6::from(addr).words(),
    };
    words(old).into_iter().zip(words(new)).fold(delta, |delta, (old, new)| delta.replace(old, new))
}

/// Flags and generation of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State(u16);

impl State {
    const fn new(flags: Flags, generation: u8) -> Self {
        Self(flags.0 as u16 | (generation as u16) << 8)
    }

    /// The flags.
    #[inline(always)]
    pub const fn flags(self) -> Flags {
        Flags(self.0 as u8)
    }

    const fn generation(self) -> u8 {
        (self.0 >> 8) as u8
    }
}

/// The entry of one local port: 32 bytes, so that two share a cache line.
///
/// The daemon alone writes the rule, and counts in the state's generation how often it did, so that a reader notices. The XDP program alone
/// writes what it counts, and, while no call has the slot, who knocks, in the place of the SSRC. The SSRC of a slot that is not held to one, and
/// where its order begins, is written by whoever sees it first, the program or a worker. An all-zero slot is inactive.
#[repr(C, align(32))]
#[derive(Default)]
pub struct Slot {
    state: Word<u16>,
    peer_port: Word<u16>,
    peer: Word<u32>,
    ports: Word<u32>,
    hop: Word<u16>,
    udp_delta: Word<u16>,
    ssrc: Word<u32>,
    ip_delta: Word<u16>,
    highest: Word<u16>,
    volume: Word<u64>,
    #[cfg(feature = "other-layout")]
    _more: [Word<u64>; 4],
}

#[cfg(not(any(all(test, loom), feature = "other-layout")))]
const _: () = assert!(size_of::<Slot>() == 32);

impl Slot {
    /// Flags and generation. Whoever reads more of the rule asks [`Slot::still`] before the first irrevocable step.
    #[inline(always)]
    pub fn state(&self) -> State {
        let state = State(self.state.load());
        fence_loads();
        state
    }

    /// Whether all that was read since belongs to this state.
    #[inline(always)]
    pub fn still(&self, state: State) -> bool {
        fence_loads();
        self.state.load() == state.0
    }

    /// The rule, if it is whole.
    pub fn read(&self) -> Option<Rule> {
        let state = self.state();
        let rule = Rule {
            flags: state.flags(),
            peer_port: self.peer_port(),
            peer: self.peer(),
            ports: self.ports(),
            hop: self.hop(),
            ip_delta: self.ip_delta(),
            udp_delta: self.udp_delta(),
            ssrc: self.ssrc(),
        };
        self.still(state).then_some(rule)
    }

    #[inline(always)]
    pub(crate) fn peer_port(&self) -> Be16 {
        zerocopy::transmute!(self.peer_port.load())
    }

    #[inline(always)]
    pub(crate) fn peer(&self) -> u32 {
        self.peer.load()
    }

    /// Whether an IPv4 sender is the peer. Whoever condemns a stranger for it asks [`Slot::still`] afterwards.
    #[inline(always)]
    pub fn is_peer4(&self, addr: Addr4, port: Be16) -> bool {
        self.peer() == addr.raw() && self.peer_port() == port
    }

    /// Whether an IPv6 sender is the peer, which is the destination of one of the next hops.
    #[inline(always)]
    pub fn is_peer6<'a>(&self, addr: Addr6, port: Be16, hop: impl FnOnce(HopId) -> Option<&'a HopCell>) -> bool {
        let Some(towards) = hop(HopId(self.peer() as u16)) else { return false };
        towards.to6() == addr && self.peer_port() == port
    }

    #[inline(always)]
    pub(crate) fn ports(&self) -> [Be16; 2] {
        zerocopy::transmute!(self.ports.load())
    }

    #[inline(always)]
    pub(crate) fn hop(&self) -> HopId {
        HopId(self.hop.load())
    }

    #[inline(always)]
    pub(crate) fn ip_delta(&self) -> Delta {
        zerocopy::transmute!(self.ip_delta.load())
    }

    #[inline(always)]
    pub(crate) fn udp_delta(&self) -> Delta {
        zerocopy::transmute!(self.udp_delta.load())
    }

    /// The synchronisation source that the stream is held to, or the last one seen as it is noted; bytes in network order.
    #[inline(always)]
    pub fn ssrc(&self) -> u32 {
        self.ssrc.load()
    }

    /// The same as it stands in packets; `None` while none was seen.
    pub fn known_ssrc(&self) -> Option<u32> {
        match self.ssrc() {
            0 => None,
            NOBODYS if self.state().flags().has(Flags::ANY_SSRC) => Some(0),
            ssrc => Some(ssrc),
        }
    }

    /// Notes that somebody has sent to a slot that no call has, as of this state. Only whoever forwards, or steers, does.
    #[inline(always)]
    pub fn knock(&self, state: State, knocker: Knocker, epoch: Epoch) {
        let known = Knockers::from_word(self.ssrc.load());
        let knockers = known.with(knocker, epoch);
        // A call that has got the slot in between has nobody knocking.
        if knockers != known && self.still(state) {
            self.ssrc.store(knockers.word());
        }
    }

    /// Who has sent to the slot since it was programmed last; only of a slot that no call has.
    pub fn knockers(&self) -> Knockers {
        Knockers::from_word(self.ssrc.load())
    }

    /// Programs the slot. Only the daemon does, and one thread of it at a time. A packet that is looked at meanwhile takes the slow path.
    pub fn program(&self, rule: Rule) {
        let generation = State(self.state.load()).generation();
        // The two generations: one for the time of writing, one for the result, so that no reader can take a mixture for whole.
        // Meanwhile a worker asks the table, whose lock the writer holds, if there is a call before or after.
        self.state.store(State::new(rule.flags.waiting(), generation.wrapping_add(1)).0);
        fence_stores();
        self.peer_port.store(rule.peer_port.raw());
        self.peer.store(rule.peer);
        self.ports.store(zerocopy::transmute!(rule.ports));
        self.hop.store(rule.hop.0);
        self.ip_delta.store(zerocopy::transmute!(rule.ip_delta));
        self.udp_delta.store(zerocopy::transmute!(rule.udp_delta));
        self.ssrc.store(rule.ssrc);
        fence_stores();
        self.state.store(State::new(rule.flags, generation.wrapping_add(2)).0);
    }

    /// Starts a new stream at a sequence number. The volume goes on: only its differences mean anything. Called while nobody counts.
    pub fn restart(&self, timing: &Timing, highest: Sequence, clock_khz: u16) {
        self.highest.store(highest.0);
        timing.restart(clock_khz);
    }

    /// How much the fast path has counted here.
    pub fn volume(&self) -> Volume {
        Volume(self.volume.load())
    }

    /// What the fast path has counted here.
    pub fn counters(&self, timing: &Timing) -> Counters {
        timing.read(Volume(self.volume.load()), Sequence(self.highest.load()))
    }

    /// Counts a packet of a stream that is not RTP.
    #[inline(always)]
    pub(crate) fn count(&self, bytes: u32) {
        counters::count(&self.volume, bytes);
    }

    /// Counts an RTP packet. Only whoever forwards by this slot does.
    #[inline(always)]
    pub fn count_rtp<'a>(
        &self,
        bytes: u32,
        rtp: &RtpFields,
        timing: impl Fn() -> Option<&'a Timing>,
        clock: impl FnOnce() -> u64,
    ) {
        counters::count_rtp(&self.volume, &self.highest, bytes, rtp, timing, clock);
    }

    /// Notes another synchronisation source, of a stream that is not held to one, which begins with this number.
    pub fn note_ssrc(&self, rtp: &RtpFields, timing: Option<&Timing>) {
        let (last, ssrc) = (self.ssrc.load(), noted(rtp.ssrc));
        if last == ssrc {
            return;
        }
        // Whoever reads the number of the new source has heard of the change.
        if let Some(timing) = timing.filter(|_| last != 0) {
            timing.count_change();
        }
        fence_stores();
        self.ssrc.store(ssrc);
        self.highest.store(rtp.sequence.0.wrapping_sub(1));
    }

    /// Notes the synchronisation source of a packet that a worker carries, of a stream that is not held to one. Another one begins with this number:
    /// for both paths when it is another than the last of all, and for this one alone when it came to the other path first.
    pub fn note_carried_ssrc(&self, rtp: &RtpFields, timing: Option<&Timing>, (carried, order): (&Carried, &Order)) {
        let (state, last, ssrc) = (self.state(), self.ssrc.load(), noted(rtp.ssrc));
        // A slot that no call has any more has in its place who knocks.
        if (last == ssrc && order.ssrc() == ssrc) || !state.flags().has(Flags::CALL) || !self.still(state) {
            return;
        }
        let before = Sequence(rtp.sequence.0.wrapping_sub(1));
        // Whoever reads the number of the new source has heard of the change.
        if last != ssrc && last != 0 {
            carried.count_change();
        }
        fence_stores();
        order.set(ssrc);
        carried.begin(before);
        if last != ssrc {
            self.ssrc.store(ssrc);
            // The fast path does not see that the source is another when its packets come there again.
            self.highest.store(before.0);
            if let Some(timing) = timing {
                timing.forget_neighbour();
            }
        }
    }
}

/// How the one synchronisation source of four billion is noted that goes by the number of none.
const NOBODYS: u32 = u32::MAX;

/// A synchronisation source as it is noted: there, 0 is none.
#[inline(always)]
const fn noted(ssrc: u32) -> u32 {
    if ssrc == 0 { NOBODYS } else { ssrc }
}

#[cfg(test)]
pub(crate) mod tests;
