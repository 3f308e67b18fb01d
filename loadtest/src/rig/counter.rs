//! How many RTP packets leave a host by a device, and come to it.

use super::host::{Host, in_namespace};
use super::program::Program;
use anyhow::Context as _;
use aya::maps::PerCpuArray;
use aya::programs::{SchedClassifier, TcAttachType, tc};

/// It counts from its making on, and drops what it has counted of what comes: it is for parties that send recorded speech and listen to nobody.
#[derive(Debug)]
pub struct Counter {
    sent: Program,
    received: Program,
}

/// RTP packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// That left.
    pub sent: u64,
    /// That came.
    pub received: u64,
}

impl Counter {
    /// At a device of a host.
    ///
    /// # Errors
    /// When the kernel refuses the programs.
    pub fn new(host: &Host, device: &str) -> anyhow::Result<Self> {
        let [mut sent, mut received] = [Program::load()?, Program::load()?];
        in_namespace(host, || Ok(tc::qdisc_add_clsact(device)?)).with_context(|| device.to_owned())?;
        let ends =
            [(&mut sent, "count_sent", TcAttachType::Egress), (&mut received, "count_received", TcAttachType::Ingress)];
        for (program, name, direction) in ends {
            let program =
                program.ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()?;
            let attached = in_namespace(host, || {
                program.attach(device, direction)?;
                Ok(())
            });
            attached.with_context(|| format!("{name} cannot be attached to {device}"))?;
        }
        Ok(Self { sent, received })
    }

    /// What it has counted so far.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn read(&self) -> anyhow::Result<Counted> {
        let count = |program: &Program| -> anyhow::Result<u64> {
            let counts: PerCpuArray<_, u64> = program.ebpf.map("SUNK").context("no SUNK")?.try_into()?;
            Ok(counts.get(&0, 0)?.iter().sum())
        };
        Ok(Counted { sent: count(&self.sent)?, received: count(&self.received)? })
    }

    /// How many came to each port so far.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn heard(&self) -> anyhow::Result<Vec<u64>> {
        let heard: PerCpuArray<_, u64> = self.received.ebpf.map("HEARD").context("no HEARD")?.try_into()?;
        (0..heard.len()).map(|port| Ok(heard.get(&port, 0)?.iter().sum())).collect()
    }
}
