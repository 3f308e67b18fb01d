//! The line socket of `rtpengine-ctl`, so that runbooks go on: `list`, `set`, `terminate` and `call`, in its words.
//!
//! A connection is one line and one answer. What there is nothing to tell about (codecs, Redis) is unknown here.

mod listener;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use calls::intent::Intent;
use calls::ng::{Frame, Proxy, Transport};
use calls::outcome::{CallAccount, Outcome, RelayAccount};
use serde_json::Value;

use crate::daemon::Daemon;
use crate::orders::Asks;
use crate::view::text;

pub use listener::{Ctl, ctl};

/// Between so many calls others have a turn.
const AT_ONCE: usize = 8;

/// Carries lines out.
#[derive(Clone)]
pub(crate) struct Operator {
    daemon: Arc<Daemon>,
    asks: Asks,
}

/// A setting by its name here: its key, and how its value is told.
struct Setting {
    key: &'static str,
    tell: fn(&Value) -> String,
}

fn setting(name: &str) -> Option<Setting> {
    /// Where a key is not set, so much is meant.
    fn or(value: &Value, unset: &str) -> String {
        if value.is_null() { unset.to_owned() } else { value.to_string() }
    }
    let (key, tell): (_, fn(&Value) -> String) = match name {
        "maxsessions" => {
            ("max-sessions", |value| format!("Maximum sessions configured on rtpengine: {}", or(value, "-1")))
        }
        "maxcpu" => ("max-cpu", |value| {
            format!("Maximum CPU usage configured on rtpengine: {:.1}", value.as_f64().unwrap_or(0.0))
        }),
        "maxload" => ("max-load", |value| {
            format!("Maximum load average configured on rtpengine: {:.2}", value.as_f64().unwrap_or(0.0))
        }),
        "maxbw" => ("max-bandwidth", |value| format!("Maximum bandwidth configured on rtpengine: {}", or(value, "0"))),
        "timeout" => ("timeout", |value| format!("TIMEOUT={}", or(value, "60"))),
        "silenttimeout" => ("silent-timeout", |value| format!("SILENT_TIMEOUT={}", or(value, "3600"))),
        "offertimeout" => ("offer-timeout", |value| format!("OFFER_TIMEOUT={}", or(value, "3600"))),
        "finaltimeout" => ("final-timeout", |value| format!("FINAL_TIMEOUT={}", or(value, "0"))),
        "deletedelay" => ("delete-delay", |value| or(value, "30")),
        "loglevel" | "loglevels" => ("log-level", |value| level(value.as_str().unwrap_or("info")).to_string()),
        _ => return None,
    };
    Some(Setting { key, tell })
}

/// The levels of syslog.
const LEVELS: [(&str, std::ops::RangeInclusive<i64>); 5] =
    [("error", -1..=3), ("warn", 4..=4), ("info", 5..=6), ("debug", 7..=7), ("trace", 8..=i64::MAX)];

fn level(word: &str) -> i64 {
    LEVELS.iter().find(|(name, _)| *name == word).map_or(6, |(_, levels)| (*levels.start()).max(3))
}

impl Operator {
    /// The answer to a line.
    async fn answer(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let (command, rest) = (words.next(), words.collect::<Vec<_>>());
        match (command, &rest[..]) {
            (None, _) => String::new(),
            (Some("list"), rest) => self.list(rest).await,
            (Some("set"), rest) => self.set(rest).await,
            (Some("terminate"), []) => words::INCOMPLETE.to_owned(),
            (Some("terminate"), ["all" | "own"]) => self.terminate_all().await,
            // There are none.
            (Some("terminate"), ["foreign"]) => words::ALL_TERMINATED.to_owned(),
            (Some("terminate"), [id, ..]) => {
                if self.terminate(id) {
                    words::terminated(id)
                } else {
                    words::not_terminated(id)
                }
            }
            (Some("call"), [id]) => words::call_of(id, self.account(id).is_some()),
            (Some("call"), [id, "info", ..]) => match self.account(id) {
                Some(account) => words::call(id, &account),
                None => words::call_of(id, false),
            },
            (Some("call"), [id, "terminate", ..]) => {
                if self.terminate(id) {
                    words::terminated(id)
                } else {
                    words::call_of(id, false)
                }
            }
            (Some(command), rest) => words::unknown(command, rest),
        }
    }

