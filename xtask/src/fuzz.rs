//! `cargo xtask fuzz`: runs the fuzzers of `fuzz/`, each for so long.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{cargo, exists, run, workspace};
use crate::setup;

/// The driver of the fuzzers.
const CARGO_FUZZ: &str = "0.13.2";

/// What is fuzzed: frames, and everything that comes over the control socket.
pub(crate) const TARGETS: [&str; 5] = ["frames", "bencode", "json", "sdp", "flags"];

/// Runs these fuzzers, or all, one after another.
pub(crate) fn fuzz(targets: &[String], seconds: u32) -> anyhow::Result<()> {
    setup::install()?;
    if !exists("cargo-fuzz") {
        eprintln!("setup: building cargo-fuzz {CARGO_FUZZ}");
        run(cargo().args(["install", "cargo-fuzz", "--locked", "--quiet", "--version", CARGO_FUZZ]))?;
    }
    let folder = workspace().join("fuzz");
    run(cargo().current_dir(&folder).args(["run", "--quiet", "--locked", "--bin", "seeds"]))?;
    let mut found = Vec::new();
    for target in TARGETS.into_iter().filter(|target| targets.is_empty() || targets.iter().any(|one| one == target)) {
        run(fuzzer(&["build", target]).current_dir(&folder))?;
        eprintln!("== {target}, {seconds} s");
        let time = format!("-max_total_time={seconds}");
        let options = ["run", target, "--", &time, "-timeout=5", "-max_len=4096", "-print_final_stats=1"];
        if !fuzzer(&options).current_dir(&folder).status().context("cannot run cargo fuzz")?.success() {
            found.push(target);
        }
    }
    if !found.is_empty() {
        bail!("findings in {}: the inputs are in fuzz/artifacts", found.join(", "));
    }
    Ok(())
}

fn fuzzer(arguments: &[&str]) -> Command {
    let mut command = cargo();
    // The sanitizer is an option that stable compilers have, but do not show.
    command.env("RUSTC_BOOTSTRAP", "1").arg("fuzz").args(arguments);
    command
}
