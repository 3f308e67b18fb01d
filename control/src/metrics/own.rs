//! Names of our own.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use border::Reason;
use calls::outcome::End;

use super::exposition::Page;
use crate::observation::Observation;
use crate::view::Itself;

/// Writes all of them.
pub(super) fn tell(page: &mut Page<'_>, observation: &Observation, itself: &Itself) -> fmt::Result {
    calls(page, observation, itself)?;
    media(page, observation)?;
    quality(page, observation)?;
    proxies(page, observation)
}

fn calls(page: &mut Page<'_>, Observation { relay, journal, homer, .. }: &Observation, itself: &Itself) -> fmt::Result {
    let info = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("instance", itself.instance.clone()),
        ("engine", itself.engine.clone()),
    ];
    page.gauges("intertrunk_info", "What this daemon is", [(info, 1.0)])?;
    page.gauge("intertrunk_uptime_seconds", "Since the daemon was started", relay.uptime.as_secs_f64())?;
    page.gauge("intertrunk_calls", "Calls that there are", relay.calls as f64)?;
    page.gauge("intertrunk_draining", "Whether no new calls are taken", f64::from(u8::from(relay.is_draining)))?;
    page.counter("intertrunk_calls_created", "Calls that have come to be", relay.created as f64)?;
    page.counter("intertrunk_calls_rejected", "Calls that were refused because of a limit", relay.rejected as f64)?;
    let ended = End::ALL.iter().zip(relay.ended.by);
    page.counters(
        "intertrunk_calls_ended",
        "Calls that have ended, by the way they did",
        ended.map(|(end, count)| ([("reason", end.word().to_owned())], count as f64)),
    )?;
    page.counter("intertrunk_call_seconds", "Seconds that ended calls lasted together", relay.ended.lasted.seconds)?;
    let answered = relay.ended.answered;
    page.counter(
        "intertrunk_answered_calls_ended",
        "Calls that have ended, of those that were answered",
        answered.ended as f64,
    )?;
    page.counters(
        "intertrunk_unheard_calls",
        "Answered calls that have ended and in which nobody was heard (nobody), or one was and another one was not (one-way)",
        [("nobody", answered.unheard), ("one-way", answered.one_way)]
            .map(|(kind, count)| ([("kind", kind.to_owned())], count as f64)),
    )?;
    page.gauge(
        "intertrunk_orphans",
        "Pairs of ports that carry calls which are on no record",
        relay.counts.orphans as f64,
    )?;
    if let Some(is_written) = journal {
        let help = "Whether calls are put on record for the next daemon";
        page.gauge("intertrunk_journal_written", help, f64::from(u8::from(*is_written)))?;
    }
    if let Some(homer) = homer {
        page.counters(
            "intertrunk_homer_packets",
            "Packets for Homer: those that were sent, and those that were lost because it does not take them fast enough, or at all",
            [("sent", homer.sent), ("lost", homer.lost)].map(|(fate, count)| ([("fate", fate.to_owned())], count as f64)),
        )?;
    }
    page.gauge("intertrunk_host_load1", "The host's load average over a minute", relay.load.average)?;
    page.gauge(
        "intertrunk_host_busy_ratio",
        "How busy the host's processors were in the last second",
        relay.load.cpu / 100.0,
    )
}

/// Those of the daemon's threads.
pub(super) fn threads(page: &mut Page<'_>, threads: &BTreeMap<String, Duration>) -> fmt::Result {
    page.counters(
        "intertrunk_thread_busy_seconds",
        "How long the daemon's threads were at work; what XDP forwards is the processors' work, and not theirs",
        threads.iter().map(|(name, worked)| ([("thread", name.clone())], worked.as_secs_f64())),
    )
}

