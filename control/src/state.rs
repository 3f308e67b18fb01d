//! The folder in which an instance keeps what outlives its process.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// Where the kernel tells which time the host was booted.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The file that says that no new calls are taken, and since which start of the host.
const DRAINING: &str = "draining";

/// The file that says where the kernel's part is.
const PINS: &str = "pins";
/// No path is longer.
const LONGEST: u64 = 4096;

/// How long a daemon that starts waits for whoever only asks who has the folder, and how often it looks.
const ASKED: Duration = Duration::from_millis(200);
const AGAIN: Duration = Duration::from_millis(10);

/// Root may look into a folder of somebody who may do less: nothing there leads it elsewhere.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// The folder of one instance: as long as this lives, nobody else has it.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: File,
}

/// Why there is no such folder.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another daemon has it.
    #[error("another daemon runs as instance \"{0}\": stop it, or give this one another name (instance)")]
    Taken(String),
    /// It cannot be made or written.
    #[error("{path} cannot be used: {error}")]
    Folder {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl StateFolder {
    /// The folder of an instance, which is made where there is none.
    ///
    /// # Errors
    /// When another process has it, or it cannot be had.
    pub fn open(parent: &Path, instance: &str) -> Result<Self, StateError> {
        let path = parent.join(instance);
        let failed = |error: io::Error| StateError::Folder { path: path.clone(), error };
        // Who is where in which call is nobody's business.
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let (mut options, file) = (OpenOptions::new(), path.join("lock"));
        options.custom_flags(NO_FOLLOW);
        let lock = options.clone().create(true).append(true).mode(0o600).open(&file);
        // What cannot be written any more can be read.
        let read = |error| if is_unwritable(&error) { options.read(true).open(&file) } else { Err(error) };
        let mut lock = lock.or_else(read).map_err(failed)?;
        let start = Instant::now();
        let locked = loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                // Whoever asks who has it has it for a moment.
                Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < ASKED => std::thread::sleep(AGAIN),
                locked => break locked,
            }
        };
        match locked {
            Ok(()) => {
                // Who has it, for those who want to tell it something.
                if let Err(error) = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())) {
                    tracing::warn!(
                        path = %path.display(),
                        %error,
                        "the state folder cannot be written: nobody finds this daemon by the name of its instance"
                    );
                }
                Ok(Self { path, _lock: lock })
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Taken(instance.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// The number of the process that has the folder of an instance; `None` where none has.
    ///
    /// # Errors
    /// When this user may not know, or nobody can.
    pub fn holder(parent: &Path, instance: &str) -> io::Result<Option<i32>> {
        let path = parent.join(instance).join("lock");
        let lock = match OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Whoever has it has it alone.
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let id = fs::read_to_string(path)?;
                let nameless = |_| io::Error::other("a daemon has the folder, and has not written which process it is");
                id.trim().parse().map(Some).map_err(nameless)
            }
            Ok(()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes where the kernel's part of the instance is, for whoever removes what is left.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn set_pins(&self, pins: &Path) -> io::Result<()> {
        fs::write(self.path.join(PINS), pins.as_os_str().as_encoded_bytes())
    }

    /// Where the kernel's part of the instance was kept last; `None` where nobody has noted it.
    pub fn pins(&self) -> Option<PathBuf> {
        let mut path = Vec::new();
        let file = OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(self.path.join(PINS)).ok()?;
        file.take(LONGEST).read_to_end(&mut path).ok()?;
        Some(PathBuf::from(OsString::from_vec(path)))
    }

    /// No new calls are taken from now on, by whoever comes next either, or they are taken again.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn set_draining(&self, is_draining: bool) -> io::Result<()> {
        let path = self.path.join(DRAINING);
        let set = if is_draining { fs::write(path, boot_id()?) } else { fs::remove_file(path) };
        set.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }

    /// Whether whoever had the folder before was to take no new calls, and has not come to its end. Where the host was booted since, its calls
    /// are over.
    pub fn is_draining(&self) -> bool {
        fs::read_to_string(self.path.join(DRAINING)).is_ok_and(|boot| boot_id().is_ok_and(|now| now == boot))
    }

    /// Whether a daemon of an instance was killed while it was drained, and its calls go on.
    pub fn is_drained(parent: &Path, instance: &str) -> bool {
        parent.join(instance).join(DRAINING).exists()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn is_unwritable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Which time the host was booted.
///
/// # Errors
/// When the kernel does not tell.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

/// How long ago that was, by the clock of [`std::time::Instant`].
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_daemons_until_it_ends() {
        let parent = tempfile::tempdir().unwrap();
        let first = StateFolder::open(parent.path(), "a").unwrap();
        assert!(matches!(StateFolder::open(parent.path(), "a"), Err(StateError::Taken(name)) if name == "a"));
        let other = StateFolder::open(parent.path(), "b").unwrap();
        assert_ne!(first.path(), other.path());
        let own = i32::try_from(std::process::id()).ok();
        assert_eq!(StateFolder::holder(parent.path(), "a").unwrap(), own);
        drop(first);
        assert_eq!(StateFolder::holder(parent.path(), "a").unwrap(), None);
        assert!(StateFolder::open(parent.path(), "a").is_ok());
    }

    #[test]
    fn who_is_drained_is_known_to_whoever_comes_next_and_not_after_its_end() {
        let parent = tempfile::tempdir().unwrap();
        let open = || StateFolder::open(parent.path(), "a").unwrap();
        assert!(!open().is_draining());
        open().set_draining(true).unwrap();
        assert!(open().is_draining());
        open().set_draining(false).unwrap();
        open().set_draining(false).unwrap();
        assert!(!open().is_draining());
        fs::write(open().path().join(DRAINING), "before the host was booted").unwrap();
        assert!(!open().is_draining());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = StateFolder::open(file.path(), "a").unwrap_err();
        assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{error}");
    }
}
