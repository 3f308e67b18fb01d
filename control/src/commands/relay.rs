//! `intertrunk stats`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use serde_json::Value;

use super::paint::{Paint, count, percent, span};
use super::{Which, tell_json};
use crate::console::Request;
use crate::view::RelayView;

/// Says how the relay as a whole is doing.
#[derive(Debug, clap::Args)]
pub struct Stats {
    #[command(flatten)]
    which: Which,
}

impl Stats {
    /// Asks and tells.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn run(self) -> anyhow::Result<()> {
        let mut client = self.which.connect()?;
        if self.which.json {
            return tell_json(&client.ask::<Value>(&Request::Stats)?);
        }
        let relay: RelayView = client.ask(&Request::Stats)?;
        Ok(io::stdout().lock().write_all(text(&relay, Paint::of_output()).as_bytes())?)
    }
}

/// The relay for people.
pub(super) fn text(relay: &RelayView, paint: Paint) -> String {
    let draining = if relay.is_draining { paint.doubtful(", draining: no new calls are taken") } else { String::new() };
    let rate = relay.fast_rate.packets + relay.slow_rate.packets;
    let mut lines = vec![
        format!(
            "{} {}, {} ({}), up {}{draining}",
            paint.head(&format!("intertrunk {}", relay.version)),
            relay.instance,
            relay.engine,
            relay.why,
            span(relay.uptime)
        ),
        format!(
            "calls     {} now, {} in all, {} refused",
            paint.head(&count(relay.calls as u64)),
            count(relay.created),
            count(relay.rejected)
        ),
        format!(
            "packets/s {} fast ({}), {} slow, {} not sent",
            paint.good(&count(relay.fast_rate.packets)),
            percent(relay.fast_rate.packets as f64, rate as f64),
            count(relay.slow_rate.packets),
            count(relay.error_rate)
        ),
        format!(
            "packets   {} fast, {} slow, {} not sent; {} past the stack by {} queues",
            count(relay.fast.packets),
            count(relay.slow.packets),
            count(relay.errors),
            count(relay.xsk_packets),
            relay.xsk_queues
        ),
        format!("host      load {:.2}, processors {:.0} % busy", relay.load, relay.cpu),
    ];
    let counts = |counts: &BTreeMap<String, u64>| {
        let told = counts.iter().filter(|(_, number)| **number > 0);
        told.map(|(name, number)| format!("{name} {}", count(*number))).collect::<Vec<_>>().join(", ")
    };
    for (what, told) in
        [("ended", counts(&relay.ended)), ("not fast", counts(&relay.program)), ("lost", counts(&relay.workers))]
    {
        if !told.is_empty() {
            lines.push(format!("{what:<9} {told}"));
        }
    }
    if relay.fast_path_missing > 0 {
        lines.push(paint.bad(&format!("{} devices have no fast path now: the log says why", relay.fast_path_missing)));
    }
    for (what, turns) in [("fast path", relay.fast_path), ("steering", relay.steering)] {
        if turns.lost > 0 {
            let told = format!("{what} lost {} times and regained {} times", turns.lost, turns.regained);
            lines.push(paint.doubtful(&told));
        }
    }
    if relay.restarts > 0 {
        lines.push(paint.bad(&format!("{} threads were begun anew after a mistake of the program", relay.restarts)));
    }
    if relay.orphans > 0 {
        lines.push(paint.doubtful(&format!("{} pairs of ports carry calls that are on no record", relay.orphans)));
    }
    if relay.journal == Some(false) {
        lines
            .push(paint.bad("calls are not put on record, and end with this daemon if it is killed: the log says why"));
    } else if relay.journal.is_some() && relay.engine == "xdp" && relay.is_pinned == Some(false) {
        lines.push(paint.doubtful("what is in the kernel is not kept: calls stop until the next daemon has them"));
    }
    if relay.next_hops.unresolved > 0 {
        let told = format!("{} next hops have no neighbour: workers carry their calls", relay.next_hops.unresolved);
        lines.push(paint.doubtful(&told));
    }
    if let Some(homer) = relay.homer {
        let told = format!("homer     {} packets sent, {} lost", count(homer.sent), count(homer.lost));
        lines.push(if homer.lost > 0 { paint.doubtful(&told) } else { told });
    }
    for interface in &relay.interfaces {
        let used = percent(interface.used as f64, interface.all as f64);
        lines.push(format!(
            "ports     {} {}: {} of {} pairs in use ({used})",
            interface.name,
            interface.addr,
            count(interface.used as u64),
            count(interface.all as u64)
        ));
    }
    lines.join("\n") + "\n"
}
