//! Calls of plain RTP, for frames that are made in the kernel.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aya::maps::Array;
use serde_json::{Value, json};

use super::flood::{Family, party, relay};
use super::secured::local;
use crate::rig::daemon::NgClient;
use crate::rig::party::{is_fast, sdp};
use crate::rig::process::wait_until;
use crate::rig::program::Program;

/// Sets calls up, each of two flows, and tells the generator where their parties send to. Returns the addresses of each party's RTCP: its own, and the
/// relay's.
pub(super) fn set_up(
    ng: &mut NgClient,
    generator: &mut Program,
    (first_port, flows): (u16, u32),
    is_fast_path: bool,
) -> anyhow::Result<Vec<(SocketAddr, SocketAddr)>> {
    let mut reporters = Vec::new();
    let map = generator.ebpf.map_mut("DESTINATIONS").context("no DESTINATIONS")?;
    let mut destinations: Array<_, u32> = map.try_into()?;
    for call in 0..flows as u16 / 2 {
        let port = first_port + 2 * call;
        let addr = |side| SocketAddr::new(party(Family::Ipv4, side), port);
        let id = call_id(call.into());
        let offer = ng.request(&json!({"command": "offer", "call-id": id, "from-tag": "1", "sdp": sdp(addr(0)),
            "flags": ["endpoint-learning-off"], "direction": ["a", "b"], "ICE": "remove"}))?;
        let answer = ng.request(&json!({"command": "answer", "call-id": id, "from-tag": "1", "to-tag": "2",
            "sdp": sdp(addr(1)), "flags": ["endpoint-learning-off"], "ICE": "remove"}))?;
        let is_ok = |reply: &Value| reply.get("result").and_then(Value::as_str) == Some("ok");
        ensure!(is_ok(&offer) && is_ok(&answer), "call {call}: {offer}, {answer}");
        // What the callee is told is in the reply to the offer, and the other way round.
        for (reply, side) in [(&answer, 0), (&offer, 1)] {
            let local = local(reply).filter(|local| local.ip() == relay(Family::Ipv4, side));
            let local = local.with_context(|| format!("no address for side {side}: {reply}"))?;
            destinations.set(u32::from(side) << 16 | u32::from(port), u32::from(local.port().to_be()), 0)?;
            let rtcp = |rtp: SocketAddr| SocketAddr::new(rtp.ip(), rtp.port() + 1);
            reporters.push((rtcp(addr(side)), rtcp(local)));
        }
    }
    if is_fast_path {
        let last = call_id((flows / 2).saturating_sub(1));
        wait_until("the calls are on the fast path", Duration::from_secs(10), || {
            ng.request(&json!({"command": "query", "call-id": last})).is_ok_and(|call| is_fast(&call))
        })?;
    }
    Ok(reporters)
}

/// The Call-ID of one of the calls.
pub(super) fn call_id(number: u32) -> String {
    format!("call-{number}")
}

/// Tells the generator that each party sends to the port of its own number.
pub(super) fn same_ports(generator: &mut Program, first_port: u16, flows: u32) -> anyhow::Result<()> {
    let map = generator.ebpf.map_mut("DESTINATIONS").context("no DESTINATIONS")?;
    let mut destinations: Array<_, u32> = map.try_into()?;
    for (port, side) in (0..flows as u16 / 2).flat_map(|call| [(first_port + 2 * call, 0), (first_port + 2 * call, 1)])
    {
        destinations.set(side << 16 | u32::from(port), u32::from(port.to_be()), 0)?;
    }
    Ok(())
}
