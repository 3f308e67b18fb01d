//! Copies of a call's packets, for whoever looks into it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use calls::intent::Intent;
use calls::outcome::Outcome;
use relay::TapReader;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::answer::{Answerer, Lines, written};
use super::{Answer, Captured};
use crate::daemon::Daemon;

/// How often it is looked what has come.
const LOOK: Duration = Duration::from_millis(10);
/// How often something is said, so that one who has gone is noticed, and whether the call is still there is looked at.
const SIGN: Duration = Duration::from_secs(1);
/// So many packets are sent between two looks at the time, the call and others.
const AT_ONCE: usize = 256;
/// How much longer one who does not read may take.
const SLOW: Duration = Duration::from_secs(5);
/// The longest capture.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Ends the copies with whoever wanted them.
struct Untap<'a>(&'a Arc<Daemon>, u64);

impl Drop for Untap<'_> {
    fn drop(&mut self) {
        self.0.untap(self.1);
    }
}

impl Answerer {
    /// Sends copies of a call's packets, until it ends, or for so long.
    pub(super) async fn capture(
        &self,
        call_id: &str,
        is_plain: bool,
        time: Duration,
        lines: &mut (impl Lines + Send),
    ) -> io::Result<Result<Value, String>> {
        if is_plain && !self.may_decrypt {
            return Ok(Err(
                "what is behind SRTP is not captured: that takes capture-decrypted = true in the configuration"
                    .to_owned(),
            ));
        }
        let (id, account) = match self.id_of(call_id).and_then(|id| Ok((id.clone(), self.account(id)?))) {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let Some(reader) = self.daemon.tap(&account, is_plain) else {
            return Ok(Err("somebody captures this call already".to_owned()));
        };
        let _untap = Untap(&self.daemon, account.number);
        tracing::info!(call_id, is_plain, "a call is captured, and carried by the workers meanwhile");
        let until = Instant::now() + time.min(LONGEST);
        let copying = self.copy((&id, account.number), &reader, until, lines);
        let packets = tokio::time::timeout_at(until + SLOW, copying).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(Ok(json!({"packets": packets, "lost": reader.lost()})))
    }

    /// Sends copies until then, or until the call has ended; how many.
    async fn copy(
        &self,
        (id, number): (&[u8], u64),
        reader: &TapReader,
        until: Instant,
        lines: &mut (impl Lines + Send),
    ) -> io::Result<u64> {
        let (mut signed, mut packets) = (Instant::now(), 0_u64);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < until {
            look.tick().await;
            for _ in 0..AT_ONCE {
                let Some(tapped) = reader.next() else { break };
                let Some(packet) = tapped.packet() else { continue };
                let at = tapped.at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
                lines.line(written(&Answer::Item(Captured::Packet { at, packet: STANDARD.encode(packet) }))?).await?;
                packets += 1;
            }
            if signed.elapsed() >= SIGN {
                signed = Instant::now();
                lines.line(written(&Answer::Item(Captured::Lost(reader.lost())))?).await?;
                let is_there = matches!(self.ask(Intent::Query { call_id: id.to_vec() }), Ok(Outcome::Call(now)) if now.number == number);
                if !is_there {
                    break;
                }
            }
            lines.pause().await?;
        }
        Ok(packets)
    }
}
