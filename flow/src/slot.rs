//! The slot: everything needed to forward what arrives at one local port, in one cache line.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::checksum::Delta;
use crate::counters::CountersCell;
use crate::headers::{Addr4, Be16, Endpoint4};
use crate::hop::HopId;
use crate::word::{Word, fence_loads, fence_stores};

/// What a slot does with packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Flags(u8);

impl Flags {
    /// None set: the slot forwards nothing.
    pub const NONE: Self = Self(0);
    /// The slot forwards what comes from its peer.
    pub const ACTIVE: Self = Self(1);
    /// The slot carries RTP: account it by its header, and hold it to the slot's SSRC. Without this flag it carries RTCP.
    pub const RTP: Self = Self(2);
    /// The stream mixes synchronisation sources: do not hold it to one.
    pub const ANY_SSRC: Self = Self(4);
    /// Write the rule's type of service into every packet.
    pub const SET_TOS: Self = Self(8);

    /// A call has the slot, active or not: what the slot does not forward may teach its peer. Without this flag nobody need ask.
    pub const CALL: Self = Self(16);
    /// Where the slot's peer is is beyond doubt: what others send need not be looked at.
    pub const SETTLED: Self = Self(32);

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of the other's flags are set.
    #[inline(always)]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The programming half of a slot: written by the daemon, read by the XDP program and the workers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Rule {
    /// What to do.
    pub flags: Flags,
    /// Type of service to write, with [`Flags::SET_TOS`].
    pub tos: u8,
    /// Counts how often the slot was programmed; a reader that sees it change has met the writer.
    pub(crate) generation: u16,
    pub(crate) peer_addr: Addr4,
    pub(crate) peer_port: Be16,
    pub(crate) to_port: Be16,
    pub(crate) from_port: Be16,
    /// The next hop on the way to the destination.
    pub hop: HopId,
    pub(crate) to_addr: Addr4,
    pub(crate) from_addr: Addr4,
    pub(crate) ip_delta: Delta,
    pub(crate) udp_delta: Delta,
    /// The synchronisation source that the stream is held to, bytes in network order.
    pub ssrc: u32,
}

/// The first half of a [`Rule`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Door {
    /// What to do.
    pub flags: Flags,
    tos: u8,
    generation: u16,
    pub(crate) peer_addr: Addr4,
    pub(crate) peer_port: Be16,
    to_port: Be16,
    from_port: Be16,
    /// The next hop on the way to the destination.
    pub hop: HopId,
}

/// The addresses of a rule, each by its role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Where packets are accepted from: the remote party of this leg.
    pub peer: Endpoint4,
    /// Where they arrive: the local address and port that the slot stands for.
    pub local: Endpoint4,
    /// The source address they leave with: the local address and port that the other leg's party knows.
    pub from: Endpoint4,
    /// Where they go: the remote party of the other leg.
    pub to: Endpoint4,
}

impl Rule {
    /// A rule that forwards nothing.
    pub const INACTIVE: Self = Self {
        flags: Flags::NONE,
        tos: 0,
        generation: 0,
        peer_addr: Addr4::from_raw(0),
        peer_port: Be16::new(0),
        to_port: Be16::new(0),
        from_port: Be16::new(0),
        hop: HopId::NONE,
        to_addr: Addr4::from_raw(0),
        from_addr: Addr4::from_raw(0),
        ip_delta: Delta::NONE,
        udp_delta: Delta::NONE,
        ssrc: 0,
    };

    /// A rule that forwards nothing, of a slot that a call has.
    pub const WAITING: Self = Self { flags: Flags::CALL, ..Self::INACTIVE };

    /// A rule for packets on this path; flags, type of service, next hop and SSRC are for the caller to set.
    pub fn new(path: &Path) -> Self {
        let ip_delta = replace_addr(Delta::NONE, path.peer.addr, path.from.addr);
        let ip_delta = replace_addr(ip_delta, path.local.addr, path.to.addr);
        let udp_delta = ip_delta
            .replace(path.peer.port.raw(), path.from.port.raw())
            .replace(path.local.port.raw(), path.to.port.raw());
        Self {
            peer_addr: path.peer.addr,
            peer_port: path.peer.port,
            to_port: path.to.port,
            from_port: path.from.port,
            to_addr: path.to.addr,
            from_addr: path.from.addr,
            ip_delta,
            udp_delta,
            ..Self::INACTIVE
        }
    }

    /// Where the slot accepts packets from.
    pub const fn peer(&self) -> Endpoint4 {
        Endpoint4 { addr: self.peer_addr, port: self.peer_port }
    }

    /// Where the slot sends packets to.
    pub const fn to(&self) -> Endpoint4 {
        Endpoint4 { addr: self.to_addr, port: self.to_port }
    }

    /// The source address of the packets that the slot sends.
    pub const fn from(&self) -> Endpoint4 {
        Endpoint4 { addr: self.from_addr, port: self.from_port }
    }

    /// Whether the slot forwards what its peer sends.
    pub const fn is_active(&self) -> bool {
        self.flags.has(Flags::ACTIVE)
    }
}

