//! Frames made in the kernel: the generator program, run on live frames by `BPF_PROG_RUN` from one core.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aya::maps::{Array, PerCpuArray};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::rig::host::{Host, in_namespace};
use crate::rig::program::Program;

/// The core that makes the frames, forwards them and counts them: veth devices hand frames on within one core.
const CORE: usize = 0;
/// Frames of one run of the generator. Setting a run up costs milliseconds, so runs are long.
const RUN: u32 = 500_000;
/// Frames handed over at once, as a network card's driver would.
const BATCH: u32 = 64;
/// How long the last frames may be under way.
const REST: Duration = Duration::from_millis(20);
/// Where the plan has how many frames of the flood there are for one of a party.
const EVERY: u32 = 15;
/// Payload of G.711 with 20 ms: RTP header and 160 samples.
const RTP_LEN: u16 = 172;

/// A family of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The program that makes its frames, and how many words it writes.
    const fn generator(self) -> (&'static str, usize) {
        match self {
            Self::Ipv4 => ("generate", 7),
            Self::Ipv6 => ("generate6", 9),
        }
    }
}

/// What the generator sends: flows of two sides, the parties .10 and .11 of a network, each call one flow of each side, to the relay's
/// addresses .1 and .2, ports counted up in pairs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flows {
    pub(crate) family: Family,
    pub(crate) count: u32,
    /// One frame of so many is a party's, and all others are strangers', who send to the same ports. `None`: all are the parties'.
    pub(crate) every: Option<u64>,
    pub(crate) first_port: u16,
}

/// The network of generator and relay: 192.0.2.0 or 2001:db8:2::, and a host of it.
const fn host(family: Family, number: u8) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, number as u16)),
    }
}

/// The party of a call on a side (0 or 1).
pub(crate) const fn party(family: Family, side: u8) -> IpAddr {
    host(family, 10 + side)
}

/// The relay's address on a side.
pub(crate) const fn relay(family: Family, side: u8) -> IpAddr {
    host(family, 1 + side)
}

/// A frame of side 0 with these ports, which the generator writes like the sequence number and the timestamp.
pub(crate) fn template(family: Family, ports: [u16; 2]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    match family {
        Family::Ipv4 => {
            frame.extend([0x08, 0, 0x45, 0]);
            frame.extend((28 + RTP_LEN).to_be_bytes());
            // Any header checksum costs the same: the relay mends what it was, and nobody at the end looks at it.
            frame.extend([0, 1, 0x40, 0, 64, 17, 0x12, 0x34]);
        }
        Family::Ipv6 => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((8 + RTP_LEN).to_be_bytes());
            frame.extend([17, 64]);
        }
    }
    for addr in [party(family, 0), relay(family, 0)] {
        match addr {
            IpAddr::V4(addr) => frame.extend(addr.octets()),
            IpAddr::V6(addr) => frame.extend(addr.octets()),
        }
    }
    frame.extend(ports.map(u16::to_be_bytes).as_flattened());
    frame.extend((8 + RTP_LEN).to_be_bytes());
    frame.extend([0x56, 0x78]);
    frame.extend([0x80, 8, 0, 0, 0, 0, 0, 0, 0x11, 0x22, 0x33, 0x44]);
    frame.resize(frame.len() + usize::from(RTP_LEN) - 12, 0xd5);
    frame
}

/// Frames that arrived, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Frames of all kinds.
    pub(crate) made: u64,
    /// The parties' frames among them. Without strangers, only those that the cable to the relay took.
    pub(crate) sent: u64,
    /// The parties' frames that came to the sink.
    pub(crate) arrived: u64,
    pub(crate) time: Duration,
}

impl Rate {
    pub(crate) fn mpps(self) -> f64 {
        self.arrived as f64 / self.time.as_secs_f64() / 1e6
    }
}

