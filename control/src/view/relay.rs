//! The relay as a whole.

use std::collections::BTreeMap;
use std::net::IpAddr;

use border::{Reason, Volume};
use calls::outcome::{End, RelayAccount};
use serde::{Deserialize, Serialize};

/// Everything about the relay as a whole. Counts are since the daemon was started, but for `program`, which goes on from the daemon before.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RelayView {
    /// The program's version.
    pub version: String,
    /// The daemon's name among those of this host.
    pub instance: String,
    /// `xdp`, `uring` or `epoll`.
    pub engine: String,
    /// Why that one.
    pub why: String,
    /// Seconds since the daemon was started.
    pub uptime: f64,
    /// Whether no new calls are taken.
    pub is_draining: bool,
    /// Calls that there are.
    pub calls: usize,
    /// Calls that have come to be.
    pub created: u64,
    /// Calls that were refused because of a limit.
    pub rejected: u64,
    /// Calls that have ended, by the way they did.
    pub ended: BTreeMap<String, u64>,
    /// Seconds that those lasted together.
    pub lasted: f64,
    /// RTP sources without a packet, of ended calls that had none at all.
    pub zero_way: u64,
    /// The same of calls that had some.
    pub one_way: u64,
    /// The host's load average over a minute.
    pub load: f64,
    /// How busy its processors were in the last second, in percent.
    pub cpu: f64,
    /// What was carried by the XDP program.
    pub fast: VolumeView,
    /// The same by workers.
    pub slow: VolumeView,
    /// In the last second by the XDP program.
    pub fast_rate: VolumeView,
    /// In the last second by workers.
    pub slow_rate: VolumeView,
    /// Packets that arrived and could not be sent on.
    pub errors: u64,
    /// The same in the last second.
    pub error_rate: u64,
    /// Packets that the XDP and the steering program did not carry, by reason.
    pub program: BTreeMap<String, u64>,
    /// Packets that workers lost, by reason.
    pub workers: BTreeMap<String, u64>,
    /// Devices that are there and have no fast path now.
    pub fast_path_missing: usize,
    /// How often the fast path was lost, and came back.
    pub fast_path: TurnsView,
    /// How often ports were not steered to the workers any more, and came to be again.
    pub steering: TurnsView,
    /// Queues of devices whose packets come to the workers past the stack (AF_XDP).
    pub xsk_queues: usize,
    /// Packets that came so.
    pub xsk_packets: u64,
    /// How often a thread of the relay was begun anew after a mistake of this program.
    pub restarts: u64,
    /// Pairs of ports by which calls of an earlier daemon are carried that are on no record.
    pub orphans: usize,
    /// Ways to parties by which the fast path sends.
    #[serde(default)]
    pub next_hops: HopsView,
    /// Whether what is in the kernel is kept for the next daemon; an older daemon does not say.
    pub is_pinned: Option<bool>,
    /// Whether calls are put on record for the next daemon, where that is wanted.
    pub journal: Option<bool>,
    /// What Homer was told, where that is wanted.
    pub homer: Option<HomerView>,
    /// The ports of each interface.
    pub interfaces: Vec<InterfaceView>,
}

/// The table of next hops.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HopsView {
    /// Ways that calls take.
    pub used: usize,
    /// Of those, the ones without a neighbour to send to: workers carry their calls.
    pub unresolved: usize,
    /// As many as there can be.
    pub all: usize,
}

/// Packets for Homer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HomerView {
    /// Those that were sent.
    pub sent: u64,
    /// Those that it did not take, or not fast enough.
    pub lost: u64,
}

/// What is told of the relay and is no business of its calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Beside {
    /// As [`RelayView::journal`].
    pub journal: Option<bool>,
    /// As [`RelayView::homer`].
    pub homer: Option<HomerView>,
}

/// Packets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeView {
    /// Packets.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
}

/// How often something was lost and came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TurnsView {
    /// Lost.
    pub lost: u64,
    /// Came back.
    pub regained: u64,
}

/// The ports of an interface. Those of interfaces that share an address are the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// Its address.
    pub addr: IpAddr,
    /// Pairs of ports in use.
    pub used: usize,
    /// Pairs that can be taken.
    pub free: usize,
    /// All pairs.
    pub all: usize,
}

