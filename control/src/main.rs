//! The `intertrunk` program.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use control::config::{Config, LogFormat, Options};
use tokio::signal::unix::{SignalKind, signal};

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
    let Command::Serve(serve) = Arguments::parse().command;
    match run(*serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence for people; by `{:#}` with its causes.
            eprintln!("intertrunk: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(serve: Serve) -> anyhow::Result<()> {
    let file = serve.config.as_deref().map(Options::read).transpose()?.unwrap_or_default();
    let config = serve.options.or(file).resolve()?;
    log(&config);
    // Commands take microseconds and the media has threads of its own: one thread is enough, and keeps replies in order.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        control::serve::serve(config, stop).await
    })
}

fn log(config: &Config) {
    let log = tracing_subscriber::fmt().with_max_level(config.log_level).with_writer(std::io::stderr);
    // A file is searched, not looked at.
    let log = log.with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
