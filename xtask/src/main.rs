//! What developers and users type.

mod account;
mod circles;
mod command;
mod counts;
mod fuzz;
mod gate;
mod kernels;
mod licences;
mod package;
mod privileged;
mod setup;
mod smoke;
mod test;

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use crate::command::{cargo, run};

#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing: the BPF toolchain, Kamailio, sipp and other programs of the tests
    Setup {
        /// Only report what is missing; exit status 1 when anything is
        #[arg(long)]
        check: bool,
    },
    /// Make real calls between two trunks through the relay and prove that they crossed it whole
    #[command(disable_help_flag = true)]
    Demo {
        /// `--engine auto|xdp|uring|epoll`, `--calls N`, `--seconds S`, `--route R`, `--json`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure, against something known in the same run: `fastpath` and `strangers` against programs that send everything back, `slowpath`
    /// and `control` against rtpengine, `scale` against what was sent, `compare COMMIT` against another commit's daemon
    #[command(disable_help_flag = true)]
    Bench {
        /// What to measure
        #[arg(value_parser = ["fastpath", "slowpath", "control", "strangers", "scale", "srtp", "observe", "compare"])]
        what: String,
        /// `--rounds N`, `--millis MS`, `--smoke`, `--json`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Make calls in great numbers: `report` compares everything that carries packets, and writes pages; `streams` looks for every packet of 20,000
    /// streams; `talk` has people talk; `sipp` makes whole calls through Kamailio; `plan` holds what `intertrunk plan` says against what is measured
    #[command(disable_help_flag = true)]
    Loadtest {
        /// What to do
        #[arg(value_parser = ["report", "streams", "talk", "sipp", "plan"])]
        what: String,
        /// `--quick`, and what each says with `--help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Have something fail under load, and see what becomes of the calls: `kill`, `upgrade`, `points`, `soak`, `hostile`, `secured`, `host`, `package`
    #[command(disable_help_flag = true)]
    Fault {
        /// What fails
        #[arg(value_parser = ["kill", "upgrade", "points", "soak", "hostile", "secured", "host", "package"])]
        what: String,
        /// `--smoke`, and what each says with `--help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Build the Debian package
    Package,
    /// Look for files that import each other in a circle; a part of `test`
    Circles,
    /// Format, lints and all tests, the privileged ones included
    Test,
    /// The privileged tests alone: namespaces, BPF, real proxies; a part of `test`
    Privileged,
    /// Run the fuzzers: of frames, and of everything that comes over the control socket
    Fuzz {
        /// Which; all unless told
        #[arg(value_parser = PossibleValuesParser::new(fuzz::TARGETS))]
        targets: Vec<String>,
        /// How long each
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Run the short form of the demo and of every bench and fuzzer, to see that they work; a part of `test`
    Smoke,
    /// Boot other kernels under emulation, and load the programs and forward media there
    Kernels {
        /// Only look whether the tests that it would run exist
        #[arg(long)]
        check: bool,
        /// Which; all unless told
        #[arg(value_parser = PossibleValuesParser::new(kernels::names()))]
        names: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup { check: true } => setup::check(),
        Task::Setup { check: false } => setup::install(),
        Task::Demo { args } => loadtest("demo", &args),
        Task::Bench { what, args } if ["slowpath", "control"].contains(&what.as_str()) => {
            setup::install_rival().and_then(|()| loadtest(&format!("bench-{what}"), &args))
        }
        Task::Bench { what, args } if what == "compare" => {
            gate::prepare(&args).and_then(|args| loadtest("bench-compare", &args))
        }
        Task::Bench { what, args } => loadtest(&format!("bench-{what}"), &args),
        Task::Loadtest { what, args } => setup::install_rival().and_then(|()| loadtest(&what, &args)),
        Task::Fault { what, args } if what == "upgrade" => setup::install()
            .and_then(|()| run(cargo().args(["build", "--quiet", "--release"]).args(smoke::OTHER)))
            .and_then(|()| loadtest("fault", &[vec![what], args].concat())),
        Task::Fault { what, args } if what == "package" => package::try_it(&args),
        Task::Fault { what, args } => loadtest("fault", &[vec![what], args].concat()),
        Task::Package => package::package().map(|file| eprintln!("{}", file.display())),
        Task::Circles => circles::check(),
        Task::Test => test::test(),
        Task::Privileged => test::privileged(),
        Task::Fuzz { targets, seconds } => fuzz::fuzz(&targets, seconds, fuzz::Build::Thorough),
        Task::Smoke => smoke::smoke().map(drop),
        Task::Kernels { check: true, .. } => kernels::check(),
        Task::Kernels { check: false, names } => kernels::kernels(&names),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn loadtest(what: &str, args: &[String]) -> anyhow::Result<()> {
    setup::install()?;
    run(cargo().args(["build", "--quiet", "--release", "--package", "control", "--package", "loadtest"]))?;
    let mut loadtest = cargo();
    loadtest.args(["run", "--quiet", "--release", "--package", "loadtest", "--", what]).args(args);
    // In this process's place, so that signals reach the one that has to tidy up, and nobody returns before it has.
    Err(loadtest.exec()).context("cannot run the load tests")
}
