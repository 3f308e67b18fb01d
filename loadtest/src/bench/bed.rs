//! The test bed: the relay under one action, with the programs beside it that it is compared with.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::flood::{Family, Flows, Rate, flood, party, relay, sunk};
use crate::rig::daemon::{Build, Daemon, NgClient};
use crate::rig::host::{Host, Port};
use crate::rig::party::{is_fast, media, sdp};
use crate::rig::process::wait_until;
use crate::rig::program::Program;

/// The first media port of the calls.
const FIRST_PORT: u16 = 10_000;
/// The most flows of a family, two for each call.
pub(super) const MOST_FLOWS: u32 = 50_000;

/// What a forwarded frame leaves by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The device it came in by.
    Tx,
    /// Another device.
    Redirect,
}

impl Action {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tx, Self::Redirect];
}

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
    action: Action,
    /// Of a family.
    flows: u32,
    ng: NgClient,
    generator: Program,
    bare_sink: Program,
    touch_sink: Program,
    our_sink: Program,
    _others: [Program; 2],
    daemon: Daemon,
    source: Host,
    relay: Arc<Host>,
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
    /// The bed without calls, for so many flows of a family. `sink` is the program that counts at the ends.
    pub(super) fn new(action: Action, flows: u32, sink: &str, folder: &Path) -> anyhow::Result<Self> {
        Self::with(action, flows, sink, (folder, &[]), &Build::default())
    }

    /// The same with another daemon, that is told more.
    pub(super) fn with(
        action: Action,
        flows: u32,
        sink: &str,
        (folder, args): (&Path, &[String]),
        build: &Build,
    ) -> anyhow::Result<Self> {
        let flows = flows.next_multiple_of(2);
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
        our_sink.attach(sink, &source, "g-ours")?;
        bare_sink.attach(sink, &source, "g-bare")?;
        touch_sink.attach(sink, &source, "g-touch")?;
        our_sink.attach(sink, &far, "f-out")?;
        bare_sink.attach(sink, &far, "f-bare-out")?;
        let [mut bare, mut touch] = [Program::load()?, Program::load()?];
        touch.attach("touch", &host, "r-touch")?;
        match action {
            Action::Tx => bare.attach("reflect", &host, "r-bare")?,
            Action::Redirect => {
                bare.set_egress(&host, "r-bare-out")?;
                bare.attach("redirect", &host, "r-bare")?;
            }
        }
        // The name is of the folder, too: what is pinned is all in one place.
        let rig = folder.file_name().unwrap_or_default().to_string_lossy();
        let folder = folder.join(format!("{rig}-{action:?}"));
        std::fs::create_dir_all(&folder)?;
        let mut command = host.command(&build.program()?.to_string_lossy());
        command.args(["serve", "--log-format", "json", "--engine", "xdp", "--workers", "1", "--delete-delay", "0"]);
        command.args(args);
        // No more ports than flows: the relay gives them in an order of its own, and in the end all of them.
        let last_port = u32::from(FIRST_PORT) + flows - 1;
        command.args(["--port-min", &FIRST_PORT.to_string(), "--port-max", &last_port.to_string()]);
        for family in [v4, v6] {
            for (name, addr) in
                [("a", relay(family, 0)), ("b", relay(family, 1)), ("c", out(family, 1)), ("d", out(family, 2))]
            {
                command.arg("--interface").arg(format!("{name}/{addr}"));
            }
        }
        let daemon = Daemon::start_command(command, &folder)?;
        let ng = NgClient::on(&host)?;
        Ok(Self {
            action,
            flows,
            ng,
            generator: Program::load()?,
            bare_sink,
            touch_sink,
            our_sink,
            _others: [bare, touch],
            daemon,
            source,
            relay: Arc::new(host),
            _far: far,
        })
    }

    /// Floods a subject's device with frames of so many flows.
    pub(super) fn measure(
        &mut self,
        subject: Subject,
        family: Family,
        count: u32,
        time: Duration,
    ) -> anyhow::Result<Rate> {
        self.flood(subject, Flows { family, count, first_port: FIRST_PORT, every: None }, time)
    }

    /// The same over IPv4, with one frame of `every` from a party, and all others from strangers.
    pub(super) fn measure_strangers(
        &mut self,
        subject: Subject,
        count: u32,
        every: u64,
        time: Duration,
    ) -> anyhow::Result<Rate> {
        let every = Some(every);
        self.flood(subject, Flows { family: Family::Ipv4, count, first_port: FIRST_PORT, every }, time)
    }

    fn flood(&mut self, subject: Subject, flows: Flows, time: Duration) -> anyhow::Result<Rate> {
        let (device, sink) = match subject {
            Subject::Bare => ("g-bare", &self.bare_sink),
            Subject::Touch => ("g-touch", &self.touch_sink),
            Subject::Ours => ("g-ours", &self.our_sink),
        };
        flood(&mut self.generator, &self.source, device, flows, time, &|| sunk(sink))
    }

    /// How many frames of the relay the sinks have counted in all.
    pub(super) fn sunk(&self) -> anyhow::Result<u64> {
        sunk(&self.our_sink)
    }

    /// The relay's host.
    pub(super) fn relay(&self) -> Arc<Host> {
        Arc::clone(&self.relay)
    }

    /// The Call-ID of the first of the calls, within the first trunk.
    pub(super) fn first_call(family: Family) -> String {
        format!("{family:?}-a-0")
    }

    /// The daemon.
    pub(super) const fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Sets calls up by the control protocol, each of two flows. Trusted signalling, so that every flow is on the fast path from its first
    /// packet. Returns how many offers and answers that took.
    pub(super) fn set_up(&mut self, family: Family) -> anyhow::Result<u32> {
        let ids = self.ids(family);
        eprintln!("setting {} calls up for {:?}, {family:?}", ids.len(), self.action);
        for id in &ids {
            // A party sends from the port that it sends to, as the generator does, and which one that is only the relay knows.
            let (callee, caller) = (self.offer(id, FIRST_PORT)?, self.answer(id, FIRST_PORT)?);
            self.offer(id, caller)?;
            self.answer(id, callee)?;
        }
        let last = ids.last().map(|id| id.text.clone()).unwrap_or_default();
        let ng = &mut self.ng;
        wait_until("the calls are on the fast path", Duration::from_secs(10), || {
            let call = ng.request(&json!({"command": "query", "call-id": last}));
            call.is_ok_and(|call| is_fast(&call))
        })?;
        Ok(4 * ids.len() as u32)
    }

    /// Says that the caller is at this port; the port that the callee sends to.
    fn offer(&mut self, id: &CallOnBed, port: u16) -> anyhow::Result<u16> {
        let offer = json!({"command": "offer", "call-id": id.text, "from-tag": "1",
            "sdp": sdp(SocketAddr::new(id.caller, port)), "flags": ["endpoint-learning-off"], "direction": id.direction});
        Ok(media(&self.ng.request(&offer)?)?.port())
    }

    /// Says that the callee is at this port; the port that the caller sends to.
    fn answer(&mut self, id: &CallOnBed, port: u16) -> anyhow::Result<u16> {
        let answer = json!({"command": "answer", "call-id": id.text, "from-tag": "1", "to-tag": "2",
            "sdp": sdp(SocketAddr::new(id.callee, port)), "flags": ["endpoint-learning-off"]});
        Ok(media(&self.ng.request(&answer)?)?.port())
    }

    /// Ends the calls; returns how many RTP packets the relay counted of them.
    pub(super) fn tear_down(&mut self, family: Family) -> anyhow::Result<u64> {
        let mut packets = 0;
        for id in self.ids(family) {
            let reply = self.ng.request(&json!({"command": "delete", "call-id": id.text, "from-tag": "1"}))?;
            let counted = reply.pointer("/totals/RTP/packets").and_then(Value::as_u64);
            packets += counted.with_context(|| format!("no account of {}: {reply}", id.text))?;
        }
        Ok(packets)
    }

    /// How many calls the relay knows of, as far as it lists them.
    pub(super) fn calls(&mut self) -> anyhow::Result<usize> {
        let list = self.ng.request(&json!({"command": "list", "limit": 1}))?;
        list.get("calls").and_then(Value::as_array).map(Vec::len).context("no list of calls")
    }

    /// What became of packets that the fast path did not carry, by the relay's own account.
    pub(super) fn reasons(&mut self) -> anyhow::Result<String> {
        let statistics = self.ng.request(&json!({"command": "statistics"}))?;
        let found = statistics.pointer("/statistics/reasons").or_else(|| statistics.get("reasons"));
        Ok(found.context("no reasons")?.to_string())
    }

    /// Who calls whom: the two sides each other, or each of them somebody on the other trunk.
    fn ids(&self, family: Family) -> Vec<CallOnBed> {
        let far = out(family, 10);
        let pairs: &[(&str, IpAddr, &str, IpAddr)] = match self.action {
            Action::Tx => &[("a", party(family, 0), "b", party(family, 1))],
            Action::Redirect => &[("a", party(family, 0), "c", far), ("b", party(family, 1), "d", far)],
        };
        let calls = (0..self.flows / 2).flat_map(|number| {
            pairs.iter().map(move |(from, caller, to, callee)| CallOnBed {
                text: format!("{family:?}-{from}-{number}"),
                direction: [from, to].map(|name| (*name).to_owned()),
                caller: *caller,
                callee: *callee,
            })
        });
        calls.collect()
    }

    pub(super) fn stop(mut self) -> anyhow::Result<Daemon> {
        self.daemon.process().stop()?;
        Ok(self.daemon)
    }
}

/// One of the calls.
struct CallOnBed {
    text: String,
    direction: [String; 2],
    caller: IpAddr,
    callee: IpAddr,
}
