//! What becomes of the media of a call when one party offers something else by SIP, through the stock Kamailio with the configuration of
//! `deploy/kamailio`. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{IpAddr, SocketAddr};

use loadtest::rig::agent::{Agent, Message};
use loadtest::rig::exchange::Exchange;
use loadtest::rig::party::{Call, Party};
use loadtest::rig::trunks::{FAR_DEVICE, Trunk, Trunks};

fn exchange() -> Exchange {
    Exchange::deployed(Trunks::new().unwrap()).unwrap()
}

/// A second party at the far end of a trunk.
fn another(exchange: &Exchange, trunk: Trunk) -> Party {
    Party::new(&exchange.scene.trunks, trunk, 4100).unwrap()
}

/// Both say where they are, and that they send and receive.
fn talk(one: &mut Agent, other: &mut Agent) {
    let (offer, answer) = (one.sdp(), other.sdp());
    one.renegotiate("INVITE", &offer, other, &answer).unwrap();
    one.converse(other, 3).unwrap();
}

/// One holds the other by the attributes of RFC 3264 section 8.4, and takes the call up again.
fn hold_by_attribute(one: &mut Agent, other: &mut Agent) {
    for (asked, agreed) in [("a=sendonly", "a=recvonly"), ("a=inactive", "a=inactive")] {
        let (offer, answer) = (one.sdp().replace("a=sendrecv", asked), other.sdp().replace("a=sendrecv", agreed));
        let (to_one, to_other) = (one.told().unwrap(), other.told().unwrap());
        let (offered, answered) = one.renegotiate("INVITE", &offer, other, &answer).unwrap();
        assert!(offered.body.contains(asked), "{}", offered.body);
        assert!(answered.body.contains(agreed), "{}", answered.body);
        let told = (answered.media("audio"), offered.media("audio"));
        assert_eq!(told, (Some(to_one), Some(to_other)), "addresses and ports stay");
        talk(one, other);
    }
}

