//! Calls as people make them, through the relay, from userspace: spurts of speech and silence, jitter, comfort noise, keys and reports; every packet is
//! looked for, and speech bears the time of its sending.
//!
//! ```text
//! talker (pure) -> socket --> relay --> socket -> listener (pure)
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::event::epoll;
use serde::Serialize;
use serde_json::json;

use crate::bench::go_on;
use crate::histogram::Histogram;
use crate::rig::party::{Call, Party};
use crate::rig::process::wait_until;
use crate::rig::scene::Scene;
use crate::rig::trunks::{Trunk, Trunks};

mod listener;
mod secured;
mod talker;

use listener::Listener;
use media::srtp::{Protector, Unprotector};
use talker::{Said, Talker};

/// The ports of the parties: four for each call, of which two are RTP and RTCP.
const FIRST_PORT: u16 = 10_000;
/// A packet that has not come by then is lost.
const PATIENCE: Duration = Duration::from_millis(500);
/// Where a payload of speech begins.
const HEADER: usize = 12;
/// What marks it as ours.
const MARK: u64 = 0x7a1c_5eed_7a1c_5eed;

/// How many talk, and for how long.
#[derive(Clone, Debug)]
pub struct TalkPlan {
    /// Calls at once.
    pub calls: u16,
    /// How long they talk.
    pub time: Duration,
    /// The most that a packet is early or late.
    pub jitter: Duration,
    /// Which path carries the media: `auto`, `xdp`, `uring` or `epoll`.
    pub engine: String,
    /// Callers have SRTP, which ends at the relay.
    pub is_secured: bool,
}

