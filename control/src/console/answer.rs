//! What the daemon answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use calls::intent::Intent;
use calls::outcome::{CallAccount, Outcome};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Request};
use crate::daemon::Daemon;
use crate::orders::Asks;
use crate::view::{CallView, Itself, Summary};

/// So many calls are looked at without a pause: proxies' commands wait meanwhile.
const AT_ONCE: usize = 8;

/// Everything that answers are made of.
#[derive(Clone)]
pub(super) struct Answerer {
    pub(super) daemon: Arc<Daemon>,
    pub(super) itself: Arc<Itself>,
    pub(super) asks: Asks,
    /// Whether captures may have what is behind SRTP.
    pub(super) may_decrypt: bool,
}

/// Takes the lines of an answer.
pub(super) trait Lines {
    /// One more.
    fn line(&mut self, line: Vec<u8>) -> impl Future<Output = io::Result<()>> + Send;

    /// Nothing follows at once.
    fn pause(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

impl Answerer {
    /// Answers a request in lines.
    pub(super) async fn answer(&self, line: &[u8], lines: &mut (impl Lines + Send)) -> io::Result<()> {
        let result = match Request::read(line) {
            Ok(Request::List { limit, troubled, path }) => {
                let is_wanted = |call: &Summary| {
                    (!troubled || !call.troubles.is_empty())
                        && (path.is_empty() || path.iter().any(|path| path.word() == call.path))
                };
                self.list(limit, is_wanted, lines).await?
            }
            Ok(Request::Capture { call_id, plain, seconds }) => {
                self.capture(&call_id, plain, Duration::from_secs(seconds), lines).await?
            }
            Ok(request) => self.carry_out(request).await,
            Err(error) => Err(error),
        };
        lines.line(written(&result.map_or_else(Answer::Error, Answer::Result))?).await
    }

    async fn carry_out(&self, request: Request) -> Result<Value, String> {
        match request {
            Request::Ping => Ok(json!("pong")),
            Request::Stats => Ok(json!(self.daemon.observe().view(&self.itself))),
            Request::Show { call_id } => {
                let id = self.id_of(&call_id)?;
                let account = self.account(id.clone())?;
                Ok(json!(CallView::new(&id, &account)))
            }
            Request::Terminate { call_id } => {
                let id = self.id_of(&call_id)?;
                self.terminate(id)?;
                Ok(json!({"terminated": 1}))
            }
            Request::TerminateAll => {
                let mut terminated = 0;
                for id in self.ids()? {
                    // One that has ended meanwhile is as good.
                    terminated += usize::from(self.terminate(id).is_ok());
                    tokio::task::yield_now().await;
                }
                Ok(json!({"terminated": terminated}))
            }
            Request::Drain => self.asks.drain().await.map(|()| json!({"calls": self.daemon.calls()})),
            Request::Settings => self.asks.settings().await.map(Value::Object),
            Request::Set { key, value } => self.asks.set(key, value).await.map(Value::Object),
            // They have many lines.
            Request::List { .. } | Request::Capture { .. } => Err("its answer is no single line".to_owned()),
        }
    }

    async fn list(
        &self,
        limit: Option<usize>,
        is_wanted: impl Fn(&Summary) -> bool + Send,
        lines: &mut (impl Lines + Send),
    ) -> io::Result<Result<Value, String>> {
        let ids = match self.ids() {
            Ok(ids) => ids,
            Err(error) => return Ok(Err(error)),
        };
        let (total, limit, mut told) = (ids.len(), limit.unwrap_or(usize::MAX), 0);
        for (number, id) in ids.into_iter().enumerate() {
            if told == limit {
                break;
            }
            // One that has ended meanwhile is none.
            let Ok(account) = self.account(id.clone()) else { continue };
            let summary = Summary::new(&id, &account);
            if is_wanted(&summary) {
                lines.line(written(&Answer::Item(summary))?).await?;
                told += 1;
            }
            if number % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
        Ok(Ok(json!({"calls": total, "listed": told})))
    }

    pub(super) fn ask(&self, intent: Intent) -> Result<Outcome, String> {
        match self.daemon.ask(intent) {
            Some(Outcome::Refused(refusal)) => Err(refusal.to_string()),
            Some(outcome) => Ok(outcome),
            None => Err("Internal error: the daemon's log has more".to_owned()),
        }
    }

    fn ids(&self) -> Result<Vec<Vec<u8>>, String> {
        let outcome = self.ask(Intent::List { limit: usize::MAX })?;
        if let Outcome::Calls(ids) = outcome { Ok(ids) } else { Err(unexpected(&outcome)) }
    }

    /// The Call-ID that is told like this.
    pub(super) fn id_of(&self, told: &str) -> Result<Vec<u8>, String> {
        self.daemon.call_id(told).ok_or_else(|| format!("Unknown call-id: no call is called {told}"))
    }

    pub(super) fn account(&self, call_id: Vec<u8>) -> Result<Box<CallAccount>, String> {
        let outcome = self.ask(Intent::Query { call_id })?;
        if let Outcome::Call(account) = outcome { Ok(account) } else { Err(unexpected(&outcome)) }
    }

    fn terminate(&self, call_id: Vec<u8>) -> Result<(), String> {
        self.ask(Intent::Terminate { call_id }).map(drop)
    }
}

fn unexpected(outcome: &Outcome) -> String {
    // A mistake of this program.
    format!("Internal error: {outcome:?}")
}

pub(super) fn written(answer: &Answer<impl Serialize>) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    Ok(line)
}
