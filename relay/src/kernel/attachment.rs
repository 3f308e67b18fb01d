//! Where the local addresses are, and whether the programs are attached and can be relied on.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use border::PastStack;

use crate::hops::NO_PORT;
use crate::hops::{Port, Ports};
use crate::host::fitness::{self, Unfit};
use crate::host::netlink::Netlink;
use crate::host::{Device, devices};
use crate::kernel::programs::{Kernel, XdpMode};
use crate::kernel::queues::Queues;
use crate::table::FlowTable;
use crate::table::{Fitness, Seat};

/// What became of a device's fast path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The program is attached and the link is up.
    Whole,
    /// The program is not attached any more, or another one is, or it never was.
    Detached,
    /// The link is down.
    Down,
    /// The device does not exist any more. One of the same name is another device.
    Gone,
}

/// The XDP program.
pub(crate) struct Program {
    pub(crate) kernel: Arc<Mutex<Kernel>>,
    /// Its number, by which devices name it.
    pub(crate) id: u32,
    pub(crate) mode: XdpMode,
    /// The operator asked for it by name: what cannot be known of a device is taken for good.
    pub(crate) is_wanted: bool,
    /// It forwards, and does not only hand packets to the workers.
    pub(crate) forwards: bool,
}

/// The steering program.
struct Steering {
    kernel: Arc<Mutex<Kernel>>,
    /// It could not be attached again, and the log has it.
    is_failure_told: bool,
}

/// A device that holds local addresses, or has held some.
struct Held {
    device: Device,
    state: State,
    /// Why what the program sends by it does not arrive.
    unfit: Option<Unfit>,
    /// Its index in the device map, once it has one.
    port: Option<u16>,
    /// The program could not be attached, and the log has it.
    is_failure_told: bool,
}

/// The local addresses and their devices.
pub(crate) struct Attachments {
    netlink: Netlink,
    addrs: Vec<IpAddr>,
    held: Vec<Held>,
    /// `None` without a fast path.
    program: Option<Program>,
    /// What steers media ports to the workers; `None` where each port has a socket.
    steering: Option<Steering>,
    /// What hands packets to the workers past the stack.
    queues: Option<Queues>,
    /// The devices that frames may leave by.
    ports: Ports,
    table: Arc<FlowTable>,
    found: Arc<Found>,
}

/// What was found when it was looked last, for whoever asks.
#[derive(Default)]
pub(super) struct Found {
    pub(super) lost: AtomicU64,
    pub(super) regained: AtomicU64,
    pub(super) steering_lost: AtomicU64,
    pub(super) steering_regained: AtomicU64,
    pub(super) queues: AtomicUsize,
    pub(super) past_stack: AtomicU64,
    pub(super) missing: AtomicUsize,
}

impl Attachments {
    /// The local addresses, in the order of their numbers, and the devices where they are now: the program is attached there.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket.
    pub(crate) fn new(
        addrs: Vec<IpAddr>,
        seated: &[Option<Device>],
        program: Option<Program>,
        steering: Option<Arc<Mutex<Kernel>>>,
        queues: Option<Queues>,
        table: Arc<FlowTable>,
    ) -> io::Result<Self> {
        let mut attachments = Self {
            netlink: Netlink::open(&[])?,
            addrs,
            held: Vec::new(),
            program,
            steering: steering.map(|kernel| Steering { kernel, is_failure_told: false }),
            queues,
            ports: HashMap::new(),
            table,
            found: Arc::default(),
        };
        for device in seated.iter().flatten() {
            if !attachments.held.iter().any(|held| held.device.index == device.index) {
                attachments.hold(device.clone(), State::Whole);
                attachments.assess(attachments.held.len() - 1);
            }
        }
        for (local, device) in seated.iter().enumerate() {
            attachments.table.ours().set_seat(local, attachments.seat(device.as_ref()));
        }
        Ok(attachments)
    }

    /// What is found, each time anew.
    pub(super) fn found(&self) -> Arc<Found> {
        Arc::clone(&self.found)
    }

