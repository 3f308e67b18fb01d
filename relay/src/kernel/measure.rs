//! The XDP program alone, for the benchmarks: no device, one flow.

use std::io;
use std::net::SocketAddr;

use aya::programs::ProgramFd;
use flow::slot::{Flags, Path};
use flow::{Be16, Bearing, Hop, HopId, Locals, Rule};

use super::{Facts, Kernel, KernelError, Sizes};

/// The device that test frames come in by, when none is named: the loopback device of the namespace.
const INGRESS: u32 = 1;
/// Another one, which need not exist: nothing leaves.
const EGRESS: u32 = 2;
/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Where frames come from. They are forwarded to where they came for, from where they came: every run finds the same addresses.
    pub party: SocketAddr,
    /// Where they go.
    pub local: SocketAddr,
    /// The synchronisation source of the frames.
    pub ssrc: u32,
    /// Whether they leave by another device than they came by.
    pub is_redirect: bool,
}

/// Has the program run, with a slot for the flow.
///
/// # Errors
/// When the kernel refuses it.
pub fn with_program<T>(measured: &Measured, run: impl FnOnce(&ProgramFd) -> T) -> Result<T, KernelError> {
    let Measured { party, local, .. } = *measured;
    let locals = Locals::new(&[local.ip()], local.port(), local.port() + 1, 1)
        .map_err(|_| io::Error::other("no port beside the local one"))?;
    let mut kernel = Kernel::load(
        &locals,
        Sizes { slots: flow::local::SLOTS_PER_LOCAL as usize, hops: 4, workers: 1 },
        Facts { has_unfinished: false, owns_ports: true },
        None,
    )?;
    let (slots, hops) = (kernel.map_slots()?, kernel.map_hops()?);
    let (way, towards) = (HopId(1), HopId(2));
    let bearing = |from: SocketAddr, to: SocketAddr| Bearing { from: from.ip(), to: to.ip(), tos: None };
    let device = if measured.is_redirect { EGRESS } else { INGRESS };
    let hop = Hop {
        to: [2, 0, 0, 0, 0, 1].into(),
        from: [2, 0, 0, 0, 0, 2].into(),
        device,
        port: 0,
        reflects: true,
        mtu: 1500,
    };
    for (id, bearing) in [(way, bearing(party, local)), (towards, bearing(local, party))] {
        if let Some(cell) = hops.get(usize::from(id.0)) {
            cell.bear(&bearing);
            cell.write(Some(hop));
        }
    }
    let mut rule = Rule::new(&Path { peer: party, local, from: party, to: local }, towards);
    (rule.flags, rule.hop, rule.ssrc) =
        (Flags::ACTIVE.with(Flags::FAST).with(Flags::CALL).with(Flags::RTP), way, measured.ssrc.to_be());
    let slot = locals.find(local.ip()).and_then(|ports| ports.slot(Be16::new(local.port())));
    if let Some(slot) = slot.and_then(|index| slots.get(index.0 as usize)) {
        slot.program(rule);
    }
    kernel.set_device(0, INGRESS)?;
    let program = kernel.load_xdp()?;
    let fd = program.fd().map_err(|error| KernelError::Program("relay", error))?;
    Ok(run(fd))
}
