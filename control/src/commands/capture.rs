//! `intertrunk capture`.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Which;
use super::pcapng::Pcapng;
use crate::console::{Captured, ClientError, Request};

/// Writes a file of a call's packets, also of those that XDP forwards, which no other program sees.
#[derive(Debug, clap::Args)]
pub struct Capture {
    #[command(flatten)]
    which: Which,
    /// The Call-ID
    call_id: String,
    /// The file, which is made: pcapng, as Wireshark reads it; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    write: PathBuf,
    /// For so many seconds, or until the call ends
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// As packets are behind SRTP, and not as they are on the wire
    #[arg(long)]
    plain: bool,
}

impl Capture {
    /// Asks and writes.
    ///
    /// # Errors
    /// When there is no such call, the file cannot be written, or the daemon does not answer.
    pub fn run(self) -> anyhow::Result<()> {
        let (mut client, json) = (self.which.connect()?, self.which.json);
        let out: Box<dyn io::Write> = if self.write.as_os_str() == "-" {
            Box::new(io::stdout().lock())
        } else {
            // What people say is nobody else's business.
            let opened = File::options().write(true).create_new(true).mode(0o600).open(&self.write);
            Box::new(opened.with_context(|| format!("{} cannot be made", self.write.display()))?)
        };
        let mut file = Pcapng::begin(BufWriter::new(out))?;
        // Whoever interrupts it has enough.
        let is_enough = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&is_enough)).context("signals cannot be caught")?;
        }
        let (mut seen, mut missed) = (0_u64, 0);
        let request = Request::Capture { call_id: self.call_id, plain: self.plain, seconds: self.seconds };
        let asked = client.ask_each(&request, |item: Captured| {
            match item {
                // What was lost so far is told within a second: until then nothing more is written.
                Captured::Packet { .. } if is_enough.load(Ordering::Relaxed) => Ok(()),
                Captured::Packet { at, packet } => {
                    seen += 1;
                    let packet = STANDARD.decode(packet).map_err(io::Error::other)?;
                    file.packet(at, &packet)
                }
                // A good time for whoever reads while it is written.
                Captured::Lost(lost) => {
                    missed = lost;
                    if is_enough.load(Ordering::Relaxed) {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                    file.flush()
                }
            }
        });
        let end: Value = match asked {
            Ok(end) => end,
            Err(ClientError::Output(error)) if error.kind() == io::ErrorKind::Interrupted => {
                json!({"packets": seen, "lost": missed})
            }
            Err(error) => {
                // Of a call that there is not there is no file.
                if file.is_empty() && self.write.as_os_str() != "-" {
                    let _gone = std::fs::remove_file(&self.write);
                }
                return Err(error.into());
            }
        };
        file.flush()?;
        // Standard output may be the file.
        if json {
            return Ok(writeln!(io::stderr().lock(), "{end}")?);
        }
        let [packets, lost] = ["packets", "lost"].map(|key| end.get(key).and_then(Value::as_u64).unwrap_or(0));
        let lost = if lost == 0 {
            String::new()
        } else {
            format!(", {lost} more lost: they came faster than they were written")
        };
        Ok(writeln!(io::stderr().lock(), "{packets} packets{lost}")?)
    }
}
