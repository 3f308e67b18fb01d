//! How many processors, receive queues and nodes calls need: from what was measured.

mod costs;
mod model;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;

use crate::config::MEDIA_PORTS;
use costs::{Cost, Costs};
use model::{CODECS, Codec, Demand, Limit, Needs, Node, Share, needs};

/// Media ports of an address when nothing is configured.
const PORTS: u32 = (MEDIA_PORTS.1 - MEDIA_PORTS.0) as u32 + 1;

/// No report is longer, in bytes.
const LONGEST_REPORT: u64 = 16 << 20;

/// As the load test has measured it on two processors of a small virtual machine, over veth devices: a network card's driver is faster than those, and
/// does not wake a processor for each packet.
const MEASURED: Costs = Costs {
    fast: Cost { alone_us: 4.0, among_many_us: 0.36, standing: 0.18, most_kpps: 1346.0 },
    worker: Cost { alone_us: 8.5, among_many_us: 1.5, standing: 0.35, most_kpps: 442.0 },
    secured: Cost { alone_us: 10.1, among_many_us: 1.8, standing: 0.41, most_kpps: 343.0 },
    calls_per_cpu_second: 10_300.0,
    bytes_per_call: 12_700.0,
};

/// What is to be carried, and by what.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// Calls at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    calls: u64,
    /// What they say
    #[arg(long, value_name = "NAME", default_value = "G.711", ignore_case = true, value_parser = PossibleValuesParser::new(CODECS.map(|codec| codec.name)))]
    codec: String,
    /// Milliseconds in each packet
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..=200))]
    ptime: u32,
    /// Of a hundred calls, so many have SRTP on a side: workers protect and open it
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    srtp: u8,
    /// Of a hundred calls, so many are carried by workers for another reason: recorded, or from IPv4 to IPv6
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    workers: u8,
    /// Seconds that a call takes on average, from which the new calls of a second follow
    #[arg(long, value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration: u32,
    /// Processors of each node
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    cores: u32,
    /// Of what a processor carries at most, so much is planned with
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=100))]
    load: u8,
    /// Media addresses of each node on each side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    addresses: u32,
    /// Ports of each of them, from port-min to port-max
    #[arg(long, value_name = "N", default_value_t = PORTS, value_parser = clap::value_parser!(u32).range(4..=65_536))]
    ports: u32,
    /// What was measured on your machine: the report.json of `cargo xtask loadtest report`
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
    /// One JSON object instead of the lines
    #[arg(long)]
    json: bool,
}

impl Plan {
    /// Tells what it takes.
    ///
    /// # Errors
    /// When the measurements cannot be read, or nobody reads what is told.
    pub fn run(&self) -> anyhow::Result<()> {
        let costs = match &self.measured {
            None => MEASURED,
            Some(file) => {
                let name = || format!("{}: no report of the load test", file.display());
                let open = File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
                let mut text = Vec::new();
                open.take(LONGEST_REPORT).read_to_end(&mut text).with_context(name)?;
                Costs::of_report(&text).with_context(name)?
            }
        };
        let codec = CODECS.into_iter().find(|codec| codec.name.eq_ignore_ascii_case(&self.codec));
        let demand = self.demand(codec.context("no such codec")?);
        let needs = needs(&demand, &self.node(), &costs);
        let mut out = io::stdout().lock();
        if self.json {
            let told = serde_json::json!({"demand": demand, "node": self.node(), "costs": costs, "needs": needs});
            writeln!(out, "{told}")?;
        } else {
            out.write_all(self.text(&demand, &needs).as_bytes())?;
        }
        Ok(())
    }

    fn demand(&self, codec: Codec) -> Demand {
        Demand {
            calls: self.calls as f64,
            codec,
            ptime_ms: self.ptime.into(),
            secured: f64::from(self.srtp) / 100.0,
            by_worker: f64::from(self.workers) / 100.0,
            new_calls: self.calls as f64 / f64::from(self.duration),
        }
    }

    fn node(&self) -> Node {
        Node { cores: self.cores, load: f64::from(self.load) / 100.0, addresses: self.addresses, ports: self.ports }
    }

    fn text(&self, demand: &Demand, needs: &Needs) -> String {
        let from = match &self.measured {
            Some(file) => format!("as measured in {}", file.display()),
            None => {
                "as measured over veth devices of a small virtual machine; --measured takes your own report".to_owned()
            }
        };
        let line = |name: &str, per_second: f64, cores: f64| format!("{name:<12} {per_second:>12.0} {cores:>8.1}\n");
        let share = |name: &str, share: &Share| line(name, share.kpps * 1000.0, share.cores);
        let mut text = format!(
            "{} calls, {} with {} ms: {:.0} Mbit/s into the nodes and out of them; {from}\n\n\
             at {} % load      a second    cores\n",
            self.calls, demand.codec.name, self.ptime, needs.megabits, self.load
        );
        text += &share("fast path", &needs.fast);
        text += &share("workers", &needs.worker);
        text += &share("SRTP", &needs.secured);
        text += &line("new calls", demand.new_calls, needs.commands);
        let limit = match needs.limit {
            Limit::Cores => "their processors",
            Limit::Ports => {
                "their ports: give them more (port-min, port-max, and --ports here), or more media addresses"
            }
        };
        text += &format!(
            "in all       {:>12} {:>8.1}\n\nreceive queues {:>6}\nmemory       {:>8.0} MB\nports        {:>8.0} on each side\n\
             nodes        {:>8} of {} cores, {} with one in reserve; the limit is {limit}\n",
            "",
            needs.cores,
            needs.queues,
            needs.memory / 1e6,
            needs.ports,
            needs.nodes,
            self.cores,
            needs.nodes_with_reserve
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        plan: Plan,
    }

    fn plan(words: &[&str]) -> Plan {
        Line::try_parse_from([&["plan"], words].concat()).unwrap().plan
    }

    #[test]
    fn people_read_cores_and_nodes() {
        let plan = plan(&["--calls", "10000", "--codec", "g.711", "--srtp", "20"]);
        let demand = plan.demand(CODECS[0]);
        let text = plan.text(&demand, &needs(&demand, &plan.node(), &MEASURED));
        assert!(text.starts_with("10000 calls, G.711 with 20 ms: "), "{text}");
        for line in ["fast path          800000", "SRTP               200000", "nodes "] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [&["--calls", "0"][..], &["--calls", "1", "--srtp", "101"], &["--calls", "1", "--codec", "G.999"]]
        {
            assert!(Line::try_parse_from([&["plan"], words].concat()).is_err(), "{words:?}");
        }
    }
}
