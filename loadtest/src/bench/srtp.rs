//! What SRTP costs for a packet, apart from how packets come and go: with one stream, and with so many that their keys are in no cache.

use std::iter;
use std::time::{Duration, Instant};

use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use aes::{Aes128Enc, Block};
use anyhow::{Context as _, ensure};
use media::srtp::{MasterKey, Mki, Protector, Suite, Unprotector};
use media::{Packet, TAIL_ROOM};
use serde::Serialize;
use sha1::block_api::compress;

use crate::rig::chance::Chance;
use crate::rounds::median;

/// 20 ms of G.711 with its header.
const LEN: usize = 172;
/// Packets that come at once.
const BURST: usize = 64;

/// How much.
#[derive(Clone, Debug)]
pub struct SrtpPlan {
    /// How often everything is measured, in turns.
    pub rounds: usize,
    /// Streams at once.
    pub streams: Vec<usize>,
    /// Packets of each measurement.
    pub packets: usize,
}

impl Default for SrtpPlan {
    fn default() -> Self {
        Self { rounds: 9, streams: vec![1, 20_000], packets: 200_000 }
    }
}

impl SrtpPlan {
    /// A short form.
    pub fn smoke() -> Self {
        Self { rounds: 1, streams: vec![1, 50], packets: 200 }
    }
}

/// One suite with so many streams.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The suite.
    pub suite: &'static str,
    /// Streams at once.
    pub streams: usize,
    /// Nanoseconds to protect a packet: the median of all rounds.
    pub protect_ns: f64,
    /// Nanoseconds to make it readable again.
    pub unprotect_ns: f64,
}

/// Streams of one suite.
struct Streams {
    suite: Suite,
    sides: Vec<(Protector, Unprotector)>,
    /// Whose turn it is, so that no cache can know.
    order: Vec<usize>,
    sequences: Vec<u16>,
    taken: [Vec<f64>; 2],
}

impl Streams {
    fn new(suite: Suite, count: usize, packets: usize, chance: &mut Chance) -> anyhow::Result<Self> {
        let mut sides = Vec::new();
        for _ in 0..count {
            let material: Vec<u8> = (0..suite.key_len() + suite.salt_len()).map(|_| chance.below(256) as u8).collect();
            let key = MasterKey::new(suite, &material, Mki::default())?;
            sides.push((Protector::new(&key), Unprotector::new(&key)));
        }
        let order = (0..packets).map(|_| chance.below(count as u64) as usize).collect();
        Ok(Self { suite, sides, order, sequences: vec![0; count], taken: [Vec::new(), Vec::new()] })
    }

    /// Protects so many packets, and makes them readable again; each has to be what it was. By bursts, as they come from a device: a packet is in the
    /// cache when its turn comes, and the keys of its stream are not.
    fn turn(&mut self) -> anyhow::Result<()> {
        let Self { suite, sides, order, sequences, taken } = self;
        let mut buffers = [[0; LEN + TAIL_ROOM]; BURST];
        let mut times = [Duration::ZERO; 2];
        for burst in order.chunks(BURST) {
            for (buffer, stream) in buffers.iter_mut().zip(burst) {
                let sequence = sequences.get_mut(*stream).context("no such stream")?;
                *sequence = sequence.wrapping_add(1);
                let [high, low] = sequence.to_be_bytes();
                let header = [[0x80, 8, high, low], [0; 4], (*stream as u32).to_be_bytes()];
                buffer.fill(0x5a);
                buffer.iter_mut().zip(header.as_flattened()).for_each(|(place, byte)| *place = *byte);
            }
            let mut lens = [0; BURST];
            let start = Instant::now();
            for ((buffer, stream), len) in buffers.iter_mut().zip(burst).zip(&mut lens) {
                let (protector, _) = sides.get_mut(*stream).context("no such stream")?;
                let mut packet = Packet::new(buffer, 0, LEN).context("no room")?;
                protector.rtp(&mut packet)?;
                *len = packet.payload().len();
            }
            let protected = Instant::now();
            for ((buffer, stream), len) in buffers.iter_mut().zip(burst).zip(&lens) {
                let (_, unprotector) = sides.get_mut(*stream).context("no such stream")?;
                let mut packet = Packet::new(buffer, 0, *len).context("no room")?;
                unprotector.rtp(&mut packet)?;
            }
            times[1] += protected.elapsed();
            times[0] += protected - start;
            let mut whole = buffers.iter().zip(burst).map(|(buffer, _)| buffer.get(12..LEN));
            let is_whole = whole.all(|bytes| bytes.is_some_and(|bytes| bytes == [0x5a; LEN - 12]));
            ensure!(is_whole, "{}: a packet is not what it was", suite.name());
        }
        for (taken, time) in taken.iter_mut().zip(times) {
            taken.push(time.as_secs_f64() * 1e9 / order.len() as f64);
        }
        Ok(())
    }
}

/// What no protection by AES-CM and HMAC-SHA1 can do without: the blocks of a packet's key stream, and of its code. By the same crates, with one key
/// and nothing else: nanoseconds for a packet.
fn bare(packets: usize) -> f64 {
    /// Of 160 bytes of payload; of the header, the payload, the turns and what ends them; and of the second hash.
    const BLOCKS: (usize, usize) = (10, 4);
    let key = Aes128Enc::new(&[7; 16].into());
    let (mut stream, code) = ([Block::default(); BLOCKS.0], [[0x5a; 64]; BLOCKS.1]);
    let mut state = [1; 5];
    let start = Instant::now();
    for _ in 0..packets {
        key.encrypt_blocks(&mut stream);
        compress(&mut state, &code);
        std::hint::black_box((&mut stream, &mut state));
    }
    start.elapsed().as_secs_f64() * 1e9 / packets.max(1) as f64
}

/// Measures, suite by suite in turns.
///
/// # Errors
/// When a packet does not come out as it went in.
pub fn run(plan: &SrtpPlan) -> anyhow::Result<Vec<Row>> {
    let mut chance = Chance::new(7);
    let mut all = Vec::new();
    for suite in [Suite::AesCm128Sha80, Suite::AesCm128Sha32, Suite::AesCm256Sha80, Suite::Gcm128, Suite::Gcm256] {
        for streams in &plan.streams {
            all.push(Streams::new(suite, *streams, plan.packets, &mut chance)?);
        }
    }
    let mut bare = Vec::new();
    for _ in 0..plan.rounds {
        bare.push(self::bare(plan.packets));
        for streams in &mut all {
            super::go_on()?;
            streams.turn()?;
        }
    }
    let row = |Streams { suite, sides, taken: [protect, unprotect], .. }: Streams| {
        Ok(Row {
            suite: suite.name(),
            streams: sides.len(),
            protect_ns: median(protect)?,
            unprotect_ns: median(unprotect)?,
        })
    };
    let bare = Row {
        suite: "AES-128 and SHA-1 alone",
        streams: 1,
        protect_ns: median(bare.clone())?,
        unprotect_ns: median(bare)?,
    };
    iter::once(Ok(bare)).chain(all.into_iter().map(row)).collect()
}
