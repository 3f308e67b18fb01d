//! The XDP program alone, by `BPF_PROG_TEST_RUN`, for the benchmarks: no device, one flow, warm caches.

use std::io;
use std::net::SocketAddr;

use aya::programs::{TestRun as _, TestRunOptions};
use flow::slot::{Flags, Path};
use flow::{Be16, Bearing, Hop, HopId, Locals, Rule};

use super::{Facts, Kernel, KernelError, Sizes};

/// The device that test frames come in by, when none is named: the loopback device of the namespace.
const INGRESS: u32 = 1;
/// Another one, which need not exist: nothing leaves.
const EGRESS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// An RTP frame of the party to the local address. It is forwarded to where it came for, from where it came: every run finds it the same.
    pub frame: &'a [u8],
    /// Where the frame comes from.
    pub party: SocketAddr,
    /// Where it goes.
    pub local: SocketAddr,
    /// Whether it leaves by another device than it came by.
    pub is_redirect: bool,
    /// How often the program runs.
    pub repeat: u32,
}

/// Nanoseconds of the program for one packet.
///
/// # Errors
/// When the kernel refuses, or the program did not forward the frame.
pub fn test_run(measured: &Measured<'_>) -> Result<f64, KernelError> {
    let Measured { party, local, .. } = *measured;
    let locals = Locals::new(&[local.ip()], local.port(), local.port() + 1, 1)
        .map_err(|_| io::Error::other("no port beside the local one"))?;
    let mut kernel = Kernel::load(
        &locals,
        Sizes { slots: flow::local::SLOTS_PER_LOCAL as usize, hops: 4, workers: 1 },
        Facts { has_unfinished: false, owns_ports: true },
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
    (rule.flags, rule.hop) =
        (Flags::ACTIVE.with(Flags::FAST).with(Flags::CALL).with(Flags::RTP).with(Flags::ANY_SSRC), way);
    let slot = locals.find(local.ip()).and_then(|ports| ports.slot(Be16::new(local.port())));
    if let Some(slot) = slot.and_then(|index| slots.get(index.0 as usize)) {
        slot.program(rule);
    }
    kernel.set_device(0, INGRESS)?;
    let options = TestRunOptions { data_in: Some(measured.frame), repeat: measured.repeat, ..TestRunOptions::new() };
    let result = kernel.load_xdp()?.test_run(options).map_err(|error| KernelError::Program("relay", error))?;
    let expected = if measured.is_redirect { XDP_REDIRECT } else { XDP_TX };
    if result.return_value != expected {
        return Err(io::Error::other(format!("the program answered {}", result.return_value)).into());
    }
    Ok(result.duration.as_nanos() as f64)
}
