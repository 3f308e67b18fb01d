//! The fast path's packet rate, against that of a program that only exchanges MACs: the limit of the rig.
//!
//! ```text
//!   generator host                      relay's host                        far host
//!   g-ours --(frames made in the kernel)--> r-ours [intertrunk] --redirect--> r-out -> f-out [sink]
//!   [sink] <------------- XDP_TX -----------'
//!   g-bare --------------------------------> r-bare [reflector] ...the same...
//! ```
//!
//! Everything happens on one core, which is what is measured.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;

use super::flood::{Flows, Rate, flood, party, relay, sunk};
use crate::rig::daemon::{Daemon, NgClient, binary};
use crate::rig::host::{Host, Port};
use crate::rig::party::sdp;
use crate::rig::process::wait_until;
use crate::rig::program::Program;

/// The first media port of the measured calls.
const FIRST_PORT: u16 = 20_000;
/// The most flows, two for each call.
const MOST_FLOWS: u32 = 40_000;
/// The numbers of flows that are measured.
const FLOWS: [u32; 4] = [1, 1_000, 10_000, MOST_FLOWS];

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub struct FastpathPlan {
    /// Rounds; each measures everything once. Medians are reported.
    pub rounds: usize,
    /// Time for each measurement.
    pub time: Duration,
}

/// What a forwarded frame leaves by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The device it came in by.
    Tx,
    /// Another device.
    Redirect,
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `bare` or `intertrunk`.
    pub program: &'static str,
    /// `ipv4`.
    pub family: &'static str,
    /// How frames left.
    pub action: Action,
    /// Over how many flows they were spread.
    pub flows: u32,
    /// Millions of packets a second, median.
    pub mpps: f64,
    /// Nanoseconds for each packet, with everything that the rig does for it.
    pub ns_per_packet: f64,
    /// Share of the bare program's rate with the same flows, median of the rounds' own ratios.
    pub ratio_to_bare: f64,
    /// Share of the frames sent that arrived.
    pub arrived: f64,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Fastpath {
    /// All lines.
    pub rows: Vec<Row>,
}

/// One relay host under one action, with the bare program beside it.
struct Bench {
    action: Action,
    generator: Program,
    bare_sink: Program,
    our_sink: Program,
    _bare: Program,
    daemon: Daemon,
    source: Host,
    _relay: Host,
    _far: Host,
}

impl Bench {
    fn new(action: Action, folder: &std::path::Path) -> anyhow::Result<Self> {
        let (source, host, far) = (Host::new("generator")?, Host::new("relay")?, Host::new("far")?);
        source.connect(Port { device: "g-ours", addr: party(0) }, &host, Port { device: "r-ours", addr: relay(0) })?;
        source.run("ip", ["addr", "add", &format!("{}/24", party(1)), "dev", "g-ours"])?;
        host.run("ip", ["addr", "add", &format!("{}/24", relay(1)), "dev", "r-ours"])?;
        let bare = |last| Ipv4Addr::new(203, 0, 113, last);
        source.connect(Port { device: "g-bare", addr: bare(10) }, &host, Port { device: "r-bare", addr: bare(1) })?;
        let out = |last| Ipv4Addr::new(198, 51, 100, last);
        host.connect(Port { device: "r-out", addr: out(1) }, &far, Port { device: "f-out", addr: out(10) })?;
        host.run("ip", ["addr", "add", &format!("{}/24", out(2)), "dev", "r-out"])?;
        host.connect(
            Port { device: "r-bare-out", addr: Ipv4Addr::new(203, 0, 113, 129) },
            &far,
            Port { device: "f-bare-out", addr: Ipv4Addr::new(203, 0, 113, 130) },
        )?;

        // Every device that frames are sent to by XDP needs a program; the sinks count.
        let (mut our_sink, mut bare_sink, mut program) = (Program::load()?, Program::load()?, Program::load()?);
        our_sink.attach("sink", &source, "g-ours")?;
        bare_sink.attach("sink", &source, "g-bare")?;
        our_sink.attach("sink", &far, "f-out")?;
        bare_sink.attach("sink", &far, "f-bare-out")?;
        match action {
            Action::Tx => program.attach("reflect", &host, "r-bare")?,
            Action::Redirect => {
                program.set_egress(&host, "r-bare-out")?;
                program.attach("redirect", &host, "r-bare")?;
            }
        }
        let folder = folder.join(format!("{action:?}"));
        std::fs::create_dir_all(&folder)?;
        let mut command = host.command(&binary()?.to_string_lossy());
        command.args(["serve", "--log-format", "json", "--engine", "xdp", "--workers", "1"]);
        let last_port = u32::from(FIRST_PORT) + MOST_FLOWS - 1;
        command.args(["--port-min", &FIRST_PORT.to_string(), "--port-max", &last_port.to_string()]);
        for (name, addr) in [("a", relay(0)), ("b", relay(1)), ("c", out(1)), ("d", out(2))] {
            command.arg("--interface").arg(format!("{name}/{addr}"));
        }
        let daemon = Daemon::start_command(command, &folder)?;
        set_up(&mut NgClient::on(&host)?, action, out(10))?;
        Ok(Self {
            action,
            generator: Program::load()?,
            bare_sink,
            our_sink,
            _bare: program,
            daemon,
            source,
            _relay: host,
            _far: far,
        })
    }

