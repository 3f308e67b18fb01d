//! Who looks at a daemon: scrapes it, has its dashboard open, captures a call.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::rig::daemon::binary;
use crate::rig::host::{Host, in_namespace};
use crate::rig::process::Process;
use crate::rig::proxied::{DASHBOARD, HOMER, METRICS};

/// How long somebody waits for more before he looks whether it is over.
const PAUSE: Duration = Duration::from_millis(100);

/// Who looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Looker {
    /// Nobody.
    Nobody,
    /// Prometheus, each second.
    Scraper,
    /// The dashboard.
    Dashboard,
    /// Both, and Homer, which is told of RTCP, of ended calls and of what proxies say.
    All,
    /// Somebody who captures one of the calls.
    Capturer,
}

/// The call that is captured, of a daemon with this control socket, and where to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured<'a> {
    pub(crate) call_id: &'a str,
    pub(crate) socket: &'a Path,
    pub(crate) folder: &'a Path,
}

/// Looks until it is over, and counts what comes.
pub(crate) fn look(
    host: &Host,
    looker: Looker,
    captured: Option<Captured<'_>>,
    (is_over, seen): (&AtomicBool, &AtomicU64),
) -> anyhow::Result<()> {
    match looker {
        Looker::Nobody => Ok(()),
        Looker::Scraper => scrape(host, is_over, seen),
        Looker::Dashboard => open_dashboard(host, is_over, seen),
        Looker::All => std::thread::scope(|scope| {
            let others =
                [scope.spawn(|| scrape(host, is_over, seen)), scope.spawn(|| listen_as_homer(host, is_over, seen))];
            let looked = open_dashboard(host, is_over, seen);
            let others = others
                .into_iter()
                .map(|other| other.join().map_err(|_| anyhow::anyhow!("who looks has panicked")).flatten());
            others.chain([looked]).collect()
        }),
        Looker::Capturer => match captured {
            Some(captured) => capture(host, captured, is_over, seen),
            None => Ok(()),
        },
    }
}

fn ask(host: &Host, at: &'static str, path: &'static str) -> anyhow::Result<TcpStream> {
    in_namespace(host, move || {
        let mut stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(PAUSE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        Ok(stream)
    })
}

fn scrape(host: &Host, is_over: &AtomicBool, seen: &AtomicU64) -> anyhow::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    while !is_over.load(Ordering::Relaxed) {
        let mut stream = ask(host, METRICS, "/metrics")?;
        let mut body = Vec::new();
        while let Ok(len @ 1..) = stream.read(&mut buffer) {
            body.extend_from_slice(buffer.get(..len).unwrap_or_default());
        }
        let is_whole = String::from_utf8_lossy(&body).contains("intertrunk_calls ");
        seen.fetch_add(u64::from(is_whole), Ordering::Relaxed);
        for _ in 0..10 {
            if !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(PAUSE);
            }
        }
    }
    Ok(())
}

fn open_dashboard(host: &Host, is_over: &AtomicBool, seen: &AtomicU64) -> anyhow::Result<()> {
    let (mut stream, mut buffer) = (ask(host, DASHBOARD, "/events")?, vec![0; 1 << 20]);
    while !is_over.load(Ordering::Relaxed) {
        // Without an event for a while it is tried again.
        if let Ok(len) = stream.read(&mut buffer) {
            let came = buffer.get(..len).unwrap_or_default();
            let events = came.windows(6).filter(|window| *window == b"data: ").count();
            seen.fetch_add(events as u64, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn listen_as_homer(host: &Host, is_over: &AtomicBool, seen: &AtomicU64) -> anyhow::Result<()> {
    let socket = host.udp(HOMER.parse()?)?;
    socket.set_read_timeout(Some(PAUSE))?;
    let mut buffer = vec![0; 1 << 16];
    while !is_over.load(Ordering::Relaxed) {
        if let Ok(len) = socket.recv(&mut buffer) {
            seen.fetch_add(u64::from(buffer.get(..len).unwrap_or_default().starts_with(b"HEP3")), Ordering::Relaxed);
        }
    }
    Ok(())
}

fn capture(host: &Host, captured: Captured<'_>, is_over: &AtomicBool, seen: &AtomicU64) -> anyhow::Result<()> {
    let Captured { call_id, socket, folder } = captured;
    let file = folder.join("captured.pcapng");
    let mut command = host.command(&binary()?.to_string_lossy());
    command.args(["capture", call_id, "--socket"]).arg(socket).arg("-w").arg(&file);
    let mut process = Process::start("capture", command, &folder.join("capture.log"))?;
    while !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(PAUSE);
    }
    process.stop()?;
    seen.fetch_add(std::fs::metadata(&file)?.len(), Ordering::Relaxed);
    Ok(())
}
