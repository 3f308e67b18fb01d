//! What is answered, as those who read it by scripts expect it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use border::Component;
use calls::outcome::{CallAccount, End, RelayAccount, SourceAccount};

use crate::view::text;

pub(super) const INCOMPLETE: &str = "More parameters required.\n";
pub(super) const ALL_TERMINATED: &str = "All calls terminated by operator.\n";

pub(super) fn unknown(command: &str, rest: &[&str]) -> String {
    let words = [command].into_iter().filter(|word| !word.is_empty()).chain(rest.iter().copied());
    format!("Unknown or incomplete command::{}\n", words.collect::<Vec<_>>().join(" "))
}

pub(super) fn terminated(id: &str) -> String {
    format!("\nCall Id ({id}) successfully terminated by operator.\n\n")
}

pub(super) fn not_terminated(id: &str) -> String {
    format!("\nCall Id not found ({id}).\n\n")
}

pub(super) fn not_found(id: &str) -> String {
    format!("\nCall ID not found ({id}).\n\n")
}

pub(super) fn call_of(id: &str, is_there: bool) -> String {
    if is_there { INCOMPLETE.to_owned() } else { format!("No such call '{id}'\n") }
}

pub(super) fn was_set(name: &str, value: String) -> String {
    format!("Success setting {name} to {value}\n")
}

pub(super) fn was_not_set(name: &str, value: &str, why: &str) -> String {
    format!("Fail setting {name} to {value}; {why}\n")
}

pub(super) fn no_number(name: &str, value: &str) -> String {
    was_not_set(name, value, "no digits found")
}

/// `list numsessions`.
pub(super) fn numbers(relay: &RelayAccount, [four, six, mixed]: [usize; 3]) -> String {
    let calls = relay.calls;
    format!(
        "Current sessions own: {calls}\nCurrent sessions foreign: 0\nCurrent sessions total: {calls}\nCurrent transcoded media: 0\n\
         Current sessions ipv4 only media: {four}\nCurrent sessions ipv6 only media: {six}\nCurrent sessions ip mixed  media: {mixed}\n"
    )
}

/// A line of `list sessions`.
pub(super) fn session(id: &str, account: &CallAccount) -> String {
    format!(
        "callid: {id:>60} | deletionmark: {:>3} | created: {:>11} | proxy:{} | redis_keyspace:{} | foreign:{}\n",
        "no",
        unix(account.created),
        "",
        0,
        "no"
    )
}

/// `list sessions CALL-ID`.
pub(super) fn call(id: &str, account: &CallAccount) -> String {
    let mut told = format!(
        "\ncallid: {id}\ndeletionmark: no\ncreated: {}\nproxy: \nlast_signal: {}\nredis_keyspace: 0\nforeign: no\n\n",
        unix(account.created),
        unix(account.last_signal)
    );
    let shown = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(text).unwrap_or_default();
    for (number, party) in account.parties.iter().enumerate() {
        let kind = if number == 0 { "FROM_TAG" } else { "TO_TAG" };
        let lasted = account.now.1.duration_since(party.created).map_or(0.0, |lasted| lasted.as_secs_f64());
        // Writing to a string does not fail.
        let _always = writeln!(
            told,
            "--- Tag '{}', type: {kind}, label '{}', branch '{}', callduration {lasted:.6}",
            shown(&party.tag),
            shown(&party.label),
            shown(&party.via_branch)
        );
        for (what, relations) in [("subscribed to", &party.hears), ("subscription of", &party.heard_by)] {
            for relation in relations {
                let _always = writeln!(told, "---     {what} '{}'", text(&relation.tag));
            }
        }
        for (index, media) in (1..).zip(&party.medias) {
            let codec = if media.codec.is_empty() { "unknown codec".to_owned() } else { text(&media.codec) };
            let (kind, protocol) = (text(&media.kind), text(&media.protocol));
            let _always = writeln!(told, "------ Media #{index} ({kind} over {protocol}) using {codec}");
            told.extend(media.sources.iter().map(|one| source(one, account)));
        }
    }
    told + "\n\n"
}

fn source(source: &SourceAccount, account: &CallAccount) -> String {
    let totals = source.totals.as_ref();
    let peer = totals.and_then(|totals| totals.peer).or(source.signalled);
    let addr = |addr: SocketAddr| format!("{:>15}:{:<5}", addr.ip(), addr.port());
    let rtcp = if source.component == Component::Rtcp { " (RTCP)" } else { "" };
    let (ssrc, packets, bytes, errors) =
        totals.map_or((0, 0, 0, 0), |totals| (totals.ssrc.unwrap_or(0), totals.packets(), totals.bytes, totals.errors));
    let last = totals.and_then(|totals| totals.last_packet()).map_or_else(
        || unix(account.created),
        |last| {
            let ago = account.now.0.saturating_duration_since(last);
            account.now.1.checked_sub(ago).map_or(0, unix)
        },
    );
    format!(
        "-------- Port {} <> {}{rtcp}, SSRC {ssrc:x}, {packets} p, {bytes} b, {errors} e, {last} ts\n",
        addr(source.local),
        peer.map_or_else(|| format!("{:>15}:{:<5}", "", ""), addr)
    )
}