    async fn list(&self, rest: &[&str]) -> String {
        match rest {
            [] | ["sessions"] => words::INCOMPLETE.to_owned(),
            ["numsessions", ..] => words::numbers(&self.relay(), self.families().await),
            ["sessions", "all" | "own", ..] => {
                let mut told = String::new();
                for (number, id) in self.ids().into_iter().enumerate() {
                    // One that has ended meanwhile is none.
                    if let Some(account) = self.account_of(id.clone()) {
                        told += &words::session(&text(&id), &account);
                    }
                    if number % AT_ONCE == AT_ONCE - 1 {
                        tokio::task::yield_now().await;
                    }
                }
                told
            }
            ["sessions", "foreign", ..] => String::new(),
            ["sessions", id, ..] => match self.account(id) {
                Some(account) => words::call(id, &account),
                None => words::not_found(id),
            },
            ["totals", ..] => words::totals(&self.relay()),
            ["interfaces", ..] => words::interfaces(&self.relay()),
            ["jsonstats", ..] => self.statistics().await,
            ["controltos", ..] => "0\n".to_owned(),
            [name, ..] => match setting(name) {
                Some(Setting { key, tell }) => match self.asks.settings().await {
                    Ok(settings) => tell(settings.get(key).unwrap_or(&Value::Null)) + "\n",
                    Err(error) => error + "\n",
                },
                None => words::unknown("", rest),
            },
        }
    }

    async fn set(&self, rest: &[&str]) -> String {
        let [name, value, ..] = rest else { return words::INCOMPLETE.to_owned() };
        let Some(Setting { key, .. }) = setting(name) else { return words::unknown("", rest) };
        let name = name.trim_end_matches("levels").to_owned() + if *name == "loglevels" { "level" } else { "" };
        let number = value.parse::<f64>().ok().filter(|number| number.is_finite() && *number < 1e15);
        let Some(number) = number else { return words::no_number(&name, value) };
        let said = match key {
            "log-level" => {
                let word = LEVELS.iter().find(|(_, levels)| levels.contains(&(number as i64)));
                word.map_or(Value::Null, |(word, _)| (*word).into())
            }
            // None at all, and no limit.
            "max-sessions" if number < 0.0 => Value::Null,
            "max-cpu" | "max-load" => number.into(),
            _ if number < 0.0 => return words::no_number(&name, value),
            _ => (number as u64).into(),
        };
        match self.asks.set(key.to_owned(), said).await {
            Ok(_) => words::was_set(
                &name,
                if matches!(key, "max-cpu") { format!("{number:.1}") } else { (*value).to_owned() },
            ),
            Err(error) => words::was_not_set(&name, value, &error),
        }
    }

    async fn terminate_all(&self) -> String {
        for id in self.ids() {
            let _gone_already = self.ask(Intent::Terminate { call_id: id });
            tokio::task::yield_now().await;
        }
        words::ALL_TERMINATED.to_owned()
    }

    fn relay(&self) -> RelayAccount {
        self.daemon.observe().relay
    }

    fn ask(&self, intent: Intent) -> Option<Outcome> {
        self.daemon.ask(intent)
    }

    fn ids(&self) -> Vec<Vec<u8>> {
        match self.ask(Intent::List { limit: usize::MAX }) {
            Some(Outcome::Calls(ids)) => ids,
            _ => Vec::new(),
        }
    }

    /// Whether there was such a call.
    fn terminate(&self, id: &str) -> bool {
        let ended = self.daemon.call_id(id).and_then(|call_id| self.ask(Intent::Terminate { call_id }));
        matches!(ended, Some(Outcome::Ended(_)))
    }

    fn account(&self, id: &str) -> Option<Box<CallAccount>> {
        self.account_of(self.daemon.call_id(id)?)
    }

    fn account_of(&self, call_id: Vec<u8>) -> Option<Box<CallAccount>> {
        match self.ask(Intent::Query { call_id }) {
            Some(Outcome::Call(account)) => Some(account),
            _ => None,
        }
    }

    /// Calls whose media is IPv4, IPv6, and both.
    async fn families(&self) -> [usize; 3] {
        let mut families = [0; 3];
        for (number, id) in self.ids().into_iter().enumerate() {
            if let Some(account) = self.account_of(id) {
                let medias = account.parties.iter().flat_map(|party| &party.medias);
                let locals = medias.flat_map(|media| &media.sources).map(|source| source.local.ip());
                let place = match locals
                    .fold((false, false), |(four, six), ip: IpAddr| (four || ip.is_ipv4(), six || ip.is_ipv6()))
                {
                    (true, true) => 2,
                    (false, true) => 1,
                    _ => 0,
                };
                if let Some(count) = families.get_mut(place) {
                    *count += 1;
                }
            }
            if number % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
        families
    }

    /// As NG tells them.
    async fn statistics(&self) -> String {
        let reply = self
            .daemon
            .message(&Frame::without_cookie(br#"{"command":"statistics"}"#), Proxy::unix(Transport::Cli))
            .await;
        let reply: Value = serde_json::from_slice(&reply).unwrap_or_default();
        let statistics = reply.get("statistics").unwrap_or(&Value::Null);
        serde_json::to_string_pretty(statistics).unwrap_or_default() + "\n"
    }
}
