//! The AF_XDP sockets of the devices' queues: opened where the program is attached, taken out of its map when their worker stands still, and closed
//! when the device is gone.
//!
//! A frame that the program cannot hand over goes to the stack, and from there to the workers as well, so nothing here is a matter of life.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use border::PastStack;
use flow::Reason;

use crate::host::{Device, Features, ethtool};
use crate::kernel::programs::{Kernel, KernelError, QUEUES, XdpMode};
use crate::worker::Reasons;
use crate::xsk::{self, Lines, Socket, View};

/// A device that cannot be taken up is tried so often each second, and then once in so many.
const SOON: u32 = 5;
const SELDOM: u32 = 30;

/// How queues are taken up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueOptions {
    /// The operator asked for it by name: also where one queue has to do for many workers.
    pub(crate) is_wanted: bool,
    /// How the program is attached.
    pub(crate) mode: XdpMode,
    /// Whether frames are sent by the sockets, too.
    pub(crate) sends: bool,
}

/// The devices' queues.
pub(crate) struct Queues {
    kernel: Arc<Mutex<Kernel>>,
    lines: Lines,
    /// What each worker has lost is counted there.
    reasons: Vec<Arc<Reasons>>,
    options: QueueOptions,
    open: Vec<Open>,
    /// Devices that could not be taken up, and how often in a row; the log has them.
    failed: HashMap<u32, u32>,
    /// Frames that all sockets together have taken.
    packets: u64,
}

/// A queue that has a socket.
struct Open {
    device: u32,
    queue: u32,
    /// Its place in the program's map.
    place: u32,
    worker: usize,
    /// The socket's number.
    number: u32,
    view: View,
    /// What the worker had taken, and the socket lost, when that was last looked at.
    pulse: u32,
    losses: u64,
    /// Whether the program hands frames over.
    is_in: bool,
}

impl Queues {
    /// None yet. The lines lead to the workers of these reasons.
    pub(crate) fn new(
        kernel: Arc<Mutex<Kernel>>,
        lines: Lines,
        reasons: Vec<Arc<Reasons>>,
        options: QueueOptions,
    ) -> Self {
        Self { kernel, lines, reasons, options, open: Vec::new(), failed: HashMap::new(), packets: 0 }
    }

    /// Takes up the queues of a device at which the program is.
    ///
    /// # Errors
    /// What is in the way of the first that cannot be; the others are taken up.
    pub(crate) fn take_up(&mut self, device: &Device) -> Result<(), String> {
        obstacle(device, self.lines.workers(), self.options).map_or(Ok(()), Err)?;
        let count = count(device);
        // One that fails would have the others fail as well, each with memory of its own.
        (0..count as u32).try_for_each(|queue| {
            let is_open = self.open.iter().any(|open| open.device == device.index && open.queue == queue);
            if is_open { Ok(()) } else { self.open(device, queue) }
        })
    }

    fn open(&mut self, device: &Device, queue: u32) -> Result<(), String> {
        // By a queue that the device does not send by the kernel takes nothing, and does not say so.
        let last = ethtool::transmit_queues(&device.name).unwrap_or(device.queues.1);
        let socket = Socket::open(device.index, queue, self.options.sends && queue < last)
            .map_err(|error| xsk::explain(&error))?;
        let place = lock(&self.kernel).intake(device.index).map_err(|error| error.to_string())? + queue;
        let view = socket.view();
        lock(&self.kernel).set_queue(place, &view).map_err(|error| error.to_string())?;
        let worker = (queue as usize).checked_rem(self.lines.workers()).unwrap_or(0);
        let number = self.lines.open(worker, socket);
        self.open.push(Open {
            device: device.index,
            queue,
            place,
            worker,
            number,
            view,
            pulse: 0,
            losses: 0,
            is_in: true,
        });
        Ok(())
    }

    /// A second has passed: takes up these devices' queues as far as they are not, and lets go of those of others.
    pub(crate) fn look(&mut self, devices: &[&Device]) {
        let is_there = |index: u32| devices.iter().any(|device| device.index == index);
        let gone: Vec<_> = self.open.extract_if(.., |open| !is_there(open.device)).collect();
        for Open { device, place, worker, number, view, .. } in gone {
            let mut kernel = lock(&self.kernel);
            kernel.unset_queue(place);
            kernel.forget_intake(device);
            // Closed when the worker lets go of it: not before, or its number could be another's.
            drop(view);
            self.lines.close(worker, number);
        }
        self.failed.retain(|index, _| is_there(*index));
        for device in devices {
            let failures = self.failed.get(&device.index).copied().unwrap_or(0);
            // Whoever has just closed a socket there makes way in a moment; everything else lasts.
            if failures > SOON && !failures.is_multiple_of(SELDOM) {
                self.failed.insert(device.index, failures + 1);
                continue;
            }
            match self.take_up(device) {
                Ok(()) => {
                    if self.failed.remove(&device.index).is_some() {
                        tracing::info!(device = device.name, "its packets come to the workers by AF_XDP now");
                    }
                }
                Err(why) => self.tell(device, &why),
            }
        }
        for open in &mut self.open {
            self.packets += u64::from(open.look(&self.kernel, &self.reasons));
        }
    }

    /// What has come past the stack.
    pub(crate) fn past_stack(&self) -> PastStack {
        PastStack { queues: self.open.iter().filter(|open| open.is_in).count(), packets: self.packets }
    }

