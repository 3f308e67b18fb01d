//! What the data plane tells the control plane unasked.

use std::net::SocketAddr;

use flow::SlotIndex;

/// Something has happened to a source. Events are news, not state: what they tell can be asked for as well, so one that is lost costs no more than
/// that it is noticed later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Packets have taught where a party is.
    Learned {
        /// The number of its call.
        call: u64,
        /// Its slot.
        slot: SlotIndex,
        /// Where it is heard.
        at: SocketAddr,
    },
    /// A party that was heard has sent nothing for some seconds.
    Silent {
        /// The number of its call.
        call: u64,
        /// Its slot.
        slot: SlotIndex,
    },
    /// A party reports that it hears nothing of what the fast path sends it, or hears it again.
    Doubted {
        /// The number of its call.
        call: u64,
        /// The slot of whom it should hear.
        slot: SlotIndex,
        /// It does not.
        is_doubted: bool,
    },
    /// A party reports by RTCP that it hears worse than it ever did, and not well.
    Poor {
        /// The number of its call.
        call: u64,
        /// The slot of its RTCP.
        slot: SlotIndex,
        /// The score, in tenths.
        mos: u8,
    },
    /// A mistake of the program has ended the account of what a party reports by RTCP.
    Faulty {
        /// The number of its call.
        call: u64,
        /// The slot of its RTCP.
        slot: SlotIndex,
    },
    /// An announcement is over.
    Ended {
        /// The number of its call.
        call: u64,
        /// The slot of the party that has heard it.
        slot: SlotIndex,
        /// The announcement.
        id: u64,
    },
    /// There was no room for so many events: whoever needs to know asks.
    Dropped(u64),
}
