//! Calls as Kamailio 5.6 signalled them, byte for byte but for the names of interfaces.

use super::*;
use crate::ng::Exchange;

/// Sends datagrams to the calls of a rig.
struct Proxy {
    rig: Rig,
    exchange: Exchange,
}

impl Proxy {
    fn new() -> Self {
        let rig = Rig::new();
        Self { exchange: Exchange::new(), rig }
    }

    /// The reply, and how much the relay was told.
    fn send(&mut self, bytes: &[u8]) -> (String, usize) {
        let Rig { calls, now, meter, .. } = &mut self.rig;
        let wall = SystemTime::UNIX_EPOCH + WALL;
        let (reply, ops) = self
            .exchange
            .datagram(bytes, crate::ng::Proxy::unix(crate::ng::Transport::Unix), calls, *now, wall, meter)
            .unwrap();
        self.rig.obey(&ops);
        (String::from_utf8(reply.to_vec()).unwrap(), ops.len())
    }

    /// The address and port that the description in the reply says, and how much the relay was told.
    fn media(&mut self, bytes: &[u8]) -> (String, String, usize) {
        let (reply, ops) = self.send(bytes);
        let line = |kind: &str| reply.lines().find_map(|line| line.strip_prefix(kind)).unwrap().to_owned();
        (line("c=IN IP4 "), line("m=audio "), ops)
    }
}

fn at(address: &str, ops: usize) -> (String, String, usize) {
    (address.to_owned(), "30000 RTP/AVP 8".to_owned(), ops)
}

const LATE_OFFER: &[u8] =
    b"0_20603_1 d8:supportsl10:load limite3:sdp119:v=0\r\no=sipp 1 1 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP\
    4 203.0.113.10\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n3:ICE6:remove9:directi\
    onl3:pbx7:gatewaye7:replacel6:origine7:call-id21:1-22098@198.51.100.1013:received-froml3:IP412:203.0\
    .113.10e8:from-tag8:s22093-16:to-tag8:c22098-17:command5:offere";
const LATE_ANSWER: &[u8] =
    b"0_20608_3 d8:supportsl10:load limite3:sdp133:v=0\r\no=sipp 1 1 IN IP4 198.51.100.10\r\ns=-\r\nc=IN I\
    P4 198.51.100.10\r\nt=0 0\r\nm=audio 22000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n3:ICE6\
    :remove7:replacel6:origine7:call-id21:1-22098@198.51.100.1013:received-froml3:IP413:198.51.100.10e8:\
    from-tag8:s22093-16:to-tag8:c22098-17:command6:answere";
const LATE_DELETE: &[u8] =
    b"0_20605_1 d8:supportsl10:load limite7:call-id21:1-22098@198.51.100.1013:received-froml3:IP413:198.51\
    .100.10e8:from-tag8:c22098-17:command6:deletee";
const OFFER: &[u8] =
    b"0_20599_1 d8:supportsl10:load limite3:sdp115:v=0\r\no=sipp 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP\
    4 192.0.2.10\r\nt=0 0\r\nm=audio 22000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n3:ICE6:remove9:direction\
    l3:pbx7:gatewaye7:replacel6:origine7:call-id18:1-22038@192.0.2.1013:received-froml3:IP410:192.0.2.10\
    e8:from-tag8:c22038-17:command5:offere";
const ANSWER: &[u8] =
    b"0_20607_2 d8:supportsl10:load limite3:sdp121:v=0\r\no=sipp 1 1 IN IP4 198.51.100.10\r\ns=-\r\nc=IN I\
    P4 198.51.100.10\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n3:ICE6:remove7:repla\
    cel6:origine7:call-id18:1-22038@192.0.2.1013:received-froml3:IP413:198.51.100.10e8:from-tag8:c22038-\
    16:to-tag8:s22033-17:command6:answere";
const REOFFER: &[u8] =
    b"0_20608_2 d8:supportsl10:load limite3:sdp121:v=0\r\no=sipp 1 2 IN IP4 198.51.100.10\r\ns=-\r\nc=IN I\
    P4 198.51.100.10\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n3:ICE6:remove9:direc\
    tionl7:gateway3:pbxe7:replacel6:origine7:call-id18:1-22038@192.0.2.1013:received-froml3:IP413:198.51\
    .100.10e8:from-tag8:s22033-16:to-tag8:c22038-17:command5:offere";
const REANSWER: &[u8] =
    b"0_20598_2 d8:supportsl10:load limite3:sdp115:v=0\r\no=sipp 1 2 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP\
    4 192.0.2.10\r\nt=0 0\r\nm=audio 22000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n3:ICE6:remove7:replacel6\
    :origine7:call-id18:1-22038@192.0.2.1013:received-froml3:IP410:192.0.2.10e8:from-tag8:s22033-16:to-t\
    ag8:c22038-17:command6:answere";
