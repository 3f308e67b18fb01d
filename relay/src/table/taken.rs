//! By which intake the last packet of each slot came that a worker sent on.

use std::sync::atomic::{AtomicU8, Ordering};

use border::Intake;
use flow::SlotIndex;

/// One byte a slot: nothing yet, or the intake's number.
pub(super) struct Taken(Box<[AtomicU8]>);

impl Taken {
    pub(super) fn new(slots: usize) -> Self {
        Self(std::iter::repeat_with(|| AtomicU8::new(0)).take(slots).collect())
    }

    /// A worker has got a packet. Written only when it is another intake than before: slots of several workers share cache lines.
    pub(super) fn note(&self, index: SlotIndex, intake: Intake) {
        let number = match intake {
            Intake::Xsk => 1,
            Intake::Steered => 2,
            Intake::Bound => 3,
        };
        if let Some(last) = self.0.get(index.0 as usize)
            && last.load(Ordering::Relaxed) != number
        {
            last.store(number, Ordering::Relaxed);
        }
    }

    /// The next source of the slot has got nothing yet.
    pub(super) fn forget(&self, index: SlotIndex) {
        if let Some(last) = self.0.get(index.0 as usize) {
            last.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn last(&self, index: SlotIndex) -> Option<Intake> {
        match self.0.get(index.0 as usize)?.load(Ordering::Relaxed) {
            1 => Some(Intake::Xsk),
            2 => Some(Intake::Steered),
            3 => Some(Intake::Bound),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_packet_of_a_source_tells_its_intake_and_of_the_source_before_nothing_is_told() {
        let taken = Taken::new(4);
        assert_eq!(taken.last(SlotIndex(2)), None);
        for intake in [Intake::Xsk, Intake::Steered, Intake::Bound] {
            taken.note(SlotIndex(2), intake);
            assert_eq!((taken.last(SlotIndex(2)), taken.last(SlotIndex(3))), (Some(intake), None));
        }
        taken.forget(SlotIndex(2));
        assert_eq!(taken.last(SlotIndex(2)), None);
        taken.note(SlotIndex(9), Intake::Xsk);
        assert_eq!(taken.last(SlotIndex(9)), None);
    }
}
