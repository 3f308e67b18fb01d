//! A hundred hostile clients on every control socket while calls talk and a proxy does its work.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::json;

use super::crowd::Crowd;
use crate::rig::chance::Chance;
use crate::rig::daemon::{NG, NgClient};
use crate::rig::host::{Host, in_namespace};
use crate::rig::party::sdp;
use crate::rig::scene::Scene;
use crate::rig::trunks::{Trunk, Trunks};

/// Hostile clients on each socket.
const CLIENTS: usize = 100;
/// Between two things that a client does, at most.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two commands of the proxy.
const PACE: Duration = Duration::from_millis(5);
/// How long a hostile stream client waits for anything, so that one thread can be all of them.
const GLANCE: Duration = Duration::from_millis(1);
const TCP: &str = "127.0.0.1:2224";
const HTTP: &str = "127.0.0.1:2225";

/// How many calls, and how long.
#[derive(Clone, Copy, Debug)]
pub struct HostilePlan {
    /// Calls that talk, 50 packets a second each way.
    pub calls: u16,
    /// How long.
    pub time: Duration,
    /// What the clients do is chosen by.
    pub seed: u64,
}

impl HostilePlan {
    /// A short form.
    pub const fn smoke(seed: u64) -> Self {
        Self { calls: 20, time: Duration::from_secs(2), seed }
    }
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Hostile {
    /// Calls that talked.
    pub calls: u16,
    /// Hostile clients, on all sockets together.
    pub clients: usize,
    /// What they did and the daemon took, by socket: datagrams, or connections with what was sent over them.
    pub attacks: Vec<(&'static str, u64)>,
    /// Packets that parties sent.
    pub packets: u64,
    /// Those that never came.
    pub lost: u64,
    /// Commands of the proxy, each of which was answered.
    pub commands: usize,
    /// Microseconds that one in a hundred of its replies exceeds while there are no hostile clients.
    pub quiet_p99_us: u64,
    /// Microseconds to its replies: the median.
    pub p50_us: u64,
    /// What one in a hundred exceeds.
    pub p99_us: u64,
    /// What none exceeds.
    pub most_us: u64,
    /// Bytes of the daemon's log.
    pub log_bytes: u64,
}

/// A control socket.
#[derive(Clone, Debug)]
enum Way {
    Udp,
    Tcp,
    Http,
    Unix(PathBuf),
    Unixgram(PathBuf),
}

impl Way {
    const fn name(&self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Unix(_) => "unix",
            Self::Unixgram(_) => "unixgram",
        }
    }
}

/// Attacks, and fails when a call, a packet or a command of the proxy suffers.
///
/// # Errors
/// When one does, or the daemon has ended.
pub fn run(plan: HostilePlan) -> anyhow::Result<Hostile> {
    let sockets = tempfile::tempdir()?;
    let [unix, unixgram] = ["ng.sock", "ng-datagram.sock"].map(|name| sockets.path().join(name));
    let (at_unix, at_unixgram) = (unix.to_string_lossy().into_owned(), unixgram.to_string_lossy().into_owned());
    let args = [
        ["--listen-tcp-ng", TCP],
        ["--listen-http", HTTP],
        ["--listen-ng-unix", at_unix.as_str()],
        ["--listen-ng-unixgram", at_unixgram.as_str()],
    ];
    let mut scene = Scene::new(Trunks::new()?, "xdp", args.as_flattened())?;
    let mut crowd = Crowd::new(&scene.trunks, &mut scene.ng, plan.calls, true)?;
    let ways = [Way::Udp, Way::Tcp, Way::Http, Way::Unix(unix), Way::Unixgram(unixgram)];
    let counts: Vec<AtomicU64> = ways.iter().map(|_| AtomicU64::new(0)).collect();
    let (is_over, relay) = (AtomicBool::new(false), &scene.trunks.relay);
    let (mut quiet, mut replies) = (Vec::new(), Vec::new());
    let mut proxy = NgClient::new(&scene.trunks)?;
    let heard = crowd.talk(|_| {
        work(&mut proxy, plan.time / 4, "quiet", &mut quiet)?;
        std::thread::scope(|scope| {
            let attackers: Vec<_> = ways
                .iter()
                .zip(&counts)
                .zip(plan.seed..)
                .map(|((way, count), seed)| {
                    let (is_over, folder) = (&is_over, sockets.path());
                    scope.spawn(move || attack(way, (relay, folder), Chance::new(seed), is_over, count))
                })
                .collect();
            let worked = work(&mut proxy, plan.time, "good", &mut replies);
            is_over.store(true, Ordering::Relaxed);
            for attacker in attackers {
                attacker.join().map_err(|_| anyhow::anyhow!("an attacker has panicked"))??;
            }
            worked
        })
    })?;
    ensure!(heard.lost == 0, "{} of {} packets never came", heard.lost, heard.sent);
    ensure!(scene.daemon.process().ended()?.is_none(), "the daemon has ended");
    crowd.check_totals(&mut scene.ng)?;
    let attacks: Vec<_> =
        ways.iter().map(Way::name).zip(counts.iter().map(|count| count.load(Ordering::Relaxed))).collect();
    ensure!(attacks.iter().all(|(_, count)| *count > 0), "not every socket was attacked: {attacks:?}");
    let us = |replies: &[Duration], share: f64| {
        let at = replies.get(((replies.len().max(1) - 1) as f64 * share) as usize);
        at.map(|time| time.as_micros() as u64).context("no replies")
    };
    for replies in [&mut quiet, &mut replies] {
        replies.sort_unstable();
    }
    Ok(Hostile {
        calls: plan.calls,
        clients: CLIENTS * ways.len(),
        attacks,
        packets: heard.sent,
        lost: heard.lost,
        commands: replies.len(),
        quiet_p99_us: us(&quiet, 0.99)?,
        p50_us: us(&replies, 0.5)?,
        p99_us: us(&replies, 0.99)?,
        most_us: us(&replies, 1.0)?,
        log_bytes: std::fs::metadata(scene.folder.path().join("intertrunk.log"))?.len(),
    })
}

/// Sets calls up and ends them, and takes the times of the replies.
fn work(proxy: &mut NgClient, time: Duration, name: &str, replies: &mut Vec<Duration>) -> anyhow::Result<()> {
    let start = Instant::now();
    for number in 0.. {
        if start.elapsed() >= time {
            break;
        }
        crate::bench::go_on()?;
        let at = |trunk: Trunk| sdp(SocketAddr::new(trunk.far().into(), 50_000));
        let (caller, callee) = (Trunk::Pbx1, Trunk::Gateway);
        for mut command in [
            json!({"command": "offer", "sdp": at(caller), "direction": [caller.name(), callee.name()]}),
            json!({"command": "answer", "to-tag": "callee", "sdp": at(callee)}),
            json!({"command": "query"}),
            json!({"command": "delete"}),
        ] {
            if let Some(command) = command.as_object_mut() {
                command.insert("call-id".to_owned(), format!("{name}-{number}").into());
                command.insert("from-tag".to_owned(), "caller".into());
            }
            let sent = Instant::now();
            let reply = proxy.request(&command)?;
            replies.push(sent.elapsed());
            ensure!(reply.get("result") == Some(&json!("ok")), "{command}: {reply}");
            std::thread::sleep(PACE);
        }
    }
    Ok(())
}

/// Is all the hostile clients of one socket.
fn attack(
    way: &Way,
    (relay, folder): (&Host, &Path),
    mut chance: Chance,
    is_over: &AtomicBool,
    count: &AtomicU64,
) -> anyhow::Result<()> {
    in_namespace(relay, || {
        let mut clients: Vec<Client> = Vec::new();
        for number in 0..CLIENTS {
            clients.push(Client::new(way, folder, number)?);
        }
        let start = Instant::now();
        for act in 0_u32.. {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            if let Some(client) = clients.get_mut(act as usize % CLIENTS)
                && client.act(&mut chance)
            {
                count.fetch_add(1, Ordering::Relaxed);
            }
            // They do not know of one another.
            std::thread::sleep((PAUSE / CLIENTS as u32 * act).saturating_sub(start.elapsed()));
        }
        Ok(())
    })
}

/// One of them. What becomes of it is nobody's matter.
enum Client {
    Udp(UdpSocket),
    Unixgram(UnixDatagram, PathBuf),
    Tcp(&'static str, Option<TcpStream>),
    Unix(PathBuf, Option<UnixStream>),
}

impl Client {
    fn new(way: &Way, folder: &Path, number: usize) -> anyhow::Result<Self> {
        Ok(match way {
            Way::Udp => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(NG)?;
                Self::Udp(socket)
            }
            Way::Tcp => Self::Tcp(TCP, None),
            Way::Http => Self::Tcp(HTTP, None),
            Way::Unix(path) => Self::Unix(path.clone(), None),
            Way::Unixgram(path) => {
                let socket = UnixDatagram::bind(folder.join(format!("hostile-{number}")))?;
                socket.set_nonblocking(true)?;
                Self::Unixgram(socket, path.clone())
            }
        })
    }