    /// The devices that frames may leave by; with [`NO_PORT`] those that take no redirected frames.
    pub(crate) const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Takes a device up.
    fn hold(&mut self, device: Device, state: State) {
        self.held.push(Held { device, state, unfit: None, port: None, is_failure_told: false });
    }

    /// Finds out what the device can do, with the program attached where that could be: it may change with the other end of a cable.
    fn assess(&mut self, place: usize) {
        let is_free = |index: &u16| !self.held.iter().any(|held| held.port == Some(*index));
        let free = self.held.get(place).and_then(|held| self.place_for(held.device.index, is_free));
        let Some(held) = self.held.get_mut(place) else { return };
        let Some(program) = self.program.as_ref().filter(|program| program.forwards) else {
            self.ports.insert(held.device.index, Port { index: NO_PORT, reflects: true });
            return;
        };
        let (device, unfit) = (&held.device, fitness::of(&held.device, program.is_wanted).err());
        if unfit != held.unfit {
            match unfit {
                Some(unfit) if unfit.is_for_all() => {
                    tracing::warn!(
                        device = device.name,
                        "media that leaves by the device takes the slow path: {unfit}"
                    );
                }
                Some(unfit) => {
                    tracing::warn!(
                        device = device.name,
                        "media that leaves by the device and came by another takes the slow path: {unfit}"
                    );
                }
                None => tracing::info!(device = device.name, "media may leave by the device in the kernel again"),
            }
        }
        held.unfit = unfit;
        if unfit.is_none()
            && held.port.is_none()
            && let Some(free) = free
        {
            match lock(&program.kernel).set_device(free, device.index) {
                Ok(()) => held.port = Some(free),
                Err(error) => {
                    tracing::debug!(device = device.name, %error, "no frames can be redirected to the device");
                }
            }
        }
        match unfit {
            Some(unfit) if unfit.is_for_all() => drop(self.ports.remove(&device.index)),
            Some(_) => drop(self.ports.insert(device.index, Port { index: NO_PORT, reflects: true })),
            None => {
                let reflects = fitness::reflects(device, program.is_wanted);
                self.ports.insert(device.index, Port { index: held.port.unwrap_or(NO_PORT), reflects });
            }
        }
    }

    /// The place of a device in the device map: the one that it has had in an earlier process, or else one that no device has had.
    fn place_for(&self, device: u32, is_free: impl Fn(&u16) -> bool) -> Option<u16> {
        let kernel = lock(&self.program.as_ref()?.kernel);
        let fresh = || (0..NO_PORT).find(|place| is_free(place) && !kernel.is_taken(*place));
        kernel.place_of(device).filter(&is_free).or_else(fresh).or_else(|| (0..NO_PORT).find(&is_free))
    }

    /// Looks at the host's addresses and at every device, attaches the program where it is missing, and says what has changed.
    pub(super) fn look(&mut self) {
        match devices::host_addresses() {
            Ok(host) => self.table.trust().set_host(host),
            Err(error) => tracing::debug!(%error, "the host's addresses cannot be read"),
        }
        match devices::addresses() {
            Ok(found) => self.look_at(&found),
            Err(error) => tracing::debug!(%error, "the devices cannot be read"),
        }
        self.look_at_steering();
        self.look_at_queues();
    }

    /// Takes up the queues of devices at which the program is.
    fn look_at_queues(&mut self) {
        let Some(queues) = &mut self.queues else { return };
        let there = self.held.iter().filter(|held| matches!(held.state, State::Whole | State::Down));
        queues.look(&there.map(|held| &held.device).collect::<Vec<_>>());
        let PastStack { queues, packets } = queues.past_stack();
        self.found.queues.store(queues, Ordering::Relaxed);
        self.found.past_stack.store(packets, Ordering::Relaxed);
    }

