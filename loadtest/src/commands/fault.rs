//! Faults: each fails when calls suffer from it as they should not, and tells its figures as one JSON object.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use loadtest::fault::host::{self, HostPlan};
use loadtest::fault::hostile::{self, HostilePlan};
use loadtest::fault::kill::{self, KillPlan};
use loadtest::fault::package::{self, PackagePlan};
use loadtest::fault::points::{self, PointsPlan};
use loadtest::fault::secured::{self, SecuredPlan};
use loadtest::fault::soak::{self, SoakPlan};
use loadtest::fault::upgrade::{self, UpgradePlan};
use serde::Serialize;

#[derive(Subcommand)]
pub(crate) enum Fault {
    /// Kill the daemon again and again while calls talk
    Kill {
        /// Which path carries the media
        #[arg(long, default_value = "xdp", value_parser = ["xdp", "uring", "epoll"])]
        engine: String,
        /// Calls that talk
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=2000))]
        calls: u16,
        /// Seconds
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
        /// Calls that stand when it is measured how long a start takes
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=28_000))]
        standing: u32,
        /// A short form of everything, in seconds
        #[arg(long)]
        smoke: bool,
    },
    /// Have another version, with another layout of its memory, take over while calls talk
    Upgrade {
        /// Calls that talk
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=2000))]
        calls: u16,
        /// How often
        #[arg(long, default_value_t = 8)]
        times: usize,
        /// A short form of everything, in seconds
        #[arg(long)]
        smoke: bool,
    },
    /// Kill the daemon at random points of what it is doing, and see whether everything agrees afterwards
    Points {
        /// How often
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// What the points are chosen by: the same number brings the same points about, as far as a machine does the same twice
        #[arg(long)]
        seed: Option<u64>,
        /// A short form of everything, in seconds
        #[arg(long)]
        smoke: bool,
    },
    /// Set millions of calls up and tear them down over a network with losses, and see whether anything piles up
    Soak {
        /// How many
        #[arg(long, default_value_t = 2_000_000)]
        calls: u64,
        /// What losses are chosen by
        #[arg(long)]
        seed: Option<u64>,
        /// A short form of everything, in seconds
        #[arg(long)]
        smoke: bool,
    },
    /// Have a hundred hostile clients on every control socket while calls talk
    Hostile {
        /// Calls that talk
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=2000))]
        calls: u16,
        /// Seconds
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
        /// What the clients do is chosen by
        #[arg(long)]
        seed: Option<u64>,
        /// A short form of everything, in seconds
        #[arg(long)]
        smoke: bool,
    },
    /// Have calls talk beside very many that are secured, and beside floods of forged packets
    Secured {
        /// Calls on the fast path that talk
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1000))]
        calls: u16,
        /// Secured flows of 50 packets a second beside them
        #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(2..=4000))]
        flows: u32,
        /// Seconds of each
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// A short form of everything, in seconds
        #[arg(long)]
        smoke: bool,
    },
    /// Install, upgrade and remove the Debian package on a booted host while calls talk
    Package {
        /// A root with systemd, as debootstrap makes it; it is changed
        #[arg(long)]
        root: PathBuf,
        /// The package
        #[arg(long)]
        first: PathBuf,
        /// A later version of it
        #[arg(long)]
        second: PathBuf,
        /// Calls that talk
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        calls: u16,
    },
    /// Have the host fail under the daemon: disk, state folder, BPF file system, clock, interface, neighbour, address
    Host {
        /// Calls that talk
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        calls: u16,
        /// Milliseconds, each time
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(200..=60_000))]
        millis: u64,
        /// A short form of everything, in seconds
        #[arg(long)]
        smoke: bool,
    },
}

pub(crate) fn run(fault: Fault) -> anyhow::Result<ExitCode> {
    match fault {
        Fault::Kill { engine, calls, seconds, standing, smoke } => {
            let engine = ["uring", "epoll"].into_iter().find(|known| *known == engine).unwrap_or("xdp");
            let time = Duration::from_secs(seconds);
            let full = KillPlan { engine, calls, time, standing, ..KillPlan::default() };
            report(&kill::run(if smoke { KillPlan { engine, ..KillPlan::smoke() } } else { full })?)
        }
        Fault::Upgrade { calls, times, smoke } => {
            let full = UpgradePlan { calls, times, ..UpgradePlan::default() };
            report(&upgrade::run(if smoke { UpgradePlan::smoke() } else { full })?)
        }
        Fault::Points { kills, seed, smoke } => {
            let seed = seed.map_or_else(points::seed, Ok)?;
            report(&points::run(if smoke { PointsPlan::smoke(seed) } else { PointsPlan { kills, seed } })?)
        }
        Fault::Soak { calls, seed, smoke } => {
            let seed = seed.map_or_else(points::seed, Ok)?;
            report(&soak::run(if smoke { SoakPlan::smoke(seed) } else { SoakPlan { calls, seed } })?)
        }
        Fault::Hostile { calls, seconds, seed, smoke } => {
            let seed = seed.map_or_else(points::seed, Ok)?;
            let full = HostilePlan { calls, time: Duration::from_secs(seconds), seed };
            report(&hostile::run(if smoke { HostilePlan::smoke(seed) } else { full })?)
        }
        Fault::Secured { calls, flows, seconds, smoke } => {
            let full = SecuredPlan { calls, flows, time: Duration::from_secs(seconds), ..SecuredPlan::default() };
            report(&secured::run(if smoke { SecuredPlan::smoke() } else { full })?)
        }
        Fault::Package { root, first, second, calls } => {
            report(&package::run(&PackagePlan { root, packages: [first, second], calls })?)
        }
        Fault::Host { calls, millis, smoke } => {
            let full = HostPlan { calls, time: Duration::from_millis(millis) };
            report(&host::run(if smoke { HostPlan::smoke() } else { full })?)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn report(figures: &impl Serialize) -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(ExitCode::SUCCESS)
}
