//! The `intertrunk` program.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use control::arguments::{Arguments, Command, Serve};
use control::commands;
use control::config::{Config, Options, TakeOver};
use control::doctor::examine;
use control::instance;
use control::logging::Logging;
use control::orders::Orders;
use control::serve::Ended;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit status when the configuration is not valid (`EX_CONFIG`): whoever would start the daemon again need not try.
const CONFIGURATION: u8 = 78;

/// The exit status after a drain: nobody is to start it again at once.
const DRAINED: u8 = 79;

/// Does as it is told.
pub(crate) fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(serve) => match serve.read().and_then(|options| Ok((options.clone().resolve()?, options))) {
            Ok((config, options)) => run(config, options, *serve).map(|ended| match ended {
                Ended::Stopped => ExitCode::SUCCESS,
                Ended::Drained => ExitCode::from(DRAINED),
            }),
            Err(error) => {
                eprintln!("intertrunk: {error:#}");
                return ExitCode::from(CONFIGURATION);
            }
        },
        Command::Doctor { serve, json } => doctor(*serve, json),
        Command::Drain { serve, deadline } => {
            with_instance(*serve, |take_over| instance::drain(take_over, deadline.map(Duration::from_secs)))
        }
        Command::Flush { serve, json } => with_instance(*serve, |take_over| flush(take_over, json)),
        Command::List(list) => list.run().map(|()| ExitCode::SUCCESS),
        Command::Show(show) => show.run().map(|()| ExitCode::SUCCESS),
        Command::Stats(stats) => stats.run().map(|()| ExitCode::SUCCESS),
        Command::Top(top) => top.run().map(|()| ExitCode::SUCCESS),
        Command::Capture(capture) => capture.run().map(|()| ExitCode::SUCCESS),
        Command::Names(names) => names.run().map(|()| ExitCode::SUCCESS),
        Command::Terminate(terminate) => terminate.run().map(|()| ExitCode::SUCCESS),
        Command::Set(set) => set.run().map(|()| ExitCode::SUCCESS),
        Command::Plan(plan) => plan.run().map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) if commands::has_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence for people; by `{:#}` with its causes.
            eprintln!("intertrunk: {error:#}");
            commands::status(&error)
        }
    }
}

/// Does something about the daemon of an instance.
fn with_instance(serve: Serve, work: impl FnOnce(&TakeOver) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let take_over = serve.read_started()?.take_over()?;
    work(&take_over).map(|()| ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "what is gone is what is asked for")]
fn flush(take_over: &TakeOver, json: bool) -> anyhow::Result<()> {
    let removed = instance::flush(take_over)?;
    if json {
        println!("{}", serde_json::json!({ "removed": removed }));
        return Ok(());
    }
    for removed in removed {
        println!("removed {}", removed.display());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the findings are what was asked for")]
fn doctor(serve: Serve, json: bool) -> anyhow::Result<ExitCode> {
    let config = serve.resolve_started()?.relay;
    let facts = relay::probe::Host::probe(&config).context("the kernel's tables cannot be read")?;
    let examination = examine(&facts, &config);
    if json {
        println!("{}", serde_json::to_string(&examination)?);
    } else {
        println!("{examination}");
    }
    Ok(if examination.able { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(config: Config, options: Options, serve: Serve) -> anyhow::Result<Ended> {
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
