//! Figures as people read them: numbers in words and in cells, and what follows from them.

use crate::compare::result::{Commanded, Comparison, Cost, Delays, Gap, Latency, Row};
use crate::rounds::Spread;

/// What is not known.
const UNKNOWN: &str = "-";
/// Between thousands: thin, and no line breaks there.
const THIN: char = '\u{202f}';
/// The names of those that the summary speaks of.
const FAST_PATH: &str = "intertrunk-xdp";
const BY_AF_XDP: [&str; 2] = ["intertrunk-xsk", "intertrunk-xsk-out"];
const RTPENGINE: &str = "rtpengine";
const REFLECTOR: &str = "reflector";
/// The share of the highest pace whose delays are told.
pub(crate) const PERCENT: u32 = 50;

/// A table, be it for a page or for Markdown.
pub(crate) struct Table {
    /// Above each column.
    pub(crate) heads: Vec<String>,
    /// Each with as many cells as there are heads.
    pub(crate) rows: Vec<Vec<String>>,
    /// So many of the first columns are words, the others are numbers.
    pub(crate) words: usize,
}

/// Three digits, the rest rounded away.
pub(crate) fn digits(value: f64) -> String {
    if !value.is_finite() {
        return UNKNOWN.to_owned();
    }
    if value.abs() < 1e-6 {
        return "0".to_owned();
    }
    // Rounded first: 9.996 has one decimal, not two.
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    let decimals = 2 - rounded.abs().log10().floor() as i32;
    match usize::try_from(decimals) {
        Ok(decimals) if decimals > 0 => format!("{rounded:.decimals$}"),
        _ => grouped(rounded),
    }
}

/// A number at an axis: no digits that say nothing.
pub(crate) fn tick(value: f64) -> String {
    if value >= 1.0 { grouped(value) } else { format!("{value:.1e}").parse::<f64>().unwrap_or(value).to_string() }
}

/// A whole number, its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(THIN);
        }
        grouped.push(digit);
    }
    grouped
}

/// The median, and between what the rounds were.
pub(crate) fn spread(spread: &Spread) -> String {
    let (median, least, greatest) = (digits(spread.median), digits(spread.least), digits(spread.greatest));
    if least == greatest { median } else { format!("{median} ({least}–{greatest})") }
}

/// The highest pace without loss.
pub(crate) fn kpps(row: &Row) -> String {
    let more = if row.is_at_rigs_limit { " or more" } else { "" };
    format!("{}{more}", spread(&row.loss_free_kpps))
}

/// The same in a sentence.
fn median(row: &Row) -> String {
    let more = if row.is_at_rigs_limit { " or more" } else { "" };
    format!("{} kpps{more}", digits(row.loss_free_kpps.median))
}

