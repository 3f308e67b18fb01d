//! `intertrunk list`, `show` and `terminate`.

use std::io::{self, Write as _};

use serde_json::Value;

use super::paint::{Paint, count, percent, span};
use super::{Which, tell_json};
use crate::console::{Client, OnPath, Request};
use crate::view::{CallView, ExtremesView, Summary};

/// Says which calls there are.
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    which: Which,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only those with which something is wrong
    #[arg(long)]
    troubled: bool,
    /// Only those on this path; may be repeated
    #[arg(long, value_name = "PATH")]
    path: Vec<OnPath>,
}

/// Says everything about a call.
#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    which: Which,
    /// The Call-ID
    call_id: String,
    /// Its last offer and answer as well, as they came and as they went on
    #[arg(long)]
    sdp: bool,
}

/// Ends calls, whatever their proxies think of it.
#[derive(Debug, clap::Args)]
pub struct Terminate {
    #[command(flatten)]
    which: Which,
    /// The Call-ID
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    call_id: Option<String>,
    /// All calls
    #[arg(long)]
    all: bool,
}

impl List {
    /// Asks and tells.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn run(self) -> anyhow::Result<()> {
        let request = Request::List { limit: self.limit, troubled: self.troubled, path: self.path };
        let mut client = self.which.connect()?;
        if self.which.json {
            let _end: Value = client.ask_each(&request, |item: Value| {
                let mut out = io::stdout().lock();
                serde_json::to_writer(&mut out, &item)?;
                writeln!(out)
            })?;
            return Ok(());
        }
        let (paint, mut out) = (Paint::of_output(), io::BufWriter::new(io::stdout().lock()));
        let head = format!(
            "{:<40} {:>8} {:<5} {:>4} {:>12} {:>8} {:>4} {:>8}  {}",
            "CALL-ID", "AGE", "PATH", "LEGS", "PACKETS", "LOST", "MOS", "IDLE", "TROUBLE, REASONS"
        );
        writeln!(out, "{}", paint.head(&head))?;
        let end: Value = client.ask_each(&request, |call: Summary| writeln!(out, "{}", line(&call, paint)))?;
        let [calls, listed] = ["calls", "listed"].map(|key| end.get(key).and_then(Value::as_u64).unwrap_or(0));
        let rest = if listed == calls { String::new() } else { format!(", {listed} of them listed") };
        writeln!(out, "{} calls{rest}", count(calls))?;
        Ok(out.flush()?)
    }
}

/// A call in one line.
pub(super) fn line(call: &Summary, paint: Paint) -> String {
    let troubles: Vec<String> = call.troubles.iter().map(|trouble| paint.bad(&trouble.to_string())).collect();
    let why = troubles.into_iter().chain(call.reasons.iter().cloned()).collect::<Vec<_>>().join(", ");
    format!(
        "{:<40} {:>8} {} {:>4} {:>12} {:>8} {:>4} {:>8}  {why}",
        call.call_id,
        span(call.age),
        paint.path(&call.path, 5),
        call.legs,
        call.packets,
        call.lost,
        call.mos.map_or_else(|| "-".to_owned(), |mos| format!("{mos:.1}")),
        call.idle.map_or_else(|| "-".to_owned(), span),
    )
}

impl Show {
    /// Asks and tells.
    ///
    /// # Errors
    /// When there is no such call, or the daemon does not answer.
    pub fn run(self) -> anyhow::Result<()> {
        let request = Request::Show { call_id: self.call_id };
        let mut client = self.which.connect()?;
        if self.which.json {
            return tell_json(&client.ask::<Value>(&request)?);
        }
        let call: CallView = client.ask(&request)?;
        let mut told = text(&call, Paint::of_output());
        if self.sdp {
            told += &descriptions(&call, Paint::of_output());
        }
        Ok(io::stdout().lock().write_all(told.as_bytes())?)
    }
}

/// What was said last in a call.
fn descriptions(call: &CallView, paint: Paint) -> String {
    let mut told = String::new();
    for one in &call.descriptions {
        for (what, sdp) in [("as it came", &one.before), ("as it went on", &one.after)] {
            told += &paint.head(&format!("{} of {}, {} ago, {what}", one.kind, one.tag, span(one.ago)));
            told.push('\n');
            told.extend(sdp.lines().map(|line| format!("  {line}\n")));
        }
    }
    if told.is_empty() {
        told.push_str("nothing was said since this daemon has the call\n");
    }
    told
}

