//! The test bed: the relay under one action, with the programs beside it that it is compared with.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::Action;
use crate::bench::flood::{Family, Flows, Rate, flood, party, relay, sunk};
use crate::rig::daemon::{Daemon, NgClient, binary};
use crate::rig::host::{Host, Port};
use crate::rig::party::sdp;
use crate::rig::process::wait_until;
use crate::rig::program::Program;

/// The first media port of the measured calls.
const FIRST_PORT: u16 = 20_000;
/// The most flows, two for each call.
pub(super) const MOST_FLOWS: u32 = 40_000;

/// Which program is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subject {
    /// Exchanges MACs.
    Bare,
    /// Exchanges MACs and touches an entry of each flow.
    Touch,
    /// The relay.
    Ours,
}

/// The hosts, the calls, and what counts at the ends.
pub(super) struct Bed {
    generator: Program,
    bare_sink: Program,
    touch_sink: Program,
    our_sink: Program,
    _others: [Program; 2],
    daemon: Daemon,
    source: Host,
    _relay: Host,
    _far: Host,
}

/// An address of the far host's networks: the relay's `out`, and that of the bare redirector.
fn out(family: Family, last: u8) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::from([198, 51, 100, last]),
        Family::Ipv6 => IpAddr::from([0x2001, 0xdb8, 3, 0, 0, 0, 0, u16::from(last)]),
    }
}

fn beside(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

impl Bed {
    pub(super) fn new(action: Action, folder: &Path) -> anyhow::Result<Self> {
        let (source, host, far) = (Host::new("generator")?, Host::new("relay")?, Host::new("far")?);
        let port = |device, addr| Port { device, addr };
        let (v4, v6) = (Family::Ipv4, Family::Ipv6);
        source.connect(port("g-ours", party(v4, 0)), &host, port("r-ours", relay(v4, 0)))?;
        source.connect(port("g-bare", beside(10)), &host, port("r-bare", beside(1)))?;
        source.connect(port("g-touch", beside(74)), &host, port("r-touch", beside(65)))?;
        host.connect(port("r-out", out(v4, 1)), &far, port("f-out", out(v4, 10)))?;
        host.connect(port("r-bare-out", beside(129)), &far, port("f-bare-out", beside(130)))?;
        for addr in [party(v4, 1), party(v6, 0), party(v6, 1)] {
            source.add_addr("g-ours", addr)?;
        }
        for addr in [relay(v4, 1), relay(v6, 0), relay(v6, 1)] {
            host.add_addr("r-ours", addr)?;
        }
        for addr in [out(v4, 2), out(v6, 1), out(v6, 2)] {
            host.add_addr("r-out", addr)?;
        }
        far.add_addr("f-out", out(v6, 10))?;

        // Every device that frames are sent to by XDP needs a program; the sinks count.
        let [mut our_sink, mut bare_sink, mut touch_sink] = [Program::load()?, Program::load()?, Program::load()?];
        our_sink.attach("sink", &source, "g-ours")?;
        bare_sink.attach("sink", &source, "g-bare")?;
        touch_sink.attach("sink", &source, "g-touch")?;
        our_sink.attach("sink", &far, "f-out")?;
        bare_sink.attach("sink", &far, "f-bare-out")?;
        let [mut bare, mut touch] = [Program::load()?, Program::load()?];
        touch.attach("touch", &host, "r-touch")?;
        match action {
            Action::Tx => bare.attach("reflect", &host, "r-bare")?,
            Action::Redirect => {
                bare.set_egress(&host, "r-bare-out")?;
                bare.attach("redirect", &host, "r-bare")?;
            }
        }
        let folder = folder.join(format!("{action:?}"));
        std::fs::create_dir_all(&folder)?;
        let mut command = host.command(&binary()?.to_string_lossy());
        command.args(["serve", "--log-format", "json", "--engine", "xdp", "--workers", "1"]);
        let last_port = u32::from(FIRST_PORT) + MOST_FLOWS - 1;
        command.args(["--port-min", &FIRST_PORT.to_string(), "--port-max", &last_port.to_string()]);
        for family in [v4, v6] {
            for (name, addr) in
                [("a", relay(family, 0)), ("b", relay(family, 1)), ("c", out(family, 1)), ("d", out(family, 2))]
            {
                command.arg("--interface").arg(format!("{name}/{addr}"));
            }
        }
        let daemon = Daemon::start_command(command, &folder)?;
        let mut ng = NgClient::on(&host)?;
        for family in [v4, v6] {
            eprintln!("setting {} calls up for {action:?}, {family:?}", MOST_FLOWS / 2);
            set_up(&mut ng, action, family)?;
        }
        Ok(Self {
            generator: Program::load()?,
            bare_sink,
            touch_sink,
            our_sink,
            _others: [bare, touch],
            daemon,
            source,
            _relay: host,
            _far: far,
        })
    }

    pub(super) fn measure(
        &mut self,
        subject: Subject,
        family: Family,
        count: u32,
        time: Duration,
    ) -> anyhow::Result<Rate> {
        let (device, sink) = match subject {
            Subject::Bare => ("g-bare", &self.bare_sink),
            Subject::Touch => ("g-touch", &self.touch_sink),
            Subject::Ours => ("g-ours", &self.our_sink),
        };
        let flows = Flows { family, count, first_port: FIRST_PORT };
        flood(&mut self.generator, &self.source, device, flows, time, &|| sunk(sink))
    }

    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        self.daemon.process().stop()?;
        Ok(())
    }
}

/// Sets all calls up by the control protocol. Trusted signalling, so that every flow is on the fast path from its first packet.
fn set_up(ng: &mut NgClient, action: Action, family: Family) -> anyhow::Result<()> {
    let mut last = String::new();
    for call in 0..MOST_FLOWS as u16 / 2 {
        let port = FIRST_PORT + 2 * call;
        // Who calls whom: the two sides each other, or each of them somebody on the other trunk.
        let far = out(family, 10);
        let pairs: &[(&str, IpAddr, &str, IpAddr)] = match action {
            Action::Tx => &[("a", party(family, 0), "b", party(family, 1))],
            Action::Redirect => &[("a", party(family, 0), "c", far), ("b", party(family, 1), "d", far)],
        };
        for (from, caller, to, callee) in pairs {
            let id = format!("{family:?}-{from}-{call}");
            let (caller, callee) = (SocketAddr::new(*caller, port), SocketAddr::new(*callee, port));
            let offer = ng.request(&json!({"command": "offer", "call-id": id, "from-tag": "1", "sdp": sdp(caller),
                "flags": ["asymmetric"], "direction": [from, to]}))?;
            let local = format!("m=audio {port} ");
            let has_port = offer.get("sdp").and_then(|sdp| sdp.as_str()).is_some_and(|sdp| sdp.contains(&local));
            anyhow::ensure!(has_port, "the relay gave another port than {port}: {offer}");
            ng.request(
                &json!({"command": "answer", "call-id": id, "from-tag": "1", "to-tag": "2", "sdp": sdp(callee),
                "flags": ["asymmetric"]}),
            )?;
            last = id;
        }
    }
    wait_until("the calls are on the fast path", Duration::from_secs(10), || {
        let call = ng.request(&json!({"command": "query", "call-id": last}));
        let call = call.map(|call| call.to_string()).unwrap_or_default();
        call.contains("\"path\":\"fast\"") && !call.contains("\"path\":\"slow\"")
    })
}
