//! The `intertrunk` program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use control::config::{Config, Options, TakeOver};
use control::doctor::examine;
use control::instance;
use control::logging::Logging;
use control::orders::Orders;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A media relay between telephone trunks: RTP in the kernel by XDP, driven by SIP proxies as rtpengine is.
#[derive(Parser)]
#[command(name = "intertrunk", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay, in the foreground
    Serve(Box<Serve>),
    /// Say what this host can do for the relay as configured, and what would mend what it cannot; exit status 1 when it could not run
    Doctor {
        #[command(flatten)]
        serve: Box<Serve>,
        /// One JSON object instead of the lines
        #[arg(long)]
        json: bool,
    },
    /// Have the running relay take no new calls, and wait until it has ended with the last one
    Drain {
        #[command(flatten)]
        serve: Box<Serve>,
        /// Seconds after which it is stopped all the same
        #[arg(long, value_name = "SECONDS")]
        deadline: Option<u64>,
    },
    /// Remove everything that a relay which does not run any more has left: its calls end
    Flush {
        #[command(flatten)]
        serve: Box<Serve>,
    },
}

#[derive(clap::Args)]
struct Serve {
    /// The configuration file; flags override what it says
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(serve) => run(*serve).map(|()| ExitCode::SUCCESS),
        Command::Doctor { serve, json } => doctor(*serve, json),
        Command::Drain { serve, deadline } => {
            with_instance(*serve, |take_over| instance::drain(take_over, deadline.map(Duration::from_secs)))
        }
        Command::Flush { serve } => with_instance(*serve, instance::flush),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // One sentence for people; by `{:#}` with its causes.
            eprintln!("intertrunk: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Serve {
    /// What flags and file say now.
    fn read(&self) -> anyhow::Result<Options> {
        let file = self.config.as_deref().map(Options::read).transpose()?.unwrap_or_default();
        Ok(self.options.clone().or(file))
    }

    fn resolve(self) -> anyhow::Result<Config> {
        self.read()?.resolve()
    }
}

/// Does something about the daemon of an instance.
fn with_instance(serve: Serve, work: impl FnOnce(&TakeOver) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let take_over = serve.read()?.take_over()?;
    let take_over = take_over.context("take-over = false: nothing is kept, and no daemon can be found by its name")?;
    work(&take_over).map(|()| ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the findings are what was asked for")]
fn doctor(serve: Serve, json: bool) -> anyhow::Result<ExitCode> {
    let config = serve.resolve()?.relay;
    let facts = relay::probe::Host::probe(&config).context("the kernel's tables cannot be read")?;
    let examination = examine(&facts, &config);
    if json {
        println!("{}", serde_json::to_string(&examination)?);
    } else {
        println!("{examination}");
    }
    Ok(if examination.able { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(serve: Serve) -> anyhow::Result<()> {
    let options = serve.read()?;
    let config = options.clone().resolve()?;
    let logging = Logging::start(config.log_level, config.log_format);
    // A command that happens to touch a new huge page waits until the kernel has cleared it: 4.5 ms where that was measured.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
    // Commands take microseconds and the media has threads of its own: one thread is enough, and keeps replies in order.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let orders = Orders::new(options, move || serve.read())?;
        control::serve::serve(config, orders, logging).await
    })
}