/// How many times the other this is; `None` when that cannot be told.
pub(crate) fn times(of: f64, to: f64) -> Option<f64> {
    let ratio = of / to;
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

/// What becomes of calls when a relay ends.
pub(crate) fn gap(killed: Option<Gap>) -> String {
    match killed.map(|gap| gap.millis) {
        None => UNKNOWN.to_owned(),
        Some(None) => "its calls are gone".to_owned(),
        Some(Some(millis)) if millis <= 0.0 => "no packet lost".to_owned(),
        Some(Some(millis)) => format!("{} ms", digits(millis)),
    }
}

/// The time that something took.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600.. => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// The name, with a word for SRTP.
pub(crate) fn label(row: &Row) -> String {
    if row.is_secured { format!("{} SRTP", row.name) } else { row.name.clone() }
}

/// Over how many streams costs are told: the middle one of those that were measured.
pub(crate) fn middle_streams(rows: &[Row]) -> Option<u32> {
    let costs = &rows.iter().find(|row| !row.costs.is_empty())?.costs;
    costs.get(costs.len() / 2).map(|cost| cost.streams)
}

fn cost_over(row: &Row, streams: Option<u32>) -> Option<&Cost> {
    row.costs.iter().find(|cost| Some(cost.streams) == streams)
}

/// The delays that are told.
pub(crate) fn delays(row: &Row) -> Option<&Delays> {
    row.latencies.iter().find(|latency| latency.percent == PERCENT).map(|latency| &latency.delay_us)
}

/// Those that carry packets, plain or secured.
pub(crate) fn carriers(comparison: &Comparison, is_secured: bool) -> Table {
    let streams = middle_streams(&comparison.rows);
    let pace = comparison.rows.first().and_then(|row| row.costs.first()).map_or(0.0, |cost| cost.kpps);
    let over = streams.map_or_else(String::new, |streams| {
        format!(" at {} kpps over {} streams", digits(pace), grouped(f64::from(streams)))
    });
    let heads = [
        "Name".to_owned(),
        "What it is".to_owned(),
        "Loss-free, kpps".to_owned(),
        "Packets per CPU second".to_owned(),
        format!("CPU µs per packet{over}"),
        format!("Delay p50 at {PERCENT} %, µs"),
        "p99, µs".to_owned(),
        "p99.99, µs".to_owned(),
        "Killed and started again".to_owned(),
    ];
    let cells = |row: &Row| {
        let delays = delays(row);
        let delay = |of: fn(&Delays) -> f64| delays.map_or_else(|| UNKNOWN.to_owned(), |delays| digits(of(delays)));
        vec![
            row.name.clone(),
            row.what.clone(),
            kpps(row),
            digits(row.packets_per_cpu_second),
            cost_over(row, streams).map_or_else(|| UNKNOWN.to_owned(), cost),
            delay(|delays| delays.p50),
            delay(|delays| delays.p99),
            delay(|delays| delays.p9999),
            gap(row.killed),
        ]
    };
    let rows = comparison.rows.iter().filter(|row| row.is_secured == is_secured).map(cells).collect();
    Table { heads: heads.into(), rows, words: 2 }
}

/// What a packet costs; of one that cannot keep up it is what those cost that it did carry.
fn cost(cost: &Cost) -> String {
    let lost = if cost.loss > 0.001 { format!(", {} % lost", digits(100.0 * cost.loss)) } else { String::new() };
    format!("{}{lost}", spread(&cost.cpu_us))
}

/// How long packets took, at each share of the highest pace of each.
pub(crate) fn all_delays(comparison: &Comparison) -> Table {
    let heads = [
        "Name",
        "Of its highest pace, %",
        "kpps",
        "p50, µs",
        "p90, µs",
        "p99, µs",
        "p99.9, µs",
        "p99.99, µs",
        "Lost, %",
    ];
    let rows = comparison.rows.iter().flat_map(|row| row.latencies.iter().map(move |latency| (row, latency)));
    let cells = |(row, latency): (&Row, &Latency)| {
        let Delays { p50, p90, p99, p999, p9999 } = latency.delay_us;
        let numbers =
            [f64::from(latency.percent), latency.kpps, p50, p90, p99, p999, p9999, 100.0 * latency.loss].map(digits);
        std::iter::once(row.name.clone()).chain(numbers).collect()
    };
    Table { heads: heads.map(str::to_owned).into(), rows: rows.map(cells).collect(), words: 1 }
}

/// Those that are commanded.
pub(crate) fn commanded(comparison: &Comparison) -> Table {
    let heads = [
        "Name",
        "Calls standing",
        "Calls set up per second",
        "Calls per CPU second",
        "Reply p50, µs",
        "Reply p99, µs",
        "Bytes per call",
    ];
    let cells = |one: &Commanded| {
        let [p50, p99] = one.reply_us;
        let numbers =
            [one.standing as f64, one.calls_per_second, one.calls_per_cpu_second, p50, p99, one.bytes_per_call as f64];
        std::iter::once(one.name.clone()).chain(numbers.map(digits)).collect()
    };
    let rows = comparison.commanded.iter().map(cells).collect();
    Table { heads: heads.map(str::to_owned).into(), rows, words: 1 }
}

/// The result in words, one sentence for each comparison that can be made.
pub(crate) fn summary(comparison: &Comparison) -> Vec<String> {
    let streams = middle_streams(&comparison.rows);
    let fast = comparison.row(FAST_PATH, false);
    let by_af_xdp = BY_AF_XDP.iter().filter_map(|name| comparison.row(name, false));
    // Of those that receive only and those that send too, the faster; the table has both.
    let by_af_xdp = by_af_xdp.max_by(|one, other| one.loss_free_kpps.median.total_cmp(&other.loss_free_kpps.median));
    let mut sentences = Vec::new();
    match comparison.row(RTPENGINE, false) {
        Some(theirs) => {
            sentences.extend(fast.map(|ours| beside("The fast path", ours, theirs, streams)));
            sentences.extend(by_af_xdp.map(|ours| beside("The slow path by AF_XDP", ours, theirs, streams)));
        }
        None => sentences.push("rtpengine was not measured here: there is nothing to compare with it.".to_owned()),
    }
    sentences.extend(secured(comparison));
    if let (Some(ours), Some(limit)) = (fast, comparison.row(REFLECTOR, false))
        && let Some(share) = times(ours.loss_free_kpps.median, limit.loss_free_kpps.median)
    {
        let at_limit = if limit.is_at_rigs_limit { ", which is all that this rig can make" } else { "" };
        sentences.push(format!(
            "The fast path reaches {} % of the rate of a bare reflector{at_limit}.",
            digits(100.0 * share)
        ));
    }
    sentences
}

/// One of ours beside one of theirs.
fn beside(words: &str, ours: &Row, theirs: &Row, streams: Option<u32>) -> String {
    let mut sentence = format!("{words} ({}) carries {} without loss", ours.name, median(ours));
    if let Some(ratio) = rates(ours, theirs) {
        sentence.push_str(&format!(", {ratio} the rate of {} ({})", theirs.name, median(theirs)));
    }
    if let (Some(our), Some(their)) = (cost_over(ours, streams), cost_over(theirs, streams))
        && let Some(ratio) = times(their.cpu_us.median, our.cpu_us.median)
    {
        let (ratio, than) = if ratio >= 1.0 { (ratio, "less") } else { (1.0 / ratio, "more") };
        sentence.push_str(&format!(
            ", and a packet costs it {} times {than} processor time ({} µs against {} µs, over {} streams)",
            digits(ratio),
            digits(our.cpu_us.median),
            digits(their.cpu_us.median),
            grouped(f64::from(our.streams))
        ));
    }
    sentence.push('.');
    sentence
}

/// How many times theirs our rate is. A rate that is the rig's own limit is a lower bound.
fn rates(ours: &Row, theirs: &Row) -> Option<String> {
    let ratio = digits(times(ours.loss_free_kpps.median, theirs.loss_free_kpps.median)?);
    let bound = match (ours.is_at_rigs_limit, theirs.is_at_rigs_limit) {
        (true, false) => "at least ",
        (false, true) => "at most ",
        (true, true) => "about ",
        (false, false) => "",
    };
    Some(format!("{bound}{ratio} times"))
}

/// All of ours that protect what they send, beside rtpengine that does so.
fn secured(comparison: &Comparison) -> Option<String> {
    let theirs = comparison.row(RTPENGINE, true)?;
    let ours = comparison.rows.iter().filter(|row| row.is_secured && row.name.starts_with("intertrunk"));
    let told = ours.filter_map(|row| Some(format!("{} has {}", row.name, rates(row, theirs)?)));
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("With SRTP, {} the rate of rtpengine ({}).", told.join(", "), median(theirs)))
}

