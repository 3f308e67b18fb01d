//! A running daemon as other processes see it: `intertrunk drain` and `intertrunk flush`.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::config::TakeOver;
use crate::state::{StateError, StateFolder};

/// How long a daemon may take to end when it is told to.
const END: Duration = Duration::from_secs(10);

/// Has the daemon of an instance take no new calls, and waits until it has ended with the last one. After `deadline` it is told to stop, and what calls
/// are left end with it, or go on as it is configured.
///
/// # Errors
/// When there is none, or it may not be told.
pub fn drain(take_over: &TakeOver, deadline: Option<Duration>) -> anyhow::Result<()> {
    let pid = running(take_over)?;
    // Another process may have the number as soon as this one is gone.
    let process = pidfd_open(pid, PidfdFlags::empty()).context("the daemon has ended, or may not be told")?;
    pidfd_send_signal(&process, Signal::USR1).context("the daemon cannot be told")?;
    if has_ended(&process, deadline)? {
        return Ok(());
    }
    pidfd_send_signal(&process, Signal::TERM).context("the daemon cannot be stopped")?;
    if !has_ended(&process, Some(END))? {
        bail!(
            "the daemon (process {}) was told to stop {} s ago and has not ended",
            pid.as_raw_nonzero(),
            END.as_secs()
        );
    }
    Ok(())
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

/// Removes everything that an instance without a daemon has left: its calls end.
///
/// # Errors
/// When there is a daemon, or something cannot be removed.
pub fn flush(take_over: &TakeOver) -> anyhow::Result<()> {
    let folder = take_over.state_dir.join(&take_over.instance);
    if folder.exists() {
        let state = StateFolder::open(&take_over.state_dir, &take_over.instance).map_err(|error| match error {
            StateError::Taken(name) => anyhow::anyhow!("a daemon runs as instance \"{name}\": stop it first"),
            error @ StateError::Folder { .. } => error.into(),
        })?;
        remove(state.path())?;
    }
    remove(&take_over.pin_dir.join(&take_over.instance))
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The process of an instance's daemon.
fn running(take_over: &TakeOver) -> anyhow::Result<Pid> {
    let pid = StateFolder::holder(&take_over.state_dir, &take_over.instance);
    let pid = pid.with_context(|| format!("no daemon runs as instance \"{}\"", take_over.instance))?;
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
        drop(state);
        flush(&take_over).unwrap();
        flush(&take_over).unwrap();
        let left = [folder.path().join("pins/a"), folder.path().join("state/a")].map(|path| path.exists());
        assert_eq!((left, folder.path().join("pins/b").exists()), ([false; 2], true));
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