    /// Does something that no proxy does; whether it came to that.
    fn act(&mut self, chance: &mut Chance) -> bool {
        let bytes = attack_bytes(chance);
        match self {
            Self::Udp(socket) => socket.send(bytes.get(..bytes.len().min(60_000)).unwrap_or_default()).is_ok(),
            Self::Unixgram(socket, path) => socket.send_to(&bytes, path).is_ok(),
            Self::Tcp(addr, stream) => {
                // Some connections stay, and say a little now and then.
                if stream.is_none() || chance.below(3) == 0 {
                    *stream = addr.parse().ok().and_then(|addr| TcpStream::connect_timeout(&addr, GLANCE).ok());
                }
                let Some(open) = stream.as_mut() else { return false };
                let _any = open.set_nonblocking(true);
                let bytes = if *addr == HTTP { http(&bytes, chance) } else { bytes };
                speak(open, &bytes, chance)
            }
            Self::Unix(path, stream) => {
                if stream.is_none() || chance.below(3) == 0 {
                    *stream = UnixStream::connect(path).ok();
                }
                let Some(open) = stream.as_mut() else { return false };
                let _any = open.set_nonblocking(true);
                speak(open, &bytes, chance)
            }
        }
    }
}

/// Sends, and perhaps reads what was answered, and perhaps does not. Whether any of it was taken.
fn speak(stream: &mut (impl std::io::Read + std::io::Write), bytes: &[u8], chance: &mut Chance) -> bool {
    let is_taken = stream.write(bytes).is_ok();
    if chance.below(2) == 0 {
        let _any = stream.read(&mut [0; 4096]);
    }
    is_taken
}

/// The same in an HTTP request, more or less.
fn http(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let head = match chance.below(5) {
        0 => return bytes.to_vec(),
        1 => format!("POST /ng HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", bytes.len()),
        2 => "POST /ng HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n".to_owned(),
        3 => format!("GET /{} HTTP/1.1\r\nHost: a\r\n{}", "a".repeat(5_000), "x: y\r\n".repeat(500)),
        _ => "GET /ng-plain HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ng.rtpengine.com\r\n\r\n"
            .to_owned(),
    };
    [head.as_bytes(), bytes].concat()
}

/// What a hostile client says.
fn attack_bytes(chance: &mut Chance) -> Vec<u8> {
    let number = chance.below(u64::MAX);
    let text = match chance.below(12) {
        0 => return (0..chance.below(1_400)).map(|_| chance.below(256) as u8).collect(),
        1 => format!("{number}"),
        2 => format!("{number} {}", "l".repeat(30_000)),
        3 => format!("{number} {}", "d1:a".repeat(10_000)),
        4 => format!("{number} d7:command99999999999999:offere"),
        5 => format!("{number} {}", "[".repeat(50_000)),
        6 => format!("{number} {}", json!({"command": "list", "limit": u64::from(u32::MAX)})),
        7 => format!("{number} {}", json!({"command": "statistics"})),
        8 => format!("{number} {}", json!({"command": "query", "call-id": "x".repeat(50_000)})),
        9 => {
            let sdp = format!("v=0\r\n{}", "m=audio 9 RTP/AVP 0\r\n".repeat(1_000));
            format!("{number} {}", json!({"command": "offer", "call-id": number, "from-tag": "x", "sdp": sdp}))
        }
        10 => {
            // A call that nobody wants.
            let sdp = sdp(SocketAddr::new(Trunk::Pbx1.far().into(), 4000));
            let id = format!("bad-{}", number % 1_000);
            format!("{number} {}", json!({"command": "offer", "call-id": id, "from-tag": "x", "sdp": sdp}))
        }
        _ => format!("{number} {}", json!({"command": "play media", "call-id": "good-1", "file": "/dev/zero"})),
    };
    text.into_bytes()
}