/// What there is to know of the machine and the programs, each with its name.
pub(crate) fn circumstances(comparison: &Comparison) -> Vec<(&'static str, String)> {
    let all = &comparison.circumstances;
    let versions = all.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let is_virtual = if all.is_virtual { ", in a virtual machine" } else { "" };
    vec![
        ("Date", all.date.clone()),
        ("Command", all.command.clone()),
        ("Kernel", all.kernel.clone()),
        ("Processor", format!("{}, {} cores{is_virtual}", all.cpu, all.cores)),
        ("Versions", versions.collect::<Vec<_>>().join(", ")),
        ("Rounds", format!("{} of {} ms for each figure", all.rounds, all.millis)),
        ("Took", duration(all.seconds)),
    ]
}

/// What the figures say nothing of.
pub(crate) fn not_measured(comparison: &Comparison) -> Vec<String> {
    let always = [
        "rtpengine's kernel module: rtpengine is measured in userspace",
        "physical network cards: all links are veth pairs",
        "more than two cores",
        "other relays than those that are listed",
    ];
    let here = comparison.left_out.iter().map(|(name, why)| format!("{name}: {why}"));
    always.into_iter().map(str::to_owned).chain(here).collect()
}

#[cfg(test)]
pub(crate) mod example {
    use super::*;
    use crate::compare::result::{Circumstances, Latency};

    /// A made-up one of the name, so many times as fast as the slowest.
    pub(crate) fn row(name: &str, is_secured: bool, speed: f64) -> Row {
        let around = |median: f64| Spread { median, least: 0.9 * median, greatest: 1.1 * median };
        let cost = |streams: u32| Cost {
            streams,
            kpps: 50.0,
            cpu_us: around(10.0 / speed + f64::from(streams) / 1e5),
            loss: 0.0,
        };
        let p50 = 40.0 / speed;
        let delay_us = Delays { p50, p90: 1.5 * p50, p99: 3.0 * p50, p999: 10.0 * p50, p9999: 80.0 * p50 };
        let latency = |percent: u32| Latency { percent, kpps: speed * f64::from(percent), delay_us, loss: 0.0 };
        Row {
            name: name.to_owned(),
            what: format!("what {name} is"),
            is_secured,
            costs: [10, 1000, 20_000].map(cost).into(),
            loss_free_kpps: around(100.0 * speed),
            is_at_rigs_limit: name == "reflector",
            packets_per_cpu_second: 123_456.0 * speed,
            latencies: if is_secured { Vec::new() } else { [10, 50, 90].map(latency).into() },
            killed: (name == "rtpengine").then_some(Gap { millis: None, lost: 5, sent: 50 }),
        }
    }