/// What the daemon knows of itself besides.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Itself {
    /// As [`RelayView::instance`].
    pub instance: String,
    /// As [`RelayView::engine`].
    pub engine: String,
    /// As [`RelayView::why`].
    pub why: String,
}

impl RelayView {
    /// Of an account.
    pub fn new(account: &RelayAccount, itself: &Itself, beside: Beside) -> Self {
        let volume = |Volume { packets, bytes }| VolumeView { packets, bytes };
        let turns = |turns: border::Turns| TurnsView { lost: turns.lost, regained: turns.regained };
        let counts = &account.counts;
        let by_reason = |counts: &[(Reason, u64)]| {
            let counts = counts.iter().filter(|(_, count)| *count > 0);
            counts.map(|(reason, count)| (reason.name().to_owned(), *count)).collect()
        };
        let ended = End::ALL.iter().zip(account.ended.by).map(|(end, count)| (end.word().to_owned(), count));
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: itself.instance.clone(),
            engine: itself.engine.clone(),
            why: itself.why.clone(),
            uptime: account.uptime.as_secs_f64(),
            is_draining: account.is_draining,
            calls: account.calls,
            created: account.created,
            rejected: account.rejected,
            ended: ended.collect(),
            lasted: account.ended.lasted.seconds,
            zero_way: account.ended.zero_way,
            one_way: account.ended.one_way,
            load: account.load.average,
            cpu: account.load.cpu,
            fast: volume(counts.traffic.fast),
            slow: volume(counts.traffic.slow),
            fast_rate: volume(counts.traffic.fast_rate),
            slow_rate: volume(counts.traffic.slow_rate),
            errors: counts.traffic.errors,
            error_rate: counts.traffic.error_rate,
            program: by_reason(&counts.program),
            workers: by_reason(&counts.workers),
            fast_path_missing: counts.fast_path_missing,
            fast_path: turns(counts.fast_path),
            steering: turns(counts.steering),
            xsk_queues: counts.past_stack.queues,
            xsk_packets: counts.past_stack.packets,
            restarts: counts.restarts,
            orphans: counts.orphans,
            next_hops: HopsView { used: counts.hops.used, unresolved: counts.hops.unresolved, all: counts.hops.all },
            is_pinned: Some(counts.is_pinned),
            journal: beside.journal,
            homer: beside.homer,
            interfaces: account.ports.iter().map(interface).collect(),
        }
    }
}

fn interface(port: &calls::outcome::PortAccount) -> InterfaceView {
    let border::PortUsage { used, free, all, .. } = port.usage;
    InterfaceView { name: port.name.clone(), addr: port.addr, used, free, all }
}

#[cfg(test)]
mod tests {
    use calls::call::{Calls, Settings};

    use super::*;

    #[test]
    fn what_an_older_daemon_does_not_say_is_not_known() {
        let interfaces = border::Interfaces::new(vec!["pbx/192.0.2.1".parse().unwrap()]).unwrap();
        let ports = border::Ports::of(&interfaces, (30_000, 40_000)).unwrap();
        let now = std::time::Instant::now();
        let calls = Calls::new(interfaces, ports, Settings::default(), b"mark".to_vec(), now);
        let account = calls.relay_account(now, &border::NoTraffic);
        let beside = Beside { journal: Some(true), homer: Some(HomerView { sent: 3, lost: 1 }) };
        let view = RelayView::new(&account, &Itself::default(), beside);
        let mut told = serde_json::to_value(&view).unwrap();
        assert_eq!(serde_json::from_value::<RelayView>(told.clone()).unwrap(), view);
        for key in ["next_hops", "is_pinned", "journal", "homer"] {
            assert!(told.as_object_mut().unwrap().remove(key).is_some(), "{key}");
        }
        let of_older: RelayView = serde_json::from_value(told).unwrap();
        let unknown = (of_older.next_hops, of_older.is_pinned, of_older.journal, of_older.homer);
        assert_eq!(unknown, (HopsView::default(), None, None, None));
    }
}
