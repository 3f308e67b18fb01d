//! What whoever operates the daemon tells it, by signals and by its own socket.

use serde_json::{Map, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

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
    /// The same with one setting that the operator has changed: its key, and what it is now.
    Set(String, Value, Box<Config>),
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

/// So many asks wait at most.
const WAITING: usize = 16;

/// What is asked by the socket.
#[derive(Debug)]
enum Ask {
    Drain(oneshot::Sender<Result<(), String>>),
    Settings(oneshot::Sender<Result<Map<String, Value>, String>>),
    Set(String, Value, oneshot::Sender<Result<Map<String, Value>, String>>),
}

/// The way from the socket to the orders.
#[derive(Clone, Debug)]
pub struct Asks(mpsc::Sender<Ask>);

impl Asks {
    /// Takes no new calls, and ends with the last one.
    ///
    /// # Errors
    /// When the daemon ends just now.
    pub async fn drain(&self) -> Result<(), String> {
        self.ask(Ask::Drain).await
    }

    /// The settings that may change under way, each with what it is; `null` is what is meant without it.
    ///
    /// # Errors
    /// As [`Asks::drain`].
    pub async fn settings(&self) -> Result<Map<String, Value>, String> {
        self.ask(Ask::Settings).await
    }

    /// Changes one of them; what they are then.
    ///
    /// # Errors
    /// When there is no such setting, or it cannot be that.
    pub async fn set(&self, key: String, value: Value) -> Result<Map<String, Value>, String> {
        self.ask(|done| Ask::Set(key, value, done)).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Ask) -> Result<T, String> {
        let (done, answer) = oneshot::channel();
        let gone = || "the daemon is about to end".to_owned();
        self.0.send(ask(done)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// The orders that come by signals and by the socket.
pub struct Orders {
    terminate: Signal,
    interrupt: Signal,
    drain: Signal,
    reload: Signal,
    asks: mpsc::Receiver<Ask>,
    sender: mpsc::Sender<Ask>,
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
        let (sender, asks) = mpsc::channel(WAITING);
        Ok(Self {
            asks,
            sender,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            drain: signal(SignalKind::user_defined1())?,
            reload: signal(SignalKind::hangup())?,
            options,
            read: Box::new(read),
        })
    }

    /// Whoever has this can ask.
    pub fn asks(&self) -> Asks {
        Asks(self.sender.clone())
    }

    /// The next order. A configuration that is not valid is none: what holds goes on, with a word in the log.
    pub async fn next(&mut self) -> Order {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Order::Stop,
                _ = self.interrupt.recv() => return Order::Stop,
                _ = self.drain.recv() => return Order::Drain,
                _ = self.reload.recv() => {}
                Some(ask) = self.asks.recv() => match self.heard(ask) {
                    Some(order) => return order,
                    None => continue,
                },
            }
            let read = (self.read)().and_then(|options| Ok((options.clone(), options.resolve()?)));
            match read {
                Ok((options, config)) => {
                    let needs_restart = changed(&self.options, &options);
                    // What was set meanwhile is over: the file holds.
                    for key in LIVE {
                        let _known = put(&mut self.options, key, value(&options, key));
                    }
                    return Order::Reload(Box::new(Reload { config, needs_restart }));
                }
                Err(error) => tracing::error!("the configuration is not read again: {error:#}"),
            }
        }
    }
}

impl Orders {
    /// The order that an ask amounts to.
    fn heard(&mut self, ask: Ask) -> Option<Order> {
        // Whoever has asked may be gone.
        match ask {
            Ask::Drain(done) => {
                let _gone = done.send(Ok(()));
                Some(Order::Drain)
            }
            Ask::Settings(done) => {
                let _gone = done.send(Ok(settings(&self.options)));
                None
            }
            Ask::Set(key, said, done) => match self.set(&key, said) {
                Ok(config) => {
                    let _gone = done.send(Ok(settings(&self.options)));
                    let now = value(&self.options, &key);
                    Some(Order::Set(key, now, Box::new(config)))
                }
                Err(error) => {
                    let _gone = done.send(Err(error));
                    None
                }
            },
        }
    }

    fn set(&mut self, key: &str, value: Value) -> Result<Config, String> {
        if !LIVE.contains(&key) {
            return Err(format!("{key} cannot be set while the daemon runs: want one of {}", LIVE.join(", ")));
        }
        let mut options = self.options.clone();
        put(&mut options, key, value)?;
        let config = options.clone().resolve().map_err(|error| format!("{error:#}"))?;
        self.options = options;
        Ok(config)
    }
}

/// The settings that may change.
fn settings(options: &Options) -> Map<String, Value> {
    LIVE.into_iter().map(|key| (key.to_owned(), value(options, key))).collect()
}

fn value(options: &Options, key: &str) -> Value {
    let options = serde_json::to_value(options).unwrap_or_default();
    options.get(key).cloned().unwrap_or_default()
}

/// Has a key say something else. A number may be written as a text, as it comes from a command line.
fn put(options: &mut Options, key: &str, said: Value) -> Result<(), String> {
    let mut all = serde_json::to_value(&*options).map_err(|error| error.to_string())?;
    let mut try_with = |said: Value| {
        if let Some(place) = all.get_mut(key) {
            *place = said;
        }
        serde_json::from_value::<Options>(all.clone()).map_err(|error| format!("{key}: {error}"))
    };
    let tried = try_with(said.clone());
    let number = said.as_str().and_then(|text| text.parse::<serde_json::Number>().ok());
    *options = match (tried, number) {
        (Err(_), Some(number)) => try_with(number.into())?,
        (tried, _) => tried?,
    };
    Ok(())
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
    fn a_setting_is_changed_by_number_and_by_text_and_back() {
        let mut options: Options = toml::from_str("timeout = 60\n").unwrap();
        for said in [Value::from(30), Value::from("30")] {
            put(&mut options, "timeout", said).unwrap();
            assert_eq!(options.timeout, Some(30));
        }
        put(&mut options, "log-level", "debug".into()).unwrap();
        assert_eq!(settings(&options)["log-level"], "debug");
        put(&mut options, "timeout", Value::Null).unwrap();
        assert_eq!(options.timeout, None);
        let error = put(&mut options, "timeout", "soon".into()).unwrap_err();
        assert!(error.starts_with("timeout: invalid type"), "{error}");
    }

    #[test]
    fn every_key_that_may_change_is_one() {
        let value = serde_json::to_value(Options::default()).unwrap();
        assert!(LIVE.iter().all(|key| value.get(key).is_some()));
    }
}