fn replace_addr(delta: Delta, old: Addr4, new: Addr4) -> Delta {
    let ([old_high, old_low], [new_high, new_low]) = (old.halves(), new.halves());
    delta.replace(old_high, new_high).replace(old_low, new_low)
}

/// The entry of one local port: 64 bytes, one cache line, of which 32 are the rule and 32 the counters.
///
/// The daemon alone writes the rule. The XDP program alone writes the counters while the slot is active; the daemon may reset them while it
/// is not. An all-zero slot is inactive.
#[repr(C, align(64))]
#[derive(Default)]
pub struct Slot {
    rule: [Word; 4],
    /// What the fast path carried.
    pub counters: CountersCell,
}

const _: () = assert!(size_of::<Slot>() == 64 && align_of::<Slot>() == 64 && size_of::<Rule>() == 32);

impl Slot {
    /// The first half of the rule: enough to tell whether a packet is the slot's. [`Slot::complete`] tells the rest.
    #[inline(always)]
    pub fn door(&self) -> Door {
        let first = self.rule[0].load();
        fence_loads();
        zerocopy::transmute!([first, self.rule[1].load()])
    }

    /// The whole rule, unless it is not the one that the door belonged to any more.
    #[inline(always)]
    pub fn complete(&self, door: Door) -> Option<Rule> {
        let [first, second]: [u64; 2] = zerocopy::transmute!(door);
        let rule = zerocopy::transmute!([first, second, self.rule[2].load(), self.rule[3].load()]);
        fence_loads();
        (self.rule[0].load() == first).then_some(rule)
    }

    /// The rule. Whoever acts on it asks [`Slot::still`] before the first irrevocable step.
    #[inline(always)]
    pub fn read(&self) -> Rule {
        let first = self.rule[0].load();
        fence_loads();
        zerocopy::transmute!([first, self.rule[1].load(), self.rule[2].load(), self.rule[3].load()])
    }

    /// Whether the rule that was read is whole and still in force.
    #[inline(always)]
    pub fn still(&self, rule: &Rule) -> bool {
        let words: [u64; 4] = zerocopy::transmute!(*rule);
        fence_loads();
        self.rule[0].load() == words[0]
    }

    /// Programs the slot. Only the daemon does, and one thread of it at a time. A packet that is looked at meanwhile takes the slow path.
    pub fn program(&self, rule: Rule) {
        let generation = self.read().generation;
        let words = |rule: Rule| -> [u64; 4] { zerocopy::transmute!(rule) };
        // The two generations: one for the time of writing, one for the result, so that no reader can take a mixture for whole.
        // Meanwhile a worker asks the table, whose lock the writer holds, if there is a call before or after.
        let waiting = if rule.flags.has(Flags::CALL) { Rule::WAITING } else { Rule::INACTIVE };
        let closed = words(Rule { generation: generation.wrapping_add(1), ..waiting });
        let [first, rest @ ..] = words(Rule { generation: generation.wrapping_add(2), ..rule });
        self.rule[0].store(closed[0]);
        fence_stores();
        for (word, value) in self.rule.iter().skip(1).zip(rest) {
            word.store(value);
        }
        fence_stores();
        self.rule[0].store(first);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn endpoint(text: &str) -> Endpoint4 {
        text.parse::<std::net::SocketAddrV4>().unwrap().into()
    }

    pub(crate) fn path() -> Path {
        Path {
            peer: endpoint("192.0.2.10:4000"),
            local: endpoint("192.0.2.1:30000"),
            from: endpoint("198.51.100.1:30002"),
            to: endpoint("198.51.100.10:6000"),
        }
    }

    #[test]
    fn an_all_zero_slot_is_inactive() {
        assert!(!Slot::default().read().is_active());
    }

    #[test]
    fn a_rule_is_read_as_it_was_programmed() {
        let slot = Slot::default();
        let rule = Rule { flags: Flags::ACTIVE.with(Flags::RTP), hop: HopId(9), ssrc: 77, ..Rule::new(&path()) };
        slot.program(rule);
        let read = slot.read();
        assert_eq!(Rule { generation: 0, ..read }, rule);
        assert_eq!((read.peer(), read.from(), read.to()), (path().peer, path().from, path().to));
        assert!(slot.still(&read));
        let door = slot.door();
        assert_eq!(
            (door.flags, door.hop, door.peer_addr, door.peer_port),
            (read.flags, read.hop, read.peer_addr, read.peer_port)
        );
        assert_eq!(slot.complete(door), Some(read));
        slot.program(rule);
        assert_eq!(slot.complete(door), None, "programmed meanwhile");
    }

    #[test]
    fn a_rule_that_was_replaced_by_an_equal_one_is_not_the_same_rule() {
        let slot = Slot::default();
        let rule = Rule { flags: Flags::ACTIVE, ..Rule::new(&path()) };
        slot.program(rule);
        let read = slot.read();
        slot.program(rule);
        assert!(!slot.still(&read));
    }

    #[test]
    fn programming_does_not_touch_the_counters() {
        let slot = Slot::default();
        slot.counters.count(100);
        slot.program(Rule::new(&path()));
        assert_eq!(slot.counters.read().packets, 1);
    }
}
