//! Which proxy has asked for what, and how long that took.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use super::value::{Dict, Value};
use crate::outcome::Histogram;

/// Where commands come from, and how.
#[derive(Clone, Copy, Debug)]
pub struct Proxy {
    place: Place,
    transport: Transport,
}

impl Proxy {
    /// A host.
    pub const fn host(addr: IpAddr, transport: Transport) -> Self {
        Self { place: Place::Host(addr), transport }
    }

    /// A program on this host, by a unix socket.
    pub const fn unix(transport: Transport) -> Self {
        Self { place: Place::Unix, transport }
    }
}

/// A proxy is the same whichever way it takes, and so is what it has sent twice.
impl Hash for Proxy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

/// How commands come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
    /// A request of its own.
    Http,
    /// A message of a web socket.
    WebSocket,
    /// A stream of this host.
    Unix,
    /// A datagram of this host.
    UnixDatagram,
    /// A line, as `rtpengine-ctl` writes them.
    Cli,
}

impl Transport {
    /// As metrics call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Unix => "unix",
            Self::UnixDatagram => "unix-datagram",
            Self::Cli => "cli",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
enum Place {
    /// A host.
    Host(IpAddr),
    /// This one.
    Unix,
    /// One of more than can be told apart.
    Other,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(addr) => addr.fmt(f),
            Self::Unix => f.write_str("unix"),
            Self::Other => f.write_str("others"),
        }
    }
}

/// The commands that are told apart; all others are together.
const COMMANDS: [&str; 18] = [
    "ping",
    "offer",
    "answer",
    "delete",
    "query",
    "list",
    "statistics",
    "block media",
    "unblock media",
    "silence media",
    "unsilence media",
    "start forwarding",
    "stop forwarding",
    "subscribe request",
    "subscribe answer",
    "unsubscribe",
    "play media",
    "stop media",
];

/// How many proxies are told apart: whoever can send datagrams can invent some.
const MAX_PROXIES: usize = 64;

/// How long commands take, in seconds.
const TIMES: [f64; 9] = [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.02, 0.1];

/// What a proxy has asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct ProxyAccount {
    /// Its address, `unix`, or `others`.
    pub proxy: String,
    /// Requests that were answered with an error.
    pub errors: u64,
    /// Each command that it has used, how often, and how long those took in seconds.
    pub commands: Vec<(&'static str, u64, Histogram)>,
}

#[derive(Clone, Debug)]
struct Count {
    requests: u64,
    took: Duration,
    times: Histogram,
}

impl Default for Count {
    fn default() -> Self {
        Self { requests: 0, took: Duration::ZERO, times: Histogram::new(&TIMES) }
    }
}

#[derive(Clone, Debug)]
struct Page {
    commands: [Count; COMMANDS.len()],
    errors: u64,
}

impl Default for Page {
    fn default() -> Self {
        Self { commands: std::array::from_fn(|_| Count::default()), errors: 0 }
    }
}

/// How long commands that came in one way took.
#[derive(Clone, PartialEq, Debug)]
pub struct TransportAccount {
    /// The way.
    pub transport: Transport,
    /// Each command that came so, and how long those took in seconds.
    pub commands: Vec<(&'static str, Histogram)>,
}

/// Which proxy has asked for what, and how long that took.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pages: BTreeMap<Place, Page>,
    ways: BTreeMap<Transport, BTreeMap<usize, Histogram>>,
    /// The last request, whose time is not known yet.
    open: Option<(Proxy, usize)>,
}

impl Ledger {
    /// Enters a request. `command` is in its canonical spelling.
    pub(super) fn enter(&mut self, proxy: Proxy, command: &[u8], is_error: bool) {
        self.open = None;
        let is_known = self.pages.len() < MAX_PROXIES || self.pages.contains_key(&proxy.place);
        let proxy = if is_known { proxy } else { Proxy { place: Place::Other, ..proxy } };
        let page = self.pages.entry(proxy.place).or_default();
        page.errors += u64::from(is_error);
        let known = COMMANDS.iter().position(|known| super::value::same_words(known.as_bytes(), command));
        if let Some((at, count)) = known.and_then(|at| Some((at, page.commands.get_mut(at)?))) {
            count.requests += 1;
            self.open = Some((proxy, at));
        }
    }

    /// The last request has taken so long.
    pub(super) fn took(&mut self, took: Duration) {
        let Some((proxy, at)) = self.open.take() else { return };
        if let Some(count) = self.pages.get_mut(&proxy.place).and_then(|page| page.commands.get_mut(at)) {
            count.took += took;
            count.times.add(took.as_secs_f64());
        }
        let commands = self.ways.entry(proxy.transport).or_default();
        commands.entry(at).or_insert_with(|| Histogram::new(&TIMES)).add(took.as_secs_f64());
    }

