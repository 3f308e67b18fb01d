//! Why a packet left the fast path, or why a stream is not on it.

/// The reasons. The number of a reason is its index in the counters of the XDP program and of the workers, so it never changes.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Not for a media port of this relay. The only reason that is not counted: such packets are none of our business.
    NotOurs = 0,
    /// The frame is shorter than its headers say; on the slow path, the datagram is too long for a buffer, and lost.
    Truncated = 1,
    /// The IP header has options, or extension headers.
    IpOptions = 2,
    /// A fragment of a datagram. The slow path gets the whole one.
    Fragment = 3,
    /// The UDP length does not fit the IP length.
    UdpLength = 4,
    /// The first byte is not of RTP or RTCP (RFC 7983 7): STUN, DTLS, T.38 or noise.
    NotMedia = 5,
    /// Too short for an RTP or RTCP header.
    TooShort = 6,
    /// RTCP on the RTP port of a stream that did not agree to it (RFC 5761), or on its own port although the RTP port was agreed.
    RtcpOnRtp = 7,
    /// No call has this port, or its stream is not complete yet: peer not learned, other side not known.
    Inactive = 8,
    /// The sender is not the stream's peer.
    Stranger = 9,
    /// The stream changed its synchronisation source: the slow path looks at the first packet of each.
    NewSsrc = 10,
    /// The next hop's MAC is not known (yet), or the destination is on this host.
    NextHop = 11,
    /// The slot was being programmed while the packet was looked at.
    Reprogrammed = 12,
    /// The egress device is not in the device map.
    Redirect = 13,
    /// The other side's address is not known yet, so there is nowhere to send the packet. Lost.
    NoDestination = 14,
    /// The kernel refused to send the packet. Lost.
    SendFailed = 15,
    /// The socket's receive buffer was full. Lost.
    ReceiveOverflow = 16,
    /// No packet of this stream has come yet, so its peer is not confirmed.
    NotLearned = 17,
    /// The relay runs without XDP.
    EngineUring = 18,
    /// No call has this port. Lost, where it is noticed first: in the XDP program or in the one that steers.
    NoCall = 19,
    /// An IPv6 datagram without a UDP checksum, which the stack drops (RFC 8200 8.1).
    NoChecksum = 20,
    /// The legs are of different families, IPv4 and IPv6.
    Family = 21,
    /// The relay runs without XDP, and without io_uring.
    EngineEpoll = 22,
    /// Somebody has detached the XDP program from the device.
    XdpDetached = 23,
    /// The stream's port could not be bound.
    NoSocket = 24,
    /// A command has blocked the stream. Lost.
    Blocked = 25,
    /// RTCP that is read for what it says about the call's quality.
    Rtcp = 26,
    /// The party is where none may be: at loopback, multicast and the like, or where the operator denies it. Lost.
    Untrusted = 27,
    /// Calls that name each other's ports would send the packet round for ever. Lost.
    Ring = 28,
    /// Longer than the way's MTU. The slow path sends it in fragments.
    TooLong = 29,
    /// The sender, on this machine, left the UDP checksum to its device, and nobody has computed it yet.
    Unfinished = 30,
    /// What the XDP program sends by the device does not arrive.
    DeviceLoses = 31,
    /// The peer is one of the relay's own addresses: the slow path counts its packets' time to live down.
    Hairpin = 32,
    /// A worker's packet by its rule: one with several sinks, that is read or worked on, or of another family. The source's own reason says why.
    Worker = 33,
    /// The source has several sinks: a worker sends to each.
    Fan = 34,
    /// A worker changes the packets: one of the sinks gets silence.
    Processed = 35,
    /// An SRTP packet that the key does not fit: not the party's, or damaged. Lost.
    Forged = 36,
    /// An SRTP packet that has been here before, or is too late for that to be known. Lost.
    Replayed = 37,
    /// The checksum of the IP header or of UDP is wrong, as a worker has found that had the packet past the stack. Lost.
    Checksum = 38,
}

impl Reason {
    /// How many reasons there are.
    pub const COUNT: usize = 39;

