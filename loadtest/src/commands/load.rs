//! Load tests: what calls in great numbers come to, and the comparison with what Intertrunk replaces.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use loadtest::bench::calls::{self, CallsPlan};
use loadtest::bench::forecast::{self, ForecastPlan};
use loadtest::bench::streams::{self, StreamsPlan};
use loadtest::compare::result::Comparison;
use loadtest::compare::{self, Plan, page};
use loadtest::talk::{self, TalkPlan};

#[derive(Subcommand)]
pub(crate) enum Load {
    /// Compare everything that carries packets, and write the report
    Report(Report),
    /// Have tens of thousands of streams talk through the fast path, each with a packet every 20 ms, and look for every packet
    Streams(Streams),
    /// Have people talk: spurts of speech, silence, jitter, keys and reports, from userspace; look for every packet
    Talk(Talk),
    /// Hold what `intertrunk plan` says against what so many calls take
    Plan(Forecast),
    /// Make whole calls with sipp through Kamailio: many that stand, calls in which something happens, and how many can be set up in a second
    Sipp(Sipp),
}

#[derive(clap::Args)]
pub(crate) struct Report {
    /// One short round of everything, in minutes: its figures are not for quoting
    #[arg(long)]
    quick: bool,
    /// In seconds: fails unless everything works, and tells no figures worth anything
    #[arg(long)]
    smoke: bool,
    /// Only these, such as `intertrunk-xdp`; and no commands
    #[arg(long)]
    only: Vec<String>,
    /// The folder that report.html, report.md and report.json are written to
    #[arg(long, default_value = "target/report")]
    out: PathBuf,
    /// Measure nothing: write the pages anew from this report.json
    #[arg(long, conflicts_with_all = ["quick", "smoke", "only"])]
    from: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Streams {
    /// How many, two for each call
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(2..=40_000))]
    streams: u32,
    /// How long, in seconds
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// In seconds: fails unless every packet arrives
    #[arg(long)]
    smoke: bool,
    /// One JSON object on standard output instead of the lines
    #[arg(long)]
    json: bool,
}

impl Streams {
    #[expect(clippy::print_stdout, reason = "the report is what the program is for")]
    fn carry_out(self) -> anyhow::Result<ExitCode> {
        let time = Duration::from_secs(self.seconds);
        let full = StreamsPlan { streams: self.streams.next_multiple_of(2), time, ..StreamsPlan::default() };
        let found = streams::run(if self.smoke { StreamsPlan::smoke() } else { full })?;
        if self.json {
            println!("{}", serde_json::to_string(&found)?);
        } else {
            println!("{} streams, {:.0} packets a second in all", found.streams, found.per_second);
            println!("made     {:>12}", found.made);
            println!("refused  {:>12}  by the cable to the relay", found.refused);
            println!("refused  {:>12}  by the cable back", found.refused_back);
            println!("arrived  {:>12}  of which the fast path counted {}", found.arrived, found.fast_packets);
            println!("lost     {:>12}", found.lost);
            println!("late     {:>12}", found.late);
            println!("twice    {:>12}", found.twice);
            println!("delay us          p50      p99    p99.9   p99.99");
            for (name, delays) in [("the cable", found.cable_us), ("the relay", found.relay_us)] {
                let [p50, p99, p999, p9999] = [delays.p50, delays.p99, delays.p999, delays.p9999];
                println!("{name:<12} {p50:>8.1} {p99:>8.1} {p999:>8.1} {p9999:>8.1}");
            }
            println!("the relay adds {:.1} us to what 99 % stay within", found.added_p99_us);
        }
        // Whoever asks for it wants to know whether every packet came.
        found.check()?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(clap::Args)]
pub(crate) struct Talk {
    /// How many calls at once
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=4000))]
    calls: u16,
    /// How long, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// The most that a packet is early or late, in milliseconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=9))]
    jitter: u64,
    /// Which path carries the media
    #[arg(long, default_value = "auto", value_parser = ["auto", "xdp", "uring", "epoll"])]
    engine: String,
    /// Callers have SRTP, which ends at the relay
    #[arg(long)]
    srtp: bool,
    /// In seconds: fails unless everything arrives
    #[arg(long)]
    smoke: bool,
    /// One JSON object on standard output instead of the lines
    #[arg(long)]
    json: bool,
}