    /// By the way that commands came.
    pub(super) fn transports(&self) -> Vec<TransportAccount> {
        let account = |(transport, commands): (&Transport, &BTreeMap<usize, Histogram>)| TransportAccount {
            transport: *transport,
            commands: commands.iter().filter_map(|(at, times)| Some((*COMMANDS.get(*at)?, times.clone()))).collect(),
        };
        self.ways.iter().map(account).collect()
    }

    /// The same for whoever counts.
    pub(super) fn accounts(&self) -> Vec<ProxyAccount> {
        let page = |(place, page): (&Place, &Page)| ProxyAccount {
            proxy: place.to_string(),
            errors: page.errors,
            commands: COMMANDS
                .into_iter()
                .zip(&page.commands)
                .filter(|(_, count)| count.requests > 0)
                .map(|(name, count)| (name, count.requests, count.times.clone()))
                .collect(),
        };
        self.pages.iter().map(page).collect()
    }

    /// As `statistics` tells it.
    pub(super) fn describe(&self) -> Dict<'static> {
        let mut sum = Page::default();
        let mut proxies = Vec::new();
        for (proxy, page) in &self.pages {
            let mut dict = Dict::new().with("proxy", proxy.to_string());
            page.describe("", &mut dict);
            proxies.push(Value::Dict(dict));
            sum.errors += page.errors;
            for (sum, count) in sum.commands.iter_mut().zip(&page.commands) {
                sum.requests += count.requests;
                sum.took += count.took;
            }
        }
        let mut dict = Dict::new().with("proxies", Value::List(proxies));
        sum.describe("total", &mut dict);
        dict
    }
}

impl Page {
    fn describe(&self, prefix: &str, dict: &mut Dict<'static>) {
        for (name, count) in COMMANDS.iter().zip(&self.commands) {
            dict.push(format!("{prefix}{name}count").into_bytes(), Value::count(count.requests));
            if prefix.is_empty() {
                dict.push(format!("{name}duration").into_bytes(), format!("{:.6}", count.took.as_secs_f64()));
            }
        }
        dict.push(format!("{prefix}errorcount").into_bytes(), Value::count(self.errors));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_proxy_and_together() {
        let mut ledger = Ledger::default();
        let host = Proxy::host("192.0.2.1".parse().unwrap(), Transport::Udp);
        let program = Proxy::unix(Transport::UnixDatagram);
        ledger.enter(host, b"offer", false);
        ledger.took(Duration::from_millis(2));
        ledger.enter(program, b"offer", true);
        ledger.enter(program, b"block-media", false);
        ledger.enter(program, b"nonsense", true);
        let dict = ledger.describe();
        assert_eq!(dict.get("totaloffercount"), Some(&Value::Int(2)));
        assert_eq!(dict.get("totalerrorcount"), Some(&Value::Int(2)));
        let Some(Value::List(proxies)) = dict.get("proxies") else { panic!("{dict:?}") };
        let first = proxies[0].as_dict().unwrap();
        assert_eq!(first.get("proxy"), Some(&Value::from("192.0.2.1")));
        assert_eq!(first.get("offerduration"), Some(&Value::from("0.002000")));
        assert_eq!(proxies[1].as_dict().unwrap().get("block mediacount"), Some(&Value::Int(1)));
    }

    #[test]
    fn one_proxy_that_comes_in_two_ways_is_one_proxy_and_two_ways() {
        let mut ledger = Ledger::default();
        for transport in [Transport::Tcp, Transport::Udp, Transport::Tcp] {
            ledger.enter(Proxy::host("192.0.2.1".parse().unwrap(), transport), b"offer", false);
            ledger.took(Duration::from_millis(2));
        }
        let [proxy] = &ledger.accounts()[..] else { panic!("{:?}", ledger.accounts()) };
        assert_eq!((&*proxy.proxy, proxy.commands[0].1), ("192.0.2.1", 3));
        let ways: Vec<_> = ledger
            .transports()
            .into_iter()
            .map(|way| (way.transport.word(), way.commands[0].0, way.commands[0].1.count()))
            .collect();
        assert_eq!(ways, [("udp", "offer", 1), ("tcp", "offer", 2)]);
    }

    #[test]
    fn invented_proxies_do_not_eat_memory() {
        let mut ledger = Ledger::default();
        for number in 0..1000_u32 {
            ledger.enter(Proxy::host(IpAddr::from(number.to_be_bytes()), Transport::Udp), b"ping", false);
        }
        assert_eq!(ledger.pages.len(), MAX_PROXIES + 1);
        assert_eq!(ledger.describe().get("totalpingcount"), Some(&Value::Int(1000)));
    }
}
