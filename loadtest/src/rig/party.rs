//! A party of a call that the tests play themselves: a pair of UDP sockets at a far end, and what it sends and hears.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::daemon::NgClient;
use super::host::Host;
use super::trunks::{Trunk, Trunks};
use crate::rtp::{self, Sequence, Ssrc, Timestamp};

/// How long a packet may be under way.
const PATIENCE: Duration = Duration::from_millis(1500);

/// One end of a call.
#[derive(Debug)]
pub struct Party {
    /// Its RTP socket; the port is even.
    pub rtp: UdpSocket,
    /// Its RTCP socket, on the next port.
    pub rtcp: UdpSocket,
    addr: SocketAddr,
    ssrc: Ssrc,
    sequence: Sequence,
}

impl Party {
    /// A party on the host at the far end of a trunk.
    ///
    /// # Errors
    /// When its ports are taken.
    pub fn new(trunks: &Trunks, trunk: Trunk, port: u16) -> anyhow::Result<Self> {
        Self::at(trunks, trunk, SocketAddr::new(trunk.far().into(), port))
    }

    /// The same with the IPv6 address of that host; the trunks must have one.
    ///
    /// # Errors
    /// When its ports are taken.
    pub fn new6(trunks: &Trunks, trunk: Trunk, port: u16) -> anyhow::Result<Self> {
        Self::at(trunks, trunk, SocketAddr::new(trunk.far6().into(), port))
    }

    /// The same with an address of the caller's choice on that host.
    ///
    /// # Errors
    /// When the address is not the host's, or its ports are taken.
    pub fn at(trunks: &Trunks, trunk: Trunk, addr: SocketAddr) -> anyhow::Result<Self> {
        Self::on(trunks.far(trunk), addr)
    }

    /// A party on any host.
    ///
    /// # Errors
    /// When the address is not the host's, or its ports are taken.
    pub fn on(host: &Host, addr: SocketAddr) -> anyhow::Result<Self> {
        let bind = |port| {
            let socket = host.udp(SocketAddr::new(addr.ip(), port))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            anyhow::Ok(socket)
        };
        let host = match addr.ip() {
            IpAddr::V4(ip) => u32::from(ip),
            IpAddr::V6(ip) => u128::from(ip).wrapping_mul(0x9e37_79b1) as u32,
        };
        let ssrc = Ssrc(host ^ u32::from(addr.port()));
        Ok(Self { rtp: bind(addr.port())?, rtcp: bind(addr.port() + 1)?, addr, ssrc, sequence: Sequence(1000) })
    }

    /// Its RTP address.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Goes on with another sequence number.
    pub const fn set_sequence(&mut self, sequence: u16) {
        self.sequence = Sequence(sequence);
    }

    /// Its synchronisation source.
    pub const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Changes its synchronisation source.
    pub const fn set_ssrc(&mut self, ssrc: Ssrc) {
        self.ssrc = ssrc;
    }

    /// The next RTP packet of its stream.
    pub fn packet(&mut self) -> Vec<u8> {
        self.sequence = Sequence(self.sequence.0.wrapping_add(1));
        let timestamp = Timestamp(u32::from(self.sequence.0) * 160);
        let mut packet = rtp::header(false, 8, self.sequence, timestamp, self.ssrc).to_vec();
        packet.extend((0..160u8).map(|byte| byte ^ self.sequence.0 as u8));
        packet
    }

    /// Its next RTP packet, which nobody has sent yet.
    pub fn next_packet(&mut self) -> Vec<u8> {
        self.packet()
    }

    /// Sends its next RTP packet; returns it.
    ///
    /// # Errors
    /// When the socket does not take it.
    pub fn speak(&mut self, to: SocketAddr) -> io::Result<Vec<u8>> {
        let packet = self.packet();
        self.rtp.send_to(&packet, to)?;
        Ok(packet)
    }

    /// The next datagram on its RTP port, and who sent it; `None` when none comes.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn hear(&self) -> io::Result<Option<(Vec<u8>, SocketAddr)>> {
        receive(&self.rtp)
    }

    /// The next datagram on its RTCP port.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn hear_rtcp(&self) -> io::Result<Option<(Vec<u8>, SocketAddr)>> {
        receive(&self.rtcp)
    }

    /// Its session description.
    pub fn sdp(&self) -> String {
        sdp(self.addr)
    }
}

/// A session description with one audio stream at this address.
pub fn sdp(addr: SocketAddr) -> String {
    let (ip, port, version) = (addr.ip(), addr.port(), if addr.is_ipv4() { 4 } else { 6 });
    format!(
        "v=0\r\no=- 1 1 IN IP{version} {ip}\r\ns=-\r\nc=IN IP{version} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n"
    )
}

