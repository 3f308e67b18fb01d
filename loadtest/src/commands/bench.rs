//! Benches: each measures in turns with something else, and tells its figures as a table or as one JSON object.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use loadtest::bench::control::{self, ControlPlan};
use loadtest::bench::fastpath::{self, FastpathPlan};
use loadtest::bench::gate::{self, GatePlan};
use loadtest::bench::observe::{self, ObservePlan};
use loadtest::bench::scale::{self, ScalePlan};
use loadtest::bench::slowpath::{self, SlowpathPlan};
use loadtest::bench::srtp::{self, SrtpPlan};
use loadtest::bench::strangers::{self, StrangersPlan};
use loadtest::bench::{Action, Family};
use loadtest::rig::daemon::Build;

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Measure the fast path against the limit of the rig
    #[command(name = "bench-fastpath")]
    Fastpath(BenchFastpath),
    /// Measure two builds of the daemon against each other; fails where the one is slower for sure
    #[command(name = "bench-compare")]
    Compare(BenchCompare),
    /// Measure the slow path against rtpengine
    #[command(name = "bench-slowpath")]
    Slowpath(BenchSlowpath),
    /// Measure the control plane against rtpengine
    #[command(name = "bench-control")]
    Control(BenchControl),
    /// Flood the ports of live calls with strangers' packets
    #[command(name = "bench-strangers")]
    Strangers(BenchStrangers),
    /// Have a hundred thousand flows at once
    #[command(name = "bench-scale")]
    Scale {
        /// A short form of everything, in seconds
        #[arg(long)]
        smoke: bool,
        /// One JSON object on standard output instead of the lines
        #[arg(long)]
        json: bool,
    },
    /// Measure what SRTP costs for a packet, by suites, with one stream and with very many
    #[command(name = "bench-srtp")]
    Srtp {
        /// A short form, in a moment: no figures worth anything
        #[arg(long)]
        smoke: bool,
        /// One JSON object on standard output instead of the table
        #[arg(long)]
        json: bool,
    },
    /// Measure what it costs the daemon to be scraped, and looked at by the dashboard
    #[command(name = "bench-observe")]
    Observe {
        /// Rounds, of which the medians are reported
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rounds: u32,
        /// Milliseconds for each measurement
        #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
        millis: u64,
        /// How many calls stand meanwhile
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=150_000))]
        standing: u32,
        /// A short form, in seconds: fails unless it works, and tells no figures worth anything
        #[arg(long)]
        smoke: bool,
        /// One JSON object on standard output instead of the table
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
pub(crate) struct BenchCompare {
    /// The daemon that is compared with; in a short form, the one beside this program, too
    #[arg(long, required_unless_present = "smoke")]
    base: Option<PathBuf>,
    /// The daemon that is compared; the one beside this program unless told
    #[arg(long)]
    this: Option<PathBuf>,
    /// Pairs of each measurement
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Milliseconds for each of a pair
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    millis: u64,
    /// By how many percent it may be slower
    #[arg(long, default_value_t = 5.0, value_parser = percent)]
    bound: f64,
    /// A short form, in seconds: whether it works, not how fast anything is
    #[arg(long)]
    smoke: bool,
    /// One JSON object on standard output instead of the table
    #[arg(long)]
    json: bool,
}

