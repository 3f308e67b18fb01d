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
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Arguments::command(), "intertrunk", &folder)?;
    }
    Ok(())
}
