//! On what the comparison was made.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::result::{Circumstances, Row};
use super::{Plan, carriers};
use crate::rig::daemon::binary;
use crate::rig::process::run;

/// What is known of this machine and its programs.
pub(super) fn of(plan: &Plan, rows: &[Row], command: String, time: Duration) -> anyhow::Result<Circumstances> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let mut versions = Vec::new();
    for (name, program, args) in [
        ("Intertrunk", &*binary()?.to_string_lossy(), &["--version"][..]),
        ("rtpengine", "rtpengine", &["--version"]),
        ("nftables", "nft", &["--version"]),
    ] {
        versions.push((name.to_owned(), version(program, args)?));
    }
    // Where the sources are still there, the number alone is that of many builds.
    let sources = ["--no-optional-locks", "-C", env!("CARGO_MANIFEST_DIR")];
    let sources = [&sources[..], &["describe", "--always", "--dirty", "--exclude=*"]].concat();
    if let (Some((_, version)), Ok(commit)) = (versions.first_mut(), output("git", &sources)) {
        version.push_str(&format!(" (sources at {commit})"));
    }
    Ok(Circumstances {
        date: output("date", &["-u", "+%F"])?,
        command,
        seconds: time.as_secs(),
        is_quick: plan.is_quick,
        kernel: output("uname", &["-sr"])?,
        cpu: field("model name").unwrap_or_else(|| "unknown".to_owned()),
        cores: std::thread::available_parallelism()?.get(),
        is_virtual: field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        versions,
        started: carriers::started(rows)?,
        rounds: plan.rounds,
        millis: plan.time.as_millis() as u64,
    })
}

fn output(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    Ok(run(command)?.trim().to_owned())
}

/// The first line of what a program says of itself, without its own name. Some tell it on standard error.
fn version(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| format!("cannot run {program}"))?;
    let said = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&said).lines().next().unwrap_or("unknown").to_owned();
    Ok(line.split_once(' ').map_or(line.clone(), |(_, version)| version.trim_start_matches("Version: ").to_owned()))
}
