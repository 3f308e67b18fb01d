//! Millions of calls, on a network that loses requests and replies, to a daemon that is killed and started anew: nothing may pile up.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use relay::{Inventory, inventory};
use rustix::process::Signal;
use serde::Serialize;
use serde_json::{Value, json};

use crate::rig::caller::{Step, answered, request};
use crate::rig::chance::Chance;
use crate::rig::daemon::NG;
use crate::rig::host::{Host, in_namespace};
use crate::rig::process::wait_until;
use crate::rig::proxied::{Proxied, Subject};

/// So many calls are under way at once.
const WINDOW: usize = 64;
/// Of so many requests one is lost, and of so many replies.
const LOSS: u64 = 200;
/// Of so many calls one is never ended: its proxy has crashed.
const ABANDONED: u64 = 1000;
/// After so long a proxy asks again.
const RETRY: Duration = Duration::from_millis(30);
/// A request that was not answered after so many times is not going to be.
const TRIES: u32 = 200;
/// How often it is looked at what has piled up.
const LOOKS: u64 = 20;
/// Between so many looks the daemon is ended, by turns so that it can say goodbye and so that it cannot.
const LOOKS_OF_A_LIFE: u64 = 4;
/// How much memory may vary in the life of a daemon: what its allocator holds back, and what a chapter of the journal needs.
const MEMORY_SLACK: u64 = 8 << 20;
/// What the journal may need while few calls stand: replies of the last seconds, up to 256 MiB of each of two daemons, and the chapters that are
/// written.
const MAX_JOURNAL: u64 = 640 << 20;

/// How many calls.
#[derive(Clone, Copy, Debug)]
pub struct SoakPlan {
    /// Calls that are set up.
    pub calls: u64,
    /// What losses are chosen by.
    pub seed: u64,
}

impl SoakPlan {
    /// A short form.
    pub const fn smoke(seed: u64) -> Self {
        Self { calls: 1_600, seed }
    }
}

/// The result.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Soak {
    /// Calls that were set up.
    pub calls: u64,
    /// Those of them that nobody ended.
    pub abandoned: u64,
    /// How often the daemon was killed, and how often stopped.
    pub kills: u32,
    /// See above.
    pub stops: u32,
    /// Requests that were asked again.
    pub retries: u64,
    /// Calls a second.
    pub calls_per_second: f64,
    /// What there was, look by look.
    pub looks: Vec<Look>,
}

/// What the daemon has at a time when no call is under way.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Look {
    /// Which daemon it is.
    pub life: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Bytes of memory of its own.
    pub memory: u64,
    /// Bytes that it shares with the next one: notes of each port that was ever used.
    pub shared: u64,
    /// Ports in use, and slots that do anything: those of abandoned calls.
    pub ports: u64,
    /// See above.
    pub slots: usize,
    /// Next hops that are resolved.
    pub next_hops: usize,
    /// Bytes of the journal.
    pub journal: u64,
}

