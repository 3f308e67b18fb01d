//! What a capture tells of the calls: SIP over UDP (RFC 3261) with SDP (RFC 8866) in it.

mod sdp;
mod sip;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::error::Error;
use crate::frame::{self, Datagram, Decoded};
use crate::pcap::{CaptureTime, Reader};
use sip::{Message, Start};

/// The port of SIP over UDP (RFC 3261 section 19.1.2).
const SIP_PORT: u16 = 5060;

/// Value of the Call-ID header, byte for byte: it is compared with case (RFC 3261 section 20.8).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub String);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The audio endpoints of one call as they were told at the place of the capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallMedia {
    /// The call.
    pub call_id: CallId,
    /// When its first INVITE was captured.
    pub offered_at: CaptureTime,
    /// Where the side that sent the first INVITE wants to receive audio, by the last SDP that it sent.
    pub offer: SocketAddr,
    /// Where the other side wants to receive audio, by the last SDP that it sent.
    pub answer: SocketAddr,
    /// Source address of the first INVITE.
    pub offer_was_sent_by: IpAddr,
}

/// Everything that a capture tells of its calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signalling {
    /// Every call whose INVITE was captured; `None` when an audio endpoint of one side was not told (the call was
    /// refused, say).
    pub calls: BTreeMap<CallId, Option<CallMedia>>,
    /// Fragments of UDP datagrams: nobody looked into them.
    pub fragments: u64,
    /// UDP datagrams that the snap length cut: nobody looked into them.
    pub cut_short: u64,
}

/// Reads the SIP messages from and to port 5060 of a capture.
///
/// SDP counts in INVITEs, in 2xx responses to them and in ACKs, so that re-INVITEs of either side and offers in the 200
/// are understood; the last one of a side wins. A port of 0 or an address of zeros (hold) changes nothing.
///
/// # Errors
/// When the capture cannot be read.
pub fn read(path: &Path) -> Result<Signalling, Error> {
    let reader = Reader::open(path).map_err(Error::read(path))?;
    let link_type = reader.link_type();
    let mut dialogs = BTreeMap::new();
    let mut signalling = Signalling::default();
    for record in reader {
        let record = record.map_err(Error::read(path))?;
        match frame::decode(link_type, &record.bytes) {
            Decoded::Udp(datagram) => take(&mut dialogs, record.time, &datagram),
            Decoded::Fragment => signalling.fragments += 1,
            Decoded::CutShort => signalling.cut_short += 1,
            Decoded::Other => {}
        }
    }
    signalling.calls = dialogs.into_iter().map(|(call_id, dialog)| (call_id.clone(), dialog.media(call_id))).collect();
    Ok(signalling)
}

/// What is known of a call while the capture is read.
struct Dialog {
    offered_at: CaptureTime,
    caller: SocketAddr,
    callee: SocketAddr,
    offer: Option<SocketAddr>,
    answer: Option<SocketAddr>,
}

impl Dialog {
    fn is_from_caller(&self, src: SocketAddr) -> bool {
        // Within one machine only the ports tell the sides apart; elsewhere a side may send from several ports.
        if self.caller.ip() == self.callee.ip() { src == self.caller } else { src.ip() == self.caller.ip() }
    }

    fn media(self, call_id: CallId) -> Option<CallMedia> {
        let (offer, answer) = (self.offer?, self.answer?);
        Some(CallMedia { call_id, offered_at: self.offered_at, offer, answer, offer_was_sent_by: self.caller.ip() })
    }
}