/// A share that something can be slower by.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|percent| (0.1..=1000.0).contains(percent));
    number.ok_or_else(|| "a number of percent, from 0.1 to 1000".to_owned())
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn bench_compare(bench: BenchCompare) -> anyhow::Result<ExitCode> {
    let (flows, rounds, millis) =
        if bench.smoke { (20, 1, 50) } else { (1000, bench.rounds as usize, bench.millis.max(50)) };
    let rows = gate::run(&GatePlan {
        base: bench.base.map_or_else(Build::default, Build::at),
        this: bench.this.map_or_else(Build::default, Build::at),
        flows,
        rounds,
        time: Duration::from_millis(millis),
        bound: bench.bound / 100.0,
    })?;
    if bench.json {
        println!("{}", serde_json::to_string(&rows)?);
    } else {
        println!("what costs                                    base      this   this of base  (99 in 100 sure)");
        for row in &rows {
            let [median, least, greatest] = [row.ratio.median, row.ratio.least, row.ratio.greatest];
            let verdict = match (row.is_worse, row.is_vague) {
                (true, _) => "  SLOWER",
                (false, true) => "  cannot tell: it swings",
                (false, false) => "",
            };
            println!(
                "{:<40} {:>6.1} {} {:>6.1} {} {median:>9.3}  ({least:.3} to {greatest:.3}){verdict}",
                row.what, row.base, row.unit, row.this, row.unit
            );
        }
    }
    // One pair is never sure.
    let is_worse = !bench.smoke && rows.iter().any(|row| row.is_worse);
    if is_worse {
        eprintln!("slower than the base by more than {} %", bench.bound);
    }
    Ok(if is_worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[derive(clap::Args)]
pub(crate) struct BenchFastpath {
    /// Rounds, of which the medians are reported
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Milliseconds for each measurement
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    millis: u64,
    /// Only this action
    #[arg(long)]
    action: Option<Action>,
    /// Only this family
    #[arg(long)]
    family: Option<Family>,
    /// Only so many flows
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=40_000))]
    flows: Option<u32>,
    /// A short form of everything, in seconds: fails unless it works, and tells no figures worth anything
    #[arg(long)]
    smoke: bool,
    /// One JSON object on standard output instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct BenchSlowpath {
    /// Rounds, of which the medians are reported
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Milliseconds for each measurement
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    millis: u64,
    /// Over how many streams
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=5_000))]
    streams: u32,
    /// What comes in plain leaves as SRTP
    #[arg(long)]
    srtp: bool,
    /// Only these, such as `intertrunk-xsk`
    #[arg(long)]
    only: Vec<String>,
    /// A short form of everything, in seconds: fails unless it works, and tells no figures worth anything
    #[arg(long)]
    smoke: bool,
    /// One JSON object on standard output instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct BenchControl {
    /// Rounds, of which the medians are reported
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Milliseconds for each measurement
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    millis: u64,
    /// How many calls stand meanwhile
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=150_000))]
    standing: u32,
    /// A short form of everything, in seconds: fails unless it works, and tells no figures worth anything
    #[arg(long)]
    smoke: bool,
    /// One JSON object on standard output instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct BenchStrangers {
    /// Rounds, which are added up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Milliseconds for each measurement
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    millis: u64,
    /// A short form of everything, in seconds: fails unless it works, and tells no figures worth anything
    #[arg(long)]
    smoke: bool,
    /// One JSON object on standard output instead of the table
    #[arg(long)]
    json: bool,
}

