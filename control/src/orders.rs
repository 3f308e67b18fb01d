//! What whoever operates the daemon tells it, by signals.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, Options};

/// What the daemon is told.
#[derive(Debug)]
pub enum Order {
    /// End now.
    Stop,
    /// Take no new calls, and end with the last one.
    Drain,
    /// Do as the configuration says now, as far as that is possible under way.
    Reload(Box<Reload>),
}

/// Another configuration.
#[derive(Debug)]
pub struct Reload {
    /// It.
    pub config: Config,
    /// The keys that have changed and that need another start.
    pub needs_restart: Vec<String>,
}

/// Keys that may change while the daemon runs: they concern commands that are yet to come, and how long calls are kept.
const LIVE: [&str; 13] = [
    "timeout",
    "silent-timeout",
    "offer-timeout",
    "final-timeout",
    "delete-delay",
    "tos",
    "endpoint-learning",
    "max-sessions",
    "max-load",
    "max-cpu",
    "max-bandwidth",
    "unsupported",
    "log-level",
];

/// The orders that come by signals.
pub struct Orders {
    terminate: Signal,
    interrupt: Signal,
    drain: Signal,
    reload: Signal,
    /// What was said before, and how to find out what is said now.
    options: Options,
    read: Box<dyn Fn() -> anyhow::Result<Options> + Send>,
}

impl Orders {
    /// Orders for a daemon that was started with these options; `read` finds out what they are by now.
    ///
    /// # Errors
    /// When signals cannot be had.
    pub fn new(options: Options, read: impl Fn() -> anyhow::Result<Options> + Send + 'static) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            drain: signal(SignalKind::user_defined1())?,
            reload: signal(SignalKind::hangup())?,
            options,
            read: Box::new(read),
        })
    }

    /// The next order. A configuration that is not valid is none: what holds goes on, with a word in the log.
    pub async fn next(&mut self) -> Order {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Order::Stop,
                _ = self.interrupt.recv() => return Order::Stop,
                _ = self.drain.recv() => return Order::Drain,
                _ = self.reload.recv() => {}
            }
            let read = (self.read)().and_then(|options| Ok((options.clone(), options.resolve()?)));
            match read {
                Ok((options, config)) => {
                    let needs_restart = changed(&self.options, &options);
                    return Order::Reload(Box::new(Reload { config, needs_restart }));
                }
                Err(error) => tracing::error!("the configuration is not read again: {error:#}"),
            }
        }
    }
}

/// The keys that say something else than when the daemon was started, but for those that may.
fn changed(before: &Options, now: &Options) -> Vec<String> {
    let values = |options: &Options| serde_json::to_value(options).unwrap_or_default();
    let (before, now) = (values(before), values(now));
    let keys = now.as_object().into_iter().flatten();
    let other = keys.filter(|(key, value)| before.get(key.as_str()) != Some(value) && !LIVE.contains(&key.as_str()));
    other.map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_need_another_start_are_told() {
        let options = |text: &str| -> Options { toml::from_str(text).unwrap() };
        let before = options("port-max = 45000\ntimeout = 60\ninterface = [\"a/192.0.2.1\"]\n");
        let now = options("port-max = 46000\ntimeout = 30\ntos = 184\nworkers = 2\n");
        assert_eq!(changed(&before, &now), ["interface", "port-max", "workers"]);
        assert_eq!(changed(&now, &now), [""; 0]);
    }

    #[test]
    fn every_key_that_may_change_is_one() {
        let value = serde_json::to_value(Options::default()).unwrap();
        assert!(LIVE.iter().all(|key| value.get(key).is_some()));
    }
}
