//! A proxy that makes calls, each an offer, an answer and a delete, as Kamailio writes them.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::daemon::NG;
use super::host::{Host, in_namespace};
use super::proxied::far;

/// After so long a request counts as lost. UDP on loopback loses nothing but in a full buffer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many calls are begun.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many are under way at once.
    All(usize),
    /// So many in a second, whatever becomes of the others.
    PerSecond(f64),
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Churned {
    /// Whole calls.
    pub(crate) calls: usize,
    pub(crate) took: Duration,
    /// Nanoseconds of all requests to their replies.
    pub(crate) replies: Vec<u32>,
    pub(crate) lost: usize,
}

/// What a proxy asks for in the life of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Offer,
    Answer,
    Delete,
}

/// A request whose reply has not come.
struct Open {
    call: u64,
    step: Step,
    sent: Instant,
}

/// The proxy.
pub(crate) struct Caller {
    socket: UdpSocket,
    next_call: u64,
    next_cookie: u64,
    open: HashMap<u64, Open>,
    buffer: Vec<u8>,
}

impl Caller {
    /// A proxy on the relay's host.
    pub(crate) fn on(host: &Host) -> anyhow::Result<Self> {
        let socket = in_namespace(host, || Ok(UdpSocket::bind("127.0.0.1:0")?))?;
        socket.connect(NG.parse::<SocketAddr>()?)?;
        socket.set_nonblocking(true)?;
        // Replies that come while others have the caller's processor are not to be lost.
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 4 << 20)?;
        Ok(Self { socket, next_call: 0, next_cookie: 0, open: HashMap::new(), buffer: vec![0; 1 << 16] })
    }

    /// Makes calls that are to stand: nobody deletes them.
    pub(crate) fn stand(&mut self, calls: usize, window: usize) -> anyhow::Result<()> {
        let (mut begun, mut done) = (0, 0);
        while done < calls {
            while begun < calls && self.open.len() < window {
                self.begin()?;
                begun += 1;
            }
            if let Some(open) = self.receive()? {
                match open.step {
                    Step::Offer => self.send(open.call, Step::Answer)?,
                    Step::Answer | Step::Delete => done += 1,
                }
            }
            ensure!(self.forget_lost() == 0, "a request got no reply after {done} calls");
        }
        Ok(())
    }

    /// Makes calls and ends them, for a time.
    pub(crate) fn churn(&mut self, pace: Pace, time: Duration) -> anyhow::Result<Churned> {
        let mut churned = Churned::default();
        let start = Instant::now();
        let mut begun = 0_usize;
        loop {
            let elapsed = start.elapsed();
            let is_over = elapsed >= time;
            if is_over && self.open.is_empty() {
                churned.took = elapsed.min(time);
                return Ok(churned);
            }
            let due = match pace {
                Pace::All(window) => begun + window.saturating_sub(self.open.len()),
                Pace::PerSecond(rate) => (elapsed.as_secs_f64() * rate) as usize,
            };
            // One after another, with replies in between: a burst would measure the queue that it makes.
            if begun < due && !is_over {
                self.begin()?;
                begun += 1;
            }
            if let Some(open) = self.receive()? {
                churned.replies.push(u32::try_from(open.sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
                match open.step {
                    Step::Offer => self.send(open.call, Step::Answer)?,
                    Step::Answer => self.send(open.call, Step::Delete)?,
                    // What ends after the time is nobody's.
                    Step::Delete => churned.calls += usize::from(start.elapsed() < time),
                }
            } else {
                churned.lost += self.forget_lost();
                let until = match pace {
                    Pace::All(_) => None,
                    Pace::PerSecond(rate) => {
                        Some(Duration::from_secs_f64((begun + 1) as f64 / rate).saturating_sub(elapsed))
                    }
                };
                if begun >= due {
                    self.wait(until)?;
                }
            }
        }
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        self.next_call += 1;
        self.send(self.next_call, Step::Offer)
    }

    fn send(&mut self, call: u64, step: Step) -> anyhow::Result<()> {
        self.next_cookie += 1;
        let request = request(self.next_cookie, call, step);
        self.socket.send(&request).context("the relay cannot be asked")?;
        self.open.insert(self.next_cookie, Open { call, step, sent: Instant::now() });
        Ok(())
    }

    /// The request whose reply has come, if one has.
    fn receive(&mut self) -> anyhow::Result<Option<Open>> {
        let len = match self.socket.recv(&mut self.buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("the relay does not answer"),
        };
        let reply = self.buffer.get(..len).unwrap_or_default();
        let cookie = answered(reply)?;
        Ok(self.open.remove(&cookie))
    }

    /// Waits for a reply, or until the next call is due. A caller that span would have its processor to itself, and the kernel's work for it
    /// would be done at the relay's.
    fn wait(&self, until: Option<Duration>) -> anyhow::Result<()> {
        let until = until.unwrap_or(PATIENCE).min(PATIENCE);
        let until = Timespec { tv_sec: until.as_secs().cast_signed(), tv_nsec: until.subsec_nanos().into() };
        let mut sockets = [PollFd::new(&self.socket, PollFlags::IN)];
        rustix::event::poll(&mut sockets, Some(&until)).context("the caller cannot wait")?;
        Ok(())
    }

    fn forget_lost(&mut self) -> usize {
        let before = self.open.len();
        self.open.retain(|_, open| open.sent.elapsed() < PATIENCE);
        before - self.open.len()
    }
}

/// One request in bencode, its keys in the order in which Kamailio writes them.
pub(crate) fn request(cookie: u64, call: u64, step: Step) -> Vec<u8> {
    let mut request = format!("{cookie} ").into_bytes();
    let out = &mut request;
    let call_id = format!("{call:08x}-4c1f-11ef-9b5a-{call:012x}@10.77.0.200");
    // The parties of all calls are hosts of their trunks; each call has a port.
    let port = 10_000 + (call % 20_000) as u16 * 2;
    let (from, to) = (format!("as{call:08x}"), format!("gw{call:08x}"));
    out.extend_from_slice(b"d8:supportsl10:load limite");
    match step {
        Step::Offer => {
            text(out, "sdp", &sdp(far(0), port));
            out.extend_from_slice(b"3:ICE6:remove9:directionl1:a1:be7:replacel6:origine");
        }
        Step::Answer => {
            text(out, "sdp", &sdp(far(1), port));
            out.extend_from_slice(b"3:ICE6:remove7:replacel6:origine");
        }
        Step::Delete => {}
    }
    text(out, "call-id", &call_id);
    out.extend_from_slice(b"13:received-froml3:IP411:10.77.0.200e");
    text(out, "from-tag", &from);
    let command = match step {
        Step::Offer => "offer",
        Step::Answer => {
            text(out, "to-tag", &to);
            "answer"
        }
        Step::Delete => "delete",
    };
    text(out, "command", command);
    out.push(b'e');
    request
}

/// The cookie of a reply.
///
/// # Errors
/// When it refuses, or is none.
pub(crate) fn answered(reply: &[u8]) -> anyhow::Result<u64> {
    let space = reply.iter().position(|byte| *byte == b' ').context("a reply without a cookie")?;
    let (cookie, dictionary) = reply.split_at(space);
    let is_ok = dictionary.windows(12).any(|part| part == b"6:result2:ok");
    ensure!(is_ok, "the relay refuses: {}", dictionary.escape_ascii());
    Ok(std::str::from_utf8(cookie)?.parse()?)
}

fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    for text in [key, value] {
        out.extend_from_slice(format!("{}:", text.len()).as_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

/// As an IP-PBX writes it.
fn sdp(addr: std::net::IpAddr, port: u16) -> String {
    format!(
        "v=0\r\no=- 1712045 1712045 IN IP4 {addr}\r\ns=pbx\r\nc=IN IP4 {addr}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 0 18 101\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:150\r\na=sendrecv\r\n"
    )
}
