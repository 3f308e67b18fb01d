//! A UDP datagram in a frame: what the families have in common for forwarding, and where they differ.

use crate::checksum::{Delta, fold};
use crate::headers::{
    Addr4, Addr6, Be16, ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Envelope4, Envelope6, Ethernet, FRAGMENT_BITS,
    Headers4, Headers6, IPV4_LEN, Ipv6, PROTOCOL_UDP, Rtp, TTL, UDP_LEN, Udp, VERSION_IHL,
};
use crate::hop::{HopCell, Kind};
use crate::knock::Knocker;
use crate::local::{LocalPorts, Locals};
use crate::reason::Reason;
use crate::slot::Slot;
use crate::tables::Tables;

/// A frame as a whole.
pub trait Frame {
    /// Its length in bytes.
    fn length(&self) -> usize;
    /// The one's-complement sum of so many bytes from `start`, an even place, as words lie in memory; `None` when it cannot be had.
    fn sum(&self, start: usize, len: usize) -> Option<u16>;
}

/// The headers of an RTP packet in a frame.
pub trait Packet {
    /// Those of its datagram.
    type Envelope: Datagram;

    /// The datagram's headers.
    fn envelope(&self) -> &Self::Envelope;
    /// The datagram's headers, to be rewritten.
    fn envelope_mut(&mut self) -> &mut Self::Envelope;
    /// The RTP header.
    fn rtp(&self) -> &Rtp;
}

macro_rules! packet {
    ($headers:ty, $envelope:ty) => {
        impl Packet for $headers {
            type Envelope = $envelope;

            #[inline(always)]
            fn envelope(&self) -> &$envelope {
                &self.envelope
            }

            #[inline(always)]
            fn envelope_mut(&mut self) -> &mut $envelope {
                &mut self.envelope
            }

            #[inline(always)]
            fn rtp(&self) -> &Rtp {
                &self.rtp
            }
        }
    };
}

packet!(Headers4, Envelope4);
packet!(Headers6, Envelope6);

/// The headers of a UDP datagram in a frame.
pub trait Datagram {
    /// Source and destination address, as they lie in the header.
    type Addresses: Copy;

    /// Where the UDP header begins in a frame.
    const UDP_START: usize;

    /// Which of the relay's addresses the datagram is for; the reason when it is for none, or is no plain UDP datagram.
    ///
    /// # Errors
    /// Why it is left to the stack.
    fn local(&self, locals: &Locals) -> Result<LocalPorts, Reason>;
    /// Length of the UDP payload, if the lengths fit one another and the frame.
    ///
    /// # Errors
    /// Why the datagram is left to the stack.
    fn payload(&self, frame_len: usize) -> Result<u32, Reason>;
    /// Whether the datagram comes from the slot's peer.
    fn is_from<T: Tables>(&self, slot: &Slot, tables: &T) -> bool;
    /// The addresses that the packets of a next hop bear.
    fn addresses(cell: &HopCell) -> Self::Addresses;
    /// The sender, for [`Slot::knock`].
    fn knocker(&self) -> Knocker;
    /// Whether the UDP checksum is that of the pseudo header alone, as where the sender, on this machine, has left the rest to its device. So is the
    /// checksum of one datagram in 65,536 by chance.
    fn seems_unfinished(&self) -> bool;
    /// Whether the sender has left the checksum to its device. Where that cannot be told apart from chance, it is so.
    #[inline(always)]
    fn is_unfinished(&self, frame: &impl Frame) -> bool {
        if !self.seems_unfinished() {
            return false;
        }
        let udp = self.udp();
        // The pseudo header sums up to the checksum, as it seems; with all the rest it has to come to nothing.
        let is_whole = |sum: u16| fold(u32::from(udp.checksum) + u32::from(sum)) == 0xffff;
        !frame.sum(Self::UDP_START, usize::from(udp.length.get())).is_some_and(is_whole)
    }
    /// The Ethernet header.
    fn ethernet(&mut self) -> &mut Ethernet;
    /// The UDP header.
    fn udp(&self) -> &Udp;
    /// Addresses the datagram anew. What was not replaced keeps its checksum, right or wrong: a packet that was damaged on its way here is
    /// still recognisably damaged when it arrives.
    fn readdress(&mut self, way: &Readdressing<Self::Addresses>);
}

/// What becomes of a datagram's headers.
#[derive(Clone, Copy)]
pub struct Readdressing<A> {
    pub(crate) addresses: A,
    pub(crate) ports: [Be16; 2],
    pub(crate) ip_delta: Delta,
    pub(crate) udp_delta: Delta,
    pub(crate) kind: Kind,
}

