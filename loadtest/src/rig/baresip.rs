//! baresip: a telephone that others have made, which answers every call and sends back what it hears.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::process::Process;
use super::trunks::{Trunk, Trunks};

/// Where Debian has its modules.
const MODULES: &str = "/usr/lib/baresip/modules";

/// The running telephone.
#[derive(Debug)]
pub struct Baresip {
    process: Process,
}

impl Baresip {
    /// At the far end of a trunk, with the media encryption that it calls by this name: `srtp-mand`, `srtp`, or none.
    ///
    /// # Errors
    /// When it does not become ready; with what it said.
    pub fn start(trunks: &Trunks, trunk: Trunk, encryption: &str, folder: &Path) -> anyhow::Result<Self> {
        Self::run(trunks, trunk, encryption, folder, &[])
    }

    /// The same, and it calls a number at once.
    ///
    /// # Errors
    /// When it does not become ready; with what it said.
    pub fn call(trunks: &Trunks, trunk: Trunk, encryption: &str, folder: &Path, number: &str) -> anyhow::Result<Self> {
        let dial = format!("/dial sip:{number}@{}", trunk.near());
        Self::run(trunks, trunk, encryption, folder, &["-e", &dial])
    }

    fn run(trunks: &Trunks, trunk: Trunk, encryption: &str, folder: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let home = folder.join(format!("baresip-{}", trunk.name()));
        fs::create_dir_all(&home)?;
        let (addr, number) = (trunk.far(), trunk.number());
        let media = if encryption.is_empty() { String::new() } else { format!(";mediaenc={encryption}") };
        let config = format!(
            "sip_listen {addr}:5060\nmodule_path {MODULES}\nmodule g711.so\nmodule srtp.so\nmodule aubridge.so\n\
             module_app account.so\nmodule_app menu.so\naudio_player aubridge,echo\naudio_source aubridge,echo\nrtp_ports 20000-20100\ncall_max_calls 4\naudio_buffer 20-160\n"
        );
        fs::write(home.join("config"), config)?;
        fs::write(home.join("contacts"), "")?;
        let account = format!("<sip:{number}@{addr}>;regint=0;answermode=auto;audio_codecs=PCMA{media}\n");
        fs::write(home.join("accounts"), account)?;
        let mut command = trunks.far(trunk).command("baresip");
        command.arg("-f").arg(&home).arg("-v").args(args);
        let mut process = Process::start("baresip", command, &home.join("log"))?;
        let ready = process.wait_for_output("is ready", Duration::from_secs(10));
        ready.with_context(|| process.output().unwrap_or_default())?;
        Ok(Self { process })
    }

    /// What it has said so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> std::io::Result<String> {
        self.process.output()
    }
}
