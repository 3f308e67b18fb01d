//! What a worker asks its io_uring for, as a word that comes back with the completion.

use flow::SlotIndex;

/// What a completion is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// A departure, with the slot that it is counted at.
    Send(Option<SlotIndex>),
    /// The receive of the steered socket.
    Receive,
    /// The receive of a slot's port, the so-manieth that had the slot.
    ReceivePort(SlotIndex, u32),
    /// Waiting to be woken.
    Wake,
    /// Ending the receive of a slot's port.
    Cancel(SlotIndex, u32),
    /// Waiting for frames of the AF_XDP socket of this number.
    Frames(u32),
    /// Ending that.
    CancelFrames(u32),
}

impl Request {
    /// The lowest bits of a generation that a request remembers: far more than can be under way.
    pub(crate) const GENERATIONS: u32 = (1 << 24) - 1;

    /// As the kernel gives it back with a completion.
    pub(crate) const fn data(self) -> u64 {
        let (kind, generation, slot) = match self {
            Self::Send(Some(slot)) => (0, 0, slot.0),
            Self::Send(None) => (5, 0, 0),
            Self::Receive => (1, 0, 0),
            Self::ReceivePort(slot, generation) => (2, generation & Self::GENERATIONS, slot.0),
            Self::Wake => (3, 0, 0),
            Self::Cancel(slot, generation) => (4, generation & Self::GENERATIONS, slot.0),
            Self::Frames(number) => (6, 0, number),
            Self::CancelFrames(number) => (7, 0, number),
        };
        kind << 56 | (generation as u64) << 32 | slot as u64
    }

    /// From what the kernel has given back.
    pub(crate) const fn of(data: u64) -> Self {
        let (slot, generation) = (SlotIndex(data as u32), (data >> 32) as u32 & Self::GENERATIONS);
        match data >> 56 {
            0 => Self::Send(Some(slot)),
            5 => Self::Send(None),
            1 => Self::Receive,
            2 => Self::ReceivePort(slot, generation),
            3 => Self::Wake,
            6 => Self::Frames(data as u32),
            7 => Self::CancelFrames(data as u32),
            _ => Self::Cancel(slot, generation),
        }
    }
}
