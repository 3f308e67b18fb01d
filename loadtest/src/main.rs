//! Real calls through the relay, from the command line.

mod commands;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use loadtest::bench;
use loadtest::demo::{self, Outcome};
use loadtest::rig::calls::CallPlan;
use loadtest::rig::daemon::DaemonOptions;
use loadtest::rig::trunks::Trunk;

use crate::commands::bench::Bench;
use crate::commands::fault::Fault;
use crate::commands::load::Load;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make real calls between two trunks and prove that they crossed the relay whole
    Demo(Demo),
    /// Measure something against something else
    #[command(flatten)]
    Bench(Bench),
    /// Make calls in great numbers, and compare
    #[command(flatten)]
    Load(Load),
    /// Have something fail under load, and see what becomes of the calls
    #[command(subcommand)]
    Fault(Fault),
}

#[derive(clap::Args)]
struct Demo {
    /// Which path carries the media
    #[arg(long, default_value = "auto", value_parser = ["auto", "xdp", "uring", "epoll"])]
    engine: String,
    /// How many calls at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=500))]
    calls: u32,
    /// How long each speaks, in seconds
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Who calls whom
    #[arg(long, default_value = "pbx-to-gateway")]
    route: Route,
    /// The callee's trunk has its media over IPv6, the caller's over IPv4
    #[arg(long)]
    to_ipv6: bool,
    /// One JSON object on standard output instead of the report
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Route {
    PbxToGateway,
    GatewayToPbx,
    PbxToPbx,
}

impl Route {
    const fn ends(self) -> (Trunk, Trunk) {
        match self {
            Self::PbxToGateway => (Trunk::Pbx1, Trunk::Gateway),
            Self::GatewayToPbx => (Trunk::Gateway, Trunk::Pbx2),
            Self::PbxToPbx => (Trunk::Pbx1, Trunk::Pbx2),
        }
    }
}

fn main() -> ExitCode {
    let done = stopped_by_signals().and_then(|is_stopped| carry_out(Arguments::parse().command, &is_stopped));
    done.unwrap_or_else(|error| {
        eprintln!("loadtest: {error:#}");
        ExitCode::FAILURE
    })
}

fn carry_out(command: Command, is_stopped: &Arc<AtomicBool>) -> anyhow::Result<ExitCode> {
    bench::stop_with(Arc::clone(is_stopped));
    match command {
        Command::Demo(demo) => run(&demo, is_stopped).map(|outcome| report(&outcome, demo.json)),
        Command::Bench(bench) => commands::bench::run(bench),
        Command::Fault(fault) => commands::fault::run(fault),
        Command::Load(load) => load.carry_out(),
    }
}

/// True when a signal has asked for the end. The programs are in the terminal's process group and get the signal as well; what is left to do is
/// the clean-up, by returning.
fn stopped_by_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&is_stopped)).context("cannot catch signals")?;
    }
    Ok(is_stopped)
}

fn run(demo: &Demo, is_stopped: &Arc<AtomicBool>) -> anyhow::Result<Outcome> {
    let (from, to) = demo.route.ends();
    let plan = CallPlan { from, to, to_ipv6: demo.to_ipv6, calls: demo.calls, seconds: demo.seconds };
    let folder = tempfile::tempdir()?;
    demo::run(&plan, &DaemonOptions::new(&demo.engine), folder.path(), is_stopped)
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn report(outcome: &Outcome, json: bool) -> ExitCode {
    if json {
        match serde_json::to_string(outcome) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("demo: {error}"),
        }
    } else {
        let wire = &outcome.wire;
        let mark = |good: bool| if good { "ok  " } else { "FAIL" };
        println!("\n{} {} over {}, {} calls", mark(outcome.passed()), outcome.route, outcome.engine, wire.calls);
        println!(
            "{} {} packets sent, {} received, {} lost",
            mark(wire.packets_lost == 0),
            wire.packets_sent,
            wire.packets_received,
            wire.packets_lost
        );
        println!("{} payload identical, byte by byte", mark(wire.payload_identical));
        println!("{} {} bad checksums", mark(wire.bad_checksums == 0), wire.bad_checksums);
        println!(
            "     {} packets by the fast path, {} by the slow path",
            outcome.fast_path_packets, outcome.slow_path_packets
        );
        println!(
            "     delay end to end: median {} us, 99 % within {} us, longest {} us",
            wire.added_delay_us.p50, wire.added_delay_us.p99, wire.added_delay_us.max
        );
    }
    for failure in outcome.failures() {
        eprintln!("FAIL {failure}");
    }
    if outcome.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
