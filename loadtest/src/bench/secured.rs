//! Calls of which one side has SRTP, for frames that are made in the kernel.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use aya::maps::Array;
use serde_json::{Value, json};

use super::flood::{Family, party, relay};
use crate::rig::daemon::NgClient;
use crate::rig::party::sdp;
use crate::rig::program::Program;

/// The suite that everybody has.
const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";
/// Somebody's key.
const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

/// Who of a call has SRTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Secured {
    /// Whoever is sent to: the relay protects.
    Receiver,
    /// Whoever sends, as the relay believes: what is made in the kernel is in plain, and so forged.
    Sender,
}

/// Sets calls up, each of one flow of frames that are made in the kernel, from this port of the parties on.
pub(crate) fn set_up(
    ng: &mut NgClient,
    generator: &mut Program,
    first_port: u16,
    flows: u32,
    secured: Secured,
) -> anyhow::Result<()> {
    let map = generator.ebpf.map_mut("DESTINATIONS").context("no DESTINATIONS")?;
    let mut destinations: Array<_, u32> = map.try_into()?;
    for flow in 0..flows {
        let (side, port) = ((flow % 2) as u8, first_port + 2 * (flow / 2) as u16);
        let [from, to] = [(side, port), (1 - side, port + 10_000)]
            .map(|(side, port)| sdp(SocketAddr::new(party(Family::Ipv4, side), port)));
        let id = format!("{secured:?}-{flow}");
        let (theirs, profile) = match secured {
            Secured::Receiver => (from, "RTP/SAVP"),
            Secured::Sender => (protected(&from, "1"), "RTP/AVP"),
        };
        let offer = json!({"command": "offer", "call-id": id, "from-tag": "1", "flags": ["endpoint-learning-off"],
            "direction": if side == 0 { ["a", "b"] } else { ["b", "a"] }, "ICE": "remove", "DTLS": "off",
            "SDES": [format!("only-{SUITE}")], "sdp": theirs, "transport-protocol": profile});
        let offered = ng.request(&offer)?;
        let theirs = match secured {
            Secured::Receiver => {
                let sdp = offered.get("sdp").and_then(Value::as_str).unwrap_or_default();
                let line = sdp.lines().find(|line| line.starts_with("a=crypto:") && line.contains(SUITE));
                let tag = line.and_then(|line| line.strip_prefix("a=crypto:")?.split(' ').next());
                protected(&to, tag.with_context(|| format!("no key is offered: {offered}"))?)
            }
            Secured::Sender => to,
        };
        let answer = ng.request(&json!({"command": "answer", "call-id": id, "from-tag": "1", "to-tag": "2",
            "sdp": theirs, "flags": ["endpoint-learning-off"], "ICE": "remove"}))?;
        let local = local(&answer).filter(|local| local.ip() == relay(Family::Ipv4, side));
        let local = local.with_context(|| format!("no address for side {side}: {answer}"))?;
        destinations.set(u32::from(side) << 16 | u32::from(port), u32::from(local.port().to_be()), 0)?;
    }
    Ok(())
}

/// A description with a key.
fn protected(sdp: &str, tag: &str) -> String {
    sdp.replace("RTP/AVP", "RTP/SAVP") + &format!("a=crypto:{tag} {SUITE} inline:{KEY}\r\n")
}

/// The address and port that a reply's session description names.
pub(super) fn local(reply: &Value) -> Option<SocketAddr> {
    let sdp = reply.get("sdp")?.as_str()?;
    let addr: IpAddr = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 "))?.trim().parse().ok()?;
    let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?;
    Some(SocketAddr::new(addr, port.parse().ok()?))
}
