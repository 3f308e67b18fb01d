//! Many parties that talk all the time, and that notice each packet that does not come.

use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::rig::daemon::NgClient;
use crate::rig::party::{Call, Party};
use crate::rig::process::wait_until;
use crate::rig::trunks::{Trunk, Trunks};

/// Between two packets of a party.
pub(super) const PACKET_TIME: Duration = Duration::from_millis(20);
/// The parties take turns: so many groups of them in a packet's time.
const GROUPS: usize = 20;
/// How long a packet may be under way.
const PATIENCE: Duration = Duration::from_millis(500);
/// The first port of either side's parties.
pub(super) const FIRST_PORT: u16 = 10_000;

/// Two who talk.
struct Pair {
    call: Call,
    /// The caller, then the callee.
    parties: [Speaker; 2],
}

struct Speaker {
    party: Party,
    /// Packets that it has sent.
    sent: u32,
    /// How often each packet of the other has come, by its sequence number.
    heard: Vec<u8>,
}

/// What became of the packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Heard {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
}

/// Calls between two trunks.
pub(super) struct Crowd {
    pairs: Vec<Pair>,
}

impl Crowd {
    /// So many calls, all of them on the fast path where there is one.
    pub(super) fn new(trunks: &Trunks, ng: &mut NgClient, calls: u16, is_fast: bool) -> anyhow::Result<Self> {
        Self::between(trunks, ng, [Trunk::Pbx1, Trunk::Gateway], calls, is_fast)
    }

    /// The same between other trunks.
    pub(super) fn between(
        trunks: &Trunks,
        ng: &mut NgClient,
        ends: [Trunk; 2],
        calls: u16,
        is_fast: bool,
    ) -> anyhow::Result<Self> {
        let mut pairs = Vec::new();
        for number in 0..calls {
            let port = FIRST_PORT + 2 * number;
            let [mut caller, mut callee] = [Party::new(trunks, ends[0], port)?, Party::new(trunks, ends[1], port)?];
            let call = Call::set_up(ng, &format!("crowd-{number}"), (&caller, ends[0]), (&callee, ends[1]), &[])?;
            call.converse(&mut caller, &mut callee, 1)?;
            for party in [&caller, &callee] {
                party.rtp.set_nonblocking(true)?;
            }
            let speaker = |party| Speaker { party, sent: 1, heard: vec![0; 1 << 16] };
            pairs.push(Pair { call, parties: [speaker(caller), speaker(callee)] });
        }
        let crowd = Self { pairs };
        for pair in crowd.pairs.iter().filter(|_| is_fast) {
            for local in [pair.call.for_caller, pair.call.for_callee] {
                let is_fast = |ng: &mut NgClient| {
                    pair.call.stream(ng, local).is_ok_and(|stream| stream.get("path") == Some(&json!("fast")))
                };
                wait_until("all streams are on the fast path", Duration::from_secs(10), || is_fast(ng))?;
            }
        }
        Ok(crowd)
    }