fn media(page: &mut Page<'_>, Observation { relay, .. }: &Observation) -> fmt::Result {
    let counts = &relay.counts;
    let traffic = &counts.traffic;
    let by_path = |of: fn(&border::Volume) -> u64| {
        [("fast", &traffic.fast), ("slow", &traffic.slow)]
            .map(|(path, volume)| ([("path", path.to_owned())], of(volume) as f64))
    };
    page.counters("intertrunk_packets", "Packets that were sent on, by path", by_path(|volume| volume.packets))?;
    page.counters("intertrunk_bytes", "Their UDP payload, by path", by_path(|volume| volume.bytes))?;
    page.counter("intertrunk_packet_errors", "Packets that could not be sent on", traffic.errors as f64)?;
    let by_reason = |counts: &[(Reason, u64)]| {
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        counts.map(|(reason, count)| ([("reason", reason.name().to_owned())], *count as f64)).collect::<Vec<_>>()
    };
    page.counters(
        "intertrunk_program_packets",
        "Packets that the programs in the kernel did not send on, by reason: left to the stack or to workers, or dropped",
        by_reason(&counts.program),
    )?;
    page.counters(
        "intertrunk_worker_lost_packets",
        "Packets that workers lost, by reason",
        by_reason(&counts.workers),
    )?;
    page.gauge(
        "intertrunk_xsk_queues",
        "Queues whose packets come to the workers past the stack",
        counts.past_stack.queues as f64,
    )?;
    page.counter("intertrunk_xsk_packets", "Packets that came so", counts.past_stack.packets as f64)?;
    page.gauge(
        "intertrunk_fast_path_missing",
        "Devices that are there and have no fast path now: the program is detached, or the link is down",
        counts.fast_path_missing as f64,
    )?;
    page.gauges(
        "intertrunk_next_hops",
        "Ways to parties by which the fast path sends: those that are resolved, those that are not and whose calls workers carry, and those that there can be besides",
        [
            ("resolved", counts.hops.used.saturating_sub(counts.hops.unresolved)),
            ("unresolved", counts.hops.unresolved),
            ("free", counts.hops.all.saturating_sub(counts.hops.used)),
        ]
        .map(|(state, count)| ([("state", state.to_owned())], count as f64)),
    )?;
    page.gauge(
        "intertrunk_pinned",
        "Whether what is in the kernel is kept for the next daemon",
        f64::from(u8::from(counts.is_pinned)),
    )?;
    let turns = [("fast-path", counts.fast_path), ("steering", counts.steering)];
    page.counters(
        "intertrunk_lost",
        "How often the fast path, and the steering of ports to the workers, was lost",
        turns.map(|(what, turns)| ([("what", what.to_owned())], turns.lost as f64)),
    )?;
    page.counters(
        "intertrunk_regained",
        "How often they came back",
        turns.map(|(what, turns)| ([("what", what.to_owned())], turns.regained as f64)),
    )?;
    page.counter(
        "intertrunk_restarts",
        "Threads that were begun anew after a mistake of the program",
        counts.restarts as f64,
    )?;
    let ports = relay.ports.iter().flat_map(|port| {
        let resting = port.usage.all
            - port.usage.used.min(port.usage.all)
            - port.usage.free.min(port.usage.all - port.usage.used.min(port.usage.all));
        [("used", port.usage.used), ("free", port.usage.free), ("resting", resting)].map(|(state, count)| {
            let labels =
                [("interface", port.name.clone()), ("address", port.addr.to_string()), ("state", state.to_owned())];
            (labels, count as f64)
        })
    });
    page.gauges(
        "intertrunk_ports",
        "Pairs of ports: those that calls have, those that never had a call or have rested, and those that rest, which are taken when there are no others",
        ports,
    )
}

fn quality(page: &mut Page<'_>, Observation { relay, .. }: &Observation) -> fmt::Result {
    let quality = &relay.quality;
    page.histogram("intertrunk_mos", "Scores that parties of ended calls reported: the mean of each", &quality.mos)?;
    page.histogram("intertrunk_jitter_seconds", "Jitter that they reported", &quality.jitter)?;
    page.histogram("intertrunk_loss_ratio", "Share of lost packets that they reported", &quality.loss)?;
    page.histogram(
        "intertrunk_round_trip_seconds",
        "From party to party and back, as far as reports tell",
        &quality.round_trip,
    )?;
    page.histogram("intertrunk_leg_round_trip_seconds", "From the relay to a party and back", &quality.leg_round_trip)?;
    // Doubles count against losses, so what is told may fall below what it was.
    page.gauge(
        "intertrunk_lost_packets",
        "RTP packets of ended calls that never arrived, less doubles",
        relay.lost as f64,
    )
}

fn proxies(page: &mut Page<'_>, Observation { proxies, transports, .. }: &Observation) -> fmt::Result {
    let times = proxies.iter().flat_map(|proxy| {
        proxy.commands.iter().map(|(command, _, times)| {
            ([("proxy", proxy.proxy.clone()), ("command", (*command).to_owned())], times.clone())
        })
    });
    page.histograms("intertrunk_control_request_seconds", "How long commands of proxies took", times)?;
    let ways = transports.iter().flat_map(|way| {
        way.commands.iter().map(|(command, times)| {
            ([("transport", way.transport.word().to_owned()), ("command", (*command).to_owned())], times.clone())
        })
    });
    page.histograms("intertrunk_control_transport_seconds", "The same by the way that they came", ways)?;
    let errors = proxies.iter().map(|proxy| ([("proxy", proxy.proxy.clone())], proxy.errors as f64));
    page.counters("intertrunk_control_errors", "Commands of proxies that were answered with an error", errors)
}