/// Makes all the calls, and fails where something piles up.
///
/// # Errors
/// When it does, or a request is refused or never answered.
pub fn run(plan: SoakPlan) -> anyhow::Result<Soak> {
    let folder = tempfile::tempdir_in("/dev/shm").context("/dev/shm cannot be written")?;
    let mut relay = Proxied::start(Subject::Soaked, folder.path())?;
    let mut network = Network::new(relay.host(), plan.seed)?;
    let mut soak = Soak::default();
    let start = Instant::now();
    for look in 0..LOOKS {
        crate::bench::go_on()?;
        if look > 0 && look % LOOKS_OF_A_LIFE == 0 {
            // In the middle of it.
            let (is_kill, half) = (look / LOOKS_OF_A_LIFE % 2 == 1, plan.calls / LOOKS / 2);
            network.begin(half)?;
            relay.restart(if is_kill { Signal::KILL } else { Signal::TERM })?;
            *(if is_kill { &mut soak.kills } else { &mut soak.stops }) += 1;
        }
        let made = network.make(plan.calls * (look + 1) / LOOKS);
        made.with_context(|| relay.said().unwrap_or_default())?;
        soak.looks.push(Look::at(&relay, look / LOOKS_OF_A_LIFE)?);
        eprintln!("{} calls: {:?}", network.begun, soak.looks.last());
    }
    soak.calls_per_second = network.begun as f64 / start.elapsed().as_secs_f64();
    (soak.calls, soak.abandoned, soak.retries) = (network.begun, network.abandoned, network.retries);
    check(&soak.looks)?;
    let mut left = None;
    let is_empty = wait_until("calls that nobody ends are over", Duration::from_secs(30), || {
        left = Look::at(&relay, LOOKS).ok();
        left.is_some_and(|look| look.ports == 0)
    });
    is_empty.with_context(|| format!("{left:?}"))?;
    let none = Inventory::default();
    wait_until("nothing is left", Duration::from_secs(5), || {
        inventory(&relay.kept().pins()).is_ok_and(|there| there == none)
    })?;
    soak.looks.push(Look::at(&relay, LOOKS / LOOKS_OF_A_LIFE - 1)?);
    Ok(soak)
}

/// Nothing has piled up from one look to another in the life of a daemon.
fn check(looks: &[Look]) -> anyhow::Result<()> {
    for life in looks.chunk_by(|one, other| one.life == other.life) {
        // Each port costs something when it is used for the first time. There are a million, a call takes four, and those that have rested longest
        // are next: 250,000 calls have used them all, which a long run has behind it at the third look.
        let [first, _, third, .., last] = life else { continue };
        let is_flat = first.descriptors == last.descriptors && last.memory <= third.memory + MEMORY_SLACK;
        ensure!(is_flat, "what the daemon has grows: {life:?}");
    }
    // And nothing from one daemon to the next, of those that have used every port: what they share is the same from one look to another.
    let end = |life: &[Look]| match life {
        [.., before, last] if before.shared == last.shared => Some(last.memory + last.shared),
        _ => None,
    };
    let ends: Vec<u64> = looks.chunk_by(|one, other| one.life == other.life).filter_map(end).collect();
    let grows =
        ends.windows(2).all(|pair| pair.first().zip(pair.last()).is_some_and(|(one, other)| *other > one + one / 20));
    ensure!(ends.len() < 3 || !grows, "each daemon has more than the one before: {ends:?}");
    let largest = looks.iter().map(|look| look.journal).max().unwrap_or(0);
    ensure!(largest <= MAX_JOURNAL, "the journal has {largest} bytes");
    Ok(())
}

impl Look {
    fn at(relay: &Proxied, life: u64) -> anyhow::Result<Self> {
        let kept = relay.kept();
        let reply = relay.ng()?.request(&json!({"command": "statistics"}))?;
        let interfaces = reply.pointer("/statistics/interfaces").and_then(Value::as_array).context("no interfaces")?;
        let used = interfaces.iter().filter_map(|interface| interface.pointer("/ports/used")?.as_u64());
        let Inventory { slots, next_hops } = inventory(&kept.pins())?;
        let mut journal = 0;
        for file in std::fs::read_dir(kept.state.join(&kept.instance))? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with("journal.") {
                journal += file.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        Ok(Self {
            life,
            descriptors: relay.descriptors()?,
            memory: relay.memory_of("RssAnon:")?,
            shared: relay.memory_of("RssShmem:")?,
            ports: used.sum(),
            slots,
            next_hops,
            journal,
        })
    }
}

/// A request that has no answer yet.
struct Open {
    call: u64,
    step: Step,
    request: Vec<u8>,
    sent: Instant,
    tries: u32,
}

/// A proxy and a network that loses what it sends and gets.
struct Network {
    socket: UdpSocket,
    chance: Chance,
    open: HashMap<u64, Open>,
    cookies: u64,
    begun: u64,
    abandoned: u64,
    retries: u64,
}

impl Network {
    fn new(host: &Host, seed: u64) -> anyhow::Result<Self> {
        let socket = in_namespace(host, || Ok(UdpSocket::bind("127.0.0.1:0")?))?;
        socket.connect(NG.parse::<SocketAddr>()?)?;
        socket.set_nonblocking(true)?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 4 << 20)?;
        let chance = Chance::new(seed);
        Ok(Self { socket, chance, open: HashMap::new(), cookies: 0, begun: 0, abandoned: 0, retries: 0 })
    }

