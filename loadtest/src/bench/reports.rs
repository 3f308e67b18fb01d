//! The RTCP of many streams, beside what is measured.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::rig::host::{Host, bind, in_namespace};

/// Reports that are due within this time are sent together.
const BURST: Duration = Duration::from_millis(1);

/// A sender report with one block (RFC 3550 6.4.1), of a stream with this number.
fn report(number: u32) -> Vec<u8> {
    let mut report = vec![0x81, 200, 0, 12];
    report.extend(number.to_be_bytes());
    report.extend([0; 20]);
    report.extend([0; 24]);
    report
}

/// Parties that report.
pub(super) struct Reporters {
    /// Each with the port of the relay that it sends to.
    reporters: Arc<Vec<(UdpSocket, SocketAddr)>>,
}

impl Reporters {
    /// Parties on a host: each with its own address for RTCP, and the relay's.
    pub(super) fn new(host: &Host, pairs: &[(SocketAddr, SocketAddr)]) -> anyhow::Result<Self> {
        let reporters = in_namespace(host, || {
            let open = |(own, to): &(SocketAddr, SocketAddr)| Ok((bind(*own)?, *to));
            pairs.iter().map(open).collect::<anyhow::Result<Vec<_>>>().context("no socket for a party's RTCP")
        })?;
        Ok(Self { reporters: Arc::new(reporters) })
    }

    /// Has them report in turns, so many times a second, until the result is dropped.
    pub(super) fn report(&self, per_second: u32) -> Reporting {
        let stop = Arc::new(AtomicBool::new(false));
        let (reporters, stopped) = (Arc::clone(&self.reporters), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (start, mut sent) = (Instant::now(), 0_u64);
            let mut turns = reporters.iter().zip(0_u32..).cycle();
            while !stopped.load(Ordering::Relaxed) {
                let due = (start.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
                for ((socket, to), number) in turns.by_ref().take((due - sent) as usize) {
                    // One that is refused for want of room is as lost as others are on a network.
                    let _sent = socket.send_to(&report(number), to);
                }
                sent = due;
                std::thread::sleep(BURST);
            }
        });
        Reporting { stop, thread: Some(thread) }
    }
}

/// Reports are under way.
pub(super) struct Reporting {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only sends, and cannot panic.
            let _ended = thread.join();
        }
    }
}
