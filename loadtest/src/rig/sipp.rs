//! Many calls at once: sipp on both ends of a route, with speech in every call, and what it has counted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use super::process::{POLL, Process};
use super::trunks::{Trunk, Trunks};
use crate::pcap::{Reader, Writer};
use crate::rtp::{Sequence, Ssrc, Timestamp};
use crate::speech::{self, Source, SpeechPlan, Target};

/// The speech that Debian's sip-tester ships.
const SPEECH: &str = "/usr/share/sip-tester/g711a.pcap";
/// The first media port of a sipp. Call number n has the four from here + 4n, and after ten thousand ports it begins anew.
const MEDIA_PORT: u16 = 20_000;
/// How many calls can be at once, so that no two have the same ports.
pub const MOST_AT_ONCE: u32 = 2_400;
/// Before each re-INVITE of a storm.
const STORM: Duration = Duration::from_millis(200);
/// How many there are of them, as the scenario has it.
const STORMS: u32 = 5;
/// How long a call is on hold.
const HOLD: Duration = Duration::from_secs(1);
/// How long it rings before the caller gives up.
const RING: Duration = Duration::from_millis(300);
/// How much later a callee may begin to speak that has not got its ACK.
const LATE: Duration = Duration::from_secs(5);
/// How long the callee has for its last call when the caller has ended.
const GRACE: Duration = Duration::from_secs(5);

/// What happens in each call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// Both talk, and the caller hangs up.
    Talk,
    /// The caller sends re-INVITE upon re-INVITE meanwhile.
    Storm,
    /// The caller puts its callee on hold, and comes back.
    Hold,
    /// The caller's media moves to another port.
    Transfer,
    /// The caller hangs up while it rings.
    Abandoned,
    /// SIP messages are lost.
    Lossy,
}

impl Scenario {
    /// All but the plain one.
    pub const OTHERS: [Self; 5] = [Self::Storm, Self::Hold, Self::Transfer, Self::Abandoned, Self::Lossy];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Talk => "talk",
            Self::Storm => "storm",
            Self::Hold => "hold",
            Self::Transfer => "transfer",
            Self::Abandoned => "abandoned",
            Self::Lossy => "lossy",
        }
    }

    /// Whether anybody speaks.
    pub const fn has_media(self) -> bool {
        !matches!(self, Self::Abandoned)
    }

    /// The files of `loadtest/scenarios`.
    const fn file(self, role: Role) -> &'static str {
        match (self, role) {
            (Self::Talk, Role::Caller) => "caller.xml",
            (Self::Talk, Role::Callee) => "callee.xml",
            (Self::Storm, Role::Caller) => "reinvite-caller.xml",
            (Self::Hold, Role::Caller) => "hold-caller.xml",
            (Self::Hold, Role::Callee) => "hold-callee.xml",
            (Self::Transfer, Role::Caller) => "transfer-caller.xml",
            (Self::Abandoned, Role::Caller) => "abandoned-caller.xml",
            (Self::Abandoned, Role::Callee) => "ringing-callee.xml",
            (Self::Lossy, Role::Caller) => "lossy-caller.xml",
            (Self::Storm | Self::Transfer | Self::Lossy, Role::Callee) => "in-dialog-callee.xml",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Caller,
    Callee,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        }
    }
}

/// Which calls to make.
#[derive(Clone, Copy, Debug)]
pub struct SippPlan {
    /// Where they come from.
    pub from: Trunk,
    /// Where they go to.
    pub to: Trunk,
    /// How many in all.
    pub calls: u32,
    /// How many at once at the most; see [`MOST_AT_ONCE`].
    pub concurrent: u32,
    /// How many are set up in a second.
    pub rate: f64,
    /// How long both parties speak at a time, in steps of 20 ms.
    pub talk: Duration,
    /// What happens in each.
    pub scenario: Scenario,
}

impl SippPlan {
    /// From the beginning of a speech until it is over for sure: nothing makes sipp wait for its end, which drifts behind its plan, the more the
    /// more calls there are. What is still said after a BYE would be lost, and nobody's fault.
    fn speech(&self) -> Duration {
        let slack = if self.talk < Duration::from_secs(1) { 300 } else { 1500 + u64::from(self.concurrent) };
        let late = if self.scenario == Scenario::Lossy { LATE } else { Duration::ZERO };
        self.talk + self.talk * 3 / 100 + Duration::from_millis(slack) + late
    }

    /// How long a call takes, from its ACK to its BYE.
    pub fn length(&self) -> Duration {
        match self.scenario {
            Scenario::Talk | Scenario::Lossy => self.speech(),
            Scenario::Storm => self.speech().max(STORM * STORMS),
            Scenario::Hold => self.speech() * 2 + HOLD,
            Scenario::Transfer => self.speech() * 2,
            Scenario::Abandoned => RING,
        }
    }

