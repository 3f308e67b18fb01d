//! The tables behind the programs.
//!
//! Who writes: the daemon alone writes LOCALS (before loading), the rules of SLOTS, HOPS, DEVICES, WORKERS, INTAKES, QUEUES and EPOCH. The XDP program alone writes
//! the counters of SLOTS and TIMINGS, from the one softirq that a flow's packets arrive in, and both programs REASONS, of which each CPU has its
//! own, and who knocks at slots without a call, where one of two that come at once may be forgotten.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, HashMap, PerCpuArray, SockMap, XskMap};
use flow::counters::Timing;
use flow::{Epoch, HopCell, HopId, Locals, Reason, Slot, SlotIndex, Tables};

/// The map can be mapped into the daemon's memory: `BPF_F_MMAPABLE`, Linux 5.5.
const MMAPABLE: u32 = 1 << 10;

/// The relay's addresses and ports. Written into the program's data by the loader.
#[expect(unsafe_code, reason = "the loader finds the variable by its name")]
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
static LOCALS: Locals = Locals::none();

/// Whether packets may come with a checksum that their sender has left to its device. In the program's constant data, so that where the loader
/// leaves it at zero the verifier takes the check out.
#[expect(unsafe_code, reason = "the loader finds the constant by its name")]
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
static HAS_UNFINISHED: u32 = 0;

/// Whether the media ports are the relay's alone. Constant as well.
#[expect(unsafe_code, reason = "the loader finds the constant by its name")]
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
static OWNS_PORTS: u32 = 0;

/// The epoch, which the daemon counts up.
#[map]
static EPOCH: Array<u32> = Array::with_max_entries(1, 0);

/// The flow table. The loader sets its size.
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(1, MMAPABLE);

/// What is counted of the slots' packets now and then: as many entries. The loader sets its size.
#[map]
static TIMINGS: Array<Timing> = Array::with_max_entries(1, MMAPABLE);

/// The next hops. The loader sets its size.
#[map]
static HOPS: Array<HopCell> = Array::with_max_entries(1, MMAPABLE);

/// The devices that frames can be redirected to.
#[map]
static DEVICES: DevMap = DevMap::with_max_entries(64, 0);

/// Frames that were not forwarded, by reason.
#[map]
static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Reason::COUNT as u32, 0);

/// The workers' sockets. The loader sets its size.
#[map]
pub(crate) static WORKERS: SockMap = SockMap::with_max_entries(1, 0);

/// Devices whose queues may have a worker's AF_XDP socket, by index: the place of the first queue. Asked for what is not forwarded only.
#[map]
static INTAKES: HashMap<u32, u32> = HashMap::with_max_entries(DEVICES_MAX, 0);

/// The workers' AF_XDP sockets, by device and queue.
#[map]
static QUEUES: XskMap = XskMap::with_max_entries(DEVICES_MAX * QUEUES_MAX, 0);

/// As many devices can have such sockets.
const DEVICES_MAX: u32 = 64;
/// As many queues of each.
const QUEUES_MAX: u32 = 64;

/// Hands a frame to the worker that has this queue of this device; the action. Where there is none, the stack has it.
#[inline(always)]
pub(crate) fn hand_over(device: u32, queue: u32) -> u32 {
    #[expect(unsafe_code, reason = "an entry that is removed meanwhile may be reused")]
    // SAFETY: the value is read at once; the daemon replaces no entry by another device's while frames of this one come.
    let first = unsafe { INTAKES.get(device) }.copied();
    match first {
        Some(first) if queue < QUEUES_MAX => {
            QUEUES.redirect(first + queue, u64::from(XDP_PASS)).unwrap_or_else(|action| action)
        }
        Some(_) | None => XDP_PASS,
    }
}

/// The maps, as `flow` knows them.
pub(crate) struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn locals(&self) -> &Locals {
        &LOCALS
    }

    #[inline(always)]
    fn slot(&self, index: SlotIndex) -> Option<&Slot> {
        SLOTS.get(index.0)
    }

    #[inline(always)]
    fn timing(&self, index: SlotIndex) -> Option<&Timing> {
        TIMINGS.get(index.0)
    }

    #[inline(always)]
    fn hop(&self, id: HopId) -> Option<&HopCell> {
        HOPS.get(u32::from(id.0))
    }

    #[inline(always)]
    fn redirect(&self, port: u16) -> bool {
        // No flags: a port without a device is an error here, not an action on a frame.
        DEVICES.redirect(u32::from(port), 0).is_ok()
    }

    #[inline(always)]
    fn has_unfinished(&self) -> bool {
        is_set(&HAS_UNFINISHED)
    }

    #[inline(always)]
    fn owns_ports(&self) -> bool {
        is_set(&OWNS_PORTS)
    }

    #[inline(always)]
    fn epoch(&self) -> Epoch {
        EPOCH.get(0).map_or(Epoch::FIRST, |word| Epoch::from_word(*word))
    }

    #[inline(always)]
    fn clock(&self) -> u64 {
        #[expect(unsafe_code, reason = "a helper call")]
        // SAFETY: the helper takes no arguments and only reads a clock.
        unsafe {
            aya_ebpf::helpers::bpf_ktime_get_ns()
        }
    }
}

/// A constant that the loader has written.
#[inline(always)]
fn is_set(constant: &'static u32) -> bool {
    #[expect(unsafe_code, reason = "the loader has written what the compiler does not know")]
    // SAFETY: the pointer comes from a reference; volatile, because the value is not the one of the source.
    let value = unsafe { (&raw const *constant).read_volatile() };
    value != 0
}

/// Counts a frame that is not forwarded.
#[inline(always)]
pub(crate) fn count(reason: Reason) {
    if let Some(counter) = REASONS.get_ptr_mut(reason as u32) {
        #[expect(unsafe_code, reason = "the counter of this CPU")]
        // SAFETY: the pointer is to this CPU's entry of the map, and nothing interrupts a softirq to run this program on the same CPU.
        unsafe {
            *counter += 1;
        }
    }
}
