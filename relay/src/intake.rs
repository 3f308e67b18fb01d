//! How datagrams for media ports come to the workers: steered to one socket for each worker, or by a socket for each port.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use flow::Locals;

use crate::bound::{self, BoundPorts};
use crate::engine::{Engine, Intake};
use crate::kernel::Kernel;
use crate::next_hops::HOPS;
use crate::permit;
use crate::relay::{RelayConfig, StartError};
use crate::socket::{self, Sockets};

/// Sockets that a call needs where each port has its own: RTP and RTCP of two legs.
const SOCKETS_PER_CALL: u64 = 4;

/// Loads the BPF programs, unless the relay can do without them: then, or where they are forbidden and the configuration leaves a choice, there
/// are none.
pub(crate) fn load(
    config: &RelayConfig,
    locals: &Locals,
    slots: usize,
    workers: usize,
) -> Result<Option<Kernel>, StartError> {
    let needs_none = config.intake == Intake::Bound && matches!(config.engine, Engine::Uring | Engine::Epoll);
    if needs_none {
        return Ok(None);
    }
    match Kernel::load(locals, slots, HOPS, workers) {
        Ok(kernel) => Ok(Some(kernel)),
        Err(error) if config.engine == Engine::Xdp || config.intake == Intake::Steered => Err(error.into()),
        Err(error) => {
            tracing::warn!("there is a socket for each media port, which limits how many calls there can be: {error}");
            Ok(None)
        }
    }
}

/// What each worker receives from and sends by, and the daemon's side of it where the ports are bound.
pub(crate) fn sockets(
    config: &RelayConfig,
    is_steerable: bool,
    addrs: &[IpAddr],
    workers: usize,
) -> Result<(Vec<Sockets>, Option<Arc<BoundPorts>>), StartError> {
    if is_steerable && config.intake != Intake::Bound {
        let steered = (0..workers).map(|_| {
            let receiver = socket::receiver(config.busy_poll).map_err(|error| format!("no socket: {error}"))?;
            let senders = socket::senders(config.output).map_err(|error| permit::explain_raw(&error))?;
            Ok(Sockets::Steered(Arc::new(receiver), senders))
        });
        match steered.collect::<Result<Vec<_>, String>>() {
            Ok(steered) => return Ok((steered, None)),
            Err(error) if config.intake == Intake::Steered => return Err(StartError::Worker(0, error)),
            Err(error) => {
                tracing::warn!(
                    "there is a socket for each media port, which limits how many calls there can be: {error}"
                );
            }
        }
    }
    bind(addrs, workers).map_err(|error| StartError::Worker(0, error.to_string()))
}

fn bind(addrs: &[IpAddr], workers: usize) -> io::Result<(Vec<Sockets>, Option<Arc<BoundPorts>>)> {
    let descriptors = bound::raise_descriptor_limit();
    tracing::info!(descriptors, calls = descriptors / SOCKETS_PER_CALL, "each media port has a socket of its own");
    let (ports, inboxes) = BoundPorts::new(addrs.to_vec(), workers)?;
    Ok((inboxes.into_iter().map(Sockets::Bound).collect(), Some(Arc::new(ports))))
}