    /// When all must be over; the last retransmission of an INVITE ends after half a minute.
    fn limit(&self) -> Duration {
        let turns = self.calls.div_ceil(self.concurrent.max(1));
        Duration::from_secs_f64(f64::from(self.calls) / self.rate.max(0.1)) + self.length() * turns * 2 + GRACE * 18
    }
}

/// The running calls.
#[derive(Debug)]
pub struct SippCalls {
    caller: Process,
    callee: Process,
    folder: PathBuf,
}

impl SippCalls {
    /// Starts the callee, then the caller, with a folder of their own.
    ///
    /// # Errors
    /// When sipp cannot be started, the speech not be made, or there would be too many calls at once.
    pub fn start(trunks: &Trunks, plan: &SippPlan, folder: &Path) -> anyhow::Result<Self> {
        ensure!((1..=MOST_AT_ONCE).contains(&plan.concurrent), "sipp has no ports for {} calls", plan.concurrent);
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let callee = start(trunks, plan, Role::Callee, folder)?;
        // A caller's INVITE that comes before its callee listens is sent again half a second later, and would be counted.
        std::thread::sleep(Duration::from_millis(500));
        let caller = start(trunks, plan, Role::Caller, folder)?;
        Ok(Self { caller, callee, folder: folder.to_owned() })
    }

    /// The process ids of the caller and of the callee.
    pub fn ids(&self) -> [u32; 2] {
        [self.caller.id(), self.callee.id()]
    }

    /// What both have counted so far; sipp writes it down once a second.
    pub fn counts(&self) -> Ends {
        let read = |role: Role| {
            let text = std::fs::read_to_string(self.folder.join(format!("{}.csv", role.name()))).unwrap_or_default();
            SippCounts::parse(&text).unwrap_or_default()
        };
        Ends { caller: read(Role::Caller), callee: read(Role::Callee) }
    }

    /// Waits until all calls have ended, doing something now and then. Failed calls are no error: the counts tell of them.
    ///
    /// # Errors
    /// When a sipp could not do its work, or `meanwhile` gives up.
    pub fn finish(mut self, mut meanwhile: impl FnMut(&Self) -> anyhow::Result<()>) -> anyhow::Result<Ends> {
        let caller = loop {
            // First, for an interrupt ends sipp as well.
            meanwhile(&self)?;
            // Not without its callee, or it would try for long.
            if let Some(status) = self.callee.ended()?.filter(|status| !matches!(status.code(), Some(0 | 1))) {
                bail!("sipp, the callee, has given up ({status}): {}", self.errors(Role::Callee));
            }
            if let Some(status) = self.caller.ended()? {
                break status;
            }
            std::thread::sleep(POLL);
        };
        // 1: some calls have failed.
        if !matches!(caller.code(), Some(0 | 1)) {
            bail!("sipp, the caller, has given up ({caller}): {}", self.errors(Role::Caller));
        }
        let start = Instant::now();
        while self.callee.ended()?.is_none() && start.elapsed() < GRACE {
            meanwhile(&self)?;
            std::thread::sleep(POLL);
        }
        // One that waits for calls which never came; what it has counted is written.
        let _however_it_ends = self.callee.stop();
        Ok(self.counts())
    }

    /// The last lines that a sipp has complained with.
    fn errors(&self, role: Role) -> String {
        let name = role.name();
        let told = std::fs::read_to_string(self.folder.join(format!("{name}.errors"))).unwrap_or_default();
        let printed = std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        let text = if told.trim().is_empty() { printed } else { told };
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).rev().take(20).collect();
        lines.reverse();
        lines.join("\n")
    }
}

fn start(trunks: &Trunks, plan: &SippPlan, role: Role, folder: &Path) -> anyhow::Result<Process> {
    let (trunk, name) = match role {
        Role::Caller => (plan.from, role.name()),
        Role::Callee => (plan.to, role.name()),
    };
    let scenario = folder.join(format!("{name}.xml"));
    std::fs::write(&scenario, script(plan, role, folder)?)?;
    let mut command = trunks.far(trunk).command("sh");
    // Each call that plays speech has a socket of its own.
    let more = "ulimit -n 65536 2>/dev/null || ulimit -n \"$(ulimit -H -n)\"; exec \"$@\"";
    command.args(["-c", more, "sh", "sipp"]);
    command.current_dir(folder).arg("-sf").arg(&scenario);
    let (far, media) = (trunk.far().to_string(), trunks.media(trunk).to_string());
    command.args(["-i", &far, "-p", "5060", "-mi", &media, "-mp", &MEDIA_PORT.to_string()]);
    command.args(["-s", plan.to.number(), "-key", "caller", plan.from.number()]);
    command.args(["-m", &plan.calls.to_string(), "-l", &plan.concurrent.to_string(), "-r", &plan.rate.to_string()]);
    // Of its own sockets there are few; together with the calls they must stay below the limit of files.
    command.args(["-max_socket", "1000", "-buff_size", "1048576"]);
    command.args(["-nostdin", "-timeout", &format!("{}s", plan.limit().as_secs()), "-timeout_error"]);
    command.arg("-trace_err").arg("-error_file").arg(folder.join(format!("{name}.errors")));
    command.args(["-trace_stat", "-fd", "1"]).arg("-stf").arg(folder.join(format!("{name}.csv")));
    command.arg(format!("{}:5060", trunk.near()));
    Process::start("sipp", command, &folder.join(format!("{name}.log")))
}

