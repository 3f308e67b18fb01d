//! Forks and hunting through the stock Kamailio with `loadtest/kamailio/forks.cfg`, and what its script learns of a call's quality.
//! `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loadtest::rig::agent::{Agent, Message};
use loadtest::rig::exchange::Exchange;
use loadtest::rig::process::wait_until;
use loadtest::rig::trunks::{Trunk, Trunks};
use loadtest::rtp::Ssrc;

/// How long the proxy may take to tell the relay of a reply, which it acknowledges before it looks at it.
const MOMENT: Duration = Duration::from_millis(300);

fn exchange(delete_delay: u32) -> Exchange {
    Exchange::configured(Trunks::new().unwrap(), "forks.cfg", delete_delay).unwrap()
}

/// The caller at the first PBX, and the callees at the second PBX and at the gateway.
fn agents(exchange: &Exchange) -> (Agent, Agent, Agent) {
    let agent = |trunk| exchange.agent(trunk).unwrap();
    (agent(Trunk::Pbx1), agent(Trunk::Pbx2), agent(Trunk::Gateway))
}

/// Dials with an offer.
fn dial(caller: &mut Agent, number: &str) -> String {
    let offer = caller.sdp();
    caller.invite(number, &offer).unwrap();
    offer
}

/// Dials both callees at once: their INVITEs.
fn fork(caller: &mut Agent, first: &mut Agent, second: &mut Agent) -> (Message, Message) {
    dial(caller, "fork");
    (first.hear("INVITE").unwrap(), second.hear("INVITE").unwrap())
}

/// Has a callee answer the offer without accepting the call.
fn answer_early(caller: &mut Agent, callee: &mut Agent, invite: &Message) -> String {
    let answer = callee.sdp();
    callee.reply(invite, 183, "", &answer).unwrap();
    caller.hear_status("INVITE", 183).unwrap();
    answer
}

/// Has a callee refuse the call; the proxy has told the relay then.
fn refuse(callee: &mut Agent, invite: &Message, status: u16) {
    callee.reply(invite, status, "", "").unwrap();
    callee.hear("ACK").unwrap();
    sleep(MOMENT);
}

