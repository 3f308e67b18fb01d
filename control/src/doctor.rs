//! `intertrunk doctor`: what this host can do for the relay as configured, and what would mend what it cannot.
//!
//! The facts come from `relay::probe`; what they mean is decided here, without a look at the host.

mod device;
mod host;

use relay::RelayConfig;
use relay::probe::Host;
use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// The relay runs, but something could be better.
    Warning,
    /// The relay cannot run as configured.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What was looked at: `kernel`, or the name of a device.
    pub subject: String,
    /// What was found, in one sentence.
    pub sentence: String,
    /// The command that mends it.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(level: Level, subject: &str, sentence: impl Into<String>) -> Self {
        Self { level, subject: subject.to_owned(), sentence: sentence.into(), remedy: None }
    }

    fn good(subject: &str, sentence: impl Into<String>) -> Self {
        Self::new(Level::Good, subject, sentence)
    }

    fn warning(subject: &str, sentence: impl Into<String>) -> Self {
        Self::new(Level::Warning, subject, sentence)
    }

    fn mended_by(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// Everything that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Examination {
    /// Whether the relay could run as configured.
    pub able: bool,
    /// One for each thing that was looked at.
    pub findings: Vec<Finding>,
}

/// Judges the facts for a relay of this configuration.
pub fn examine(facts: &Host, config: &RelayConfig) -> Examination {
    let mut findings = host::findings(facts, config);
    findings.extend(facts.nics.iter().flat_map(|nic| device::findings(nic, config)));
    let able = findings.iter().all(|finding| finding.level != Level::Error);
    Examination { able, findings }
}

impl std::fmt::Display for Examination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Finding { level, subject, sentence, remedy } in &self.findings {
            let mark = match level {
                Level::Good => "good   ",
                Level::Warning => "warning",
                Level::Error => "ERROR  ",
            };
            writeln!(f, "{mark} {subject}: {sentence}")?;
            if let Some(remedy) = remedy {
                writeln!(f, "        {remedy}")?;
            }
        }
        f.write_str(if self.able { "The relay can run as configured." } else { "The relay cannot run as configured." })
    }
}

/// How bad it is that XDP cannot be had: only where it was asked for by name.
const fn without_xdp(config: &RelayConfig) -> Level {
    match config.engine {
        relay::Engine::Xdp => Level::Error,
        relay::Engine::Auto => Level::Warning,
        relay::Engine::Uring | relay::Engine::Epoll => Level::Good,
    }
}

#[cfg(test)]
mod tests;
