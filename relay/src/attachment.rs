//! Whether the XDP program is still where it was attached: looked at once a second, for nobody tells when somebody detaches it.

use std::io;

use crate::kernel::{Kernel, XdpMode};
use crate::netlink::{Device, Netlink};

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

/// The devices that the program was attached to.
pub(crate) struct Attachments {
    netlink: Netlink,
    devices: Vec<(Device, State)>,
    mode: XdpMode,
    /// How often a device's fast path was lost, and how often it came back.
    turns: Turns,
}

/// How often the fast path was lost and came back, of all devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turns {
    /// Lost: a link went down, or the program was detached.
    pub lost: u64,
    /// Came back.
    pub regained: u64,
}

impl Attachments {
    /// The program is attached to these now.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket.
    pub(crate) fn new(devices: impl IntoIterator<Item = Device>, mode: XdpMode) -> io::Result<Self> {
        let devices = devices.into_iter().map(|device| (device, State::Whole)).collect();
        Ok(Self { netlink: Netlink::open(&[])?, devices, mode, turns: Turns::default() })
    }

    /// How often the fast path was lost and came back.
    pub(crate) const fn turns(&self) -> Turns {
        self.turns
    }

    /// The devices that have the program no more.
    pub(crate) fn detached(&self) -> impl Iterator<Item = u32> {
        let has_none = |state| matches!(state, State::Detached | State::Gone);
        self.devices.iter().filter(move |(_, state)| has_none(*state)).map(|(device, _)| device.index)
    }

    /// Looks at every device, attaches the program where it is missing, and says what has changed.
    pub(crate) fn look(&mut self, kernel: &mut Kernel) {
        let ours = match kernel.xdp_id() {
            Ok(ours) => ours,
            Err(error) => return tracing::debug!(%error, "the program's number cannot be read"),
        };
        for (device, state) in &mut self.devices {
            let found = match self.netlink.device(device.index) {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(%error, device = device.name, "the device cannot be looked at");
                    continue;
                }
            };
            let (before, now) = (*state, state_of(found.as_ref(), ours));
            if before == State::Whole && now != State::Whole {
                self.turns.lost += 1;
                tracing::warn!(
                    device = device.name,
                    "the fast path is lost and the slow path carries on: {}",
                    why(now)
                );
            }
            *state = match (now, found) {
                (State::Detached, Some((found, _))) => match kernel.attach_xdp(&found, self.mode) {
                    Ok(()) => State::Whole,
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
                self.turns.regained += 1;
                tracing::info!(device = device.name, "the fast path is back");
            }
        }
    }
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