/// One holds the other by the address of zeros, as RFC 2543 had it, and takes the call up again.
fn hold_by_address(one: &mut Agent, other: &mut Agent) {
    let connection = format!("c=IN IP4 {}", one.party.addr().ip());
    let (offer, answer) = (one.sdp().replace(&connection, "c=IN IP4 0.0.0.0"), other.sdp());
    let (to_one, to_other) = (one.told().unwrap(), other.told().unwrap());
    let (offered, answered) = one.renegotiate("INVITE", &offer, other, &answer).unwrap();
    let zeros = SocketAddr::from(([0, 0, 0, 0], to_other.port()));
    assert_eq!((answered.media("audio"), offered.media("audio")), (Some(to_one), Some(zeros)));
    talk(one, other);
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_call_that_the_caller_holds_by_attribute_is_taken_up_again() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = exchange.connected().unwrap();
    hold_by_attribute(&mut caller, &mut callee);
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_call_that_the_callee_holds_by_attribute_is_taken_up_again() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = exchange.connected().unwrap();
    hold_by_attribute(&mut callee, &mut caller);
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_call_that_the_caller_holds_by_address_is_taken_up_again() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = exchange.connected().unwrap();
    hold_by_address(&mut caller, &mut callee);
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_call_that_the_callee_holds_by_address_is_taken_up_again() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = exchange.connected().unwrap();
    hold_by_address(&mut callee, &mut caller);
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn an_update_moves_the_media_of_the_caller_to_another_port() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = exchange.connected().unwrap();
    let before = std::mem::replace(&mut caller.party, another(&exchange, Trunk::Pbx1));
    let (offer, answer) = (caller.sdp(), callee.sdp());
    caller.renegotiate("UPDATE", &offer, &mut callee, &answer).unwrap();
    caller.converse(&mut callee, 3).unwrap();
    assert_eq!(before.hear().unwrap(), None);
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

/// One goes on at another address of its host and at another port.
fn move_to(exchange: &Exchange, trunk: Trunk, address: &str, one: &mut Agent, other: &mut Agent) {
    let address: IpAddr = address.parse().unwrap();
    exchange.scene.trunks.far(trunk).add_addr(FAR_DEVICE, address).unwrap();
    let moved = Party::at(&exchange.scene.trunks, trunk, SocketAddr::new(address, 4100)).unwrap();
    let before = std::mem::replace(&mut one.party, moved);
    talk(one, other);
    assert_eq!(before.hear().unwrap(), None);
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_reinvite_moves_the_media_of_either_party_to_another_address_and_port() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = exchange.connected().unwrap();
    move_to(&exchange, Trunk::Pbx1, "192.0.2.11", &mut caller, &mut callee);
    move_to(&exchange, Trunk::Gateway, "198.51.100.11", &mut callee, &mut caller);
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_reinvite_that_is_refused_changes_nothing() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = exchange.connected().unwrap();
    let elsewhere = another(&exchange, Trunk::Pbx1);
    caller.request("INVITE", "", &elsewhere.sdp()).unwrap();
    let invite = callee.hear("INVITE").unwrap();
    callee.reply(&invite, 488, "", "").unwrap();
    caller.hear_status("INVITE", 488).unwrap();
    caller.converse(&mut callee, 3).unwrap();
    assert_eq!(elsewhere.hear().unwrap(), None);
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

/// A section with video, on a port or, with 0, refused.
fn video(port: u16) -> String {
    format!("m=video {port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n")
}

/// The second media of a call, by the descriptions that arrived at the caller and at the callee.
fn beside(kind: &str, at_caller: &Message, at_callee: &Message) -> Call {
    Call {
        id: at_caller.header("Call-ID").to_owned(),
        for_caller: at_caller.media(kind).unwrap(),
        for_callee: at_callee.media(kind).unwrap(),
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn video_that_a_reinvite_adds_flows_beside_the_audio() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = exchange.connected().unwrap();
    let (mut camera, mut screen) = (another(&exchange, Trunk::Pbx1), another(&exchange, Trunk::Gateway));
    let (offer, answer) = (caller.sdp() + &video(4100), callee.sdp() + &video(4100));
    let (offered, answered) = caller.renegotiate("INVITE", &offer, &mut callee, &answer).unwrap();
    beside("video", &answered, &offered).converse(&mut camera, &mut screen, 3).unwrap();
    caller.converse(&mut callee, 3).unwrap();
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn video_that_is_refused_leaves_the_audio_alone() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = exchange.connected().unwrap();
    let (offer, answer) = (caller.sdp() + &video(4100), callee.sdp() + &video(0));
    let (offered, answered) = caller.renegotiate("INVITE", &offer, &mut callee, &answer).unwrap();
    let ports = [&offered, &answered].map(|message| message.media("video").unwrap().port());
    assert!(ports[0] != 0 && ports[1] == 0, "{ports:?}");
    caller.converse(&mut callee, 3).unwrap();
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

/// A description whose audio is silent, beside fax over UDP (T.38).
fn fax(sdp: &str) -> String {
    sdp.replace("m=audio 4000 ", "m=audio 0 ") + "m=image 4100 udptl t38\r\na=T38FaxVersion:0\r\n"
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn fax_takes_the_place_of_the_audio_and_gives_it_back() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = exchange.connected().unwrap();
    let (sender, receiver) = (another(&exchange, Trunk::Pbx1), another(&exchange, Trunk::Gateway));
    // As usual it is the called side that hears the tone and changes over.
    let (offer, answer) = (fax(&callee.sdp()), fax(&caller.sdp()));
    let (offered, answered) = callee.renegotiate("INVITE", &offer, &mut caller, &answer).unwrap();
    let call = beside("image", &offered, &answered);
    for (from, to, local, seen_from) in
        [(&sender, &receiver, call.for_caller, call.for_callee), (&receiver, &sender, call.for_callee, call.for_caller)]
    {
        for number in 0..3 {
            // Sequence number, length and content of a packet (T.38 section 9.1), no error recovery: nothing that looks like RTP.
            let packet = [0, number, 1, 0xc0, 0, 0];
            from.rtp.send_to(&packet, local).unwrap();
            assert_eq!(to.hear().unwrap(), Some((packet.to_vec(), seen_from)));
        }
    }
    let no_fax = "m=image 0 udptl t38\r\n";
    let (offer, answer) = (callee.sdp() + no_fax, caller.sdp() + no_fax);
    callee.renegotiate("INVITE", &offer, &mut caller, &answer).unwrap();
    caller.converse(&mut callee, 3).unwrap();
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}