const DELETE: &[u8] =
    b"0_20606_2 d8:supportsl10:load limite7:call-id18:1-22038@192.0.2.1013:received-froml3:IP413:198.51.10\
    0.10e8:from-tag8:s22033-17:command6:deletee";

#[test]
fn a_late_offer_is_that_of_the_callee() {
    let mut proxy = Proxy::new();
    assert_eq!(proxy.media(LATE_OFFER), at("203.0.113.1", 4));
    assert_eq!(proxy.media(LATE_ANSWER), at("192.0.2.1", 2));
    assert!(proxy.send(LATE_DELETE).0.ends_with("6:result2:oke"));
    assert!(proxy.rig.calls.is_empty());
}

#[test]
fn the_callee_offers_again_and_hangs_up() {
    let mut proxy = Proxy::new();
    assert_eq!(proxy.media(OFFER), at("203.0.113.1", 4));
    assert_eq!(proxy.media(ANSWER), at("192.0.2.1", 2));
    assert_eq!(proxy.media(REOFFER), at("192.0.2.1", 0));
    assert_eq!(proxy.media(REANSWER), at("203.0.113.1", 4), "nothing new, but both may send from elsewhere now");
    let (reply, ops) = proxy.send(DELETE);
    assert!(reply.ends_with("6:result2:oke") && !reply.contains("warning"), "{reply}");
    assert_eq!((ops, proxy.rig.calls.len()), (4, 0));
}

#[test]
fn a_whole_call_in_captured_messages_of_kamailio() {
    const OFFER: &[u8] = b"0_8902_0 d8:supportsl10:load limite3:sdp115:v=0\r\no=sipp 1 1 IN IP4 192.0.2.10\r\ns=-\r\n\
        c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 22000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n3:ICE6:remove\
        9:directionl3:pbx7:gatewaye7:replacel6:origine7:call-id17:1-9232@192.0.2.1013:received-froml3:IP4\
        10:192.0.2.10e8:from-tag7:c9232-17:command5:offere";
    const ANSWER: &[u8] =
        b"0_8915_0 d8:supportsl10:load limite3:sdp121:v=0\r\no=sipp 1 1 IN IP4 198.51.100.10\r\ns=-\r\n\
        c=IN IP4 198.51.100.10\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n3:ICE6:remove\
        7:replacel6:origine7:call-id17:1-9232@192.0.2.1013:received-froml3:IP413:198.51.100.10e\
        8:from-tag7:c9232-16:to-tag7:s9227-17:command6:answere";
    const DELETE: &[u8] = b"0_8904_0 d8:supportsl10:load limite7:call-id17:1-9232@192.0.2.1013:received-froml3:IP4\
        10:192.0.2.10e8:from-tag7:c9232-17:command6:deletee";
    let mut proxy = Proxy::new();
    let mut send = |bytes: &[u8]| proxy.send(bytes);
    let (offered, ops) = send(OFFER);
    assert_eq!(
        (offered.as_str(), ops),
        (
            "0_8902_0 d3:sdp117:v=0\r\no=sipp 1 1 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
            m=audio 30000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n6:result2:oke",
            4
        )
    );
    assert_eq!(send(OFFER), (offered, 0), "a retransmission gets the same bytes");
    let (answered, ops) = send(ANSWER);
    assert!(answered.starts_with("0_8915_0 d3:sdp113:v=0\r\no=sipp 1 1 IN IP4 192.0.2.1\r\n"), "{answered}");
    assert_eq!(ops, 2);
    let (deleted, ops) = send(DELETE);
    assert!(deleted.starts_with("0_8904_0 d7:createdi1700000000e10:created_usi1700000000000000e11:last signali1700000000e4:SSRCde4:tagsd7:c9232-1d"));
    assert!(deleted.ends_with("6:result2:oke"), "{deleted}");
    assert_eq!(ops, 4);
    assert_eq!(send(DELETE), (deleted, 0), "carried out again it would be a warning");
    let (late, ops) = send(OFFER);
    assert!(late.contains("m=audio 30000 ") && ops == 0, "a late retransmission must not begin the call anew: {late}");
    assert_eq!(send(b"0_9_1 d7:command4:pinge"), ("0_9_1 d6:result4:ponge".to_owned(), 0));
    assert_eq!(send(b"x d7:command5:offere").0, "x d12:error-reason22:No SDP body in message6:result5:errore");
    assert_eq!(send(b"y {\"command\":\"list\"}").0, "y {\"calls\":[],\"result\":\"ok\"}");
    assert_eq!(send(b"z what").0, "z d12:error-reason22:Invalid NG data format6:result5:errore");
}