/// Measures.
pub(crate) fn run(bench: Bench) -> anyhow::Result<ExitCode> {
    match bench {
        Bench::Fastpath(bench) => bench_fastpath(&bench),
        Bench::Compare(bench) => bench_compare(bench),
        Bench::Slowpath(bench) => bench_slowpath(&bench),
        Bench::Control(bench) => bench_control(&bench),
        Bench::Strangers(bench) => bench_strangers(&bench),
        Bench::Scale { smoke, json } => bench_scale(smoke, json),
        Bench::Srtp { smoke, json } => bench_srtp(smoke, json),
        Bench::Observe { rounds, millis, standing, smoke, json } => {
            let time = Duration::from_millis(millis.max(500));
            let full = ObservePlan {
                rounds: rounds as usize,
                time,
                standing: standing as usize,
                rate: 500.0,
                settled: Duration::from_secs(6),
                flows: 2000,
            };
            bench_observe(&if smoke { ObservePlan::smoke() } else { full }, smoke, json)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn bench_fastpath(bench: &BenchFastpath) -> anyhow::Result<ExitCode> {
    let full = FastpathPlan {
        rounds: bench.rounds as usize,
        time: Duration::from_millis(bench.millis),
        actions: bench.action.map_or(Action::ALL.to_vec(), |action| vec![action]),
        families: bench.family.map_or(Family::ALL.to_vec(), |family| vec![family]),
        flows: bench.flows.map_or(fastpath::FLOWS.to_vec(), |flows| vec![flows]),
    };
    let result = fastpath::run(&if bench.smoke { FastpathPlan::smoke() } else { full })?;
    if bench.smoke {
        result.check()?;
    }
    if bench.json {
        println!("{}", serde_json::to_string(&result)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("program     family action    flows    Mpps  ns/packet  of bare    (range)  alone, ns");
    for row in result.rows.iter().chain(&result.limits) {
        let [least, greatest] = row.ratio_range.map(|ratio| 100.0 * ratio);
        println!(
            "{:<11} {:<6} {:<8} {:>6} {:>7.2} {:>10.1} {:>6.1} % ({least:>3.0}-{greatest:>3.0}) {:>10}",
            row.program,
            format!("{:?}", row.family).to_lowercase(),
            format!("{:?}", row.action).to_lowercase(),
            row.flows,
            row.mpps,
            row.ns_per_packet,
            100.0 * row.ratio_to_bare,
            row.test_run_ns.map(|ns| ns.to_string()).unwrap_or_default()
        );
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn bench_slowpath(bench: &BenchSlowpath) -> anyhow::Result<ExitCode> {
    let time = Duration::from_millis(bench.millis.max(100));
    let full = SlowpathPlan {
        rounds: bench.rounds as usize,
        time,
        streams: bench.streams,
        offered: slowpath::OFFERED.to_vec(),
        last_pace: slowpath::LAST_PACE,
        reports: slowpath::REPORTS,
        only: bench.only.clone(),
        is_secured: bench.srtp,
    };
    let result = slowpath::run(&if bench.smoke {
        SlowpathPlan { is_secured: bench.srtp, only: bench.only.clone(), ..SlowpathPlan::smoke() }
    } else {
        full
    })?;
    if bench.smoke {
        result.check()?;
    }
    if bench.json {
        println!("{}", serde_json::to_string(&result)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "relay            workers  RTCP/s  sent, kpps  received   lost, %  us/packet  delay us: p50     p99   p99.9"
    );
    for row in &result.rows {
        let delays = row.latency_us.map(|latency| [latency.p50, latency.p99, latency.p999]);
        let [p50, p99, p999] =
            delays.map_or_else(|| ["-"; 3].map(str::to_owned), |delays| delays.map(|delay| format!("{delay:.0}")));
        println!(
            "{:<18} {:>5} {:>7} {:>11.1} {:>9.1} {:>9.3} {:>10.2} {p50:>14} {p99:>7} {p999:>7}",
            row.relay,
            row.workers,
            row.reports,
            row.offered_kpps,
            row.received_kpps,
            100.0 * row.loss,
            row.cpu_us_per_packet
        );
    }
    for (relay, kpps) in &result.max_loss_free_kpps {
        let packets = result.max_packets_per_cpu_second.get(relay).copied().unwrap_or_default();
        println!(
            "{relay:<18} carries {kpps:.0} kpps without loss, and at best {packets:.0} packets for a second of its processors"
        );
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn bench_control(bench: &BenchControl) -> anyhow::Result<ExitCode> {
    let time = Duration::from_millis(bench.millis.max(100));
    let full = ControlPlan {
        rounds: bench.rounds as usize,
        time,
        standing: bench.standing as usize,
        rates: control::RATES.to_vec(),
    };
    let result = control::run(&if bench.smoke { ControlPlan::smoke() } else { full })?;
    if bench.smoke {
        result.check()?;
    }
    if bench.json {
        println!("{}", serde_json::to_string(&result)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("relay       standing  calls/CPU second  calls/second  reply us: p50      p99  bytes/call  lost");
    for row in &result.rows {
        println!(
            "{:<11} {:>8} {:>17.0} {:>13.0} {:>14.0} {:>8.0} {:>11} {:>5}",
            row.relay,
            row.standing_calls,
            row.calls_per_cpu_second,
            row.calls_per_second,
            row.reply_us.p50,
            row.reply_us.p99,
            row.bytes_per_call,
            row.lost
        );
        for at in &row.at_rates {
            println!(
                "            at {:>6} calls a second: {:>6.0} reached, replies in {:>5.0} us, 99 % within {:>6.0}, the last after {:>6.0}",
                at.asked, at.calls_per_second, at.reply_us.p50, at.reply_us.p99, at.reply_us.most
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn bench_strangers(bench: &BenchStrangers) -> anyhow::Result<ExitCode> {
    let full = StrangersPlan { rounds: bench.rounds as usize, time: Duration::from_millis(bench.millis) };
    let result = strangers::run(&if bench.smoke { StrangersPlan::smoke() } else { full })?;
    if bench.smoke {
        result.check()?;
    }
    if bench.json {
        println!("{}", serde_json::to_string(&result)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("program     flood, Mpps  parties' packets    arrived       lost");
    for row in &result.rows {
        println!("{:<11} {:>11.2} {:>17} {:>10} {:>10}", row.program, row.flood_mpps, row.sent, row.arrived, row.lost);
    }
    println!("{} live calls; {} strangers' packets dropped by the relay's own account", result.calls, result.counted);
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn bench_scale(smoke: bool, json: bool) -> anyhow::Result<ExitCode> {
    let result = scale::run(if smoke { ScalePlan::smoke() } else { ScalePlan::default() })?;
    if json {
        println!("{}", serde_json::to_string(&result)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} flows at once, {} packets, none lost, each counted once", result.flows, result.packets);
    println!("set up   {:>8.0} calls a second", result.set_up_per_second);
    println!("torn down{:>8.0} calls a second", result.tear_down_per_second);
    println!("memory   {:>8} bytes of the daemon for each flow, with its RTCP", result.daemon_bytes_per_flow);
    println!("after    {:>8.0} % of the memory with all calls", 100.0 * result.left_after);
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn bench_observe(plan: &ObservePlan, is_checked: bool, json: bool) -> anyhow::Result<ExitCode> {
    let result = observe::run(plan)?;
    if is_checked {
        result.check()?;
    }
    if json {
        println!("{}", serde_json::to_string(&result)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} calls stand; commands of 500 calls a second", result.standing);
    println!("who looks   % of a processor  reply us: p50      p99     most  looks  lost");
    for row in &result.rows {
        let [p50, p99, most] = row.reply_us;
        let looker = format!("{:?}", row.looker).to_lowercase();
        println!(
            "{looker:<11} {:>16.1} {p50:>14.0} {p99:>8.0} {most:>8.0} {:>6} {:>5}",
            row.cpu_percent, row.looks, row.lost
        );
    }
    println!("{} calls by the fast path, as many packets as the machine makes", result.fast_calls);
    println!("who looks        Mpps  of nobody");
    for row in &result.fast {
        let looker = format!("{:?}", row.looker).to_lowercase();
        println!("{looker:<11} {:>9.2} {:>8.1} %", row.mpps, row.of_nobody_percent);
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn bench_srtp(smoke: bool, json: bool) -> anyhow::Result<ExitCode> {
    let rows = srtp::run(&if smoke { SrtpPlan::smoke() } else { SrtpPlan::default() })?;
    if json {
        println!("{}", serde_json::to_string(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("suite                    streams  protect, ns  unprotect, ns");
    for row in &rows {
        println!("{:<24} {:>7} {:>12.0} {:>14.0}", row.suite, row.streams, row.protect_ns, row.unprotect_ns);
    }
    Ok(ExitCode::SUCCESS)
}
