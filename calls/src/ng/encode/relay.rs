//! How the relay as a whole is doing, in the words of `statistics`.

use border::{PastStack, Reason, Turns};

use crate::ng::{Dict, Value};
use crate::outcome::{End, Load, PortAccount, RelayAccount};

/// Everything but what the protocol itself has counted.
pub(super) fn statistics(account: &RelayAccount) -> Dict<'static> {
    let reasons = Dict::new()
        .with("program", by_reason(&account.counts.program))
        .with("workers", by_reason(&account.counts.workers));
    let minute = Dict::new()
        .with("totalcallsduration", seconds(account.minute.duration))
        .with("minmanagedsessions", Value::count(account.minute.fewest as u64))
        .with("maxmanagedsessions", Value::count(account.minute.most as u64));
    Dict::new()
        .with("currentstatistics", current(account))
        .with("totalstatistics", total(account))
        .with("intervalstatistics", minute)
        .with("interfaces", Value::List(account.ports.iter().map(interface).collect()))
        .with("reasons", reasons)
        .with("fast path", turns(account.counts.fast_path))
        .with("steering", turns(account.counts.steering))
        .with("past stack", past_stack(account.counts.past_stack))
        .with("restarts", Value::count(account.counts.restarts))
        .with("orphans", Value::count(account.counts.orphans as u64))
}

fn turns(Turns { lost, regained }: Turns) -> Dict<'static> {
    Dict::new().with("lost", Value::count(lost)).with("regained", Value::count(regained))
}

fn past_stack(PastStack { queues, packets }: PastStack) -> Dict<'static> {
    Dict::new().with("queues", Value::count(queues as u64)).with("packets", Value::count(packets))
}

fn total(account: &RelayAccount) -> Dict<'static> {
    let ended: u64 = account.ended.by.iter().sum();
    let lasted = account.ended.lasted;
    let average = if ended == 0 { 0.0 } else { lasted.seconds / ended as f64 };
    let variance = if ended == 0 { 0.0 } else { (lasted.squares / ended as f64 - average * average).max(0.0) };
    let mut dict = Dict::new()
        .with("uptime", account.uptime.as_secs().to_string())
        .with("managedsessions", Value::count(ended))
        .with("rejectedsessions", Value::count(account.rejected));
    for (end, count) in End::ALL.into_iter().zip(account.ended.by) {
        dict.push(end_key(end).as_bytes(), Value::count(count));
    }
    let traffic = &account.counts.traffic;
    let (slow, fast) = (&traffic.slow, &traffic.fast);
    dict.with("relayedpackets_user", Value::count(slow.packets))
        .with("relayedpacketerrors_user", Value::count(traffic.errors))
        .with("relayedbytes_user", Value::count(slow.bytes))
        .with("relayedpackets_kernel", Value::count(fast.packets))
        .with("relayedpacketerrors_kernel", 0)
        .with("relayedbytes_kernel", Value::count(fast.bytes))
        .with("relayedpackets", Value::count(slow.packets + fast.packets))
        .with("relayedpacketerrors", Value::count(traffic.errors))
        .with("relayedbytes", Value::count(slow.bytes + fast.bytes))
        .with("zerowaystreams", Value::count(account.ended.zero_way))
        .with("onewaystreams", Value::count(account.ended.one_way))
        .with("avgcallduration", seconds(average))
        .with("totalcallsduration", seconds(lasted.seconds))
        .with("totalcallsduration2", seconds(lasted.squares))
        .with("totalcallsduration_stddev", seconds(variance.sqrt()))
}

const fn end_key(end: End) -> &'static str {
    match end {
        End::Regular => "regularterminatedsessions",
        End::Timeout => "timeoutsessions",
        End::SilentTimeout => "silenttimeoutsessions",
        End::FinalTimeout => "finaltimeoutsessions",
        End::OfferTimeout => "offertimeoutsessions",
        End::Forced => "forcedterminatedsessions",
    }
}

fn current(account: &RelayAccount) -> Dict<'static> {
    let traffic = &account.counts.traffic;
    let sessions = Value::count(account.calls as u64);
    let (slow, fast) = (&traffic.slow_rate, &traffic.fast_rate);
    let Load { average, cpu, bandwidth } = account.load;
    Dict::new()
        .with("sessionsown", sessions.clone())
        .with("sessionsforeign", 0)
        .with("sessionstotal", sessions)
        .with("transcodedmedia", 0)
        .with("packetrate_user", Value::count(slow.packets))
        .with("byterate_user", Value::count(slow.bytes))
        .with("errorrate_user", Value::count(traffic.error_rate))
        .with("packetrate_kernel", Value::count(fast.packets))
        .with("byterate_kernel", Value::count(fast.bytes))
        .with("errorrate_kernel", 0)
        .with("packetrate", Value::count(slow.packets + fast.packets))
        .with("byterate", Value::count(slow.bytes + fast.bytes))
        .with("errorrate", Value::count(traffic.error_rate))
        .with("load average", format!("{average:.2}"))
        .with("cpu percent", format!("{cpu:.1}"))
        .with("bandwidth", Value::count(bandwidth))
}

fn interface(account: &PortAccount) -> Value<'static> {
    let usage = account.usage;
    let percent = 100.0 * usage.used as f64 / usage.all.max(1) as f64;
    let ports = Dict::new()
        .with("min", i64::from(usage.first))
        .with("max", i64::from(usage.last))
        .with("used", Value::count(2 * usage.used as u64))
        .with("used_pct", format!("{percent:.2}"))
        .with("free", Value::count(2 * usage.free as u64))
        .with("totals", Value::count(2 * usage.all as u64));
    Dict::new().with("name", account.name.clone()).with("address", account.addr.to_string()).with("ports", ports).into()
}

/// Six digits after the point, as the names' readers expect.
fn seconds(seconds: f64) -> String {
    format!("{seconds:.6}")
}

/// The reasons that have occurred.
fn by_reason(counts: &[(Reason, u64)]) -> Dict<'static> {
    let mut dict = Dict::new();
    for (reason, count) in counts.iter().filter(|(_, count)| *count > 0) {
        dict.push(reason.name().as_bytes(), Value::count(*count));
    }
    dict
}
