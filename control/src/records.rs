//! Records of ended calls: one line of JSON for each, written by a thread of its own into a file, and told to the host's journal.
//!
//! Whoever is slow loses records, and never holds a call up: so many wait, and those beyond are counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use calls::outcome::EndedCall;
use crossbeam::channel::{Receiver, Sender, bounded};
use serde::Serialize;

use crate::view::CallView;

/// Records that may wait for their thread, of some kilobytes each.
const WAITING: usize = 16_384;
/// How often it is looked whether the file was renamed.
const LOOK: Duration = Duration::from_secs(1);
/// How long it is waited for them at the end.
const END: Duration = Duration::from_secs(5);
/// Where the host's journal takes entries.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// The field that has all of a record.
const WHOLE: &str = "INTERTRUNK_RECORD";
/// The word for it in the configuration.
const JOURNALD: &str = "journald";

/// A record.
#[derive(Serialize)]
struct Record<'a> {
    /// Of the form of these records: what is added changes it not.
    version: u32,
    /// Why the call has ended.
    reason: &'a str,
    /// When, in seconds since 1970.
    ended: f64,
    #[serde(flatten)]
    call: CallView,
}

/// Where records go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// To the end of a file.
    File(PathBuf),
    /// To the host's journal.
    Journald,
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        if text == JOURNALD { Self::Journald } else { Self::File(text.into()) }
    }
}

/// The way to the thread.
pub struct Records {
    sender: Option<Sender<EndedCall>>,
    thread: Option<JoinHandle<()>>,
    lost: Arc<AtomicU64>,
}

impl Records {
    /// Begins to write.
    ///
    /// # Errors
    /// When a file cannot be opened, or there is no thread.
    pub fn start(targets: &[Target]) -> anyhow::Result<Self> {
        let (sender, receiver) = bounded(WAITING);
        let outlets = targets.iter().map(Outlet::open).collect::<io::Result<Vec<_>>>()?;
        let thread = std::thread::Builder::new().name("records".to_owned()).spawn(move || write(&receiver, outlets))?;
        Ok(Self { sender: Some(sender), thread: Some(thread), lost: Arc::default() })
    }

    /// Writes records of these calls.
    pub fn put(&self, ended: Vec<EndedCall>) {
        for call in ended {
            if self.sender.as_ref().is_some_and(|sender| sender.try_send(call).is_err()) {
                self.lose();
            }
        }
    }

    /// The daemon ends: writes records of these calls as well, as far as that takes no longer than [`END`].
    pub fn finish(self, ended: impl Iterator<Item = EndedCall>) {
        let until = Instant::now() + END;
        for call in ended {
            if self.sender.as_ref().is_some_and(|sender| sender.send_deadline(call, until).is_err()) {
                self.lose();
                break;
            }
        }
    }

    fn lose(&self) {
        let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
        if lost.is_power_of_two() {
            tracing::warn!(lost, "records of calls are lost: they cannot be written as fast as calls end");
        }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        // What waits is written before the daemon ends.
        drop(self.sender.take());
        let until = Instant::now() + END;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

enum Outlet {
    File { path: PathBuf, file: File, looked: Instant },
    Journald { socket: UnixDatagram, path: PathBuf },
}

impl Outlet {
    fn open(target: &Target) -> io::Result<Self> {
        Ok(match target {
            Target::File(path) => {
                let named =
                    |error: io::Error| io::Error::new(error.kind(), format!("records: {}: {error}", path.display()));
                Self::File { path: path.clone(), file: open(path).map_err(named)?, looked: Instant::now() }
            }
            Target::Journald => Self::journald(JOURNAL.into())?,
        })
    }

    fn journald(path: PathBuf) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self::Journald { socket, path })
    }

    fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        match self {
            Self::File { path, file, looked } => {
                if looked.elapsed() >= LOOK {
                    *looked = Instant::now();
                    // Somebody has put it aside, as logrotate does.
                    let is_same = path.metadata().is_ok_and(|now| {
                        file.metadata().is_ok_and(|ours| (now.dev(), now.ino()) == (ours.dev(), ours.ino()))
                    });
                    if !is_same {
                        *file = open(path)?;
                    }
                }
                // In one piece, so that nobody reads half of one.
                let mut line = serde_json::to_vec(record)?;
                line.push(b'\n');
                let before = file.metadata()?.len();
                file.write_all(&line).inspect_err(|_| {
                    // Half a record would spoil the next one.
                    let _full = file.set_len(before);
                })
            }
            Self::Journald { socket, path } => {
                let fields = fields(record)?;
                let sent = socket.send_to(fields.as_bytes(), &*path);
                // Of a call of very many media all but the whole of it finds room.
                let is_long = sent.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE));
                let short = fields.split_inclusive('\n').filter(|field| !field.starts_with(WHOLE)).collect::<String>();
                if is_long { socket.send_to(short.as_bytes(), &*path).map(drop) } else { sent.map(drop) }
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Who has talked with whom is nobody's business. A pipe would have the daemon wait for whoever reads it.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().create(true).append(true).mode(0o640).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_char_device() {
        return Err(io::Error::other("it is no file that lines can be written to"));
    }
    Ok(file)
}

