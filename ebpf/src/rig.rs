//! The programs of test hosts: what stands at the far ends of test cables, and makes and counts frames at rates that no socket reaches.
//!
//! They measure the relay from outside and know nothing of it.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::{Array, DevMap, PerCpuArray, ProgramArray};
use aya_ebpf::programs::{TcContext, XdpContext};

#[path = "rig/counter.rs"]
mod counter;
#[path = "rig/streams.rs"]
mod streams;

/// Words in the beginning of a frame that the generator writes: 56 bytes, the headers of an RTP packet over IPv4 and two bytes more.
const WORDS: usize = 7;
/// The same for IPv6: 72 bytes, the headers without the last two bytes of the SSRC.
const WORDS_6: usize = 9;

/// The generator's plan, by index: see the constants below.
#[map]
static PLAN: Array<u64> = Array::with_max_entries(16, 0);
/// How many flows there are.
const FLOWS: u32 = 0;
/// A power of two, minus one, that is at least the number of flows minus one.
const MASK: u32 = 1;
/// The first port, of both sides.
const FIRST_PORT: u32 = 2;
/// The template of the frame.
const TEMPLATE: u32 = 3;
/// Of so many frames of the flood one is a party's.
const EVERY: u32 = 15;

/// The generator's position: how many frames it has made, and where it is in the order of flows.
#[map]
static POSITION: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

/// How many frames the sink has seen.
#[map]
static SUNK: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// An entry for each flow, as large as the relay's slots and laid out like them: of both sides all even ports, then all odd ones.
#[map]
static ENTRIES: Array<[u64; 4]> = Array::with_max_entries(2 << 16, 0);

/// The device that the bare redirector sends to.
#[map]
static EGRESS: DevMap = DevMap::with_max_entries(1, 0);

/// Leaves the frame to the stack: a veth device delivers what its peer sends by XDP only when it has a program of its own.
#[xdp]
fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// Counts RTP frames and drops them; leaves others (ARP) to the stack.
#[xdp]
fn sink(context: XdpContext) -> u32 {
    let Some(frame) = bare_words(&context) else { return XDP_PASS };
    // EtherType and version in the second word, protocol in the third: IPv4 and UDP, or IPv6 and UDP.
    let kind = (frame[1] >> 32) as u16;
    let is_udp = match u16::from_be(kind) {
        0x0800 => (frame[2] >> 56) as u8 == 17,
        0x86dd => (frame[2] >> 32) as u8 == 17,
        _ => false,
    };
    if !is_udp {
        return XDP_PASS;
    }
    count();
    XDP_DROP
}

#[inline(always)]
fn count() {
    if let Some(count) = SUNK.get_ptr_mut(0) {
        #[expect(unsafe_code, reason = "the counter of this CPU")]
        // SAFETY: the pointer is to this CPU's entry, and nothing interrupts a softirq to run this program on the same CPU.
        unsafe {
            *count += 1;
        }
    }
}

/// The bare reflector that also looks into the entry of the frame's flow, sends on what it finds there, and counts: the limit of any program
/// that knows its flows.
#[xdp]
fn touch(context: XdpContext) -> u32 {
    let Some(frame) = bare_words(&context) else { return XDP_PASS };
    // Byte 33 is the last of the relay's address, .1 or .2; bytes 36-37 are its port.
    let (side, port) = ((frame[4] >> 8 & 3).wrapping_sub(1) as u32, u16::from_be((frame[4] >> 32) as u16));
    let Some(entry) = ENTRIES.get_ptr_mut(side << 16 | u32::from(port.rotate_right(1))) else { return XDP_PASS };
    #[expect(unsafe_code, reason = "the entry of the flow")]
    // SAFETY: the pointer is to an entry of the map, and the measurement keeps to one CPU, so nothing else uses it meanwhile.
    let entry = unsafe { &mut *entry };
    // The entries are zero but for the counts, which the compiler cannot know: as with the relay, whether and how the frame leaves is not
    // known before the entry is there.
    if entry[1] != 0 {
        return XDP_PASS;
    }
    frame[4] ^= entry[2];
    entry[0] += 1;
    entry[3] += frame[5];
    swap_macs(frame);
    XDP_TX
}

