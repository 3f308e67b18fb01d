//! What the program can be told on its command line.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::commands::{Capture, List, Names, Set, Show, Stats, Terminate, Top};
use crate::config::{Config, Options, USUAL};
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
        /// One JSON object instead of the lines
        #[arg(long)]
        json: bool,
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

    /// What they say of a relay that others have started: that of the package, unless something says which.
    ///
    /// # Errors
    /// As [`Serve::read`].
    pub fn read_started(&self) -> anyhow::Result<Options> {
        self.read_or(Path::new(USUAL))
    }

    fn read_or(&self, usual: &Path) -> anyhow::Result<Options> {
        let Options { instance, state_dir, pin_dir, .. } = &self.options;
        let says_which = [self.config.is_some(), instance.is_some(), state_dir.is_some(), pin_dir.is_some()];
        if says_which.contains(&true) || !usual.exists() {
            return self.read();
        }
        Ok(self.options.clone().or(Options::read(usual)?))
    }

    /// The same, checked as a whole; what has interfaces of its own is no relay that others have started.
    ///
    /// # Errors
    /// When it makes no sense; with the key.
    pub fn resolve_started(&self) -> anyhow::Result<Config> {
        let options = if self.options.interface.is_some() { self.read() } else { self.read_started() };
        options?.resolve()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_packages_relay_is_meant_where_nothing_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let [usual, other] = ["usual", "other"].map(|name| {
            let file = folder.path().join(name);
            std::fs::write(&file, format!("pin-dir = \"/{name}\"\nstate-dir = \"/{name}\"\n")).unwrap();
            file
        });
        let pins = |words: &[&str], usual: &Path| {
            let all = ["intertrunk", "flush"].iter().chain(words);
            let Command::Flush { serve, .. } = Arguments::try_parse_from(all).unwrap().command else { panic!() };
            serve.read_or(usual).unwrap().take_over().unwrap().pin_dir
        };
        let by_default = Path::new("/sys/fs/bpf/intertrunk");
        assert_eq!(pins(&[], &usual), Path::new("/usual"));
        assert_eq!(pins(&[], &folder.path().join("none")), by_default);
        assert_eq!(pins(&["--config", other.to_str().unwrap()], &usual), Path::new("/other"));
        // Where that is wrong, flush refuses: the state folder says where the pins are.
        for words in [["--instance", "a"], ["--state-dir", "/a"]] {
            assert_eq!(pins(&words, &usual), by_default, "{words:?}");
        }
        assert_eq!(pins(&["--pin-dir", "/a"], &usual), Path::new("/a"));
        assert_eq!(pins(&["--interface", "a/192.0.2.1"], &usual), Path::new("/usual"));
    }

    /// What people are told to type, in a text: between backquotes, or on a line of its own.
    fn told(text: &str) -> Vec<&str> {
        let quoted = text.split('`').skip(1).step_by(2).filter(|code| !code.contains('\n'));
        let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
        let lines = lines.map(|line| line.trim_start_matches("$ ").split("  ").next().unwrap_or_default());
        quoted.chain(lines).filter_map(|code| code.strip_prefix("intertrunk ")).collect()
    }

    #[test]
    fn commands_and_flags_that_people_are_told_to_type_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let texts =
            ["docs", "deploy/prometheus", "deploy/debian", "."].map(|folder| root.join(folder).read_dir().unwrap());
        let texts = texts.into_iter().flatten().map(|entry| entry.unwrap().path());
        let is_text = |path: &PathBuf| path.extension().is_some_and(|end| end == "md" || end == "yml" || end == "toml");
        let (mut found, program) = (0, Arguments::command());
        for path in texts.filter(is_text) {
            let text = std::fs::read_to_string(&path).unwrap();
            for code in told(&text) {
                let mut words = code.split([' ', '|', '[', ']', '=']).filter(|word| !word.is_empty());
                let name = words.next().unwrap_or_default();
                if name.starts_with('-') || name == "..." {
                    continue;
                }
                let command = program.find_subcommand(name);
                let command = command.unwrap_or_else(|| panic!("{}: no command in: {code}", path.display()));
                for flag in words.filter_map(|word| word.strip_prefix("--")).filter(|flag| !flag.is_empty()) {
                    let is_known =
                        command.get_arguments().any(|known| known.get_long() == Some(flag)) || flag == "help";
                    assert!(is_known, "{}: no --{flag} in: {code}", path.display());
                }
                found += 1;
            }
        }
        assert!(found > 30, "only {found} were found");
    }
}