/// A scenario as sipp shall read it, and the speech that it plays.
fn script(plan: &SippPlan, role: Role, folder: &Path) -> anyhow::Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(plan.scenario.file(role));
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let sound = folder.join(format!("{}.pcap", role.name()));
    if plan.scenario.has_media() {
        // Each party's stream begins just before the numbers wrap, and differs from the other's in all that can differ.
        let (ssrc, sequence, timestamp, times) = match role {
            // It goes on while its caller's media moves.
            Role::Callee => {
                (0x0ca1_1ee0, 65_500, u32::MAX - 8000, if plan.scenario == Scenario::Transfer { 2 } else { 1 })
            }
            Role::Caller => (0x00ca_11e5, 65_000, 77, 1),
        };
        let stream = SpeechPlan {
            seconds: 0,
            ssrc: Ssrc(ssrc),
            first_sequence: Sequence(sequence),
            first_timestamp: Timestamp(timestamp),
        };
        speak(&sound, stream, plan.talk * times)?;
    }
    let speech = plan.speech();
    let rest = speech.saturating_sub(STORM * STORMS).max(STORM);
    let millis = |time: Duration| time.as_millis().to_string();
    Ok(text
        .replace("__SPEECH__", &sound.to_string_lossy())
        .replace("__TALK_MS__", &millis(speech))
        .replace("__STORM_MS__", &millis(STORM))
        .replace("__REST_MS__", &millis(rest))
        .replace("__HOLD_MS__", &millis(HOLD))
        .replace("__RING_MS__", &millis(RING))
        // The 200 that sets the route is the first one: how long it takes until then is measured.
        .replace("<recv response=\"200\" rrs=\"true\"", "<recv response=\"200\" rrs=\"true\" rtd=\"true\""))
}

/// Writes a speech that may end within a second.
fn speak(target: &Path, stream: SpeechPlan, length: Duration) -> anyhow::Result<()> {
    let whole = target.with_extension("whole");
    let millis = u32::try_from(length.as_millis()).context("too long a speech")?;
    speech::write(
        Source(Path::new(SPEECH)),
        Target(&whole),
        &SpeechPlan { seconds: millis.div_ceil(1000).max(1), ..stream },
    )?;
    let mut writer = Writer::create(target)?;
    for record in Reader::open(&whole)?.take((millis / 20) as usize) {
        let record = record?;
        writer.write(record.time, &record.bytes)?;
    }
    writer.finish()?;
    Ok(std::fs::remove_file(whole)?)
}

/// What both sipps have counted.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Ends {
    /// The caller.
    pub caller: SippCounts,
    /// The callee.
    pub callee: SippCounts,
}

/// What a sipp has counted since it was started.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct SippCounts {
    /// Calls that were begun, by either side.
    pub created: u64,
    /// Calls that stand.
    pub current: u64,
    /// Calls that went as the scenario has it.
    pub successful: u64,
    /// Calls that did not.
    pub failed: u64,
    /// Messages that were sent again.
    pub retransmissions: u64,
    /// How long it has run.
    pub seconds: f64,
    /// How long a call took on average.
    pub call_seconds: f64,
    /// From the INVITE to its 200 on average, in milliseconds, at the caller.
    pub set_up_ms: Option<f64>,
}

impl SippCounts {
    /// Reads the last whole line of sipp's `-trace_stat`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let names: Vec<&str> = lines.next()?.split(';').map(str::trim).collect();
        lines.rev().find_map(|line| Self::of(&names, line))
    }

    fn of(names: &[&str], line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(';').map(str::trim).collect();
        let field = |name: &str| fields.get(names.iter().position(|other| *other == name)?).copied();
        let number = |name: &str| field(name)?.parse::<u64>().ok();
        Some(Self {
            created: number("TotalCallCreated")?,
            current: number("CurrentCall")?,
            successful: number("SuccessfulCall(C)")?,
            failed: number("FailedCall(C)")?,
            retransmissions: number("Retransmissions(C)")?,
            seconds: seconds(field("ElapsedTime(C)")?)?,
            call_seconds: seconds(field("CallLength(C)")?)?,
            set_up_ms: field("ResponseTime1(C)").and_then(seconds).map(|seconds| seconds * 1000.0),
        })
    }
}

/// A time as sipp writes it: hours, minutes, seconds, microseconds.
fn seconds(text: &str) -> Option<f64> {
    let mut parts = text.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(hours * 3600.0 + minutes * 60.0 + seconds + parts.next().flatten().unwrap_or(0.0) / 1e6)
}

#[cfg(test)]
mod tests;