/// `list interfaces`.
pub(super) fn interfaces(relay: &RelayAccount) -> String {
    let mut told = String::new();
    for port in &relay.ports {
        let (used, all) = (2 * port.usage.used, 2 * port.usage.all);
        let share = 100.0 * used as f64 / all.max(1) as f64;
        let family = if port.addr.is_ipv4() { "IPv4" } else { "IPv6" };
        let _always = writeln!(
            told,
            "Interface '{}' address '{}' ({family})\n Port range: {:>5} - {:>5}\n Ports used: {used:>5} / {all:>5} ({share:>5.1}%)",
            port.name, port.addr, port.usage.first, port.usage.last
        );
    }
    told
}

/// `list totals`.
pub(super) fn totals(relay: &RelayAccount) -> String {
    let traffic = &relay.counts.traffic;
    let (fast, slow) = (traffic.fast_rate, traffic.slow_rate);
    let ended = |end: End| {
        let counts = End::ALL.into_iter().zip(relay.ended.by);
        counts.filter(|(one, _)| *one == end).map(|(_, count)| count).sum::<u64>()
    };
    let lasted = relay.ended.lasted.seconds;
    let all: u64 = relay.ended.by.iter().sum();
    let average = if all == 0 { 0.0 } else { lasted / all as f64 };
    let calls = relay.calls as u64;
    let running = [
        ("Owned sessions", calls),
        ("Foreign sessions", 0),
        ("Total sessions", calls),
        ("Transcoded media", 0),
        ("Packets per second (userspace)", slow.packets),
        ("Bytes per second (userspace)", slow.bytes),
        ("Errors per second (userspace)", traffic.error_rate),
        ("Packets per second (kernel)", fast.packets),
        ("Bytes per second (kernel)", fast.bytes),
        ("Errors per second (kernel)", 0),
        ("Packets per second (total)", fast.packets + slow.packets),
        ("Bytes per second (total)", fast.bytes + slow.bytes),
        ("Errors per second (total)", traffic.error_rate),
    ];
    let total = [
        ("Total managed sessions", relay.created.to_string()),
        ("Total rejected sessions", relay.rejected.to_string()),
        ("Total timed-out sessions via TIMEOUT", ended(End::Timeout).to_string()),
        ("Total timed-out sessions via SILENT_TIMEOUT", ended(End::SilentTimeout).to_string()),
        ("Total timed-out sessions via FINAL_TIMEOUT", ended(End::FinalTimeout).to_string()),
        ("Total timed-out sessions via OFFER_TIMEOUT", ended(End::OfferTimeout).to_string()),
        ("Total regular terminated sessions", ended(End::Regular).to_string()),
        ("Total forced terminated sessions", ended(End::Forced).to_string()),
        ("Total relayed packets (userspace)", traffic.slow.packets.to_string()),
        ("Total relayed packet errors (userspace)", traffic.errors.to_string()),
        ("Total relayed bytes (userspace)", traffic.slow.bytes.to_string()),
        ("Total relayed packets (kernel)", traffic.fast.packets.to_string()),
        ("Total relayed packet errors (kernel)", "0".to_owned()),
        ("Total relayed bytes (kernel)", traffic.fast.bytes.to_string()),
        ("Total relayed packets", (traffic.fast.packets + traffic.slow.packets).to_string()),
        ("Total relayed packet errors", traffic.errors.to_string()),
        ("Total relayed bytes", (traffic.fast.bytes + traffic.slow.bytes).to_string()),
        ("Total number of streams with no relayed packets", relay.ended.zero_way.to_string()),
        ("Total number of 1-way streams", relay.ended.one_way.to_string()),
        ("Average call duration", format!("{average:.6}")),
        ("Total calls duration", format!("{lasted:.6}")),
    ];
    let mut told = "\nStatistics over currently running sessions:\n\n".to_owned();
    for (name, value) in running {
        let _always = writeln!(told, " {name:<48}:{value}");
    }
    told += "\nTotal statistics (does not include current running sessions):\n\n";
    let _always = writeln!(told, " {:<48}:{} seconds", "Uptime of rtpengine", relay.uptime.as_secs());
    for (name, value) in total {
        let _always = writeln!(told, " {name:<48}:{value}");
    }
    told
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
