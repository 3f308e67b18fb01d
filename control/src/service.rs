//! The daemon as a service: whoever started it hears when it is ready, and that it lives.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, where there is one.
#[derive(Debug)]
pub struct Manager {
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that has started this process.
    pub fn find() -> Self {
        let mut usec = 0;
        let watchdog = sd_notify::watchdog_enabled(false, &mut usec).then(|| Duration::from_micros(usec));
        Self { watchdog: watchdog.filter(|watchdog| !watchdog.is_zero()) }
    }

    /// How often it wants to hear that the daemon lives: half of the time after which it starts another; `None` where it does not care.
    pub fn pulse(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// The daemon can be used.
    pub fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// What it does now, for people.
    pub fn status(&self, status: &str) {
        tell(&[NotifyState::Status(status)]);
    }

    /// It lives.
    pub fn alive(&self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// It is about to end.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Nobody may be there.
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
