//! Frames that are made when they are due, and bear the time of their making.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_TX};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::XdpContext;

use crate::delays::clock;
use crate::frame::{STAMPED_WORDS, words_mut};
use crate::generate::next_frame;

/// Where a party sends stamped frames: the relay's port, in network order, by side and by the party's own port.
#[map]
static DESTINATIONS: Array<u32> = Array::with_max_entries(2 << 16, 0);

/// The pace of stamped frames: nanoseconds from burst to burst, and frames of a burst.
#[map]
static PACE: Array<[u64; 2]> = Array::with_max_entries(1, 0);

/// When the next burst is due, how many frames of this one are to come, and when the first was sent.
#[map]
static DUE: PerCpuArray<[u64; 3]> = PerCpuArray::with_max_entries(1, 0);
/// A generator that was kept from its work for longer (nanoseconds) does not make up for it: no network sends such bursts.
const LATE: u64 = 200_000;
/// How often the clock is read for a burst: longer than from one to the next at the slowest pace.
const READINGS: u32 = 4000;

/// Makes the next frame of the plan over IPv4 when it is due, with whole checksums and the time of its making, and sends it: for relays
/// behind a stack.
#[xdp]
fn generate_stamped(context: XdpContext) -> u32 {
    wait();
    next_frame(&context).and_then(|side| stamp(&context, side)).map_or(XDP_ABORTED, |()| XDP_TX)
}

#[inline(always)]
pub(crate) fn wait() -> Option<()> {
    let [interval, burst] = *PACE.get(0)?;
    let state = DUE.get_ptr_mut(0)?;
    #[expect(unsafe_code, reason = "the state of this CPU")]
    // SAFETY: the pointer is to this CPU's entry, and the program runs with bottom halves off, so nothing else uses it meanwhile.
    let state = unsafe { &mut *state };
    let [due, left, first] = *state;
    if left > 0 {
        state[1] = left - 1;
        return Some(());
    }
    let mut now = clock();
    for _ in 0..READINGS {
        if now >= due {
            break;
        }
        now = clock();
    }
    let due = if now > due + LATE { now } else { due };
    *state = [due + interval, burst.saturating_sub(1), if first == 0 { now } else { first }];
    Some(())
}

#[inline(always)]
pub(crate) fn stamp(context: &XdpContext, side: u64) -> Option<()> {
    let frame: &mut [u64; STAMPED_WORDS] = words_mut(context)?;
    // Bytes 24-25 are the IP checksum of side 0. Side 1 adds one to both addresses; the template's low byte has room for that.
    frame[3] -= (2 * side) << 8;
    // Bytes 34-35 are the party's port, 36-37 the relay's.
    let port = u16::from_be((frame[4] >> 16) as u16);
    let destination = *DESTINATIONS.get((side as u32 & 1) << 16 | u32::from(port))?;
    frame[4] = frame[4] & !(0xffff << 32) | u64::from(destination) << 32;
    frame[7] = clock();
    Some(())
}