/// As the journal wants it: a line for each field. Nothing in them has an end of line, because names are escaped.
fn fields(record: &Record<'_>) -> serde_json::Result<String> {
    let call = &record.call.summary;
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let json = serde_json::to_string(record)?;
    let mut fields = String::new();
    for (name, value) in [
        ("MESSAGE", format!("call {} ended: {}", call.call_id, record.reason)),
        ("PRIORITY", "6".to_owned()),
        ("SYSLOG_IDENTIFIER", "intertrunk".to_owned()),
        ("INTERTRUNK_CALL_ID", call.call_id.clone()),
        ("INTERTRUNK_REASON", record.reason.to_owned()),
        ("INTERTRUNK_SECONDS", format!("{:.3}", call.age)),
        ("INTERTRUNK_PATH", call.path.clone()),
        ("INTERTRUNK_PACKETS", call.packets.to_string()),
        ("INTERTRUNK_LOST", call.lost.to_string()),
        ("INTERTRUNK_ERRORS", call.errors.to_string()),
        ("INTERTRUNK_MOS", number(call.mos)),
        (WHOLE, json),
    ] {
        fields += &format!("{name}={value}\n");
    }
    Ok(fields)
}

fn write(receiver: &Receiver<EndedCall>, mut outlets: Vec<Outlet>) {
    let mut failures = 0_u64;
    for EndedCall { call_id, reason, account } in receiver {
        let call = CallView::new(&call_id, &account);
        let ended = call.summary.created + call.summary.age;
        let record = Record { version: 1, reason, ended, call };
        for outlet in &mut outlets {
            if let Err(error) = outlet.write(&record) {
                failures += 1;
                if failures.is_power_of_two() {
                    let call_id = &record.call.summary.call_id;
                    tracing::warn!(call_id, %error, failures, "the record of a call cannot be written");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use calls::outcome::CallAccount;

    use super::*;

    /// What the journal gets of a call with this name, by field.
    fn told(call_id: &[u8]) -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        journal.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let account = CallAccount {
            number: 1,
            is_answered: true,
            created: SystemTime::UNIX_EPOCH,
            last_signal: SystemTime::UNIX_EPOCH,
            flows_since: Instant::now(),
            parties: Vec::new(),
            descriptions: Vec::new(),
            now: (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(90)),
        };
        let record = Record { version: 1, reason: "timeout", ended: 90.0, call: CallView::new(call_id, &account) };
        Outlet::journald(path).unwrap().write(&record).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let len = journal.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..len]).unwrap();
        let field = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.lines().map(|line| field(line).unwrap()).collect()
    }

    #[test]
    fn the_journal_gets_a_field_for_each_figure_and_the_whole() {
        let told = told(b"call-1");
        for (name, value) in [
            ("MESSAGE", "call call-1 ended: timeout"),
            ("INTERTRUNK_CALL_ID", "call-1"),
            ("INTERTRUNK_REASON", "timeout"),
            ("INTERTRUNK_SECONDS", "90.000"),
            ("INTERTRUNK_PATH", "none"),
            ("INTERTRUNK_PACKETS", "0"),
            ("INTERTRUNK_MOS", ""),
        ] {
            assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
        }
        let whole: serde_json::Value = serde_json::from_str(&told[WHOLE]).unwrap();
        assert_eq!((&whole["version"], &whole["call_id"]), (&serde_json::json!(1), &serde_json::json!("call-1")));
    }

    #[test]
    fn no_call_writes_fields_of_its_own_into_the_journal() {
        let told = told(b"a\nINTERTRUNK_REASON=deleted\nMESSAGE=all is well");
        assert_eq!(told["INTERTRUNK_REASON"], "timeout");
        assert!(told["MESSAGE"].starts_with("call a\\n"), "{told:?}");
    }

    #[test]
    fn what_is_too_long_for_the_journal_as_a_whole_is_told_without_the_whole() {
        let long = told(&vec![1; 20_000]);
        assert!(!long.contains_key(WHOLE) && long["INTERTRUNK_REASON"] == "timeout", "{:?}", long.keys());
    }
}