/// The bare reflector: exchanges the MACs and sends the frame back. The limit of the rig.
#[xdp]
fn reflect(context: XdpContext) -> u32 {
    match bare_words(&context) {
        Some(frame) => {
            swap_macs(frame);
            XDP_TX
        }
        None => XDP_PASS,
    }
}

/// The bare redirector: exchanges the MACs and sends the frame to another device.
#[xdp]
fn redirect(context: XdpContext) -> u32 {
    let Some(frame) = bare_words(&context) else { return XDP_PASS };
    swap_macs(frame);
    EGRESS.redirect(0, 0).unwrap_or(XDP_ABORTED)
}

/// The program that is measured alone.
#[map]
static MEASURED: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Makes the frame of a test run the next one of its flow, over IPv4, and hands it to the program that is measured: of one frame again and again,
/// all but the first would be late.
#[xdp]
fn step4(context: XdpContext) -> u32 {
    step(&context, |frame: &mut [u64; WORDS_6]| &mut frame[5], 32)
}

/// The same over IPv6.
#[xdp]
fn step6(context: XdpContext) -> u32 {
    step(&context, |frame: &mut [u64; WORDS_6]| &mut frame[8], 0)
}

/// `shift`: where in its word the sequence number is.
#[inline(always)]
fn step(context: &XdpContext, word: impl FnOnce(&mut [u64; WORDS_6]) -> &mut u64, shift: u32) -> u32 {
    let Some(frame) = words_mut::<WORDS_6>(context) else { return XDP_ABORTED };
    let word = word(frame);
    let next = u16::from_be((*word >> shift) as u16).wrapping_add(1);
    *word = *word & !(0xffff << shift) | u64::from(next.to_be()) << shift;
    #[expect(unsafe_code, reason = "a helper call")]
    // SAFETY: the context is the program's own; where there is no program to go on with, this one does.
    unsafe {
        MEASURED.tail_call(context, 0);
    }
    XDP_ABORTED
}

/// Words of a frame that bears the time of its making: the headers over IPv4, two bytes more, and eight bytes of payload.
const STAMPED_WORDS: usize = 8;

/// Where a party sends stamped frames: the relay's port, in network order, by side and by the party's own port.
#[map]
static DESTINATIONS: Array<u32> = Array::with_max_entries(2 << 16, 0);