/// Sends frames out of a device of a host for about so long, and counts what a sink sees meanwhile.
pub(crate) fn flood(
    generator: &mut Program,
    host: &Host,
    device: &str,
    flows: Flows,
    time: Duration,
    sink: &(dyn Fn() -> anyhow::Result<u64> + Sync),
) -> anyhow::Result<Rate> {
    super::go_on()?;
    let frame = template(flows.family, [0; 2]);
    plan(generator, flows, &frame)?;
    let index = host.device_index(device)?;
    let generator_name = if flows.every.is_some() { "flood" } else { flows.family.generator().0 };
    generator.xdp(generator_name)?;
    let generator = &*generator;
    let program = generator.loaded(generator_name)?;
    in_namespace(host, || {
        let mut core = CpuSet::new();
        core.set(CORE);
        sched_setaffinity(None, &core).context("cannot stay on one core")?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, frame.len() as u32, 0, index, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let run = || -> anyhow::Result<()> {
            let options = TestRunOptions {
                data_in: Some(&frame),
                ctx_in: Some(&context),
                repeat: RUN,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::new()
            };
            program.test_run(options)?;
            Ok(())
        };
        // The first run makes the pages and warms the caches.
        run()?;
        std::thread::sleep(REST);
        let (refused_before, before, made_before) = (refused(host, device)?, sink()?, made(generator)?);
        let start = Instant::now();
        while start.elapsed() < time {
            run()?;
        }
        let time = start.elapsed();
        // The last frames may still be under way.
        std::thread::sleep(REST);
        let (arrived, made) = (sink()? - before, made(generator)?);
        if arrived == 0 {
            bail!("no frame arrived at the sink");
        }
        let every = flows.every.unwrap_or(1);
        let mut sent = made / every - made_before / every;
        // Whose frames were refused nobody knows where there are strangers: that they are so few is asserted by who measures them.
        if flows.every.is_none() {
            sent -= refused(host, device)? - refused_before;
        }
        Ok(Rate { made: made - made_before, sent, arrived, time })
    })
}

pub(crate) fn plan(generator: &mut Program, flows: Flows, frame: &[u8]) -> anyhow::Result<()> {
    let map = generator.ebpf.map_mut("PLAN").context("no PLAN")?;
    let mut plan: Array<_, u64> = map.try_into()?;
    plan.set(EVERY, flows.every.unwrap_or(1), 0)?;
    let mask = u64::from(flows.count.next_power_of_two()) - 1;
    plan.set(0, u64::from(flows.count), 0)?;
    plan.set(1, mask, 0)?;
    plan.set(2, u64::from(flows.first_port), 0)?;
    for (index, word) in (3..).zip(frame.as_chunks::<8>().0.iter().take(flows.family.generator().1)) {
        plan.set(index, u64::from_ne_bytes(*word), 0)?;
    }
    Ok(())
}

/// How many frames the generator has made.
pub(crate) fn made(generator: &Program) -> anyhow::Result<u64> {
    let map = generator.ebpf.map("POSITION").context("no POSITION")?;
    let position: PerCpuArray<_, [u64; 2]> = map.try_into()?;
    Ok(position.get(&0, 0)?.iter().map(|[number, _]| number).sum())
}

/// How many frames a device did not take from a program, because its cable was full. The other end of a cable is worked off on the core of
/// the generator, and now and then, when the kernel's own thread does that (`ksoftirqd`), the generator is scheduled before it.
pub(crate) fn refused(host: &Host, device: &str) -> anyhow::Result<u64> {
    let counts = host.run("ethtool", ["-S", device])?;
    let refused = counts.lines().filter_map(|line| line.trim().split_once("_xdp_xmit_errors: "));
    refused.map(|(_, count)| Ok(count.parse::<u64>()?)).sum()
}

/// How many frames a sink has counted.
pub(crate) fn sunk(program: &Program) -> anyhow::Result<u64> {
    let counts: PerCpuArray<_, u64> = program.ebpf.map("SUNK").context("no SUNK")?.try_into()?;
    Ok(counts.get(&0, 0)?.iter().sum())
}
