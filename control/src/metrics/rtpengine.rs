//! The names of rtpengine, for boards that have them. What there is nothing to tell about is left out.

use std::fmt;

use calls::outcome::{End, Histogram};

use super::exposition::Page;
use crate::observation::Observation;

/// Writes all of them.
pub(super) fn tell(page: &mut Page<'_>, Observation { relay, proxies, .. }: &Observation) -> fmt::Result {
    let of_kind = |kind: &str| [("type", kind.to_owned())];
    let kernel = |fast: f64, slow: f64| [(of_kind("kernel"), fast), (of_kind("userspace"), slow)];
    let traffic = &relay.counts.traffic;
    page.gauges(
        "rtpengine_sessions",
        "Number of currently running sessions",
        [(of_kind("own"), relay.calls as f64), (of_kind("foreign"), 0.0)],
    )?;
    page.gauge("rtpengine_uptime_seconds", "Uptime of the daemon", relay.uptime.as_secs_f64())?;
    page.counter(
        "rtpengine_sessions",
        "Total number of sessions that have ended",
        relay.ended.by.iter().sum::<u64>() as f64,
    )?;
    let ended = End::ALL.iter().zip(relay.ended.by).map(|(end, count)| (closed(*end), count));
    let closed = ended.chain([("rejected", relay.rejected)]);
    page.counters(
        "rtpengine_closed_sessions",
        "Total number of closed sessions by reason",
        closed.map(|(reason, count)| ([("reason", reason.to_owned())], count as f64)),
    )?;
    page.counters(
        "rtpengine_packets",
        "Total number of relayed packets",
        kernel(traffic.fast.packets as f64, traffic.slow.packets as f64),
    )?;
    page.counters(
        "rtpengine_bytes",
        "Total number of relayed bytes",
        kernel(traffic.fast.bytes as f64, traffic.slow.bytes as f64),
    )?;
    page.counters("rtpengine_packet_errors", "Total number of packet errors", kernel(0.0, traffic.errors as f64))?;
    page.counter(
        "rtpengine_zero_packet_streams",
        "Total number of streams without a packet",
        relay.ended.zero_way as f64,
    )?;
    page.counter("rtpengine_one_way_sessions", "Total number of one-way sessions", relay.ended.one_way as f64)?;
    let (count, lasted) = (relay.ended.by.iter().sum::<u64>(), relay.ended.lasted);
    let average = if count == 0 { 0.0 } else { lasted.seconds / count as f64 };
    page.gauge("rtpengine_call_duration_avg", "Average duration of ended calls", average)?;
    page.counter("rtpengine_call_duration", "Total duration of ended calls", lasted.seconds)?;
    page.counter("rtpengine_call_duration2", "Total of squares of their duration", lasted.squares)?;
    // Ports and not pairs.
    for (name, help, of) in [
        ("rtpengine_ports_used", "Number of used ports", (|usage| usage.used) as fn(&border::PortUsage) -> usize),
        ("rtpengine_ports_free", "Number of free ports", |usage| usage.free),
        ("rtpengine_ports", "Number of ports", |usage| usage.all),
    ] {
        let ports = relay.ports.iter().map(|port| {
            let labels = [("name", port.name.clone()), ("address", port.addr.to_string())];
            (labels, 2.0 * of(&port.usage) as f64)
        });
        page.gauges(name, help, ports)?;
    }
    let quality = &relay.quality;
    // As it has them: scores as they are, jitter in milliseconds, round trips in microseconds and loss in percent.
    summed(page, "mos", "end-to-end MOS", &quality.mos, 1.0)?;
    summed(page, "jitter", "reported jitter", &quality.jitter, 1000.0)?;
    summed(page, "packetloss", "packet loss", &quality.loss, 100.0)?;
    summed(page, "rtt_e2e", "end-to-end round-trip time", &quality.round_trip, 1e6)?;
    summed(page, "rtt_dsct", "discrete round-trip time", &quality.leg_round_trip, 1e6)?;
    let requests = || {
        proxies.iter().flat_map(|proxy| {
            proxy.commands.iter().map(|(command, count, times)| {
                ([("proxy", proxy.proxy.clone()), ("request", (*command).to_owned())], *count, times.sum())
            })
        })
    };
    page.counters(
        "rtpengine_requests",
        "Total number of control requests",
        requests().map(|(labels, count, _)| (labels, count as f64)),
    )?;
    page.counters(
        "rtpengine_request_seconds",
        "Total time spent on control requests",
        requests().map(|(labels, _, seconds)| (labels, seconds)),
    )?;
    let errors = proxies.iter().map(|proxy| ([("proxy", proxy.proxy.clone())], proxy.errors as f64));
    page.counters("rtpengine_errors", "Total number of control errors", errors)
}

const fn closed(end: End) -> &'static str {
    match end {
        End::Regular => "terminated",
        End::Timeout => "timeout",
        End::SilentTimeout => "silent_timeout",
        End::FinalTimeout => "final_timeout",
        End::OfferTimeout => "offer_timeout",
        End::Forced => "force_terminated",
    }
}

/// A sum, the sum of squares, and how many there were.
fn summed(page: &mut Page<'_>, name: &str, what: &str, values: &Histogram, unit: f64) -> fmt::Result {
    page.counter(&format!("rtpengine_{name}"), &format!("Sum of all {what} values sampled"), unit * values.sum())?;
    page.counter(
        &format!("rtpengine_{name}2"),
        &format!("Sum of all {what} square values sampled"),
        unit * unit * values.squares(),
    )?;
    page.counter(
        &format!("rtpengine_{name}_samples"),
        &format!("Total number of {what} samples"),
        values.count() as f64,
    )
}