impl Envelope4 {
    /// Whether it is UDP over IPv4 without options, and whole: two words of the headers, without what may be anything, say all of that.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        let [kind, fragment] = [self.ethernet.kind, self.ip.fragment].map(Be16::raw);
        let first: u32 = zerocopy::transmute!([kind, word(self.ip.version_ihl, self.ip.tos)]);
        let second: u32 = zerocopy::transmute!([fragment, word(self.ip.ttl, self.ip.protocol)]);
        // Type of service and time to live.
        let first_mask: u32 = zerocopy::transmute!([0xffff, word(0xff, 0)]);
        let second_mask: u32 = zerocopy::transmute!([Be16::new(FRAGMENT_BITS).raw(), word(0, 0xff)]);
        let first_plain: u32 = zerocopy::transmute!([ETHERTYPE_IPV4.raw(), word(VERSION_IHL, 0)]);
        let second_plain: u32 = zerocopy::transmute!([0, word(0, PROTOCOL_UDP)]);
        first & first_mask == first_plain && second & second_mask == second_plain
    }

    /// Why it is not plain.
    #[inline(always)]
    fn oddity(&self, is_ours: bool) -> Reason {
        if self.ethernet.kind != ETHERTYPE_IPV4 || self.ip.protocol != PROTOCOL_UDP || !is_ours {
            Reason::NotOurs
        } else if self.ip.version_ihl != VERSION_IHL {
            Reason::IpOptions
        } else {
            Reason::Fragment
        }
    }
}

impl Datagram for Envelope4 {
    type Addresses = u64;

    const UDP_START: usize = ETHERNET_LEN + IPV4_LEN as usize;

    #[inline(always)]
    fn local(&self, locals: &Locals) -> Result<LocalPorts, Reason> {
        let to = Addr4::from_halves(self.ip.to);
        if !self.is_plain() {
            return Err(self.oddity(locals.find4(to).is_some()));
        }
        locals.find4(to).ok_or(Reason::NotOurs)
    }

    #[inline(always)]
    fn payload(&self, frame_len: usize) -> Result<u32, Reason> {
        let (ip_len, udp_len) = (u32::from(self.ip.length.get()), u32::from(self.udp.length.get()));
        // The frame may be longer than the datagram (padding), never shorter.
        if ETHERNET_LEN + ip_len as usize > frame_len {
            return Err(Reason::Truncated);
        }
        if udp_len < u32::from(UDP_LEN) || ip_len != udp_len + u32::from(IPV4_LEN) {
            return Err(Reason::UdpLength);
        }
        Ok(udp_len - u32::from(UDP_LEN))
    }

    #[inline(always)]
    fn is_from<T: Tables>(&self, slot: &Slot, _: &T) -> bool {
        slot.is_peer4(Addr4::from_halves(self.ip.from), self.udp.ports[0])
    }

    #[inline(always)]
    fn addresses(cell: &HopCell) -> u64 {
        cell.addresses4()
    }

    #[inline(always)]
    fn knocker(&self) -> Knocker {
        Knocker::new(Addr4::from_halves(self.ip.from).fold())
    }

    #[inline(always)]
    fn seems_unfinished(&self) -> bool {
        let ([a, b], [c, d]) = (self.ip.from, self.ip.to);
        self.udp.checksum == pseudo_sum(u32::from(a) + u32::from(b) + u32::from(c) + u32::from(d), &self.udp)
    }

    #[inline(always)]
    fn ethernet(&mut self) -> &mut Ethernet {
        &mut self.ethernet
    }

    #[inline(always)]
    fn udp(&self) -> &Udp {
        &self.udp
    }

    #[inline(always)]
    fn readdress(&mut self, way: &Readdressing<u64>) {
        let Self { ip, udp, .. } = self;
        let mut change = way.ip_delta.open().replace(word(ip.ttl, ip.protocol), word(TTL, PROTOCOL_UDP));
        // Both, though the protocol stays: one store of the word that was loaded.
        (ip.ttl, ip.protocol) = (TTL, PROTOCOL_UDP);
        if let Some(tos) = way.kind.tos() {
            change = change.replace(word(VERSION_IHL, ip.tos), word(VERSION_IHL, tos));
            ip.tos = tos;
        }
        ip.checksum = change.apply(ip.checksum);
        let [a, b, c, d]: [u16; 4] = zerocopy::transmute!(way.addresses);
        (ip.from, ip.to) = ([a, b], [c, d]);
        udp.checksum = way.udp_delta.apply_udp(udp.checksum);
        udp.ports = way.ports;
    }
}

