//! The gate against slowness: another commit's daemon is built beside this one, and both are measured in turns.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::command::{cargo, run, workspace};

/// What asks for a test build.
const SLOW: &str = "--slowed";

/// Where the other commit lies meanwhile, and what is built of it.
const FOLDER: &str = "target/gate";

/// Work that a test build does for nothing, so that the gate has something to find: file, the line that it comes behind, and what it is.
const SLOWED: [(&str, &str, &str); 3] = [
    (
        "flow/src/forward.rs",
        "    packet.envelope_mut().readdress(&way);\n",
        "    let wasted = tables.clock() ^ tables.clock() ^ tables.clock() ^ tables.clock();\n    if wasted == 1 {\n        return Err(Verdict::Pass(Reason::TooShort));\n    }\n",
    ),
    (
        "relay/src/worker/carry.rs",
        "    pub(crate) fn carry(&mut self, arrival: &mut Arrival<'_>, clock_ns: u64, outbox: &mut Outbox) -> Option<Departure> {\n",
        "        for _ in 0..60 {\n            std::hint::black_box(Instant::now());\n        }\n",
    ),
    (
        "control/src/daemon.rs",
        "    fn carry_out(&self, bytes: &[u8], proxy: Proxy, loaded: Option<Loaded>) -> Result<Option<Bytes>, Lacked> {\n",
        "        for _ in 0..1000 {\n            std::hint::black_box(Instant::now());\n        }\n",
    ),
];

/// Builds what is to be compared: the commit that is named first in the arguments, and, where they ask for that, a test build that is slow on purpose.
/// Returns what the bench is told.
pub(crate) fn prepare(args: &[String]) -> anyhow::Result<Vec<String>> {
    let (base, rest) = args
        .split_first()
        .filter(|(base, _)| !base.starts_with('-'))
        .context("with what? cargo xtask bench compare COMMIT [--slowed] [--rounds N] [--bound PERCENT] [--json]")?;
    let mut told = vec!["--base".to_owned(), build(base, "base", false)?];
    if rest.iter().any(|arg| arg == SLOW) {
        told.extend(["--this".to_owned(), build("HEAD", "slowed", true)?]);
    }
    told.extend(rest.iter().filter(|arg| *arg != SLOW).cloned());
    Ok(told)
}

/// Builds a commit's daemon in a checkout of its own, which goes afterwards; where the daemon is.
fn build(commit: &str, name: &str, is_slowed: bool) -> anyhow::Result<String> {
    eprintln!("building {commit}{}", if is_slowed { ", slow on purpose" } else { "" });
    let folder = workspace().join(FOLDER);
    let (checkout, target) = (folder.join(name), folder.join("build"));
    fs::create_dir_all(&folder)?;
    remove(&checkout)?;
    let mut add = Command::new("git");
    add.current_dir(workspace()).args(["worktree", "add", "--quiet", "--detach", "--force"]).arg(&checkout).arg(commit);
    run(&mut add).with_context(|| format!("no commit {commit}"))?;
    let built = (|| {
        if is_slowed {
            slow_down(&checkout)?;
        }
        let mut cargo = cargo();
        // Just as this one's is built: which other package is built with it decides on features of what both share.
        cargo.args(["build", "--quiet", "--release", "--locked", "--package", "control", "--package", "loadtest"]);
        run(cargo.current_dir(&checkout).env("CARGO_TARGET_DIR", &target))?;
        let daemon = folder.join(format!("intertrunk-{name}"));
        fs::copy(target.join("release/intertrunk"), &daemon).context("the daemon is not where it was built")?;
        anyhow::Ok(daemon.to_string_lossy().into_owned())
    })();
    let removed = remove(&checkout);
    built.and_then(|daemon| removed.map(|()| daemon))
}

/// Removes a checkout, also one that an interrupted run has left half made.
fn remove(checkout: &Path) -> anyhow::Result<()> {
    if checkout.exists() {
        fs::remove_dir_all(checkout).with_context(|| checkout.display().to_string())?;
    }
    run(Command::new("git").current_dir(workspace()).args(["worktree", "prune"]))
}

fn slow_down(checkout: &Path) -> anyhow::Result<()> {
    for (file, behind, work) in SLOWED {
        let file = checkout.join(file);
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        fs::write(&file, slowed(&text, behind, work).with_context(|| file.display().to_string())?)?;
    }
    Ok(())
}

/// A file with more work behind a line.
fn slowed(text: &str, behind: &str, work: &str) -> anyhow::Result<String> {
    let (before, after) = text.split_once(behind).context("the line is not there")?;
    ensure!(!after.contains(behind), "the line is there twice");
    Ok([before, behind, work, after].concat())
}

/// Whether the test build can still be made of this tree.
pub(crate) fn check() -> anyhow::Result<()> {
    for (file, behind, work) in SLOWED {
        slowed(&fs::read_to_string(workspace().join(file))?, behind, work).with_context(|| file.to_owned())?;
    }
    Ok(())
}
