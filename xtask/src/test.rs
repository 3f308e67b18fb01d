//! `cargo xtask test`: everything that must hold, and how much of it was really run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::account::Account;
use crate::command::{cargo, run};
use crate::counts::Counts;
use crate::{circles, licences, privileged, setup, smoke};

/// Runs everything.
pub(crate) fn test() -> anyhow::Result<()> {
    setup::install()?;
    step("format");
    run(cargo().args(["fmt", "--all", "--check"]))?;
    step("clippy");
    run(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))?;
    step("circles of imports");
    circles::check()?;
    step("tests");
    // The tests of real calls start the daemon, which cargo does not know they need.
    run(cargo().args(["build", "--quiet", "--locked", "--package", "control", "--bins"]))?;
    let open = count(cargo().args(["test", "--workspace", "--locked"]), &[])?;
    step("models");
    let models = models();
    step("privileged tests");
    let privileged = privileged::run();
    step("licences");
    let licences = licences::check();
    step("short forms of demo, benches, fuzzers and kernels");
    let forms = smoke::smoke();

    eprintln!();
    // Whatever went wrong, what failed before is told.
    for account in [Some(&open), models.as_ref().ok(), privileged.as_ref().ok()].into_iter().flatten() {
        tell(account);
    }
    let [open, models, privileged] = [open.counts, models?.counts, privileged?.counts];
    licences?;
    eprintln!("{} tests passed, {} failed", open.passed, open.failed);
    eprintln!(
        "{} privileged tests passed, {} failed, {} not run",
        privileged.passed,
        privileged.failed,
        not_run(open, privileged)
    );
    eprintln!("{} models hold, {} do not", models.passed, models.failed);
    let forms = forms.context("short forms failed")?;
    eprintln!("{forms} short forms ran");
    if open.failed + privileged.failed + models.failed > 0 {
        bail!("tests failed");
    }
    if privileged.passed == 0 || not_run(open, privileged) > 0 {
        bail!("privileged tests did not run: run this as root on a host that permits BPF and network namespaces");
    }
    Ok(())
}

/// Runs the privileged tests alone.
pub(crate) fn privileged() -> anyhow::Result<()> {
    setup::install()?;
    run(cargo().args(["build", "--quiet", "--locked", "--package", "control", "--bins"]))?;
    let account = privileged::run()?;
    tell(&account);
    let Counts { passed, failed, .. } = account.counts;
    eprintln!("{passed} privileged tests passed, {failed} failed");
    if failed > 0 || passed == 0 {
        bail!("privileged tests failed, or did not run");
    }
    Ok(())
}

/// Runs the models of shared memory, which are built of other atomics than anything else.
fn models() -> anyhow::Result<Account> {
    let mut command = cargo();
    command.args([
        "test",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "flow",
        "--lib",
        "--target-dir",
        "target/loom",
    ]);
    count(command.env("RUSTFLAGS", "--cfg loom"), &["models::"])
}

/// What the first run put off and the second did not do.
const fn not_run(open: Counts, privileged: Counts) -> u64 {
    open.ignored.saturating_sub(privileged.passed + privileged.failed)
}

/// Tells again what failed, and what it said.
fn tell(account: &Account) {
    for line in &account.failures {
        eprintln!("{line}");
    }
}

/// Says what is next, and how long everything before it has taken.
fn step(name: &str) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    eprintln!("== {name} (after {} s)", START.elapsed().as_secs());
}

/// Runs tests, showing what they print.
fn count(command: &mut Command, to_tests: &[&str]) -> anyhow::Result<Account> {
    let mut child = command
        .arg("--no-fail-fast")
        .arg("--")
        .args(to_tests)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut text = String::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        writeln!(std::io::stdout(), "{line}")?;
        text.push_str(&line);
        text.push('\n');
    }
    let account = Account::of_text(&text);
    let status = child.wait()?;
    if !status.success() && account.counts.failed == 0 {
        bail!("the tests could not be built or run ({status})");
    }
    Ok(account)
}
