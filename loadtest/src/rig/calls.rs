//! Real calls: sipp on both ends of a route, with real speech.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::process::{POLL, Process};
use super::trunks::{Trunk, Trunks};
use crate::rtp::{Sequence, Ssrc, Timestamp};
use crate::speech::{self, Source, SpeechPlan, Target};

/// The speech that Debian's sip-tester ships.
const SPEECH: &str = "/usr/share/sip-tester/g711a.pcap";
/// How many calls are set up in a second.
const RATE: u32 = 20;

/// Which calls to make.
#[derive(Clone, Copy, Debug)]
pub struct CallPlan {
    /// Where they come from.
    pub from: Trunk,
    /// Where they go to.
    pub to: Trunk,
    /// Whether the callee's media is IPv6.
    pub to_ipv6: bool,
    /// How many.
    pub calls: u32,
    /// How long both parties of each speak, in seconds.
    pub seconds: u32,
}

/// The running calls.
#[derive(Debug)]
pub struct Calls {
    caller: Process,
    callee: Process,
    folder: PathBuf,
}

impl Calls {
    /// Starts the callee, then the caller.
    ///
    /// # Errors
    /// When sipp cannot be started or the speech not be made.
    pub fn start(trunks: &Trunks, plan: &CallPlan, folder: &Path) -> anyhow::Result<Self> {
        // Each party's stream begins just before the numbers wrap, and differs from the other's in all that can differ.
        let callee_plan = SpeechPlan {
            seconds: plan.seconds,
            ssrc: Ssrc(0x0ca1_1ee0),
            first_sequence: Sequence(65_500),
            first_timestamp: Timestamp(u32::MAX - 8000),
        };
        let caller_plan = SpeechPlan {
            ssrc: Ssrc(0x00ca_11e5),
            first_sequence: Sequence(65_000),
            first_timestamp: Timestamp(77),
            ..callee_plan
        };
        let callee = sipp(trunks, "callee", plan, plan.to, &callee_plan, folder)?;
        // A caller's INVITE that comes before its callee listens is sent again half a second later; this saves the wait.
        std::thread::sleep(Duration::from_millis(300));
        let caller = sipp(trunks, "caller", plan, plan.from, &caller_plan, folder)?;
        Ok(Self { caller, callee, folder: folder.to_owned() })
    }

    /// Waits until all calls have ended, doing something now and then.
    ///
    /// # Errors
    /// When a call has failed, by sipp's word, or `meanwhile` gives up.
    pub fn finish(mut self, mut meanwhile: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
        loop {
            // First, for an interrupt ends sipp as well, and that is no failed call.
            meanwhile()?;
            if let (Some(caller), Some(callee)) = (self.caller.ended()?, self.callee.ended()?) {
                for (role, status) in [("caller", caller), ("callee", callee)] {
                    if !status.success() {
                        let errors =
                            std::fs::read_to_string(self.folder.join(format!("{role}.errors"))).unwrap_or_default();
                        bail!("sipp, the {role}, reports failed calls ({status}): {}", errors.trim());
                    }
                }
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }
}

fn sipp(
    trunks: &Trunks,
    role: &str,
    plan: &CallPlan,
    trunk: Trunk,
    speech: &SpeechPlan,
    folder: &Path,
) -> anyhow::Result<Process> {
    let sound = folder.join(format!("{role}.pcap"));
    speech::write(Source(Path::new(SPEECH)), Target(&sound), speech)?;
    // Nothing makes sipp wait for the end of the speech, which drifts a little behind its plan.
    let talk = plan.seconds * 1000 + plan.seconds * 30 + 1500;
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{role}.xml"));
    let text = std::fs::read_to_string(&scenario).with_context(|| scenario.display().to_string())?;
    let text = text.replace("__SPEECH__", &sound.to_string_lossy()).replace("__TALK_MS__", &talk.to_string());
    let scenario = folder.join(format!("{role}.xml"));
    std::fs::write(&scenario, text)?;

    let limit = plan.seconds + plan.calls / RATE + 60;
    let (far, media) = (trunk.far().to_string(), trunks.media(trunk).to_string());
    let media_port = if role == "caller" { "22000" } else { "20000" };
    let mut command = trunks.far(trunk).command("sipp");
    command.current_dir(folder).arg("-sf").arg(&scenario);
    command.args(["-i", &far, "-p", "5060", "-mi", &media, "-mp", media_port]);
    command.args(["-s", plan.to.number(), "-key", "caller", plan.from.number()]);
    command.args(["-m", &plan.calls.to_string(), "-l", &plan.calls.to_string(), "-r", &RATE.to_string()]);
    command.args(["-nostdin", "-timeout", &format!("{limit}s"), "-timeout_error"]);
    command.arg("-trace_err").arg("-error_file").arg(folder.join(format!("{role}.errors")));
    command.arg(format!("{}:5060", trunk.near()));
    Process::start("sipp", command, &folder.join(format!("{role}.log")))
}
