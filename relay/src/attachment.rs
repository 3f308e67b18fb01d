//! Whether the XDP program is still where it was attached: looked at once a second, for nobody tells when somebody detaches it.
//!
//! By a thread of its own: the kernel answers about devices, and attaches, under a lock that a slow driver can hold for seconds, and neither
//! commands nor the sweep may wait for that.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::kernel::{Kernel, XdpMode};
use crate::netlink::{Device, Netlink};
use crate::table::FlowTable;

/// What became of a device's fast path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The program is attached and the link is up.
    Whole,
    /// The program is not attached any more, or another one is.
    Detached,
    /// The link is down.
    Down,
    /// The device does not exist any more. One of the same name is another device.
    Gone,
}

/// How often the devices are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The devices that the program was attached to.
struct Attachments {
    netlink: Netlink,
    devices: Vec<(Device, State)>,
    mode: XdpMode,
    /// The program's number, by which devices name it.
    ours: u32,
    shared: Arc<Shared>,
}

/// What the thread and others look at.
#[derive(Default)]
struct Shared {
    is_stopped: AtomicBool,
    lost: AtomicU64,
    regained: AtomicU64,
}

/// The running thread.
pub(crate) struct Guard {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// How often the fast path was lost and came back, of all devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turns {
    /// Lost: a link went down, or the program was detached.
    pub lost: u64,
    /// Came back.
    pub regained: u64,
}

impl Guard {
    /// Guards the program on these devices, where it is attached now; what becomes of it is told to the table.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket or no thread.
    pub(crate) fn start(
        devices: impl IntoIterator<Item = Device>,
        (kernel, ours): (Arc<Mutex<Kernel>>, u32),
        mode: XdpMode,
        table: Arc<FlowTable>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let devices = devices.into_iter().map(|device| (device, State::Whole)).collect();
        let netlink = Netlink::open(&[])?;
        let mut attachments = Attachments { netlink, devices, mode, ours, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new().name("attachments".to_owned()).spawn(move || {
            while !attachments.shared.is_stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(INTERVAL);
                attachments.look(&kernel);
                table.set_detached(attachments.detached());
            }
        })?;
        Ok(Self { thread: Some(thread), shared })
    }

    /// How often the fast path was lost and came back.
    pub(crate) fn turns(&self) -> Turns {
        Turns { lost: self.shared.lost.load(Ordering::Relaxed), regained: self.shared.regained.load(Ordering::Relaxed) }
    }

    /// Whether the thread has ended although nobody asked it to.
    pub(crate) fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the thread that guards the XDP program had panicked");
            }
        }
    }
}

impl Attachments {
    /// The devices that have the program no more.
    fn detached(&self) -> impl Iterator<Item = u32> {
        let has_none = |state| matches!(state, State::Detached | State::Gone);
        self.devices.iter().filter(move |(_, state)| has_none(*state)).map(|(device, _)| device.index)
    }

    /// Looks at every device, attaches the program where it is missing, and says what has changed.
    fn look(&mut self, kernel: &Mutex<Kernel>) {
        for (device, state) in &mut self.devices {
            let found = match self.netlink.device(device.index) {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(%error, device = device.name, "the device cannot be looked at");
                    continue;
                }
            };
            let (before, now) = (*state, state_of(found.as_ref(), self.ours));
            if before == State::Whole && now != State::Whole {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    device = device.name,
                    "the fast path is lost and the slow path carries on: {}",
                    why(now)
                );
            }
            *state = match (now, found) {
                (State::Detached, Some((found, is_up))) => match lock(kernel).attach_xdp(&found, self.mode) {
                    Ok(()) if is_up => State::Whole,
                    Ok(()) => State::Down,
                    Err(error) => {
                        if before == State::Whole {
                            tracing::warn!("{error}. This is tried once a second");
                        }
                        State::Detached
                    }
                },
                (now, _) => now,
            };
            if *state == State::Whole && (before, now) != (State::Whole, State::Whole) {
                self.shared.regained.fetch_add(1, Ordering::Relaxed);
                tracing::info!(device = device.name, "the fast path is back");
            }
        }
    }
}

fn lock(kernel: &Mutex<Kernel>) -> std::sync::MutexGuard<'_, Kernel> {
    // Attaching either happened or did not; a panic elsewhere does not spoil it.
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}

fn state_of(found: Option<&(Device, bool)>, ours: u32) -> State {
    match found {
        None => State::Gone,
        Some((device, _)) if device.program != Some(ours) => State::Detached,
        Some((_, false)) => State::Down,
        Some((_, true)) => State::Whole,
    }
}

const fn why(state: State) -> &'static str {
    match state {
        State::Whole => "",
        State::Detached => "somebody has detached the XDP program or put another in its place",
        State::Down => "the link is down",
        State::Gone => "the device does not exist any more; start the daemon again to use one that has taken its place",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(program: Option<u32>) -> Device {
        let name = "eth0".to_owned();
        Device { index: 2, name, is_loopback: false, mtu: 1500, queues: (1, 1), program, has_vlans: false }
    }

    #[test]
    fn a_device_is_whole_only_with_our_own_program_and_a_link() {
        for (program, is_up, state) in [
            (Some(7), true, State::Whole),
            (Some(7), false, State::Down),
            (Some(8), true, State::Detached),
            (None, true, State::Detached),
            (None, false, State::Detached),
        ] {
            assert_eq!(state_of(Some(&(device(program), is_up)), 7), state, "{program:?} {is_up}");
        }
        assert_eq!(state_of(None, 7), State::Gone);
    }
}
