//! How datagrams for media ports come to the workers: past the stack by AF_XDP, steered to one socket for each worker, or by a socket for each port.

use std::net::IpAddr;
use std::sync::Arc;

use flow::Locals;

use crate::config::{RelayConfig, StartError};
use crate::engine::{Engine, Intake};
use crate::host::{Wake, permit, raise_descriptor_limit};
use crate::kernel::{Facts, Kernel, Pins, Sizes};
use crate::worker::bound::BoundPorts;
use crate::worker::socket;
use crate::worker::sockets::Sockets;
use crate::xsk::Inlet;

/// Sockets that a call needs where each port has its own: RTP and RTCP of two legs.
const SOCKETS_PER_CALL: u64 = 4;
/// Descriptors that the daemon needs for itself, control connections included.
const OWN_DESCRIPTORS: u64 = 64;

/// Loads the BPF programs and has them steer, unless the relay can do without: then, or where it is forbidden and the configuration leaves a
/// choice, there are no programs, or only that of XDP. Tells whether ports are steered.
pub(crate) fn load(
    config: &RelayConfig,
    locals: &Locals,
    sizes: Sizes,
    facts: Facts,
    pins: Option<Pins>,
) -> Result<(Option<Kernel>, bool), StartError> {
    if config.intake == Intake::Bound && matches!(config.engine, Engine::Uring | Engine::Epoll) {
        return Ok((None, false));
    }
    let mut kernel = match Kernel::load(locals, sizes, facts, pins) {
        Ok(kernel) => kernel,
        Err(error) if config.engine == Engine::Xdp || config.intake.is_steered() => return Err(error.into()),
        Err(error) => {
            warn_of_bound_ports(&error.to_string());
            return Ok((None, false));
        }
    };
    if config.intake == Intake::Bound {
        return Ok((Some(kernel), false));
    }
    match kernel.steer() {
        Ok(()) => Ok((Some(kernel), true)),
        Err(error) if config.intake.is_steered() => Err(error.into()),
        Err(error) => {
            warn_of_bound_ports(&error.to_string());
            Ok((Some(kernel), false))
        }
    }
}

/// What each worker receives from and sends by, and the daemon's side of it where the ports are bound.
pub(crate) fn sockets(
    config: &RelayConfig,
    is_steered: bool,
    addrs: &[IpAddr],
    wakes: &[Arc<Wake>],
    inlets: Vec<Inlet>,
) -> Result<(Vec<Sockets>, Option<Arc<BoundPorts>>), StartError> {
    if is_steered {
        match steered(config, addrs, inlets) {
            Ok(steered) => return Ok((steered, None)),
            Err(error) if config.intake.is_steered() => return Err(StartError::Worker(0, error)),
            Err(error) => warn_of_bound_ports(&error),
        }
    }
    Ok(bind(addrs, wakes))
}

fn warn_of_bound_ports(why: &str) {
    tracing::warn!("there is a socket for each media port, which limits how many calls there can be: {why}");
}

fn steered(config: &RelayConfig, addrs: &[IpAddr], inlets: Vec<Inlet>) -> Result<Vec<Sockets>, String> {
    let steered = inlets.into_iter().map(|inlet| {
        let receiver = socket::receiver().map_err(|error| format!("no socket: {error}"))?;
        let senders = socket::senders(config.output, addrs).map_err(|error| permit::explain_raw(&error))?;
        Ok(Sockets::Steered(Arc::new(receiver), senders, Some(inlet)))
    });
    steered.collect()
}

fn bind(addrs: &[IpAddr], wakes: &[Arc<Wake>]) -> (Vec<Sockets>, Option<Arc<BoundPorts>>) {
    let descriptors = raise_descriptor_limit();
    let calls = usize::try_from(descriptors.saturating_sub(OWN_DESCRIPTORS) / SOCKETS_PER_CALL).unwrap_or(usize::MAX);
    tracing::info!(descriptors, calls, "each media port has a socket of its own");
    let (ports, inboxes) = BoundPorts::new(addrs.to_vec(), wakes, calls);
    (inboxes.into_iter().map(Sockets::Bound).collect(), Some(Arc::new(ports)))
}