impl Talk {
    #[expect(clippy::print_stdout, reason = "the report is what the program is for")]
    fn carry_out(self) -> anyhow::Result<ExitCode> {
        let (time, jitter) = (Duration::from_secs(self.seconds), Duration::from_millis(self.jitter));
        let full = TalkPlan { calls: self.calls, time, jitter, engine: self.engine, is_secured: self.srtp };
        let found =
            talk::run(&if self.smoke { TalkPlan { is_secured: self.srtp, ..TalkPlan::smoke() } } else { full })?;
        if self.json {
            println!("{}", serde_json::to_string(&found)?);
        } else {
            let [p50, p99, p999, p9999] = found.delay_us;
            println!("{} calls: {} RTP packets sent, {} received", found.calls, found.sent, found.received);
            println!("lost {}, late {}, twice {}, strange {}", found.lost, found.late, found.twice, found.strange);
            println!("RTCP: {} sent, {} received", found.rtcp_sent, found.rtcp_received);
            println!("{} by the fast path, {} by workers", found.fast_packets, found.slow_packets);
            println!("delay us: p50 {p50:.0}, p99 {p99:.0}, p99.9 {p999:.0}, p99.99 {p9999:.0}");
        }
        found.check()?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(clap::Args)]
pub(crate) struct Forecast {
    /// The report of this machine that the plan is made from; otherwise it is made from what the daemon has in it
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
    /// In seconds: whether it works
    #[arg(long)]
    smoke: bool,
    /// One JSON object on standard output instead of the lines
    #[arg(long)]
    json: bool,
}

impl Forecast {
    #[expect(clippy::print_stdout, reason = "the report is what the program is for")]
    fn carry_out(self) -> anyhow::Result<ExitCode> {
        let form = if self.smoke { ForecastPlan::smoke() } else { ForecastPlan::default() };
        let rows = forecast::run(&ForecastPlan { measured: self.measured, ..form })?;
        if self.json {
            println!("{}", serde_json::to_string(&rows)?);
            return Ok(ExitCode::SUCCESS);
        }
        println!("carried by     calls   planned  measured  planned/measured");
        for row in &rows {
            // Where less than a tick of the processor's clock was taken, nothing is known.
            let ratio = if row.measured > 0.0 { format!("{:.2}", row.planned / row.measured) } else { "-".to_owned() };
            println!(
                "{:<13} {:>6} {:>8.1}% {:>8.1}% {ratio:>17}",
                row.kind,
                row.calls,
                100.0 * row.planned,
                100.0 * row.measured
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(clap::Args)]
pub(crate) struct Sipp {
    /// How many calls stand at once
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=2400))]
    calls: u32,
    /// For how long, in seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many calls of each other kind are made
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2400))]
    others: u32,
    /// Where logs, scenarios and what sipp has counted stay; nowhere unless told
    #[arg(long)]
    folder: Option<PathBuf>,
    /// A short form of everything, in seconds: fails unless every call goes well
    #[arg(long)]
    smoke: bool,
    /// One JSON object on standard output instead of the lines
    #[arg(long)]
    json: bool,
}

impl Sipp {
    #[expect(clippy::print_stdout, reason = "the report is what the program is for")]
    fn carry_out(self) -> anyhow::Result<ExitCode> {
        let time = Duration::from_secs(self.seconds);
        let full = CallsPlan { standing: self.calls, time, others: self.others, ..CallsPlan::default() };
        let gone = tempfile::tempdir()?;
        if let Some(folder) = &self.folder {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let folder = self.folder.as_deref().unwrap_or(gone.path());
        let found = calls::run(&if self.smoke { CallsPlan::smoke() } else { full }, folder)?;
        if self.json {
            println!("{}", serde_json::to_string(&found)?);
        } else {
            println!("engine {}", found.engine);
            println!(
                "calls       asked  at once  done  failed  messages again     sent  received   lost  on cables  fast path"
            );
            for round in [&found.standing].into_iter().chain(&found.others) {
                let counts = round.sipp.caller;
                println!(
                    "{:<10} {:>6} {:>8} {:>5} {:>7} {:>15} {:>8} {:>9} {:>6} {:>10} {:>9.1}%",
                    round.scenario.name(),
                    round.calls,
                    round.most_at_once,
                    counts.successful,
                    counts.failed + round.sipp.callee.failed,
                    counts.retransmissions + round.sipp.callee.retransmissions,
                    round.sent,
                    round.received,
                    round.lost,
                    round.lost_on_cables,
                    round.fast_percent().unwrap_or(0.0)
                );
            }
            for step in &found.ramp.steps {
                println!(
                    "{:>5.0} calls a second: {:.0} reached, {} failed, set up in {:.0} ms on average, {:.2} processors",
                    step.asked,
                    step.reached,
                    step.failed,
                    step.set_up_ms.unwrap_or(0.0),
                    step.usage.machine
                );
            }
            let limit = found.ramp.limit.as_deref().unwrap_or("nothing that was tried");
            println!("the highest rate of calls: {:.0} a second; the limit: {limit}", found.ramp.highest);
        }
        found.check()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Load {
    pub(crate) fn carry_out(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Report(report) => report.carry_out(),
            Self::Streams(streams) => streams.carry_out(),
            Self::Talk(talk) => talk.carry_out(),
            Self::Plan(forecast) => forecast.carry_out(),
            Self::Sipp(sipp) => sipp.carry_out(),
        }
    }
}

impl Report {
    fn carry_out(self) -> anyhow::Result<ExitCode> {
        let comparison = match &self.from {
            Some(file) => read(file)?,
            None => self.measure()?,
        };
        let folder = &self.out;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let json = serde_json::to_string_pretty(&comparison)?;
        let pages = [
            ("report.json", json),
            ("report.html", page::html(&comparison)?),
            ("report.md", page::markdown(&comparison)),
        ];
        for (name, text) in pages {
            let file = folder.join(name);
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            eprintln!("{}", file.display());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn measure(&self) -> anyhow::Result<Comparison> {
        let form = if self.smoke {
            Plan::smoke()
        } else if self.quick {
            Plan::quick()
        } else {
            Plan::full()
        };
        let plan = Plan { only: self.only.clone(), ..form };
        let short = if self.smoke {
            " --smoke"
        } else if self.quick {
            " --quick"
        } else {
            ""
        };
        let only: String = self.only.iter().map(|name| format!(" --only {name}")).collect();
        let comparison = compare::run(&plan, format!("cargo xtask loadtest report{short}{only}"))?;
        if self.smoke {
            comparison.check()?;
        }
        Ok(comparison)
    }
}

fn read(file: &std::path::Path) -> anyhow::Result<Comparison> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no report", file.display()))
}