    /// A made-up comparison.
    pub(crate) fn comparison() -> Comparison {
        let circumstances = Circumstances {
            date: "2026-11-27".to_owned(),
            command: "loadtest compare --out <folder>".to_owned(),
            seconds: 3725,
            is_quick: false,
            kernel: "Linux 6.18".to_owned(),
            cpu: "Some | Processor".to_owned(),
            cores: 2,
            is_virtual: true,
            versions: vec![("rtpengine".to_owned(), "11.5".to_owned())],
            started: vec![("rtpengine".to_owned(), "rtpengine --table=-1".to_owned())],
            rounds: 5,
            millis: 1000,
        };
        let commanded = |name: &str, speed: f64| Commanded {
            name: name.to_owned(),
            standing: 1000,
            calls_per_second: 1000.0 * speed,
            calls_per_cpu_second: 1234.0 * speed,
            reply_us: [100.0 / speed, 300.0 / speed],
            bytes_per_call: 12_345,
        };
        Comparison {
            circumstances,
            rows: vec![
                row("intertrunk-xdp", false, 12.0),
                row("intertrunk-xsk", false, 3.0),
                row("rtpengine", false, 1.0),
                row("a <b> | c", false, 2.0),
                row("reflector", false, 15.0),
                row("intertrunk-xdp", true, 4.0),
                row("rtpengine", true, 0.5),
            ],
            commanded: vec![commanded("intertrunk", 4.0), commanded("rtpengine", 1.0)],
            left_out: vec![("flowtable".to_owned(), "this kernel has none".to_owned())],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let told = [0.0, 0.012_345, 0.5, 9.996, 99.96, 123.4, 1234.0, 1_234_567.0, f64::NAN, f64::INFINITY].map(digits);
        let expected = ["0", "0.0123", "0.500", "10.0", "100", "123", "1 230", "1 230 000", "-", "-"];
        assert_eq!(told, expected.map(|text| text.replace(' ', &THIN.to_string())));
        assert_eq!([0.001, 0.2, 5.0, 20_000.0].map(tick), ["0.001", "0.2", "5", format!("20{THIN}000").as_str()]);
    }

    #[test]
    fn gaps_and_durations_are_words() {
        let of = |millis| gap(Some(Gap { millis, lost: 0, sent: 10 }));
        assert_eq!(gap(None), "-");
        assert_eq!(of(None), "its calls are gone");
        assert_eq!(of(Some(0.0)), "no packet lost");
        assert_eq!(of(Some(12.34)), "12.3 ms");
        assert_eq!([59, 61, 3725].map(duration), ["59 s", "1 min 1 s", "1 h 2 min"]);
    }

    #[test]
    fn the_summary_has_the_ratios() {
        let comparison = example::comparison();
        let summary = summary(&comparison);
        let [fast, af_xdp, secured, limit] = summary.as_slice() else { panic!("{summary:?}") };
        assert!(fast.contains("12.0 times the rate of rtpengine") && fast.contains("times less processor"), "{fast}");
        assert!(af_xdp.contains("(intertrunk-xsk)") && af_xdp.contains("3.00 times the rate"), "{af_xdp}");
        assert!(secured.contains("intertrunk-xdp has 8.00 times the rate"), "{secured}");
        assert!(limit.contains("80.0 % of the rate of a bare reflector"), "{limit}");
    }

    #[test]
    fn what_is_the_rigs_limit_is_a_bound() {
        let (mut ours, theirs) = (example::row("intertrunk-xdp", false, 2.0), example::row("rtpengine", false, 1.0));
        ours.is_at_rigs_limit = true;
        assert_eq!(rates(&ours, &theirs).unwrap(), "at least 2.00 times");
        assert_eq!(rates(&theirs, &ours).unwrap(), "at most 0.500 times");
        ours.loss_free_kpps = Spread { median: 0.0, least: 0.0, greatest: 0.0 };
        assert_eq!(rates(&theirs, &ours), None);
    }
}