/// How long frames were under way: counts by delay, see [`bucket`].
#[map]
static DELAYS: PerCpuArray<u64> = PerCpuArray::with_max_entries(BUCKETS, 0);
/// Eight buckets for each power of two, of nanoseconds.
const BUCKETS: u32 = 64 * 8;

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
fn wait() -> Option<()> {
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
fn stamp(context: &XdpContext, side: u64) -> Option<()> {
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

/// Counts stamped frames and their delays, and drops everything that is no ARP. By the stack: XDP on a veth device would first have a frame
/// that a socket has sent copied, at the expense of the relay that is measured.
#[classifier]
fn sink_delays(context: TcContext) -> i32 {
    let (start, end) = (context.data(), context.data_end());
    if start + STAMPED_WORDS * 8 > end {
        return TC_ACT_UNSPEC;
    }
    #[expect(unsafe_code, reason = "the frame")]
    // SAFETY: the words lie within the frame, as just seen; nobody writes to them meanwhile.
    let frame = unsafe { &*(start as *const [u64; STAMPED_WORDS]) };
    let is_udp = u16::from_be((frame[1] >> 32) as u16) == 0x0800 && (frame[2] >> 56) as u8 == 17;
    if !is_udp {
        return TC_ACT_UNSPEC;
    }
    // Byte 43 is the payload type. ICMP, RTCP and the like are no frames of the plan.
    if (frame[5] >> 24) as u8 == 8 {
        count();
        if let Some(delays) = DELAYS.get_ptr_mut(bucket(clock().wrapping_sub(frame[7]))) {
            #[expect(unsafe_code, reason = "the counter of this CPU")]
            // SAFETY: the pointer is to this CPU's entry, and nothing interrupts a softirq to run this program on the same CPU.
            unsafe {
                *delays += 1;
            }
        }
    }
    TC_ACT_SHOT
}

/// The bucket of a delay: the number of its highest bit, and the three bits behind that.
#[inline(always)]
fn bucket(delay: u64) -> u32 {
    let high = 63 - (delay | 8).leading_zeros();
    (high * 8 + (delay >> (high - 3)) as u32 % 8) % BUCKETS
}

#[inline(always)]
fn clock() -> u64 {
    #[expect(unsafe_code, reason = "a helper call")]
    // SAFETY: the helper takes no arguments and only reads a clock.
    unsafe {
        aya_ebpf::helpers::bpf_ktime_get_ns()
    }
}

/// Makes the next frame of the plan and sends it. Run by `BPF_PROG_RUN` on live frames, which come back used: every word that anyone on the
/// way may have written is written anew.
#[xdp]
fn generate(context: XdpContext) -> u32 {
    next_frame(&context).map_or(XDP_ABORTED, |_| XDP_TX)
}

/// Writes the frame; tells its side.
#[inline(always)]
fn next_frame(context: &XdpContext) -> Option<u64> {
    let frame: &mut [u64; WORDS] = words_mut(context)?;
    let next = next_packet()?;
    for (word, index) in frame.iter_mut().zip(TEMPLATE..) {
        *word = plan(index)?;
    }
    Some(write_next(frame, next))
}

/// Writes what differs from packet to packet into a copy of the template; tells the side.
#[inline(always)]
fn write_next(frame: &mut [u64; WORDS], next: Next) -> u64 {
    let Next { side, port, sequence, timestamp } = next;
    // Bytes 26-29 and 30-33 are the addresses: their last bytes are bytes 5 of word 3 and 1 of word 4.
    frame[3] += side << 40;
    frame[4] += side << 8;
    // Bytes 34-35 and 36-37: the ports. Bytes 44-45: the sequence number. Bytes 46-49: the timestamp.
    frame[4] |= port << 16 | port << 32;
    frame[5] |= sequence << 32 | timestamp << 48;
    frame[6] |= timestamp >> 16;
    side
}

/// Writes the next frame of a flood over IPv4: now and then one of the parties', all others from strangers to the same ports.
#[xdp]
fn flood(context: XdpContext) -> u32 {
    next_frame(&context).and_then(|_| disguise(&context)).map_or(XDP_ABORTED, |()| XDP_TX)
}

/// Makes a party's frame a stranger's, unless it is its turn.
#[inline(always)]
fn disguise(context: &XdpContext) -> Option<()> {
    let frame: &mut [u64; WORDS] = words_mut(context)?;
    let number = *POSITION.get(0)?.first()?;
    if number.checked_rem(plan(EVERY)?)? != 0 {
        // Byte 29 is the last of the source address; byte 43 is the payload type, by which sinks know the parties' frames.
        frame[3] += 16 << 40;
        frame[5] &= !(0xff << 24);
    }
    Some(())
}

/// Counts the parties' frames in what comes back of a flood, and drops everything that is no ARP.
#[xdp]
fn sink_parties(context: XdpContext) -> u32 {
    let Some(frame) = bare_words(&context) else { return XDP_PASS };
    let is_udp = u16::from_be((frame[1] >> 32) as u16) == 0x0800 && (frame[2] >> 56) as u8 == 17;
    if !is_udp {
        return XDP_PASS;
    }
    if (frame[5] >> 24) as u8 == 8 {
        count();
    }
    XDP_DROP
}

/// The same for IPv6.
#[xdp]
fn generate6(context: XdpContext) -> u32 {
    next_frame6(&context).map_or(XDP_ABORTED, |()| XDP_TX)
}

#[inline(always)]
fn next_frame6(context: &XdpContext) -> Option<()> {
    let frame: &mut [u64; WORDS_6] = words_mut(context)?;
    let Next { side, port, sequence, timestamp } = next_packet()?;
    for (word, index) in frame.iter_mut().zip(TEMPLATE..) {
        *word = plan(index)?;
    }
    // Bytes 22-37 and 38-53 are the addresses: their last bytes are bytes 5 of word 4 and 5 of word 6.
    frame[4] += side << 40;
    frame[6] += side << 40;
    // Bytes 54-55 and 56-57: the ports. Bytes 64-65: the sequence number. Bytes 66-69: the timestamp.
    frame[6] |= port << 48;
    frame[7] |= port;
    frame[8] |= sequence | timestamp << 16;
    Some(())
}

/// What differs from packet to packet; port, sequence number and timestamp in network order.
struct Next {
    side: u64,
    port: u64,
    sequence: u64,
    timestamp: u64,
}

impl Next {
    /// The packet of a flow in this round. Flows of both directions in turn: side 0 sends from address .10 to .1, side 1 from .11 to .2.
    #[inline(always)]
    fn of(flow: u64, first_port: u64, round: u64) -> Self {
        let (side, call) = (flow & 1, flow >> 1);
        let port = u64::from(((first_port + 2 * call) as u16).to_be());
        let sequence = u64::from((round as u16).to_be());
        let timestamp = u64::from((round as u32).wrapping_mul(160).to_be());
        Self { side, port, sequence, timestamp }
    }
}

#[inline(always)]
fn next_packet() -> Option<Next> {
    let (flows, mask, first_port) = (plan(FLOWS)?, plan(MASK)?, plan(FIRST_PORT)?);
    let position = POSITION.get_ptr_mut(0)?;
    #[expect(unsafe_code, reason = "the position of this CPU")]
    // SAFETY: the pointer is to this CPU's entry, and the program runs with bottom halves off, so nothing else uses it meanwhile.
    let position = unsafe { &mut *position };
    let (number, flow) = (position[0], next_flow(position, flows, mask));
    position[0] = number + 1;

    Some(Next::of(flow, first_port, number.checked_div(flows)?))
}

/// The next flow in an order that goes through all of them and that no prefetcher knows: a full-period sequence over a power of two, its
/// bits mixed, its members beyond the last flow skipped.
#[inline(always)]
fn next_flow(position: &mut [u64; 2], flows: u64, mask: u64) -> u64 {
    let mut state = position[1];
    let mut flow = 0;
    for _ in 0..8 {
        state = state.wrapping_mul(5).wrapping_add(12_345) & mask;
        let mixed = (state ^ (state >> 7)).wrapping_mul(0x9e5) & mask;
        flow = mixed ^ (mixed >> 5);
        if flow < flows {
            break;
        }
    }
    position[1] = state;
    if flow < flows { flow } else { 0 }
}

#[inline(always)]
fn plan(index: u32) -> Option<u64> {
    PLAN.get(index).copied()
}

#[inline(always)]
fn swap_macs(frame: &mut [u64; WORDS]) {
    let (to, from) = (frame[0] & 0xffff_ffff_ffff, frame[0] >> 48 | (frame[1] & 0xffff_ffff) << 16);
    frame[0] = from | to << 48;
    frame[1] = (frame[1] & !0xffff_ffff) | to >> 16;
}

/// The first words of a frame of either family.
#[inline(always)]
fn bare_words(context: &XdpContext) -> Option<&mut [u64; WORDS]> {
    words_mut(context)
}

#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "a context has one frame, and each program asks once")]
fn words_mut<const N: usize>(context: &XdpContext) -> Option<&mut [u64; N]> {
    let start = context.data();
    if start + size_of::<[u64; N]>() > context.data_end() {
        return None;
    }
    #[expect(unsafe_code, reason = "the one place where an address that the kernel gave becomes a reference")]
    // SAFETY: the comparison above, which the verifier demands, proves that the bytes are within the frame; frames of veth devices and of test
    // runs begin at a multiple of eight; nobody else refers to them.
    Some(unsafe { &mut *(start as *mut [u64; N]) })
}

#[cfg(target_arch = "bpf")]
#[expect(unsafe_code, reason = "the section and the symbol by which the kernel's loaders find the licence")]
// SAFETY: the section holds nothing else, and no other symbol has this name.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("These programs run in the kernel of test hosts.");
    std::process::exit(1);
}