    /// Every reason, in the order of the numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::NotOurs,
        Self::Truncated,
        Self::IpOptions,
        Self::Fragment,
        Self::UdpLength,
        Self::NotMedia,
        Self::TooShort,
        Self::RtcpOnRtp,
        Self::Inactive,
        Self::Stranger,
        Self::NewSsrc,
        Self::NextHop,
        Self::Reprogrammed,
        Self::Redirect,
        Self::NoDestination,
        Self::SendFailed,
        Self::ReceiveOverflow,
        Self::NotLearned,
        Self::EngineUring,
        Self::NoCall,
        Self::NoChecksum,
        Self::Family,
        Self::EngineEpoll,
        Self::XdpDetached,
        Self::NoSocket,
        Self::Blocked,
        Self::Rtcp,
        Self::Untrusted,
        Self::Ring,
        Self::TooLong,
        Self::Unfinished,
        Self::DeviceLoses,
        Self::Hairpin,
        Self::Worker,
        Self::Fan,
        Self::Processed,
        Self::Forged,
        Self::Replayed,
        Self::Checksum,
    ];

    /// The name in replies, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOurs => "not-ours",
            Self::Truncated => "truncated",
            Self::IpOptions => "ip-options",
            Self::Fragment => "fragment",
            Self::UdpLength => "udp-length",
            Self::NotMedia => "not-media",
            Self::TooShort => "too-short",
            Self::RtcpOnRtp => "rtcp-on-rtp",
            Self::Inactive => "inactive",
            Self::Stranger => "stranger",
            Self::NewSsrc => "new-ssrc",
            Self::NextHop => "next-hop",
            Self::Reprogrammed => "reprogrammed",
            Self::Redirect => "redirect",
            Self::NoDestination => "no-destination",
            Self::SendFailed => "send-failed",
            Self::ReceiveOverflow => "receive-overflow",
            Self::NotLearned => "not-learned",
            Self::EngineUring => "engine-uring",
            Self::NoCall => "no-call",
            Self::NoChecksum => "no-checksum",
            Self::Family => "family",
            Self::EngineEpoll => "engine-epoll",
            Self::XdpDetached => "xdp-detached",
            Self::NoSocket => "no-socket",
            Self::Blocked => "blocked",
            Self::Rtcp => "rtcp",
            Self::Untrusted => "untrusted",
            Self::Ring => "ring",
            Self::TooLong => "too-long",
            Self::Unfinished => "unfinished",
            Self::DeviceLoses => "device-loses",
            Self::Hairpin => "hairpin",
            Self::Worker => "worker",
            Self::Fan => "fan",
            Self::Processed => "processed",
            Self::Forged => "srtp-forged",
            Self::Replayed => "srtp-replayed",
            Self::Checksum => "checksum",
        }
    }

    /// Whether what the fast path passes on for this reason is a whole datagram from the peer of a call's source: a worker can have it past the stack. What
    /// comes from anybody else, and may teach who the peer is, goes through the host's firewall first.
    #[inline(always)]
    pub const fn is_for_worker(self) -> bool {
        matches!(
            self,
            Self::Worker
                | Self::NewSsrc
                | Self::NotMedia
                | Self::RtcpOnRtp
                | Self::Blocked
                | Self::NextHop
                | Self::Redirect
                | Self::Reprogrammed
                | Self::TooLong
                | Self::Unfinished
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_of_the_numbers_and_names_are_unique() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert_eq!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
    }

    #[test]
    fn what_only_the_stack_can_judge_goes_to_the_stack() {
        // Options, fragments and odd lengths it puts right or drops; ports without a call may be another program's; the firewall judges strangers.
        for reason in [
            Reason::NotOurs,
            Reason::Truncated,
            Reason::IpOptions,
            Reason::Fragment,
            Reason::UdpLength,
            Reason::NoChecksum,
            Reason::NoCall,
            Reason::Stranger,
            Reason::Inactive,
            Reason::TooShort,
        ] {
            assert!(!reason.is_for_worker(), "{}", reason.name());
        }
    }
}
