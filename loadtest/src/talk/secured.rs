//! SRTP at the end of a caller, with keys by SDES (RFC 4568): the relay opens what it says, and protects what it hears.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use media::srtp::{MasterKey, Mki, Protector, Suite, Unprotector};
use media::{Packet, TAIL_ROOM};
use serde_json::{Value, json};

use crate::rig::chance::Chance;
use crate::rig::daemon::NgClient;
use crate::rig::party::{Call, Party, media};
use crate::rig::trunks::Trunk;

/// The suite that everybody has.
const SUITE: Suite = Suite::AesCm128Sha80;
const NAME: &str = "AES_CM_128_HMAC_SHA1_80";

/// Sets a call up whose caller has SRTP, and whose callee has not; with what the caller needs to speak, and to listen.
pub(super) fn set_up(
    ng: &mut NgClient,
    id: &str,
    (caller, from): (&Party, Trunk),
    (callee, to): (&Party, Trunk),
    number: u16,
) -> anyhow::Result<(Call, Protector, Unprotector)> {
    let mut chance = Chance::new(u64::from(number) + 1);
    let own: Vec<u8> = (0..SUITE.key_len() + SUITE.salt_len()).map(|_| chance.below(256) as u8).collect();
    let sdp = caller.sdp().replace("RTP/AVP", "RTP/SAVP")
        + &format!("a=crypto:1 {NAME} inline:{}\r\n", STANDARD.encode(&own));
    let offer = ng
        .request(&json!({"command": "offer", "call-id": id, "from-tag": "caller", "sdp": sdp, "DTLS": "off",
        "transport-protocol": "RTP/AVP", "direction": [from.name(), to.name()]}))?;
    let answer = ng.request(&json!({"command": "answer", "call-id": id, "from-tag": "caller", "to-tag": "callee",
        "sdp": callee.sdp()}))?;
    let told = answer.get("sdp").and_then(Value::as_str).unwrap_or_default();
    let key = told.lines().find_map(|line| Some(line.split_once("inline:")?.1.split('|').next()?.trim()));
    let theirs = key.and_then(|key| STANDARD.decode(key).ok());
    let theirs = theirs.with_context(|| format!("no key is answered: {offer}, {answer}"))?;
    let call = Call { id: id.to_owned(), for_callee: media(&offer)?, for_caller: media(&answer)? };
    let key = |material: &[u8]| MasterKey::new(SUITE, material, Mki::default());
    Ok((call, Protector::new(&key(&own)?), Unprotector::new(&key(&theirs)?)))
}

/// A packet as it goes over the wire.
pub(super) fn protect(protector: &mut Protector, payload: &[u8], is_rtcp: bool) -> anyhow::Result<Vec<u8>> {
    let mut buffer = payload.to_vec();
    buffer.resize(payload.len() + TAIL_ROOM, 0);
    let mut packet = Packet::new(&mut buffer, 0, payload.len()).context("no room")?;
    if is_rtcp {
        protector.rtcp(&mut packet)?;
    } else {
        protector.rtp(&mut packet)?;
    }
    let (start, end) = packet.range();
    ensure!(start == 0, "a packet has grown at its front");
    buffer.truncate(end);
    Ok(buffer)
}

/// What a packet from the wire is; `None` when nobody who has the key has sent it.
pub(super) fn open<'a>(unprotector: &mut Unprotector, payload: &'a mut [u8], is_rtcp: bool) -> Option<&'a [u8]> {
    let len = payload.len();
    let mut packet = Packet::new(payload, 0, len)?;
    let opened = if is_rtcp { unprotector.rtcp(&mut packet) } else { unprotector.rtp(&mut packet) };
    opened.ok()?;
    let (start, end) = packet.range();
    payload.get(start..end)
}
