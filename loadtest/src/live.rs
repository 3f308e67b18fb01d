//! The live view: what the relay itself says of the calls that run.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::daemon::NgClient;

/// How often the view is drawn.
const PERIOD: Duration = Duration::from_millis(500);
/// How many calls have lines of their own.
const SHOWN: usize = 3;

/// A view on standard error: redrawn in place on a terminal, a summary line every second elsewhere.
#[derive(Debug)]
pub struct LiveView {
    client: NgClient,
    drawn: Option<Instant>,
    lines: usize,
    is_terminal: bool,
}

impl LiveView {
    /// A view of what this client can query.
    pub fn new(client: NgClient) -> Self {
        Self { client, drawn: None, lines: 0, is_terminal: std::io::stderr().is_terminal() }
    }

    /// Draws the view, if it is time.
    ///
    /// # Errors
    /// When the relay does not answer.
    pub fn draw(&mut self) -> anyhow::Result<()> {
        let period = if self.is_terminal { PERIOD } else { PERIOD * 4 };
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < period) {
            return Ok(());
        }
        self.drawn = Some(Instant::now());
        let mut ids: Vec<String> = Vec::new();
        let list = self.client.request(&json!({"command": "list", "limit": 1000}))?;
        for id in list.get("calls").and_then(Value::as_array).into_iter().flatten() {
            ids.extend(id.as_str().map(str::to_owned));
        }
        ids.sort_unstable();
        let mut text = format!("calls {:>4}", ids.len());
        let mut details = String::new();
        for id in ids.iter().take(SHOWN) {
            let call = self.client.request(&json!({"command": "query", "call-id": id}))?;
            for stream in streams(&call) {
                writeln!(details, "{}", stream.line(id))?;
            }
        }
        if self.is_terminal {
            text.push('\n');
            text.push_str(&details);
            if ids.len() > SHOWN {
                writeln!(text, "  ... and {} more calls", ids.len() - SHOWN)?;
            }
            let mut screen = std::io::stderr().lock();
            // Up to the first line of the last drawing, and clear to the end.
            if self.lines > 0 {
                write!(screen, "\x1b[{}A\x1b[J", self.lines)?;
            }
            write!(screen, "{text}")?;
            self.lines = text.lines().count();
        } else if let Some(first) = details.lines().next() {
            eprintln!("{text} | {}", first.trim());
        }
        Ok(())
    }
}

/// An RTP stream, as a reply to `query` describes it.
struct Stream {
    interface: String,
    state: String,
    fast: i64,
    slow: i64,
    lost: i64,
    jitter_us: i64,
}

impl Stream {
    fn line(&self, call: &str) -> String {
        let call: String = call.chars().take(24).collect();
        format!(
            "  {call:<24} from {:<8} {:<18} fast {:>6}  slow {:>4}  lost {:>3}  jitter {:>6.2} ms",
            self.interface,
            self.state,
            self.fast,
            self.slow,
            self.lost,
            self.jitter_us as f64 / 1000.0
        )
    }
}

fn streams(call: &Value) -> Vec<Stream> {
    let mut found = Vec::new();
    let tags = call.get("tags").and_then(Value::as_object).into_iter().flat_map(|tags| tags.values());
    for media in tags.filter_map(|tag| tag.get("medias")?.as_array()).flatten() {
        for stream in media.get("streams").and_then(Value::as_array).into_iter().flatten() {
            let is_rtp = stream
                .get("flags")
                .and_then(Value::as_array)
                .is_some_and(|flags| flags.iter().any(|flag| flag == "RTP"));
            let number = |key: &str| stream.get(key).and_then(Value::as_i64).unwrap_or(0);
            let text = |key: &str| stream.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
            if is_rtp {
                let reason = text("reason");
                found.push(Stream {
                    interface: text("interface"),
                    state: if reason.is_empty() { "fast path".to_owned() } else { format!("slow: {reason}") },
                    fast: number("fast packets"),
                    slow: number("slow packets"),
                    lost: number("lost"),
                    jitter_us: number("jitter us"),
                });
            }
        }
    }
    found
}
