//! `intertrunk names`, for shells: what may stand behind a command.

use std::io::{self, Write as _};

use serde_json::{Map, Value};

use super::Which;
use crate::console::Request;
use crate::view::Summary;

/// So many calls: nobody chooses among more.
const MOST: usize = 1000;

/// Says what there is, a name a line.
#[derive(Debug, clap::Args)]
pub struct Names {
    #[command(flatten)]
    which: Which,
    /// Of what
    what: What,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// Calls.
    Calls,
    /// Settings that may be changed.
    Settings,
}

impl Names {
    /// Asks and tells.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn run(self) -> anyhow::Result<()> {
        let mut client = self.which.connect()?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        match self.what {
            What::Calls => {
                let request = Request::List { limit: Some(MOST), troubled: false, path: Vec::new() };
                let _end: Value = client.ask_each(&request, |call: Summary| writeln!(out, "{}", call.call_id))?;
            }
            What::Settings => {
                let settings: Map<String, Value> = client.ask(&Request::Settings)?;
                settings.keys().try_for_each(|key| writeln!(out, "{key}"))?;
            }
        }
        Ok(out.flush()?)
    }
}
