//! An emulated computer that boots a kernel: what runs in it need not be permitted, or possible, on this one.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// Seconds that a guest may take; it is that long only when something hangs.
const LIMIT: &str = "900";
/// The first serial line is the kernel's. Whatever it complains of there ends the machine: nothing that the tests do may make it complain.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 oops=panic panic_on_warn=1 mitigations=off";
/// How many of the kernel's messages tell what it died of.
const LAST: usize = 60;

/// A computer that is switched off.
pub(super) struct Machine {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    /// Where the kernel's messages go.
    pub(super) messages: PathBuf,
}

impl Machine {
    /// Switches it on, and returns what the second serial line says until it switches itself off, ends by a mishap, or runs out of time.
    ///
    /// # Errors
    /// When there is no emulator.
    pub(super) fn run(&self) -> anyhow::Result<Vec<String>> {
        // A program of its own keeps the time, so that the machine ends although this one might have before. In the foreground, or
        // Ctrl-C would not reach it.
        let mut emulator = Command::new("timeout")
            .args(["--foreground", "--verbose", "--signal=KILL", LIMIT, "qemu-system-x86_64"])
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1G"])
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-append", COMMAND_LINE])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs)
            .arg("-serial")
            .arg(format!("file:{}", self.messages.display()))
            .args(["-serial", "stdio"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run timeout")?;
        let line = emulator.stdout.take().context("the emulator has no output")?;
        let mut said = Vec::new();
        for line in BufReader::new(line).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
            eprintln!("{line}");
            said.push(line);
        }
        // The emulator is content when its guest has crashed, so its status tells nothing.
        emulator.wait()?;
        Ok(said)
    }

    /// The last of the kernel's messages.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn last_messages(&self) -> anyhow::Result<String> {
        let messages = fs::read(&self.messages).context("the kernel said nothing")?;
        let messages = String::from_utf8_lossy(&messages);
        let lines: Vec<_> = messages.lines().collect();
        Ok(lines[lines.len().saturating_sub(LAST)..].join("\n"))
    }
}
