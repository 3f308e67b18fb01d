//! A running daemon as other processes see it: `intertrunk drain` and `intertrunk flush`.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::config::TakeOver;
use crate::state::{StateError, StateFolder};

/// How long a daemon may take to end when it is told to.
const END: Duration = Duration::from_secs(10);

/// So long it is waited for the daemon that comes after one that was killed while it was drained.
const NEXT: Duration = Duration::from_secs(10);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// No daemon runs as this instance.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no daemon runs as instance \"{0}\"")]
pub struct NoDaemon(String);

/// Has the daemon of an instance take no new calls, and waits until it has ended with the last one; should it be killed meanwhile, until the next one
/// has. After `deadline` it is told to stop, and what calls are left end with it, or go on as it is configured.
///
/// # Errors
/// When there is none, or it may not be told.
pub fn drain(take_over: &TakeOver, deadline: Option<Duration>) -> anyhow::Result<()> {
    let start = Instant::now();
    let left = || deadline.map(|deadline| deadline.saturating_sub(start.elapsed()));
    loop {
        let pid = running(take_over)?;
        // Another process may have the number as soon as this one is gone.
        let gone = |error: rustix::io::Errno| match error {
            rustix::io::Errno::SRCH => anyhow::Error::from(NoDaemon(take_over.instance.clone())),
            error => anyhow::Error::from(io::Error::from(error)),
        };
        let process = pidfd_open(pid, PidfdFlags::empty()).map_err(gone)?;
        pidfd_send_signal(&process, Signal::USR1).map_err(gone).context("the daemon cannot be told")?;
        if !has_ended(&process, left())? {
            pidfd_send_signal(&process, Signal::TERM)
                .map_err(io::Error::from)
                .context("the daemon cannot be stopped")?;
            if !has_ended(&process, Some(END))? {
                let (pid, end) = (pid.as_raw_nonzero(), END.as_secs());
                bail!("the daemon (process {pid}) was told to stop {end} s ago and has not ended");
            }
        }
        if !StateFolder::is_drained(&take_over.state_dir, &take_over.instance) {
            return Ok(());
        }
        // It did not come to its end: whoever takes its calls over goes on with that, too.
        let killed = Instant::now();
        while running(take_over).is_err() {
            if killed.elapsed() >= NEXT {
                bail!(
                    "the daemon was killed before its last call had ended, and no other one has taken its calls over"
                );
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Waits until a process has ended, and no longer than that.
fn has_ended(process: &OwnedFd, limit: Option<Duration>) -> anyhow::Result<bool> {
    let start = Instant::now();
    loop {
        let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
        let left = left.map(Timespec::try_from).transpose().context("so long a time cannot be waited for")?;
        match poll(&mut [PollFd::new(process, PollFlags::IN)], left.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("the daemon cannot be waited for"),
        }
    }
}

/// Removes everything that an instance without a daemon has left: its calls end. Tells what is gone.
///
/// # Errors
/// When there is a daemon, or nothing is there, or something cannot be removed.
pub fn flush(take_over: &TakeOver) -> anyhow::Result<Vec<PathBuf>> {
    let TakeOver { instance, state_dir, pin_dir, .. } = take_over;
    let (folder, pins) = (state_dir.join(instance), pin_dir.join(instance));
    let mut removed: Vec<_> = [&folder, &pins].into_iter().filter(|path| path.exists()).cloned().collect();
    if removed.is_empty() {
        bail!(
            "nothing is left of an instance \"{instance}\" at {} or {}: say where by --config, or --state-dir and --pin-dir",
            folder.display(),
            pins.display()
        );
    }
    if folder.exists() {
        let state = StateFolder::open(&take_over.state_dir, &take_over.instance).map_err(|error| match error {
            StateError::Taken(name) => anyhow::anyhow!("a daemon runs as instance \"{name}\": stop it first"),
            error @ StateError::Folder { .. } => error.into(),
        })?;
        if let Some(noted) = state.pins().filter(|noted| *noted != pins && noted.exists()) {
            bail!(
                "what is in the kernel of instance \"{instance}\" is at {}, and not at {}: say so by --config or --pin-dir",
                noted.display(),
                pins.display()
            );
        }
        // First of all: without a journal, what the kernel does would be an orphan's for whoever comes.
        remove(&pins)?;
        remove(state.path())?;
    }
    remove(&pins)?;
    removed.sort_unstable();
    Ok(removed)
}

/// Removes what is left of an instance where nothing is to be taken over, unless a daemon has it.
pub fn clear(take_over: &TakeOver) {
    let TakeOver { instance, state_dir, pin_dir, .. } = take_over;
    let holder = StateFolder::holder(state_dir, instance);
    if matches!(holder, Ok(Some(_))) || !pin_dir.join(instance).exists() {
        return;
    }
    tracing::warn!(instance, "calls of an earlier daemon end, because nothing can be taken over");
    if let Err(error) = remove(&pin_dir.join(instance)) {
        tracing::error!("{error:#}: the kernel goes on by what an earlier daemon has left");
    }
    // Of a folder that cannot be looked at nobody knows who has it; pins are held by whoever does, and are not removed then.
    if !take_over.is_wanted
        && holder.is_ok()
        && let Err(error) = remove(&state_dir.join(instance))
    {
        tracing::warn!("{error:#}");
    }
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    // Whoever goes by it has it alone.
    let held = fs::File::open(folder).is_ok_and(|folder| {
        flock(&folder, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK)
    });
    if held {
        bail!("a daemon has {}: stop it first", folder.display());
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The process of an instance's daemon.
fn running(take_over: &TakeOver) -> anyhow::Result<Pid> {
    let TakeOver { state_dir, instance, .. } = take_over;
    let pid = StateFolder::holder(state_dir, instance)
        .with_context(|| format!("whether a daemon runs as instance \"{instance}\" is not for this user to know"))?
        .ok_or_else(|| NoDaemon(instance.clone()))?;
    // The number is as good as the folder's owner, and signals are not for others.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if !name.starts_with("intertrunk") && !cfg!(test) {
        bail!("process {pid}, which has the folder of the instance, is {} and no relay", name.trim());
    }
    Pid::from_raw(pid).context("its process has no number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnStop;

    fn take_over(folder: &Path) -> TakeOver {
        TakeOver {
            is_wanted: true,
            instance: "a".to_owned(),
            state_dir: folder.join("state"),
            pin_dir: folder.join("pins"),
            on_stop: OnStop::End,
        }
    }

    #[test]
    fn what_is_left_is_removed_when_nobody_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let take_over = take_over(folder.path());
        let state = StateFolder::open(&take_over.state_dir, "a").unwrap();
        fs::create_dir_all(folder.path().join("pins/a/links")).unwrap();
        fs::create_dir_all(folder.path().join("pins/b")).unwrap();
        let refused = flush(&take_over).unwrap_err().to_string();
        assert!(refused.contains("stop it first"), "{refused}");
        assert!(folder.path().join("pins/a").exists());
        // Pins of the same relay in another place would forward on, and nobody would know of what.
        let elsewhere = folder.path().join("elsewhere/a");
        fs::create_dir_all(&elsewhere).unwrap();
        state.set_pins(&elsewhere).unwrap();
        drop(state);
        let refused = flush(&take_over).unwrap_err().to_string();
        assert!(refused.contains("elsewhere/a") && refused.contains("--pin-dir"), "{refused}");
        assert!(folder.path().join("state/a").exists() && folder.path().join("pins/a").exists());
        fs::remove_dir_all(&elsewhere).unwrap();
        assert_eq!(flush(&take_over).unwrap(), ["pins/a", "state/a"].map(|path| folder.path().join(path)));
        let nothing = flush(&take_over).unwrap_err().to_string();
        assert!(nothing.contains("nothing is left") && nothing.contains("--config"), "{nothing}");
        let left = [folder.path().join("pins/a"), folder.path().join("state/a")].map(|path| path.exists());
        assert_eq!((left, folder.path().join("pins/b").exists()), ([false; 2], true));
    }

    #[test]
    fn what_a_daemon_without_take_over_finds_is_cleared_unless_another_one_has_it() {
        let folder = tempfile::tempdir().unwrap();
        for is_wanted in [false, true] {
            let take_over = TakeOver { is_wanted, ..take_over(folder.path()) };
            let [pins, state] = ["pins/a", "state/a"].map(|path| folder.path().join(path));
            fs::create_dir_all(&pins).unwrap();
            let other = StateFolder::open(&take_over.state_dir, "a").unwrap();
            clear(&take_over);
            assert!(pins.exists() && state.exists());
            // It has not said yet which process it is.
            fs::write(state.join("lock"), "").unwrap();
            clear(&take_over);
            assert!(state.exists());
            fs::create_dir_all(&pins).unwrap();
            drop(other);
            clear(&take_over);
            assert_eq!((pins.exists(), state.exists()), (false, is_wanted), "a folder that cannot be used stays");
        }
    }

    #[test]
    fn where_no_daemon_runs_there_is_none_to_drain() {
        let folder = tempfile::tempdir().unwrap();
        let take_over = take_over(folder.path());
        assert!(drain(&take_over, None).unwrap_err().to_string().contains("no daemon runs as instance \"a\""));
        drop(StateFolder::open(&take_over.state_dir, "a").unwrap());
        assert!(drain(&take_over, None).is_err(), "it has ended");
    }
}