impl Envelope6 {
    /// Why it is not UDP right behind the header.
    #[inline(always)]
    fn oddity(&self, is_ours: bool) -> Reason {
        /// Extension headers that a UDP datagram may have (RFC 8200 4): hop-by-hop, routing, destination options.
        const OPTIONS: [u8; 3] = [0, 43, 60];
        const FRAGMENT: u8 = 44;

        if self.ethernet.kind != ETHERTYPE_IPV6 || !is_ours {
            return Reason::NotOurs;
        }
        match self.ip.next {
            FRAGMENT => Reason::Fragment,
            next if OPTIONS.contains(&next) => Reason::IpOptions,
            _ => Reason::NotOurs,
        }
    }
}

impl Datagram for Envelope6 {
    type Addresses = [u64; 4];

    const UDP_START: usize = ETHERNET_LEN + size_of::<Ipv6>();

    #[inline(always)]
    fn local(&self, locals: &Locals) -> Result<LocalPorts, Reason> {
        let to = Addr6::from_raw(zerocopy::transmute!(self.ip.to));
        // The type of service is in between.
        let is_ipv6 =
            self.ethernet.kind == ETHERTYPE_IPV6 && self.ip.version_class.raw() & word(0xf0, 0) == word(6 << 4, 0);
        if !is_ipv6 || self.ip.next != PROTOCOL_UDP {
            return Err(self.oddity(locals.find6(to).is_some()));
        }
        locals.find6(to).ok_or(Reason::NotOurs)
    }

    #[inline(always)]
    fn payload(&self, frame_len: usize) -> Result<u32, Reason> {
        let (ip_len, udp_len) = (u32::from(self.ip.length.get()), u32::from(self.udp.length.get()));
        if ETHERNET_LEN + size_of_val(&self.ip) + ip_len as usize > frame_len {
            return Err(Reason::Truncated);
        }
        if udp_len < u32::from(UDP_LEN) || ip_len != udp_len {
            return Err(Reason::UdpLength);
        }
        // Not allowed over IPv6 (RFC 8200 8.1): the stack drops it, and shall.
        if self.udp.checksum == 0 {
            return Err(Reason::NoChecksum);
        }
        Ok(udp_len - u32::from(UDP_LEN))
    }

    #[inline(always)]
    fn is_from<T: Tables>(&self, slot: &Slot, tables: &T) -> bool {
        let from = Addr6::from_raw(zerocopy::transmute!(self.ip.from));
        slot.is_peer6(from, self.udp.ports[0], |id| tables.hop(id))
    }

    #[inline(always)]
    fn addresses(cell: &HopCell) -> [u64; 4] {
        cell.addresses6()
    }

    #[inline(always)]
    fn knocker(&self) -> Knocker {
        Knocker::new(Addr6::from_raw(zerocopy::transmute!(self.ip.from)).fold())
    }

    #[inline(always)]
    fn seems_unfinished(&self) -> bool {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (self.ip.from, self.ip.to);
        let from = u32::from(a) + u32::from(b) + u32::from(c) + u32::from(d);
        let from = from + u32::from(e) + u32::from(f) + u32::from(g) + u32::from(h);
        let to = u32::from(i) + u32::from(j) + u32::from(k) + u32::from(l);
        let to = to + u32::from(m) + u32::from(n) + u32::from(o) + u32::from(p);
        self.udp.checksum == pseudo_sum(from + to, &self.udp)
    }

    #[inline(always)]
    fn ethernet(&mut self) -> &mut Ethernet {
        &mut self.ethernet
    }

    #[inline(always)]
    fn udp(&self) -> &Udp {
        &self.udp
    }

    #[inline(always)]
    fn readdress(&mut self, way: &Readdressing<[u64; 4]>) {
        let Self { ip, udp, .. } = self;
        ip.ttl = TTL;
        if let Some(tos) = way.kind.tos() {
            ip.version_class = Be16::new(ip.version_class.get() & 0xf00f | u16::from(tos) << 4);
        }
        let [a, b, c, d] = way.addresses;
        ip.from = zerocopy::transmute!([a, b]);
        ip.to = zerocopy::transmute!([c, d]);
        udp.checksum = way.udp_delta.apply_udp(udp.checksum);
        udp.ports = way.ports;
    }
}

/// The sum over a pseudo header (RFC 768, RFC 8200 8.1), of which the sum over the addresses is given.
#[inline(always)]
const fn pseudo_sum(addresses: u32, udp: &Udp) -> u16 {
    fold(addresses + Be16::new(PROTOCOL_UDP as u16).raw() as u32 + udp.length.raw() as u32)
}

/// Two neighbouring bytes of a header as the word that checksums see.
#[inline(always)]
const fn word(first: u8, second: u8) -> u16 {
    u16::from_ne_bytes([first, second])
}