    /// Says once that packets of a device come by the stack.
    fn tell(&mut self, device: &Device, why: &str) {
        let failures = self.failed.entry(device.index).or_default();
        *failures += 1;
        if *failures == 1 {
            tracing::info!(device = device.name, "packets for the workers come by the stack, not by AF_XDP: {why}");
        }
    }

    /// Whether no queue has a socket.
    pub(crate) const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether it was asked for by name.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.options.is_wanted
    }
}

/// What becomes of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// The stack has its packets.
    Out,
    /// Its socket has them again.
    In,
}

/// What is to become of a queue whose packets a socket has, or has had, when its worker has taken some since the last look, or has not, and so many
/// were lost meanwhile. A worker that has nothing to do takes nothing, either.
const fn turn(is_in: bool, has_taken: bool, lost: u64) -> Option<Turn> {
    match (is_in, has_taken) {
        (true, false) if lost > 0 => Some(Turn::Out),
        (false, true) => Some(Turn::In),
        (true | false, _) => None,
    }
}

impl Open {
    /// Counts what was lost, and has the stack take over while the worker stands still; how many frames it has taken.
    fn look(&mut self, kernel: &Mutex<Kernel>, reasons: &[Arc<Reasons>]) -> u32 {
        let pulse = self.view.pulse();
        let taken = pulse.wrapping_sub(std::mem::replace(&mut self.pulse, pulse));
        let losses = match self.view.losses() {
            Ok(losses) => losses,
            Err(error) => {
                tracing::debug!(%error, "what a queue's socket has lost cannot be read");
                return taken;
            }
        };
        let lost = losses.saturating_sub(std::mem::replace(&mut self.losses, losses));
        if let Some(reasons) = reasons.get(self.worker) {
            reasons.add(Reason::ReceiveOverflow, lost);
        }
        match turn(self.is_in, taken > 0, lost) {
            Some(Turn::Out) => {
                tracing::error!(
                    worker = self.worker,
                    lost,
                    "a worker does not take what comes by AF_XDP: the stack has it until it does"
                );
                lock(kernel).unset_queue(self.place);
                self.is_in = false;
            }
            Some(Turn::In) => match lock(kernel).set_queue(self.place, &self.view) {
                Ok(()) => {
                    tracing::info!(worker = self.worker, "the worker takes what comes by AF_XDP again");
                    self.is_in = true;
                }
                Err(error) => tracing::warn!("{error}. This is tried when it has taken more"),
            },
            None => {}
        }
        taken
    }
}

/// Why the packets of a device are better left to the stack, or have to be.
pub(crate) fn obstacle(device: &Device, workers: usize, options: QueueOptions) -> Option<String> {
    let QueueOptions { is_wanted, mode, .. } = options;
    let count = count(device);
    // Rather several workers by the stack than one alone that does without it.
    if !is_wanted && count * 2 < workers {
        return Some(format!(
            "{count} receive queues for {workers} workers: the stack spreads packets better (`ethtool -L`, or intake = \"xsk\")"
        ));
    }
    if !is_wanted && workers > 1 && ethtool::hashes_ports(&device.name) == Some(false) {
        return Some(
            "it spreads UDP by addresses alone, so that a trunk has one queue and one worker (`ethtool -N DEVICE rx-flow-hash udp4 sdfn`)"
                .to_owned(),
        );
    }
    // What its driver does not know, it drops without a word.
    let cannot = |can: Option<Features>| can.is_some_and(|can| !can.redirects);
    let is_blind = mode == XdpMode::Native && Features::of(device.index).is_ok_and(cannot);
    is_blind.then(|| "its driver cannot redirect frames".to_owned())
}

/// How many queues of a device can have a socket: those that are in use, as far as the driver tells.
fn count(device: &Device) -> usize {
    let count = ethtool::receive_queues(&device.name).unwrap_or(device.queues.0);
    count.clamp(1, QUEUES) as usize
}

fn lock(kernel: &Mutex<Kernel>) -> MutexGuard<'_, Kernel> {
    // Its maps are whole after each call.
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kernel {
    /// The place of a device's first queue in the map of AF_XDP sockets; it has one from now on.
    fn intake(&mut self, device: u32) -> Result<u32, KernelError> {
        if let Some(place) = self.intakes.iter().position(|taken| *taken == Some(device)) {
            return Ok(place as u32 * QUEUES);
        }
        let free = self.intakes.iter().position(Option::is_none);
        let place = free.ok_or_else(|| io::Error::other("so many devices cannot have AF_XDP sockets"))?;
        let first = place as u32 * QUEUES;
        self.intake_map()?.insert(device, first, 0).map_err(|error| KernelError::Map("INTAKES", error))?;
        if let Some(taken) = self.intakes.get_mut(place) {
            *taken = Some(device);
        }
        Ok(first)
    }

    /// Forgets a device that is gone.
    fn forget_intake(&mut self, device: u32) {
        if let Some(taken) = self.intakes.iter_mut().find(|taken| **taken == Some(device)) {
            *taken = None;
            let removed = self.intake_map().map(|mut map| map.remove(&device));
            tracing::debug!(device, ?removed, "a device's queues are forgotten");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_stands_still_while_packets_are_lost_loses_its_queue_until_it_goes_on() {
        assert_eq!(turn(true, false, 7), Some(Turn::Out));
        assert_eq!(turn(false, true, 0), Some(Turn::In));
        // One that has too much to do goes on, and one that has nothing to do stands still.
        for (is_in, has_taken, lost) in [(true, true, 7), (true, false, 0), (true, true, 0), (false, false, 7)] {
            assert_eq!(turn(is_in, has_taken, lost), None, "{is_in} {has_taken} {lost}");
        }
    }
}