fn take(dialogs: &mut BTreeMap<CallId, Dialog>, time: CaptureTime, datagram: &Datagram<'_>) {
    if datagram.src.port() != SIP_PORT && datagram.dst.port() != SIP_PORT {
        return;
    }
    let Some(message) = Message::parse(datagram.payload) else { return };
    let dialog = match message.start {
        Start::Request(ref method) if method == "INVITE" => {
            dialogs.entry(CallId(message.call_id)).or_insert_with(|| Dialog {
                offered_at: time,
                caller: datagram.src,
                callee: datagram.dst,
                offer: None,
                answer: None,
            })
        }
        Start::Request(ref method) if method != "ACK" => return,
        Start::Response(code) if message.method != "INVITE" || !(200..300).contains(&code) => return,
        Start::Request(_) | Start::Response(_) => {
            let Some(dialog) = dialogs.get_mut(&CallId(message.call_id)) else { return };
            dialog
        }
    };
    let Some(endpoint) = sdp::audio_endpoint(&message.body) else { return };
    if dialog.is_from_caller(datagram.src) {
        dialog.offer = Some(endpoint);
    } else {
        dialog.answer = Some(endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Event, invite, ok, save};

    const CALLER: &str = "192.0.2.1:5060";
    const CALLEE: &str = "192.0.2.9:5060";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// The signalling of messages sent one microsecond after the other.
    fn heard(messages: &[(&str, &str, &str)]) -> Signalling {
        let events: Vec<_> = (1u64..)
            .zip(messages)
            .map(|(micros, (src, dst, text))| Event::new(micros, at(src), at(dst), text.as_bytes()))
            .collect();
        read(save(&events).path()).unwrap()
    }

    fn only_call(signalling: &Signalling) -> &CallMedia {
        assert_eq!(signalling.calls.len(), 1);
        signalling.calls.values().next().unwrap().as_ref().unwrap()
    }

    #[test]
    fn the_offer_and_the_answer_of_a_call_are_read() {
        let (offer, answer) = (invite("x@y", at("192.0.2.1:6000")), ok("x@y", at("[2001:db8::9]:30000")));
        let signalling = heard(&[(CALLER, CALLEE, &offer), (CALLEE, CALLER, &answer)]);
        let expected = CallMedia {
            call_id: CallId("x@y".into()),
            offered_at: CaptureTime::from_micros(1),
            offer: at("192.0.2.1:6000"),
            answer: at("[2001:db8::9]:30000"),
            offer_was_sent_by: at(CALLER).ip(),
        };
        assert_eq!(only_call(&signalling), &expected);
    }

    #[test]
    fn a_reinvite_of_the_callee_changes_the_media_of_both_sides_but_not_their_parts() {
        let first = (invite("x", at("192.0.2.1:6000")), ok("x", at("192.0.2.9:30000")));
        let second = (invite("x", at("192.0.2.9:30002")), ok("x", at("192.0.2.1:6002")));
        let signalling = heard(&[
            (CALLER, CALLEE, &first.0),
            (CALLEE, CALLER, &first.1),
            (CALLEE, CALLER, &second.0),
            (CALLER, CALLEE, &second.1),
        ]);
        let call = only_call(&signalling);
        assert_eq!((call.offer, call.answer), (at("192.0.2.1:6002"), at("192.0.2.9:30002")));
        assert_eq!((call.offered_at, call.offer_was_sent_by), (CaptureTime::from_micros(1), at(CALLER).ip()));
    }

    #[test]
    fn an_offer_in_the_200_is_answered_in_the_ack() {
        let empty = "INVITE sip:b SIP/2.0\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n";
        let ack = invite("x", at("192.0.2.1:6000")).replace("INVITE", "ACK");
        let answer = ok("x", at("192.0.2.9:30000"));
        let signalling = heard(&[(CALLER, CALLEE, empty), (CALLEE, CALLER, &answer), (CALLER, CALLEE, &ack)]);
        let call = only_call(&signalling);
        assert_eq!((call.offer, call.answer), (at("192.0.2.1:6000"), at("192.0.2.9:30000")));
    }

    #[test]
    fn on_one_machine_the_ports_tell_the_sides_apart() {
        let (offer, answer) = (invite("x", at("127.0.0.1:6000")), ok("x", at("127.0.0.1:30000")));
        let signalling =
            heard(&[("127.0.0.1:5080", "127.0.0.1:5060", &offer), ("127.0.0.1:5060", "127.0.0.1:5080", &answer)]);
        let call = only_call(&signalling);
        assert_eq!((call.offer, call.answer), (at("127.0.0.1:6000"), at("127.0.0.1:30000")));
    }

    #[test]
    fn a_call_that_is_refused_is_known_but_has_no_media() {
        let refusal = ok("x", at("192.0.2.9:30000")).replace("200 OK", "488 Not Acceptable Here");
        let bye = ok("x", at("192.0.2.9:30000")).replace("1 INVITE", "2 BYE");
        let offer = invite("x", at("192.0.2.1:6000"));
        let signalling = heard(&[(CALLER, CALLEE, &offer), (CALLEE, CALLER, &refusal), (CALLEE, CALLER, &bye)]);
        assert_eq!(signalling.calls.get(&CallId("x".into())), Some(&None));
    }

    #[test]
    fn other_ports_are_not_signalling() {
        let offer = invite("x", at("192.0.2.1:6000"));
        assert!(heard(&[("192.0.2.1:5061", "192.0.2.9:5061", &offer)]).calls.is_empty());
        assert_eq!(heard(&[("192.0.2.1:5061", "192.0.2.9:5060", &offer)]).calls.len(), 1);
    }

    #[test]
    fn fragments_and_cut_frames_are_counted() {
        let mut event = Event::new(1, at(CALLER), at(CALLEE), b"INVITE");
        event.frame.pop();
        let cut = event.clone();
        event.frame[20] = 0x20;
        let signalling = read(save(&[cut.clone(), cut, event]).path()).unwrap();
        assert_eq!((signalling.cut_short, signalling.fragments), (2, 1));
    }
}