fn receive(socket: &UdpSocket) -> io::Result<Option<(Vec<u8>, SocketAddr)>> {
    let mut buffer = vec![0; 2048];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                buffer.truncate(len);
                return Ok(Some((buffer, from)));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(None);
            }
            // A machine that was held for a while.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A call between two parties that has been set up.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its Call-ID.
    pub id: String,
    /// Where the caller sends to.
    pub for_caller: SocketAddr,
    /// Where the callee sends to.
    pub for_callee: SocketAddr,
}

impl Call {
    /// Sets a call up by offer and answer. The caller is on one trunk and the callee on the other, or both on one.
    ///
    /// # Errors
    /// When the relay refuses.
    pub fn set_up(
        ng: &mut NgClient,
        id: &str,
        caller: (&Party, Trunk),
        callee: (&Party, Trunk),
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let offer = ng.request(&json!({
            "command": "offer", "call-id": id, "from-tag": "caller", "sdp": caller.0.sdp(), "flags": flags,
            "direction": [caller.1.name(), callee.1.name()],
            "address family": if callee.0.addr().is_ipv4() { "IP4" } else { "IP6" },
        }))?;
        let answer = ng.request(&json!({
            "command": "answer", "call-id": id, "from-tag": "caller", "to-tag": "callee", "sdp": callee.0.sdp(), "flags": flags,
        }))?;
        Ok(Self { id: id.to_owned(), for_callee: media(&offer)?, for_caller: media(&answer)? })
    }

    /// Has both parties speak in turns, so many packets each.
    ///
    /// # Errors
    /// When one does not hear what the other said, or hears it from elsewhere than the relay told.
    pub fn converse(&self, caller: &mut Party, callee: &mut Party, packets: u32) -> anyhow::Result<()> {
        for number in 0..packets {
            let sent = caller.speak(self.for_caller)?;
            anyhow::ensure!(callee.hear()? == Some((sent, self.for_callee)), "packet {number} of the caller");
            let sent = callee.speak(self.for_callee)?;
            anyhow::ensure!(caller.hear()? == Some((sent, self.for_caller)), "packet {number} of the callee");
        }
        Ok(())
    }

    /// The relay's view of the RTP stream that arrives at a local address.
    ///
    /// # Errors
    /// When the relay does not know the call or the stream.
    pub fn stream(&self, ng: &mut NgClient, local: SocketAddr) -> anyhow::Result<Value> {
        let call = ng.request(&json!({"command": "query", "call-id": self.id}))?;
        let tags = call.get("tags").and_then(Value::as_object).context("no tags")?;
        tags.values()
            .filter_map(|tag| tag.get("medias")?.as_array())
            .flatten()
            .filter_map(|media| media.get("streams")?.as_array())
            .flatten()
            .find(|stream| {
                stream.get("local port") == Some(&json!(local.port()))
                    && stream.get("local address") == Some(&json!(local.ip().to_string()))
            })
            .cloned()
            .with_context(|| format!("no stream at {local}: {call}"))
    }
}

/// The address in a reply's session description.
///
/// # Errors
/// When there is none.
pub fn media(reply: &Value) -> anyhow::Result<SocketAddr> {
    let sdp = reply.get("sdp").and_then(Value::as_str).with_context(|| format!("no description in {reply}"))?;
    let line = |start: &str| sdp.lines().find_map(|line| line.strip_prefix(start));
    let ip: IpAddr = line("c=IN IP").and_then(|rest| rest.split(' ').nth(1)).context("no c=")?.parse()?;
    let port = line("m=audio ").and_then(|rest| rest.split(' ').next()).context("no m=")?.parse()?;
    Ok(SocketAddr::new(ip, port))
}

/// Whether all RTP of a call is on the fast path, by the reply to a query. RTCP is read, and that only a worker can.
pub fn is_fast(call: &Value) -> bool {
    let tags = call.get("tags").and_then(Value::as_object);
    let medias = tags.into_iter().flat_map(|tags| tags.values()).filter_map(|tag| tag.get("medias")?.as_array());
    let streams = medias.flatten().filter_map(|media| media.get("streams")?.as_array()).flatten();
    let is_rtp = |stream: &&Value| {
        let flags = stream.get("flags").and_then(Value::as_array);
        flags.is_some_and(|flags| flags.iter().any(|flag| flag == "RTP"))
    };
    let mut paths = streams.filter(is_rtp).filter_map(|stream| stream.get("path")?.as_str()).peekable();
    paths.peek().is_some() && paths.all(|path| path == "fast")
}
