//! How calls begin and end by SIP, through the stock Kamailio with the configuration of `deploy/kamailio`: whatever two parties agree on,
//! the media follows. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use loadtest::rig::agent::{Agent, Message};
use loadtest::rig::exchange::Exchange;
use loadtest::rig::party::Party;
use loadtest::rig::trunks::{Trunk, Trunks};

/// The number of the gateway, which most calls are made to.
const GATEWAY: &str = Trunk::Gateway.number();

fn exchange() -> Exchange {
    Exchange::deployed(Trunks::new().unwrap()).unwrap()
}

/// A caller at the first PBX and a callee at the gateway, who have not spoken yet.
fn agents(exchange: &Exchange) -> (Agent, Agent) {
    (exchange.agent(Trunk::Pbx1).unwrap(), exchange.agent(Trunk::Gateway).unwrap())
}

/// Calls with an offer: the INVITE as the callee gets it, who is yet to answer.
fn ring(caller: &mut Agent, callee: &mut Agent) -> Message {
    let offer = caller.sdp();
    caller.invite(GATEWAY, &offer).unwrap();
    callee.hear("INVITE").unwrap()
}

/// Has the callee answer the offer without accepting the call, and both speak.
fn speak_early(caller: &mut Agent, callee: &mut Agent, invite: &Message) -> String {
    let answer = callee.sdp();
    callee.reply(invite, 183, "", &answer).unwrap();
    caller.hear_status("INVITE", 183).unwrap();
    caller.converse(callee, 3).unwrap();
    answer
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn early_media_flows_before_the_callee_accepts_and_after_it() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = agents(&exchange);
    let invite = ring(&mut caller, &mut callee);
    let answer = speak_early(&mut caller, &mut callee, &invite);
    caller.accepted_by(&mut callee, &invite, &answer).unwrap();
    caller.converse(&mut callee, 3).unwrap();
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_callee_that_accepts_elsewhere_than_its_early_media_came_from_is_followed() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = agents(&exchange);
    let invite = ring(&mut caller, &mut callee);
    speak_early(&mut caller, &mut callee, &invite);
    let person = Party::new(&exchange.scene.trunks, Trunk::Gateway, 4100).unwrap();
    let announcer = std::mem::replace(&mut callee.party, person);
    let answer = callee.sdp();
    caller.accepted_by(&mut callee, &invite, &answer).unwrap();
    caller.converse(&mut callee, 3).unwrap();
    assert_eq!(announcer.hear().unwrap(), None);
    exchange.hang_up(&mut callee, &mut caller).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn an_offer_in_the_200_is_answered_in_the_ack() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = agents(&exchange);
    caller.invite(GATEWAY, "").unwrap();
    let invite = callee.hear("INVITE").unwrap();
    let (offer, answer) = (callee.sdp(), caller.sdp());
    callee.reply(&invite, 200, "", &offer).unwrap();
    caller.hear_status("INVITE", 200).unwrap();
    caller.ack(&answer).unwrap();
    callee.hear("ACK").unwrap();
    caller.converse(&mut callee, 3).unwrap();
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn an_offer_in_a_reliable_183_is_answered_in_the_prack() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = agents(&exchange);
    caller.invite(GATEWAY, "").unwrap();
    let invite = callee.hear("INVITE").unwrap();
    let (offer, answer) = (callee.sdp(), caller.sdp());
    callee.reply(&invite, 183, "Require: 100rel\r\nRSeq: 1\r\n", &offer).unwrap();
    caller.hear_status("INVITE", 183).unwrap();
    caller.request("PRACK", "RAck: 1 1 INVITE\r\n", &answer).unwrap();
    let prack = callee.hear("PRACK").unwrap();
    callee.reply(&prack, 200, "", "").unwrap();
    caller.hear_status("PRACK", 200).unwrap();
    caller.converse(&mut callee, 3).unwrap();
    caller.accepted_by(&mut callee, &invite, "").unwrap();
    caller.converse(&mut callee, 3).unwrap();
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_call_that_is_cancelled_after_early_media_is_forgotten() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = agents(&exchange);
    let invite = ring(&mut caller, &mut callee);
    speak_early(&mut caller, &mut callee, &invite);
    caller.cancel().unwrap();
    caller.hear_status("CANCEL", 200).unwrap();
    let cancel = callee.hear("CANCEL").unwrap();
    callee.reply(&cancel, 200, "", "").unwrap();
    callee.reply(&invite, 487, "", "").unwrap();
    caller.hear_status("INVITE", 487).unwrap();
    caller.wait_until_forgotten(&mut exchange.scene.ng).unwrap();
    assert!(!callee.is_heard_by(&caller).unwrap());
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_call_that_the_callee_refuses_is_forgotten() {
    let mut exchange = exchange();
    let (mut caller, mut callee) = agents(&exchange);
    let invite = ring(&mut caller, &mut callee);
    callee.reply(&invite, 486, "", "").unwrap();
    caller.hear_status("INVITE", 486).unwrap();
    caller.wait_until_forgotten(&mut exchange.scene.ng).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn after_a_5xx_the_next_destination_of_the_trunk_has_the_call_and_its_media() {
    let peers = "1 sip:192.0.2.10:5060 0 0 sockname=pbx1;iface=pbx1\n\
                 3 sip:198.51.100.10:5070 0 9 sockname=gateway;iface=gateway\n\
                 3 sip:198.51.100.10:5060 0 1 sockname=gateway;iface=gateway\n";
    let mut exchange = Exchange::with_peers(Trunks::new().unwrap(), peers).unwrap();
    let (mut caller, mut second) = agents(&exchange);
    let mut first = exchange.agent_at(Trunk::Gateway, 5070, 4100).unwrap();
    let invite = ring(&mut caller, &mut first);
    speak_early(&mut caller, &mut first, &invite);
    first.reply(&invite, 503, "", "").unwrap();
    let (invite, answer) = (second.hear("INVITE").unwrap(), second.sdp());
    caller.accepted_by(&mut second, &invite, &answer).unwrap();
    caller.converse(&mut second, 3).unwrap();
    assert_eq!(first.party.hear().unwrap(), None);
    exchange.hang_up(&mut second, &mut caller).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_transferred_party_has_media_with_the_one_it_is_transferred_to_and_no_more_with_the_other() {
    let mut exchange = exchange();
    let (mut transferor, mut transferee) = exchange.connected().unwrap();
    let mut target = exchange.agent(Trunk::Pbx2).unwrap();
    // The second line of the transferee.
    let mut line = exchange.agent_at(Trunk::Gateway, 5070, 4100).unwrap();

    let refer_to = format!("Refer-To: <sip:{}@{}>\r\n", Trunk::Pbx2.number(), Trunk::Gateway.near());
    transferor.request("REFER", &refer_to, "").unwrap();
    let refer = transferee.hear("REFER").unwrap();
    transferee.reply(&refer, 202, "", "").unwrap();
    transferor.hear_status("REFER", 202).unwrap();
    notify(&mut transferee, &mut transferor, "active", "SIP/2.0 100 Trying\r\n");
    line.connect(Trunk::Pbx2.number(), &mut target).unwrap();
    line.converse(&mut target, 3).unwrap();
    notify(&mut transferee, &mut transferor, "terminated;reason=noresource", "SIP/2.0 200 OK\r\n");

    exchange.hang_up(&mut transferor, &mut transferee).unwrap();
    assert!(!transferor.is_heard_by(&transferee).unwrap() && !transferee.is_heard_by(&transferor).unwrap());
    line.converse(&mut target, 3).unwrap();
    exchange.hang_up(&mut target, &mut line).unwrap();
}

/// Says how the call is coming along that a REFER asked for (RFC 3515 section 2.4.5).
fn notify(from: &mut Agent, to: &mut Agent, state: &str, progress: &str) {
    from.request("NOTIFY", &format!("Event: refer\r\nSubscription-State: {state}\r\n"), progress).unwrap();
    let notify = to.hear("NOTIFY").unwrap();
    assert_eq!(notify.body, progress);
    to.reply(&notify, 200, "", "").unwrap();
    from.hear_status("NOTIFY", 200).unwrap();
}

/// A call between two trunks, of which the gateway's has its media over IPv6.
fn call_between_families(from: Trunk, to: Trunk) {
    let mut exchange = Exchange::deployed(Trunks::with_media6(Trunk::Gateway).unwrap()).unwrap();
    let (mut caller, mut callee) = (exchange.agent(from).unwrap(), exchange.agent(to).unwrap());
    caller.connect(to.number(), &mut callee).unwrap();
    for (agent, trunk) in [(&caller, from), (&callee, to)] {
        assert_eq!(agent.told().unwrap().is_ipv6(), trunk == Trunk::Gateway, "each is told its own family");
    }
    caller.converse(&mut callee, 20).unwrap();
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_call_from_an_ipv4_trunk_to_an_ipv6_trunk_has_media_both_ways() {
    call_between_families(Trunk::Pbx1, Trunk::Gateway);
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_call_from_an_ipv6_trunk_to_an_ipv4_trunk_has_media_both_ways() {
    call_between_families(Trunk::Gateway, Trunk::Pbx1);
}
