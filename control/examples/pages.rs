//! Writes what belongs into a package beside the program: its man pages, and what shells complete.
#![allow(clippy::print_stderr, reason = "a tool of the build")]

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use control::arguments::Arguments;

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("into which folder?")?);
    fs::create_dir_all(&folder)?;
    clap_mangen::generate_to(Arguments::command(), &folder)?;
    for (shell, named) in NAMED {
        let path = clap_complete::generate_to(shell, &mut Arguments::command(), "intertrunk", &folder)?;
        let mut completion = fs::read_to_string(&path)?;
        if shell == Shell::Zsh {
            completion = with_names(&completion);
            // Before it is called, which the last lines do.
            let (first, rest) = completion.split_once('\n').context("no lines")?;
            completion = format!("{first}\n{named}\n{rest}");
        } else {
            completion += named;
        }
        fs::write(&path, completion)?;
    }
    Ok(())
}

/// What completes the names that only the running daemon knows.
const NAMED: [(Shell, &str); 3] = [
    (Shell::Bash, include_str!("../../deploy/completions/intertrunk.bash")),
    (Shell::Zsh, include_str!("../../deploy/completions/intertrunk.zsh")),
    (Shell::Fish, include_str!("../../deploy/completions/intertrunk.fish")),
];

/// Has zsh ask for them where it would offer files.
fn with_names(completion: &str) -> String {
    let lines = completion.lines().map(|line| {
        let spec = line.trim_start().trim_start_matches(['\'', ':']);
        let what = [("call_id ", "calls"), ("key ", "settings")].into_iter().find(|(name, _)| spec.starts_with(name));
        match what {
            Some((_, what)) => line.replace(":_default'", &format!(":_intertrunk_named {what}'")),
            None => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}