/// Has a callee end its ringing because the proxy cancels it; the proxy has told the relay then.
fn be_cancelled(callee: &mut Agent, invite: &Message) {
    let cancel = callee.hear("CANCEL").unwrap();
    callee.reply(&cancel, 200, "", "").unwrap();
    refuse(callee, invite, 487);
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn the_second_of_two_ringing_callees_answers_and_the_other_is_cancelled() {
    let mut exchange = exchange(0);
    let (mut caller, mut first, mut second) = agents(&exchange);
    let (to_first, to_second) = fork(&mut caller, &mut first, &mut second);
    for (callee, invite) in [(&first, &to_first), (&second, &to_second)] {
        callee.reply(invite, 180, "", "").unwrap();
        caller.hear_status("INVITE", 180).unwrap();
    }
    let answer = second.sdp();
    caller.accepted_by(&mut second, &to_second, &answer).unwrap();
    caller.converse(&mut second, 3).unwrap();
    be_cancelled(&mut first, &to_first);
    caller.converse(&mut second, 3).unwrap();
    assert_eq!(first.party.hear().unwrap(), None);
    assert!(!first.is_heard_by(&caller).unwrap());
    exchange.hang_up(&mut caller, &mut second).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn of_two_callees_with_early_media_the_first_answers_and_has_the_call() {
    let mut exchange = exchange(0);
    let (mut caller, mut first, mut second) = agents(&exchange);
    let (to_first, to_second) = fork(&mut caller, &mut first, &mut second);
    let answer = answer_early(&mut caller, &mut first, &to_first);
    caller.converse(&mut first, 3).unwrap();
    answer_early(&mut caller, &mut second, &to_second);
    assert!(second.is_heard_by(&caller).unwrap());
    caller.accepted_by(&mut first, &to_first, &answer).unwrap();
    caller.converse(&mut first, 3).unwrap();
    assert_eq!(second.party.hear().unwrap(), None);
    be_cancelled(&mut second, &to_second);
    caller.converse(&mut first, 3).unwrap();
    assert!(!second.is_heard_by(&caller).unwrap());
    exchange.hang_up(&mut first, &mut caller).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_busy_branch_does_not_end_the_call_of_the_other() {
    let mut exchange = exchange(0);
    let (mut caller, mut first, mut second) = agents(&exchange);
    let (to_first, to_second) = fork(&mut caller, &mut first, &mut second);
    let answer = answer_early(&mut caller, &mut second, &to_second);
    caller.converse(&mut second, 3).unwrap();
    refuse(&mut first, &to_first, 486);
    caller.converse(&mut second, 3).unwrap();
    caller.accepted_by(&mut second, &to_second, &answer).unwrap();
    caller.converse(&mut second, 3).unwrap();
    exchange.hang_up(&mut caller, &mut second).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn the_caller_hears_every_branch_that_announces_something() {
    let mut exchange = exchange(0);
    let (mut caller, mut first, mut second) = agents(&exchange);
    let (to_first, to_second) = fork(&mut caller, &mut first, &mut second);
    answer_early(&mut caller, &mut first, &to_first);
    let answer = answer_early(&mut caller, &mut second, &to_second);
    for _ in 0..3 {
        assert!(first.is_heard_by(&caller).unwrap() && second.is_heard_by(&caller).unwrap());
    }
    assert!(caller.is_heard_by(&second).unwrap(), "who announced last is spoken to");
    caller.accepted_by(&mut second, &to_second, &answer).unwrap();
    be_cancelled(&mut first, &to_first);
    assert!(!first.is_heard_by(&caller).unwrap(), "its branch has ended");
    caller.converse(&mut second, 3).unwrap();
    exchange.hang_up(&mut caller, &mut second).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_busy_branch_that_had_early_media_leaves_the_call_to_the_other() {
    let mut exchange = exchange(0);
    let (mut caller, mut first, mut second) = agents(&exchange);
    let (to_first, to_second) = fork(&mut caller, &mut first, &mut second);
    answer_early(&mut caller, &mut first, &to_first);
    caller.converse(&mut first, 3).unwrap();
    refuse(&mut first, &to_first, 486);
    let answer = second.sdp();
    caller.accepted_by(&mut second, &to_second, &answer).unwrap();
    caller.converse(&mut second, 3).unwrap();
    assert_eq!(first.party.hear().unwrap(), None);
    exchange.hang_up(&mut caller, &mut second).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_call_of_which_every_branch_fails_is_forgotten() {
    let mut exchange = exchange(0);
    let (mut caller, mut first, mut second) = agents(&exchange);
    let (to_first, to_second) = fork(&mut caller, &mut first, &mut second);
    answer_early(&mut caller, &mut first, &to_first);
    refuse(&mut second, &to_second, 480);
    refuse(&mut first, &to_first, 480);
    caller.hear_status("INVITE", 480).unwrap();
    caller.wait_until_forgotten(&mut exchange.scene.ng).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_call_that_is_cancelled_while_two_callees_ring_is_forgotten() {
    let mut exchange = exchange(0);
    let (mut caller, mut first, mut second) = agents(&exchange);
    let (to_first, to_second) = fork(&mut caller, &mut first, &mut second);
    answer_early(&mut caller, &mut first, &to_first);
    answer_early(&mut caller, &mut second, &to_second);
    caller.cancel().unwrap();
    caller.hear_status("CANCEL", 200).unwrap();
    be_cancelled(&mut first, &to_first);
    be_cancelled(&mut second, &to_second);
    caller.hear_status("INVITE", 487).unwrap();
    caller.wait_until_forgotten(&mut exchange.scene.ng).unwrap();
}

/// The first callee has early media and is busy then; the next one, who gets an offer of its own, answers.
fn hunt(exchange: &Exchange) -> (Agent, Agent) {
    let (mut caller, mut first, mut second) = agents(exchange);
    dial(&mut caller, "hunt");
    let invite = first.hear("INVITE").unwrap();
    answer_early(&mut caller, &mut first, &invite);
    caller.converse(&mut first, 3).unwrap();
    first.reply(&invite, 486, "", "").unwrap();
    let invite = second.hear("INVITE").unwrap();
    let answer = answer_early(&mut caller, &mut second, &invite);
    caller.converse(&mut second, 3).unwrap();
    caller.accepted_by(&mut second, &invite, &answer).unwrap();
    caller.converse(&mut second, 3).unwrap();
    assert_eq!(first.party.hear().unwrap(), None);
    (caller, second)
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn rtpengine_manage_takes_the_call_from_a_busy_callee_to_the_next_one() {
    let mut exchange = exchange(0);
    let (mut caller, mut callee) = hunt(&exchange);
    exchange.hang_up(&mut caller, &mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn an_offer_to_the_next_callee_revives_a_call_that_a_delete_lets_go_on_for_a_while() {
    let exchange = exchange(2);
    let (mut caller, mut callee) = hunt(&exchange);
    // The delete that the busy callee caused must not take effect after all.
    sleep(Duration::from_secs(3));
    caller.converse(&mut callee, 3).unwrap();
    caller.hang_up(&mut callee).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_failed_branch_of_a_caller_that_forks_itself_does_not_end_its_other_branch() {
    let mut exchange = exchange(0);
    let (mut caller, mut first, mut second) = agents(&exchange);
    let offer = dial(&mut caller, "pbx2");
    let to_first = first.hear("INVITE").unwrap();
    caller.fork("gateway", &offer).unwrap();
    let to_second = second.hear("INVITE").unwrap();
    assert_eq!(to_first.header("Call-ID"), to_second.header("Call-ID"));
    answer_early(&mut caller, &mut first, &to_first);
    caller.converse(&mut first, 3).unwrap();
    refuse(&mut first, &to_first, 486);
    caller.hear_status("INVITE", 486).unwrap();
    let answer = second.sdp();
    caller.accepted_by(&mut second, &to_second, &answer).unwrap();
    caller.converse(&mut second, 3).unwrap();
    exchange.hang_up(&mut caller, &mut second).unwrap();
}

/// The time as RTCP has it, in 2^-32 seconds since 1900 (RFC 3550 section 4).
fn ntp() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    ((now.as_secs() + 2_208_988_800) << 32) | ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000)
}

/// The middle 32 bits of a time, which is how reports refer to it.
const fn middle(time: u64) -> u32 {
    (time >> 16) as u32
}

/// A sender report with one report block about another source (RFC 3550 section 6.4.1), of which nothing was lost.
fn report(own: Ssrc, now: u64, other: Ssrc, last: u32, delay: u32) -> Vec<u8> {
    let sent = [0x81c8_000c, own.0, (now >> 32) as u32, now as u32, 160 * 50, 50, 50 * 160];
    // 8 is a millisecond of jitter; a party's numbers begin at 1001.
    let heard = [other.0, 0, 1050, 8, last, delay];
    sent.iter().chain(&heard).flat_map(|word| word.to_be_bytes()).collect()
}

/// Both parties report in turns, each also on what it last heard of the other.
fn exchange_reports(caller: &Agent, callee: &Agent, rounds: u32) {
    let (mut last, mut heard_at) = (0, 0);
    for _ in 0..rounds {
        for (from, own, to, other) in [(caller, Ssrc(1), callee, Ssrc(2)), (callee, Ssrc(2), caller, Ssrc(1))] {
            sleep(Duration::from_millis(20));
            let now = ntp();
            let delay = if last == 0 { 0 } else { middle(now - heard_at) };
            let report = report(own, now, other, middle(last), delay);
            let told = from.told().unwrap();
            from.party.rtcp.send_to(&report, SocketAddr::new(told.ip(), told.port() + 1)).unwrap();
            assert_eq!(to.party.hear_rtcp().unwrap().unwrap().0, report);
            (last, heard_at) = (now, ntp());
        }
    }
}

/// What the proxy's script has logged after these words.
fn logged(exchange: &Exchange, words: &str) -> String {
    let mut found = None;
    wait_until("the script has logged it", Duration::from_secs(3), || {
        let log = exchange.proxy.log().unwrap();
        found = log.lines().find_map(|line| line.split_once(words)).map(|(_, rest)| rest.to_owned());
        found.is_some()
    })
    .unwrap();
    found.unwrap()
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn the_script_learns_how_many_packets_and_what_quality_a_call_had() {
    let mut exchange = exchange(0);
    let (mut caller, mut callee, _) = agents(&exchange);
    caller.party.set_ssrc(Ssrc(1));
    callee.party.set_ssrc(Ssrc(2));
    caller.connect("pbx2", &mut callee).unwrap();
    for _ in 0..50 {
        caller.converse(&mut callee, 1).unwrap();
        // At the pace of speech, or it would be jitter.
        sleep(Duration::from_millis(20));
    }
    exchange_reports(&caller, &callee, 4);
    let id = caller.call_id().to_owned();
    exchange.hang_up(&mut caller, &mut callee).unwrap();

    // 172 bytes of RTP each, 52 of RTCP.
    let counted = "RTP: 17200 bytes, 100 packets, 0 errors; RTCP: 416 bytes, 8 packets, 0 errors";
    assert_eq!(logged(&exchange, &format!("statistics of {id}: ")), format!("{counted} | {counted}"));
    let quality = logged(&exchange, &format!("quality of {id}: "));
    let value = |name: &str| {
        let word = quality.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.and_then(|word| word.parse::<f32>().ok()).unwrap_or_else(|| panic!("no {name} in {quality}"))
    };
    // The best that G.711 can have is 4.4 or a little more, by the E-model (ITU-T G.107).
    for name in ["mos", "lowest", "highest"] {
        assert!((4.0..=4.5).contains(&value(name)), "{quality}");
    }
    assert!(value("lowest") <= value("mos") && value("mos") <= value("highest"), "{quality}");
    assert!(value("samples") >= 1.0 && value("loss") == 0.0, "{quality}");
}
