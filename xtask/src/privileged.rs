//! The privileged tests: programs side by side, each with several tests at a time, since nearly all of them wait.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use serde_json::Value;

use crate::account::Account;
use crate::command::{cargo, output};

/// Programs at a time, and tests at a time in each. They share the kernel, but each test has hosts of its own, and waits far longer than it has to.
const PROGRAMS: usize = 2;
const TESTS: &str = "3";

/// A program of tests, as cargo has built it.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    file: PathBuf,
    /// Where cargo runs it: the folder of its package.
    folder: PathBuf,
}

impl Program {
    /// That of a line of cargo's messages; `None` for what is no program of tests.
    fn of_message(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        if message.pointer("/profile/test")? != &Value::Bool(true) {
            return None;
        }
        let file = PathBuf::from(message.get("executable")?.as_str()?);
        let folder = Path::new(message.get("manifest_path")?.as_str()?).parent()?.to_owned();
        Some(Self { file, folder })
    }

    /// Runs its privileged tests; what they printed, and what it came to.
    fn run(&self) -> anyhow::Result<(Vec<u8>, Account)> {
        let name = self.file.display();
        eprintln!("     Running {name}");
        let mut command = Command::new(&self.file);
        command.arg("--ignored").current_dir(&self.folder).env("RUST_TEST_THREADS", TESTS);
        // The paths that cargo would have given it.
        let cargo = cargo();
        command.envs(cargo.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {name}"))?;
        let mut account = Account::of_text(&String::from_utf8_lossy(&output.stdout));
        if !output.status.success() && account.counts.failed == 0 {
            account.counts.failed = 1;
            account.failures.push(format!("{name} did not come to an end ({})", output.status));
        }
        Ok((output.stdout, account))
    }
}

/// Runs all privileged tests of the workspace, showing what each program prints when it has ended.
pub(crate) fn run() -> anyhow::Result<Account> {
    let messages = output(cargo().args([
        "test",
        "--quiet",
        "--workspace",
        "--locked",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
    ]))?;
    let programs: VecDeque<_> = messages.lines().filter_map(Program::of_message).collect();
    let waiting = Mutex::new(programs);
    let lane = || -> anyhow::Result<Account> {
        let mut sum = Account::default();
        // The next one is taken before it is run: the others are not kept waiting.
        while let Some(program) = { waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front() } {
            let (text, account) = program.run()?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "     Ended {}", program.file.display())?;
            out.write_all(&text)?;
            sum += account;
        }
        Ok(sum)
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = std::iter::repeat_with(|| scope.spawn(lane)).take(PROGRAMS).collect();
        let mut sum = Account::default();
        for lane in lanes {
            sum += lane.join().map_err(|_| anyhow::anyhow!("what runs the tests has panicked"))??;
        }
        Ok(sum)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_tests_are_found_among_cargos_messages() {
        let message = |executable: &str, is_test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/work/relay/Cargo.toml","profile":{{"test":{is_test}}},"executable":{executable}}}"#
            )
        };
        let found = Program { file: "/target/relay-1".into(), folder: "/work/relay".into() };
        assert_eq!(Program::of_message(&message(r#""/target/relay-1""#, true)), Some(found));
        for other in [
            message(r#""/target/intertrunk""#, false),
            message("null", true),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            "Compiling relay".to_owned(),
        ] {
            assert_eq!(Program::of_message(&other), None, "{other}");
        }
    }
}
