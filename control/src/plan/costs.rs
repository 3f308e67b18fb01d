//! What packets and commands cost, as it was measured.

use std::ops::RangeInclusive;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::Value;

/// Time of a processor for packets of one kind, at any rate.
///
/// A processor that has little to do is woken for each packet; the more come, the more it finds at once. Between the two it is busy for a share of the
/// time whatever comes, and for each packet besides.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Cost {
    /// Microseconds for a packet that comes alone.
    pub alone_us: f64,
    /// Microseconds for each packet among many.
    pub among_many_us: f64,
    /// The share of a processor besides.
    pub standing: f64,
    /// Thousands of packets a second that one processor carries without loss.
    pub most_kpps: f64,
}

impl Cost {
    /// From two measurements: microseconds for a packet at a low rate and at the highest one, in thousands of packets a second.
    ///
    /// # Errors
    /// When they contradict each other.
    pub(super) fn of([low_kpps, low_us]: [f64; 2], [most_kpps, most_us]: [f64; 2]) -> anyhow::Result<Self> {
        ensure!(low_kpps > 0.0 && low_kpps < most_kpps, "the rates are {low_kpps} and {most_kpps} kpps");
        // What costs more the more there is, is planned with that.
        let low_us = low_us.max(most_us);
        // Busy for `standing + among_many * rate` at both.
        let standing = (low_us - most_us) / (1000.0 / low_kpps - 1000.0 / most_kpps);
        let among_many_us = most_us - standing * 1000.0 / most_kpps;
        ensure!(
            among_many_us > 0.0,
            "{low_us} us at {low_kpps} kpps and {most_us} us at {most_kpps} kpps contradict each other"
        );
        Ok(Self { alone_us: low_us, among_many_us, standing, most_kpps })
    }

    /// The share of a processor that so many thousands of packets a second keep busy.
    pub(super) fn busy(&self, kpps: f64) -> f64 {
        let alone = self.alone_us * kpps / 1000.0;
        alone.min(self.standing + self.among_many_us * kpps / 1000.0)
    }
}

/// What everything costs.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Costs {
    /// A packet by XDP.
    pub fast: Cost,
    /// A packet that a worker carries as it is.
    pub worker: Cost,
    /// A packet that a worker protects.
    pub secured: Cost,
    /// Whole calls (offer, answer, delete) for a second of a processor.
    pub calls_per_cpu_second: f64,
    /// Memory of the daemon for each call, in bytes.
    pub bytes_per_call: f64,
}

impl Costs {
    /// From a report of the load test.
    ///
    /// # Errors
    /// When it is none, or lacks what is needed.
    pub(super) fn of_report(report: &[u8]) -> anyhow::Result<Self> {
        let report: Value = serde_json::from_slice(report).context("this is no JSON")?;
        let is_quick = report.pointer("/circumstances/is_quick").and_then(Value::as_bool).unwrap_or(false);
        ensure!(!is_quick, "a short form is nothing to plan with: cargo xtask loadtest report, without --quick");
        let commanded = report.get("commanded").and_then(Value::as_array).into_iter().flatten();
        let ours = commanded.into_iter().find(|row| row.get("name").and_then(Value::as_str) == Some("intertrunk"));
        let ours = ours.context("it does not tell what commands cost")?;
        Ok(Self {
            fast: cost(&report, "intertrunk-xdp", false)?,
            worker: cost(&report, "intertrunk-xsk", false)?,
            secured: cost(&report, "intertrunk-xsk", true)?,
            calls_per_cpu_second: number(ours, "/calls_per_cpu_second")?,
            bytes_per_call: number(ours, "/bytes_per_call")?,
        })
    }
}

fn cost(report: &Value, name: &str, is_secured: bool) -> anyhow::Result<Cost> {
    let is_it = |row: &&Value| {
        row.get("name").and_then(Value::as_str) == Some(name)
            && row.get("is_secured").and_then(Value::as_bool) == Some(is_secured)
    };
    let row = report.get("rows").and_then(Value::as_array).into_iter().flatten().find(is_it);
    let kind = if is_secured { " with SRTP" } else { "" };
    let row = row.with_context(|| format!("it does not tell of {name}{kind}"))?;
    let costs = row.get("costs").and_then(Value::as_array).context("no costs")?;
    // Over as many streams as were measured: no cache holds those of a thousand calls.
    let low = costs.last().context("no costs")?;
    let most = [number(row, "/loss_free_kpps/median")?, 1e6 / number(row, "/packets_per_cpu_second")?];
    Cost::of([number(low, "/kpps")?, number(low, "/cpu_us/median")?], most).with_context(|| format!("{name}{kind}"))
}

/// What any machine could have measured: all else would be planned with, and come to nothing that anybody can build.
const PLAUSIBLE: RangeInclusive<f64> = 1e-3..=1e10;

fn number(value: &Value, pointer: &str) -> anyhow::Result<f64> {
    let number = value.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no number at {pointer}"))?;
    ensure!(PLAUSIBLE.contains(&number), "{number:e} at {pointer} was measured on no machine");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_measurements_are_met() {
        let cost = Cost::of([50.0, 9.3], [400.0, 2.5]).unwrap();
        for (kpps, us) in [(50.0, 9.3), (400.0, 2.5)] {
            assert!((cost.busy(kpps) * 1000.0 / kpps - us).abs() < 1e-9, "{kpps}");
        }
        // In between, as it was measured on another day: 5.2 us at 100 kpps, 3.6 at 200.
        assert!((cost.busy(100.0) * 10.0 - 5.2).abs() < 0.3 && (cost.busy(200.0) * 5.0 - 3.6).abs() < 0.3);
    }

    #[test]
    fn little_costs_little() {
        let cost = Cost::of([50.0, 9.3], [400.0, 2.5]).unwrap();
        assert!((cost.busy(1.0) - 0.0093).abs() < 1e-9);
    }

    #[test]
    fn a_packet_that_costs_as_much_at_any_rate_has_nothing_standing() {
        let cost = Cost::of([50.0, 3.0], [300.0, 3.0]).unwrap();
        assert!(cost.standing == 0.0 && (cost.busy(100.0) - 0.3).abs() < 1e-9);
    }

    #[test]
    fn what_contradicts_itself_is_no_cost() {
        assert!(Cost::of([50.0, 100.0], [60.0, 1.0]).is_err());
        assert!(Cost::of([50.0, 5.0], [50.0, 5.0]).is_err());
    }

    #[test]
    fn a_report_is_read() {
        let row = |name: &str, is_secured: bool| {
            serde_json::json!({"name": name, "is_secured": is_secured, "loss_free_kpps": {"median": 400.0},
                "packets_per_cpu_second": 400_000.0, "costs": [{"kpps": 50.0, "cpu_us": {"median": 9.3}}]})
        };
        let mut report = serde_json::json!({
            "rows": [row("intertrunk-xdp", false), row("intertrunk-xsk", false), row("intertrunk-xsk", true)],
            "commanded": [{"name": "intertrunk", "calls_per_cpu_second": 10_000.0, "bytes_per_call": 12_000}]
        });
        let costs = Costs::of_report(report.to_string().as_bytes()).unwrap();
        assert_eq!((costs.worker.most_kpps, costs.bytes_per_call), (400.0, 12_000.0));
        report["rows"].as_array_mut().unwrap().pop();
        let error = Costs::of_report(report.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "it does not tell of intertrunk-xsk with SRTP");
        assert!(Costs::of_report(b"nonsense").is_err());
    }
}