/// A call for people.
fn text(call: &CallView, paint: Paint) -> String {
    let CallView { summary, signalled_ago, parties, .. } = call;
    let mut lines = vec![
        paint.head(&summary.call_id),
        format!(
            "  for {}, signalled {} ago, path {}",
            span(summary.age),
            span(*signalled_ago),
            paint.path(&summary.path, 0)
        ),
    ];
    lines.extend(summary.troubles.iter().map(|trouble| format!("  {}", paint.bad(&trouble.to_string()))));
    for party in parties {
        let tag = party.tag.as_deref().unwrap_or("no tag yet");
        let mut line = format!("party {tag}");
        for (what, value) in [("label", &party.label), ("branch", &party.via_branch), ("talks with", &party.partner)] {
            line += &value.as_ref().map_or_else(String::new, |value| format!(", {what} {value}"));
        }
        lines.push(paint.head(&line));
        for media in &party.medias {
            let mut line = format!("  {} {}", media.kind, media.protocol);
            let codec = media.codec.clone();
            let treatments = media.treatments.iter().map(String::clone);
            let words = codec.into_iter().chain(media.direction.clone()).chain([media.protection.clone()]);
            for word in words.chain(media.mux.then(|| "rtcp-mux".to_owned())).chain(treatments) {
                line += &format!(", {word}");
            }
            if media.is_held {
                line += ", on hold";
            }
            lines.push(line);
            for source in &media.sources {
                let peer = source.peer.map_or_else(|| "nobody yet".to_owned(), |peer| peer.to_string());
                let learned = if source.is_confirmed { "heard" } else { "not heard" };
                // Where it is and where it said that it would be.
                let elsewhere = match source.signalled {
                    Some(signalled) if source.signalled != source.peer => format!(", signalled {signalled}"),
                    Some(_) | None => String::new(),
                };
                let path = source.path.as_deref().unwrap_or("none");
                let reason = source.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
                let is_slow = source.path.as_deref() == Some("slow");
                let intake = source.intake.as_ref().filter(|_| is_slow);
                let intake = intake.map_or_else(String::new, |intake| format!(", by {intake}"));
                lines.push(format!(
                    "    {:<4} {} <- {peer} {learned}{elsewhere}; {}{reason}{intake}",
                    source.component,
                    source.local,
                    paint.path(path, 0)
                ));
                let all = source.fast_packets + source.slow_packets;
                let mut counts = format!("         {} packets", count(all));
                if all > 0 {
                    let ago =
                        source.last_packet_ago.map_or_else(String::new, |ago| format!(", the last {} ago", span(ago)));
                    counts += &format!(
                        " ({} fast), {} lost ({}), {} late or twice, {} not sent{ago}",
                        count(source.fast_packets),
                        source.lost,
                        percent(source.lost as f64, all as f64 + source.lost as f64),
                        source.late,
                        source.errors,
                    );
                    counts += &source.jitter_ms.map_or_else(String::new, |jitter| format!(", jitter {jitter:.1} ms"));
                }
                lines.push(counts);
                for sink in &source.sinks {
                    let to = sink.to.map_or_else(|| "nowhere yet".to_owned(), |to| to.to_string());
                    let tag = sink.tag.as_deref().unwrap_or("no tag yet");
                    let why = sink.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
                    let passes = if sink.passes == "all" { String::new() } else { format!(", {}", sink.passes) };
                    lines.push(format!("         -> {} {tag} at {to}{why}{passes}", sink.edge));
                }
                for quality in &source.quality {
                    let average = &quality.average;
                    let round_trip =
                        average.round_trip_ms.map_or_else(String::new, |time| format!(", round trip {time:.0} ms"));
                    lines.push(format!(
                        "         reports MOS {} on average ({} to {}, the lowest {} ago), {} lost{}, jitter {} ms{}{round_trip}",
                        score(average.mos),
                        score(quality.lowest.mos),
                        score(quality.highest.mos),
                        span(quality.lowest.ago),
                        quality.lost,
                        extremes(quality.loss_percent.as_ref(), " % between reports"),
                        average.jitter_ms,
                        extremes(quality.jitter_ms.as_ref(), "")
                    ));
                }
            }
        }
    }
    lines.join("\n") + "\n"
}

fn score(mos: Option<f64>) -> String {
    mos.map_or_else(|| "-".to_owned(), |mos| format!("{mos:.1}"))
}

/// The least and the greatest of a figure, and when that was.
fn extremes(extremes: Option<&ExtremesView>, unit: &str) -> String {
    extremes.map_or_else(String::new, |ExtremesView { least, greatest, greatest_ago }| {
        format!(" ({least} to {greatest}{unit}, the most {} ago)", span(*greatest_ago))
    })
}

impl Terminate {
    /// Asks and tells.
    ///
    /// # Errors
    /// When there is no such call, or the daemon does not answer.
    pub fn run(self) -> anyhow::Result<()> {
        let request = match self.call_id {
            Some(call_id) => Request::Terminate { call_id },
            None => Request::TerminateAll,
        };
        let ended: Value = ask(&self.which, &request)?;
        if self.which.json {
            return tell_json(&ended);
        }
        let ended = ended.get("terminated").and_then(Value::as_u64).unwrap_or(0);
        Ok(writeln!(io::stdout().lock(), "{} ended", count(ended))?)
    }
}

fn ask(which: &Which, request: &Request) -> anyhow::Result<Value> {
    let mut client: Client = which.connect()?;
    Ok(client.ask(request)?)
}
