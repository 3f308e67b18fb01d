//! Metrics as Prometheus reads them: what the daemon counts, under names of its own, and by choice under those of rtpengine, so that boards go on.

mod exposition;
mod own;
mod rtpengine;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use crate::cpu_time::ThreadTimes;
use crate::daemon::Daemon;
use crate::observation::Observation;
use crate::view::Itself;

/// The type of what is answered, in its older form, which every version of Prometheus reads.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Under which names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Names {
    /// Its own.
    #[default]
    Own,
    /// Those of rtpengine as well.
    Both,
}

/// Tells metrics.
#[derive(Clone)]
pub struct Metrics {
    daemon: Arc<Daemon>,
    itself: Arc<Itself>,
    names: Names,
    threads: Arc<Mutex<ThreadTimes>>,
}

impl Metrics {
    /// Of this daemon.
    pub fn new(daemon: Arc<Daemon>, itself: Arc<Itself>, names: Names) -> Self {
        Self { daemon, itself, names, threads: Arc::default() }
    }

    /// All of them, as of now.
    pub fn tell(&self) -> String {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).read();
        write(self.daemon.observe(), (*self.itself).clone(), threads, self.names)
    }
}

fn write(observation: Observation, itself: Itself, threads: BTreeMap<String, Duration>, names: Names) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { observation, itself, threads, names }));
    let mut told = String::new();
    // Only a writer that refuses fails, and a string does not.
    let _always = text::encode(&mut told, &registry);
    exposition::plain(&told)
}

/// Everything at one moment.
#[derive(Debug)]
struct Scrape {
    observation: Observation,
    itself: Itself,
    threads: BTreeMap<String, Duration>,
    names: Names,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut page = exposition::Page::new(encoder);
        own::tell(&mut page, &self.observation, &self.itself)?;
        own::threads(&mut page, &self.threads)?;
        match self.names {
            Names::Own => Ok(()),
            Names::Both => rtpengine::tell(&mut page, &self.observation),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use border::{Interfaces, NoTraffic, Ports};
    use calls::call::{Calls, Settings};
    use calls::ng::{Exchange, Frame, Proxy, Transport};

    use super::*;

    fn observation() -> Observation {
        let interfaces = Interfaces::new(vec!["pbx/192.0.2.1".parse().unwrap()]).unwrap();
        let ports = Ports::of(&interfaces, (30_000, 40_000)).unwrap();
        let now = Instant::now();
        let mut calls = Calls::new(interfaces, ports, Settings::default(), b"mark".to_vec(), now);
        let mut exchange = Exchange::new();
        let frame = Frame::datagram(b"1 d7:command4:pinge").unwrap();
        let wall = std::time::SystemTime::now();
        drop(exchange.message(&frame, Proxy::unix(Transport::Unix), &mut calls, now, wall, &NoTraffic));
        exchange.took(Duration::from_micros(70));
        let relay = calls.relay_account(now, &NoTraffic);
        Observation {
            relay,
            proxies: exchange.proxies(),
            transports: exchange.transports(),
            journal: Some(true),
            homer: Some(crate::homer::Counts { sent: 5, lost: 1 }),
        }
    }

    fn threads() -> BTreeMap<String, Duration> {
        BTreeMap::from([("worker-0".to_owned(), Duration::from_millis(1500))])
    }

    #[test]
    fn what_is_counted_is_told_with_type_and_help() {
        let told = write(observation(), Itself::default(), threads(), Names::Own);
        for expected in [
            "# TYPE intertrunk_calls gauge\nintertrunk_calls 0.0\n",
            "# TYPE intertrunk_calls_created_total counter\nintertrunk_calls_created_total 0.0\n",
            "intertrunk_control_request_seconds_bucket{le=\"0.0001\",proxy=\"unix\",command=\"ping\"} 1\n",
            "intertrunk_control_request_seconds_bucket{le=\"+Inf\",proxy=\"unix\",command=\"ping\"} 1\n",
            "intertrunk_ports{interface=\"pbx\",address=\"192.0.2.1\",state=\"free\"} 5000.0\n",
            "intertrunk_journal_written 1.0\n",
            "intertrunk_thread_busy_seconds_total{thread=\"worker-0\"} 1.5\n",
            "intertrunk_control_transport_seconds_bucket{le=\"0.0001\",transport=\"unix\",command=\"ping\"} 1\n",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        assert!(!told.contains("rtpengine_") && !told.contains("# EOF"), "{told}");
    }

    #[test]
    fn those_who_come_from_rtpengine_find_its_names() {
        let told = write(observation(), Itself::default(), threads(), Names::Both);
        for expected in [
            "rtpengine_sessions{type=\"own\"} 0.0\n",
            "rtpengine_closed_sessions_total{reason=\"timeout\"} 0.0\n",
            "rtpengine_requests_total{proxy=\"unix\",request=\"ping\"} 1.0\n",
            "rtpengine_ports_free{name=\"pbx\",address=\"192.0.2.1\"} 10000.0\n",
            "intertrunk_calls 0.0\n",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }

    #[test]
    fn no_name_comes_twice_and_each_has_its_help() {
        let told = write(observation(), Itself::default(), threads(), Names::Both);
        let names: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(names.len(), distinct.len(), "{names:?}");
        assert!(names.len() > 40, "{names:?}");
        for name in names {
            assert!(told.contains(&format!("# HELP {name} ")), "{name}");
        }
    }
}