    fn measure(&mut self, is_ours: bool, flows: u32, time: Duration) -> anyhow::Result<Rate> {
        let (device, sink) = if is_ours { ("g-ours", &self.our_sink) } else { ("g-bare", &self.bare_sink) };
        let flows = Flows { count: flows, first_port: FIRST_PORT };
        flood(&mut self.generator, &self.source, device, flows, time, &|| sunk(sink))
    }
}

/// Sets all calls up by the control protocol. Trusted signalling, so that every flow is on the fast path from its first packet.
fn set_up(ng: &mut NgClient, action: Action, out: Ipv4Addr) -> anyhow::Result<()> {
    let mut last = String::new();
    for call in 0..MOST_FLOWS as u16 / 2 {
        let port = FIRST_PORT + 2 * call;
        // Who calls whom: the two sides each other, or each of them somebody on the other trunk.
        let pairs: &[(&str, Ipv4Addr, &str, Ipv4Addr)] = match action {
            Action::Tx => &[("a", party(0), "b", party(1))],
            Action::Redirect => &[("a", party(0), "c", out), ("b", party(1), "d", out)],
        };
        for (from, caller, to, callee) in pairs {
            let id = format!("{from}{call}");
            let (caller, callee) = (SocketAddrV4::new(*caller, port), SocketAddrV4::new(*callee, port));
            let offer = ng
                .request(&json!({"command": "offer", "call-id": id, "from-tag": "1", "sdp": sdp(caller.into()),
                "flags": ["asymmetric"], "direction": [from, to]}))?;
            let local = format!("m=audio {port} ");
            let has_port = offer.get("sdp").and_then(|sdp| sdp.as_str()).is_some_and(|sdp| sdp.contains(&local));
            anyhow::ensure!(has_port, "the relay gave another port than {port}: {offer}");
            ng.request(&json!({"command": "answer", "call-id": id, "from-tag": "1", "to-tag": "2", "sdp": sdp(callee.into()), "flags": ["asymmetric"]}))?;
            last = id;
        }
    }
    wait_until("the calls are on the fast path", Duration::from_secs(10), || {
        let call =
            ng.request(&json!({"command": "query", "call-id": last})).map(|call| call.to_string()).unwrap_or_default();
        call.contains("\"path\":\"fast\"") && !call.contains("\"path\":\"slow\"")
    })
}

/// Measures everything.
///
/// # Errors
/// When the rig cannot be built.
pub fn run(plan: &FastpathPlan) -> anyhow::Result<Fastpath> {
    let folder = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for action in [Action::Tx, Action::Redirect] {
        eprintln!("setting {} calls up for {action:?}", MOST_FLOWS / 2);
        let mut bench = Bench::new(action, folder.path())?;
        let mut ours = vec![Vec::new(); FLOWS.len()];
        let mut bare = vec![Vec::new(); FLOWS.len()];
        for round in 0..plan.rounds {
            for ((flows, ours), bare) in FLOWS.into_iter().zip(&mut ours).zip(&mut bare) {
                bare.push(bench.measure(false, flows, plan.time)?);
                ours.push(bench.measure(true, flows, plan.time)?);
                if let (Some(bare), Some(ours)) = (bare.last(), ours.last()) {
                    eprintln!(
                        "{action:?} round {} flows {flows:>6}: bare {:.2} Mpps, intertrunk {:.2} Mpps, {:.1} %",
                        round + 1,
                        bare.mpps(),
                        ours.mpps(),
                        100.0 * ours.mpps() / bare.mpps()
                    );
                }
            }
        }
        for ((flows, ours), bare) in FLOWS.into_iter().zip(&ours).zip(&bare) {
            rows.push(row("bare", bench.action, flows, bare, bare)?);
            rows.push(row("intertrunk", bench.action, flows, ours, bare)?);
        }
        bench.daemon.process().stop()?;
    }
    Ok(Fastpath { rows })
}

fn row(program: &'static str, action: Action, flows: u32, rates: &[Rate], bare: &[Rate]) -> anyhow::Result<Row> {
    let mpps = median(rates.iter().map(|rate| rate.mpps()))?;
    Ok(Row {
        program,
        family: "ipv4",
        action,
        flows,
        mpps,
        ns_per_packet: 1000.0 / mpps,
        ratio_to_bare: median(rates.iter().zip(bare).map(|(rate, bare)| rate.mpps() / bare.mpps()))?,
        arrived: median(rates.iter().map(|rate| rate.arrived as f64 / rate.sent as f64))?,
    })
}

fn median(values: impl Iterator<Item = f64>) -> anyhow::Result<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("nothing was measured")
}