impl TalkPlan {
    /// A short form: whether everything works.
    pub fn smoke() -> Self {
        Self {
            calls: 20,
            time: Duration::from_secs(3),
            jitter: Duration::from_millis(3),
            engine: "auto".to_owned(),
            is_secured: false,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Talked {
    /// Calls at once.
    pub calls: u16,
    /// RTP packets that were sent: speech, noise and keys.
    pub sent: u64,
    /// Those that arrived, doubles too.
    pub received: u64,
    /// Those that did not.
    pub lost: i64,
    /// Those that arrived after a later one.
    pub late: u64,
    /// Those that arrived again.
    pub twice: u64,
    /// What arrived and was nobody's.
    pub strange: u64,
    /// RTCP that was sent.
    pub rtcp_sent: u64,
    /// And that arrived.
    pub rtcp_received: u64,
    /// Packets that the fast path carried, by the relay's account.
    pub fast_packets: u64,
    /// And the workers.
    pub slow_packets: u64,
    /// Delay of speech, from socket to socket, in microseconds: 50, 99, 99.9 and 99.99 percent within.
    pub delay_us: [f64; 4],
}

impl Talked {
    /// Fails unless everything arrived once, and in order.
    ///
    /// # Errors
    /// When not.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.sent > 0 && self.rtcp_sent == self.rtcp_received, "{self:?}");
        ensure!((self.lost, self.late, self.twice, self.strange) == (0, 0, 0, 0), "{self:?}");
        Ok(())
    }
}

/// One end of a call.
struct End {
    party: Party,
    /// Where it sends to.
    to: SocketAddr,
}

/// Has them talk.
///
/// # Errors
/// When the rig cannot be built, or a socket fails.
pub fn run(plan: &TalkPlan) -> anyhow::Result<Talked> {
    let mut scene = Scene::new(Trunks::new()?, &plan.engine, &["--port-min", "6000", "--port-max", "32767"])?;
    eprintln!("setting {} calls up", plan.calls);
    let (mut ends, mut protectors, mut unprotectors) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..plan.calls {
        let port = FIRST_PORT + 4 * number;
        let caller = Party::new(&scene.trunks, Trunk::Pbx1, port)?;
        let callee = Party::new(&scene.trunks, Trunk::Gateway, port)?;
        let sides = ((&caller, Trunk::Pbx1), (&callee, Trunk::Gateway));
        let id = call_id(number);
        let call = if plan.is_secured {
            let (call, protector, unprotector) = secured::set_up(&mut scene.ng, &id, sides.0, sides.1, number)?;
            protectors.extend([Some(protector), None]);
            unprotectors.extend([Some(unprotector), None]);
            call
        } else {
            protectors.extend([None, None]);
            unprotectors.extend([None, None]);
            Call::set_up(&mut scene.ng, &id, sides.0, sides.1, &[])?
        };
        ends.push(End { party: caller, to: call.for_caller });
        ends.push(End { party: callee, to: call.for_callee });
    }
    for end in &ends {
        end.party.rtp.set_nonblocking(true)?;
        end.party.rtcp.set_nonblocking(true)?;
    }
    let start = Instant::now();
    let (sent, is_over) = (Sent::default(), AtomicBool::new(false));
    let heard = std::thread::scope(|scope| {
        let listening = scope.spawn(|| listen(&ends, unprotectors, start, &is_over));
        let said = talk(&ends, protectors, plan, start, &sent);
        std::thread::sleep(PATIENCE);
        is_over.store(true, Ordering::Relaxed);
        let heard = listening.join().map_err(|_| anyhow::anyhow!("who listens has panicked"))?;
        said.and(heard)
    })?;
    for number in 0..plan.calls {
        scene.ng.request(&json!({"command": "delete", "call-id": call_id(number), "from-tag": "caller"}))?;
    }
    wait_until("the relay has told of all calls", Duration::from_secs(5), || {
        scene.daemon.ended_calls().is_ok_and(|ended| ended.len() == usize::from(plan.calls))
    })?;
    let ended = scene.daemon.ended_calls()?;
    let of_all = |of: fn(&Listener) -> u64| heard.listeners.iter().map(of).sum::<u64>();
    let (received, twice) = (of_all(|listener| listener.packets), of_all(|listener| listener.twice));
    let sent_packets = sent.rtp.into_inner();
    Ok(Talked {
        calls: plan.calls,
        sent: sent_packets,
        received,
        lost: sent_packets as i64 - (received - twice) as i64,
        late: of_all(|listener| listener.late),
        twice,
        strange: heard.strange,
        rtcp_sent: sent.rtcp.into_inner(),
        rtcp_received: heard.rtcp,
        fast_packets: ended.iter().map(|call| call.fast_packets).sum(),
        slow_packets: ended.iter().map(|call| call.slow_packets).sum(),
        delay_us: [0.5, 0.99, 0.999, 0.9999].map(|share| heard.delays.within_us(share)),
    })
}

fn call_id(number: u16) -> String {
    format!("talk-{number}")
}

/// What has been sent so far.
#[derive(Default)]
struct Sent {
    rtp: AtomicU64,
    rtcp: AtomicU64,
}

/// Has everybody say what is due, until the time is over.
fn talk(
    ends: &[End],
    mut protectors: Vec<Option<Protector>>,
    plan: &TalkPlan,
    start: Instant,
    sent: &Sent,
) -> anyhow::Result<()> {
    let mut talkers: Vec<Talker> = (0..ends.len() as u64).map(|number| Talker::new(number, plan.jitter)).collect();
    // Each begins somewhere within the first packet time.
    let offset = |number: usize| talker::PACKET_TIME * number as u32 / ends.len().max(1) as u32;
    let mut due = BinaryHeap::new();
    for (number, talker) in talkers.iter_mut().enumerate() {
        due.push(Reverse((talker.next() + offset(number), number)));
    }
    let mut told = start;
    while let Some(Reverse((at, number))) = due.pop() {
        if at > plan.time {
            break;
        }
        if let Some(wait) = at.checked_sub(start.elapsed()) {
            std::thread::sleep(wait);
        }
        if told.elapsed() > Duration::from_secs(1) {
            go_on()?;
            told = Instant::now();
            eprintln!("{:.0} s: {} packets sent", start.elapsed().as_secs_f64(), sent.rtp.load(Ordering::Relaxed));
        }
        let (talker, end) = talkers.get_mut(number).zip(ends.get(number)).context("no such party")?;
        let protector = protectors.get_mut(number).and_then(Option::as_mut);
        match talker.say(at - offset(number)) {
            Some(Said::Rtp { mut packet, is_stamped }) => {
                if is_stamped {
                    let stamp = [MARK, start.elapsed().as_nanos() as u64].map(u64::to_be_bytes);
                    let place = packet.iter_mut().skip(HEADER).take(talker::STAMP);
                    place.zip(stamp.as_flattened()).for_each(|(place, byte)| *place = *byte);
                }
                if let Some(protector) = protector {
                    packet = secured::protect(protector, &packet, false)?;
                }
                end.party.rtp.send_to(&packet, end.to)?;
                sent.rtp.fetch_add(1, Ordering::Relaxed);
            }
            Some(Said::Rtcp(mut report)) => {
                if let Some(protector) = protector {
                    report = secured::protect(protector, &report, true)?;
                }
                end.party.rtcp.send_to(&report, SocketAddr::new(end.to.ip(), end.to.port() + 1))?;
                sent.rtcp.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
        due.push(Reverse((talker.next() + offset(number), number)));
    }
    Ok(())
}

/// What everybody has heard.
struct Heard {
    listeners: Vec<Listener>,
    delays: Histogram,
    rtcp: u64,
    strange: u64,
}

/// Listens for all, until it is over.
fn listen(
    ends: &[End],
    mut unprotectors: Vec<Option<Unprotector>>,
    start: Instant,
    is_over: &AtomicBool,
) -> anyhow::Result<Heard> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (end, number) in ends.iter().zip(0_u64..) {
        epoll::add(&epoll, &end.party.rtp, epoll::EventData::new_u64(2 * number), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &end.party.rtcp, epoll::EventData::new_u64(2 * number + 1), epoll::EventFlags::IN)?;
    }
    let mut heard =
        Heard { listeners: vec![Listener::default(); ends.len()], delays: Histogram::default(), rtcp: 0, strange: 0 };
    let mut events = Vec::with_capacity(256);
    let mut buffer = [0; 2048];
    while !is_over.load(Ordering::Relaxed) {
        events.clear();
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let place = event.data.u64();
            let end = ends.get((place / 2) as usize).context("no such party")?;
            let socket = if place % 2 == 0 { &end.party.rtp } else { &end.party.rtcp };
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let now = start.elapsed();
                let is_rtp = place % 2 == 0;
                let port = end.to.port() + u16::from(!is_rtp);
                let packet = buffer.get_mut(..len).unwrap_or_default();
                let packet = match unprotectors.get_mut((place / 2) as usize).and_then(Option::as_mut) {
                    Some(unprotector) => secured::open(unprotector, packet, !is_rtp),
                    None => Some(&*packet),
                };
                let Some(packet) = packet else {
                    heard.strange += 1;
                    continue;
                };
                match (is_rtp, packet) {
                    _ if from != SocketAddr::new(end.to.ip(), port) => heard.strange += 1,
                    (false, _) => heard.rtcp += 1,
                    (true, [_, _, high, low, ..]) => {
                        if let Some(listener) = heard.listeners.get_mut((place / 2) as usize) {
                            listener.hear(u16::from_be_bytes([*high, *low]));
                        }
                        if let Some(sent) = sent_at(packet) {
                            heard.delays.count(now.saturating_sub(sent));
                        }
                    }
                    (true, _) => heard.strange += 1,
                }
            }
        }
    }
    Ok(heard)
}

/// When a packet of speech was sent, as it says.
fn sent_at(packet: &[u8]) -> Option<Duration> {
    let (mark, rest) = packet.get(HEADER..)?.split_first_chunk()?;
    let (sent, _) = rest.split_first_chunk()?;
    (u64::from_be_bytes(*mark) == MARK).then(|| Duration::from_nanos(u64::from_be_bytes(*sent)))
}