    /// Looks whether the steering program is where it was, and attaches it again.
    fn look_at_steering(&mut self) {
        let Some(Steering { kernel, is_failure_told }) = &mut self.steering else { return };
        let mut kernel = lock(kernel);
        match kernel.is_steering() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => return tracing::debug!(%error, "it cannot be seen whether media ports are steered"),
        }
        if !*is_failure_told {
            self.found.steering_lost.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("somebody has detached the steering program: the slow path hears nothing until it is back");
        }
        match kernel.steer() {
            Ok(()) => {
                self.found.steering_regained.fetch_add(1, Ordering::Relaxed);
                tracing::info!("media ports are steered again");
                *is_failure_told = false;
            }
            Err(error) => {
                if !*is_failure_told {
                    tracing::error!("{error}. This is tried once a second");
                }
                *is_failure_told = true;
            }
        }
    }

    fn look_at(&mut self, found: &HashMap<IpAddr, Device>) {
        let before = self.ports.clone();
        let addrs = self.addrs.clone();
        for addr in &addrs {
            let Some(device) = found.get(addr) else { continue };
            if !self.held.iter().any(|held| held.device.index == device.index) {
                tracing::info!(%addr, device = device.name, "a media address has come");
                self.hold(device.clone(), State::Detached);
            }
        }
        for place in 0..self.held.len() {
            self.look_at_device(place);
            self.assess(place);
        }
        // One that is gone, and whose addresses are elsewhere, is forgotten.
        self.held.retain(|held| {
            let is_gone = held.state == State::Gone;
            if is_gone {
                self.ports.remove(&held.device.index);
            }
            !is_gone
        });
        let forwards = self.program.as_ref().is_some_and(|program| program.forwards);
        let missing = self.held.iter().filter(|held| forwards && held.state != State::Whole).count();
        self.found.missing.store(missing, Ordering::Relaxed);
        for (local, addr) in addrs.iter().enumerate() {
            self.table.ours().set_seat(local, self.seat(found.get(addr)));
        }
        if self.ports != before {
            self.table.hops().set_ports(self.ports.clone());
        }
    }

    /// Where an address is that this device holds.
    fn seat(&self, device: Option<&Device>) -> Seat {
        let device = device.map(|device| device.index);
        let held = self.held.iter().find(|held| Some(held.device.index) == device);
        let fitness = match held {
            _ if self.program.as_ref().is_none_or(|program| !program.forwards) => Fitness::Fit,
            Some(Held { state: State::Whole | State::Down, unfit: Some(unfit), .. }) if unfit.is_for_all() => {
                Fitness::Loses
            }
            Some(Held { state: State::Whole | State::Down, .. }) => Fitness::Fit,
            Some(_) | None => Fitness::Detached,
        };
        Seat { device, fitness }
    }

    /// Looks at one of the devices.
    fn look_at_device(&mut self, place: usize) {
        let (Some(program), Some(Held { device, state, is_failure_told, .. })) =
            (&self.program, self.held.get_mut(place))
        else {
            return;
        };
        let found = match devices::device(&mut self.netlink, device.index) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, device = device.name, "the device cannot be looked at");
                return;
            }
        };
        let (before, now) = (*state, state_of(found.as_ref(), program.id));
        if before == State::Whole && now != State::Whole {
            self.found.lost.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(device = device.name, "the fast path is lost and the slow path carries on: {}", why(now));
        }
        *state = match (now, found) {
            (State::Detached, Some((found, is_up))) if !found.is_loopback => {
                match lock(&program.kernel).attach_xdp(&found, program.mode) {
                    Ok(()) => {
                        *is_failure_told = false;
                        if is_up { State::Whole } else { State::Down }
                    }
                    Err(error) => {
                        if !*is_failure_told {
                            tracing::warn!("{error}. This is tried once a second");
                            *is_failure_told = true;
                        }
                        State::Detached
                    }
                }
            }
            (now, _) => now,
        };
        if *state == State::Whole && (before, now) != (State::Whole, State::Whole) {
            self.found.regained.fetch_add(1, Ordering::Relaxed);
            tracing::info!(device = device.name, "the fast path is back");
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
        State::Gone => "the device does not exist any more; one that gets its addresses is taken up",
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