    /// Makes calls until there were so many, and all have ended.
    fn make(&mut self, until: u64) -> anyhow::Result<()> {
        while self.begun < until || !self.open.is_empty() {
            self.turn(until)?;
        }
        Ok(())
    }

    /// Begins some calls more, and leaves those that are under way as they are.
    fn begin(&mut self, calls: u64) -> anyhow::Result<()> {
        let until = self.begun + calls;
        while self.begun < until {
            self.turn(u64::MAX)?;
        }
        Ok(())
    }

    fn turn(&mut self, until: u64) -> anyhow::Result<()> {
        while self.begun < until && self.open.len() < WINDOW {
            self.begun += 1;
            self.ask(self.begun, Step::Offer)?;
        }
        let mut buffer = [0; 1 << 14];
        let len = match self.socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::ConnectionRefused].contains(&error.kind()) => {
                std::thread::sleep(Duration::from_micros(50));
                return self.ask_again();
            }
            Err(error) => return Err(error.into()),
        };
        if self.chance.below(LOSS) == 0 {
            return Ok(());
        }
        let reply = buffer.get(..len).unwrap_or_default();
        let cookie = answered(reply).with_context(|| self.asked(reply))?;
        // What was asked twice is answered twice.
        let Some(Open { call, step, .. }) = self.open.remove(&cookie) else { return Ok(()) };
        match step {
            Step::Offer => self.ask(call, Step::Answer),
            Step::Answer if self.chance.below(ABANDONED) == 0 => {
                self.abandoned += 1;
                Ok(())
            }
            Step::Answer => self.ask(call, Step::Delete),
            Step::Delete => Ok(()),
        }
    }

    /// What a reply is the answer to, for people.
    fn asked(&self, reply: &[u8]) -> String {
        let cookie = reply.split(|byte| *byte == b' ').next().and_then(|cookie| std::str::from_utf8(cookie).ok());
        let open = cookie.and_then(|cookie| self.open.get(&cookie.parse().ok()?));
        open.map_or_else(
            || "to a request that was answered before".to_owned(),
            |open| format!("{:?} of call {}, asked {} times", open.step, open.call, open.tries),
        )
    }

    fn ask(&mut self, call: u64, step: Step) -> anyhow::Result<()> {
        self.cookies += 1;
        let request = request(self.cookies, call, step);
        self.send(&request)?;
        self.open.insert(self.cookies, Open { call, step, request, sent: Instant::now(), tries: 1 });
        Ok(())
    }

    /// Asks again for what was not answered.
    fn ask_again(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let is_due = |open: &Open| now.saturating_duration_since(open.sent) >= RETRY;
        let due: Vec<u64> = self.open.iter().filter(|(_, open)| is_due(open)).map(|(cookie, _)| *cookie).collect();
        for cookie in due {
            let Some(open) = self.open.get_mut(&cookie) else { continue };
            (open.sent, open.tries) = (now, open.tries + 1);
            ensure!(open.tries < TRIES, "no answer: {}", open.request.escape_ascii());
            let request = open.request.clone();
            self.retries += 1;
            self.send(&request)?;
        }
        Ok(())
    }

    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        if self.chance.below(LOSS) == 0 {
            return Ok(());
        }
        match self.socket.send(request) {
            // Nobody listens for now, or the queue is full: it is asked again.
            Err(error) if ![ErrorKind::ConnectionRefused, ErrorKind::WouldBlock].contains(&error.kind()) => {
                Err(error).context("the relay cannot be asked")
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