    /// Has all of them talk while something is done, and tells what they have heard of it.
    pub(super) fn talk(&mut self, work: impl FnOnce(&[Call]) -> anyhow::Result<()>) -> anyhow::Result<Heard> {
        let is_over = AtomicBool::new(false);
        let (calls, mut speakers): (Vec<Call>, Vec<[Speaker; 2]>) =
            self.pairs.drain(..).map(|pair| (pair.call, pair.parties)).unzip();
        let before: Vec<[u32; 2]> = speakers.iter().map(|pair| pair.each_ref().map(|speaker| speaker.sent)).collect();
        let mut voices = Vec::new();
        for (call, [caller, callee]) in calls.iter().zip(&mut speakers) {
            let ears = (caller.party.rtp.try_clone()?, callee.party.rtp.try_clone()?);
            for (speaker, to, ear) in [(caller, call.for_caller, ears.0), (callee, call.for_callee, ears.1)] {
                voices.push(((&mut speaker.party, &mut speaker.sent, to), ear));
            }
        }
        let (mut voices, ears): (Vec<_>, Vec<UdpSocket>) = voices.into_iter().unzip();
        let (worked, heard) = std::thread::scope(|scope| {
            let speak = scope.spawn(|| {
                let start = Instant::now();
                for turn in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    for (party, sent, to) in voices.iter_mut().skip(turn % GROUPS).step_by(GROUPS) {
                        party.speak(*to)?;
                        **sent += 1;
                    }
                    let next = PACKET_TIME / GROUPS as u32 * (turn as u32 + 1);
                    std::thread::sleep(next.saturating_sub(start.elapsed()));
                }
                io::Result::Ok(())
            });
            let listen = scope.spawn(|| {
                let mut heard = vec![vec![0_u8; 1 << 16]; ears.len()];
                let mut since_over = None;
                loop {
                    for (ear, heard) in ears.iter().zip(&mut heard) {
                        listen(ear, heard)?;
                    }
                    if is_over.load(Ordering::Relaxed)
                        && since_over.get_or_insert_with(Instant::now).elapsed() > PATIENCE
                    {
                        return io::Result::Ok(heard);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            let worked = work(&calls);
            is_over.store(true, Ordering::Relaxed);
            let spoken = speak.join().map_err(|_| io::Error::other("the speakers have panicked"));
            let heard = listen.join().map_err(|_| io::Error::other("the listeners have panicked"));
            (worked, spoken.flatten().and(heard.flatten()))
        });
        worked?;
        let heard = heard?;
        let mut sum = Heard::default();
        for ((speakers, heard), before) in speakers.iter_mut().zip(heard.chunks(2)).zip(before) {
            for (speaker, heard) in speakers.iter_mut().zip(heard) {
                speaker.heard.iter_mut().zip(heard).for_each(|(known, new)| *known = known.saturating_add(*new));
            }
            let ([caller, callee], [by_caller, by_callee]) = (&*speakers, before);
            for (speaker, other, before) in [(caller, callee, by_caller), (callee, caller, by_callee)] {
                for number in before + 1..=speaker.sent {
                    sum.sent += 1;
                    match other.heard.get((1000 + number as usize) & 0xffff).copied().unwrap_or(0) {
                        0 => sum.lost += 1,
                        1 => {}
                        _ => sum.doubled += 1,
                    }
                }
            }
        }
        self.pairs = calls.into_iter().zip(speakers).map(|(call, parties)| Pair { call, parties }).collect();
        Ok(sum)
    }

    /// The calls.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.pairs.iter().map(|pair| pair.call.clone()).collect()
    }

    /// The relay has counted every packet of every call, and none could not be sent on.
    pub(super) fn check_totals(&self, ng: &mut NgClient) -> anyhow::Result<()> {
        let uncounted = self.uncounted(ng)?;
        ensure!(uncounted == 0, "{uncounted} packets are in no call's totals");
        Ok(())
    }

    /// How many packets of the calls are not in their totals; none could not be sent on.
    pub(super) fn uncounted(&self, ng: &mut NgClient) -> anyhow::Result<i64> {
        let mut uncounted = 0;
        for pair in &self.pairs {
            let [caller, callee] = &pair.parties;
            let expected = i64::from(caller.sent) + i64::from(callee.sent);
            let (packets, errors) = totals(&query(ng, &pair.call)?)?;
            ensure!(
                packets <= expected && errors == 0,
                "{}: {expected} packets were sent, and the relay has counted {packets} and {errors} errors",
                pair.call.id
            );
            uncounted += expected - packets;
        }
        Ok(uncounted)
    }
}

/// Takes what has come.
fn listen(ear: &UdpSocket, heard: &mut [u8]) -> io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        match ear.recv(&mut buffer) {
            Ok(_) => {
                let [_, _, high, low, ..] = buffer;
                if let Some(count) = heard.get_mut(usize::from(u16::from_be_bytes([high, low]))) {
                    *count = count.saturating_add(1);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// What the relay says of a call.
pub(super) fn query(ng: &mut NgClient, call: &Call) -> anyhow::Result<Value> {
    let reply = ng.request(&json!({"command": "query", "call-id": call.id}))?;
    ensure!(reply.get("result") == Some(&json!("ok")), "{}: {reply}", call.id);
    Ok(reply)
}

/// RTP packets and errors, of a reply to a query or delete.
pub(super) fn totals(reply: &Value) -> anyhow::Result<(i64, i64)> {
    let rtp =
        reply.get("totals").and_then(|totals| totals.get("RTP")).with_context(|| format!("no totals: {reply}"))?;
    let number = |key: &str| rtp.get(key).and_then(Value::as_i64).with_context(|| format!("no {key}: {reply}"));
    Ok((number("packets")?, number("errors")?))
}
