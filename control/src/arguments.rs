//! What the program can be told on its command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{Capture, List, Names, Set, Show, Stats, Terminate, Top};
use crate::config::{Config, Options};
use crate::plan::Plan;

/// A media relay between telephone trunks: RTP in the kernel by XDP, driven by SIP proxies as rtpengine is.
#[derive(Debug, Parser)]
#[command(name = "intertrunk", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the relay, in the foreground
    Serve(Box<Serve>),
    /// Say what this host can do for the relay as configured, and what would mend what it cannot; exit status 1 when it could not run
    Doctor {
        /// Which relay.
        #[command(flatten)]
        serve: Box<Serve>,
        /// One JSON object instead of the lines
        #[arg(long)]
        json: bool,
    },
    /// Say which calls the running relay has, on which path each is, and what is wrong with it
    List(List),
    /// Say everything about a call: parties, addresses, paths and why, packets, quality
    Show(Show),
    /// Say how the running relay is doing as a whole
    Stats(Stats),
    /// Show how the running relay is doing, and its worst calls, again and again
    Top(Top),
    /// Write a file of a call's packets, also of those that XDP forwards
    Capture(Capture),
    /// End a call, or all, whatever the proxy thinks of it
    Terminate(Terminate),
    /// Change a limit, a time-out or the level of the log of the running relay, or say what they are
    Set(Set),
    /// Say how many processors, ports and nodes calls need, from what was measured
    Plan(Plan),
    /// Say what may stand behind a command, for shells
    #[command(hide = true)]
    Names(Names),
    /// Have the running relay take no new calls, and wait until it has ended with the last one
    Drain {
        /// Which relay.
        #[command(flatten)]
        serve: Box<Serve>,
        /// Seconds after which it is stopped all the same
        #[arg(long, value_name = "SECONDS")]
        deadline: Option<u64>,
    },
    /// Remove everything that a relay which does not run any more has left: its calls end
    Flush {
        /// Which relay.
        #[command(flatten)]
        serve: Box<Serve>,
    },
}

/// Which relay, and how.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The configuration file; flags override what it says
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Each key of the file.
    #[command(flatten)]
    pub options: Options,
}

impl Serve {
    /// What flags and file say now.
    ///
    /// # Errors
    /// When the file cannot be read, or says what nobody understands.
    pub fn read(&self) -> anyhow::Result<Options> {
        let file = self.config.as_deref().map(Options::read).transpose()?.unwrap_or_default();
        Ok(self.options.clone().or(file))
    }

    /// The same, checked as a whole.
    ///
    /// # Errors
    /// When it makes no sense; with the key.
    pub fn resolve(self) -> anyhow::Result<Config> {
        self.read()?.resolve()
    }
}
