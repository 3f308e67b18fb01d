//! `intertrunk set`.

use std::io::{self, Write as _};

use serde_json::{Map, Value};

use super::{Which, tell_json};
use crate::console::Request;

/// Changes a setting of the running daemon, or says what they are.
#[derive(Debug, clap::Args)]
pub struct Set {
    #[command(flatten)]
    which: Which,
    /// The key, as in the configuration; without it, what all are that may be changed
    key: Option<String>,
    /// What it is to be; without it, what is meant where the configuration does not have the key
    value: Option<String>,
}

impl Set {
    /// Asks and tells.
    ///
    /// # Errors
    /// When there is no such setting, it cannot be that, or the daemon does not answer.
    pub fn run(self) -> anyhow::Result<()> {
        let request = match self.key.clone() {
            Some(key) => Request::Set { key, value: self.value.map_or(Value::Null, Value::String) },
            None => Request::Settings,
        };
        let settings: Map<String, Value> = self.which.connect()?.ask(&request)?;
        if self.which.json {
            return tell_json(&settings);
        }
        let mut out = io::stdout().lock();
        for (key, value) in settings.iter().filter(|(key, _)| self.key.as_ref().is_none_or(|one| one == *key)) {
            let told = match value.as_str() {
                Some(text) => text.to_owned(),
                None if value.is_null() => "(not set)".to_owned(),
                None => value.to_string(),
            };
            writeln!(out, "{key} = {told}")?;
        }
        Ok(())
    }
}
