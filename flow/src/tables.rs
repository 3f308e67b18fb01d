//! What the fast path reads: maps in the kernel, plain memory on the host.

use crate::counters::Timing;
use crate::hop::{HopCell, HopId};
use crate::knock::Epoch;
use crate::local::{Locals, SlotIndex};
use crate::slot::Slot;

/// The layout of what lies in the tables: one more with each change, so that no other build takes them for its own.
pub const LAYOUT: u32 = if cfg!(feature = "other-layout") { 1000 } else { 4 };

/// The tables behind the fast path: maps in the kernel, plain memory on the host.
pub trait Tables {
    /// The local addresses.
    fn locals(&self) -> &Locals;
    /// A slot of the flow table.
    fn slot(&self, index: SlotIndex) -> Option<&Slot>;
    /// What is counted of a slot's packets now and then.
    fn timing(&self, index: SlotIndex) -> Option<&Timing>;
    /// A next hop.
    fn hop(&self, id: HopId) -> Option<&HopCell>;
    /// Prepares the redirection to a device of the device map; false when it takes no frames.
    fn redirect(&self, port: u16) -> bool;
    /// Whether packets may come with a checksum that their sender, on this machine, has left to its device.
    fn has_unfinished(&self) -> bool;
    /// Whether the media ports are the relay's alone: nobody else on this host is given one of them by chance, so that what comes to one without a
    /// call is nobody's.
    fn owns_ports(&self) -> bool;
    /// The time, as slots remember it.
    fn epoch(&self) -> Epoch;
    /// Nanoseconds of a steady clock.
    fn clock(&self) -> u64;
}
