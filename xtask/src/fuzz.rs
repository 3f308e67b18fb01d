//! `cargo xtask fuzz`: runs the fuzzers of `fuzz/`, each for so long.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{cargo, exists, run, workspace};
use crate::setup;

/// The driver of the fuzzers.
const CARGO_FUZZ: &str = "0.13.2";

/// What is fuzzed: frames, protected packets, and everything that comes over the control socket.
pub(crate) const TARGETS: [&str; 6] = ["frames", "bencode", "json", "sdp", "flags", "srtp"];

/// How they are built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Build {
    /// To find something: optimised, with the address sanitizer.
    Thorough,
    /// To see that they run: as soon as may be.
    Quick,
}

/// Runs these fuzzers, or all, one after another.
pub(crate) fn fuzz(targets: &[String], seconds: u32, build: Build) -> anyhow::Result<()> {
    setup::install()?;
    if !exists("cargo-fuzz") {
        eprintln!("setup: building cargo-fuzz {CARGO_FUZZ}");
        run(cargo().args(["install", "cargo-fuzz", "--locked", "--quiet", "--version", CARGO_FUZZ]))?;
    }
    let folder = workspace().join("fuzz");
    run(cargo().current_dir(&folder).args(["run", "--quiet", "--locked", "--bin", "seeds"]))?;
    let manner: &[&str] = match build {
        Build::Thorough => &[],
        Build::Quick => &["--dev", "--sanitizer=none"],
    };
    let is_wanted = |target: &&str| targets.is_empty() || targets.iter().any(|one| one == target);
    let wanted: Vec<&str> = TARGETS.into_iter().filter(is_wanted).collect();
    for target in &wanted {
        run(fuzzer("build").args(manner).arg(target).current_dir(&folder))?;
    }
    let mut found = Vec::new();
    for target in wanted {
        eprintln!("== {target}, {seconds} s");
        let time = format!("-max_total_time={seconds}");
        let options = [target, "--", &time, "-timeout=5", "-max_len=4096", "-print_final_stats=1"];
        let mut fuzzer = fuzzer("run");
        fuzzer.args(manner).args(options).current_dir(&folder);
        if !fuzzer.status().context("cannot run cargo fuzz")?.success() {
            found.push(target);
        }
    }
    if !found.is_empty() {
        bail!("findings in {}: the inputs are in fuzz/artifacts", found.join(", "));
    }
    Ok(())
}

fn fuzzer(what: &str) -> Command {
    let mut command = cargo();
    // The sanitizer is an option that stable compilers have, but do not show.
    command.env("RUSTC_BOOTSTRAP", "1").args(["fuzz", what]);
    command
}
