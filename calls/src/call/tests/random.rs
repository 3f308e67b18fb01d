//! Random commands: whatever a proxy says, the relay has what the calls want, and every port belongs to a call.

use proptest::collection::vec;
use proptest::prelude::*;

use border::Family;

use super::records::{Records, assert_same};
use super::*;
use crate::intent::{Finality, Mux, Profile, Steady};
use crate::intent::{Subscribe, SubscribeAnswer, Unsubscribe};

fn any_media() -> impl Strategy<Value = String> {
    let port = prop_oneof![1 => Just(0_u16), 4 => prop::sample::select(vec![4000_u16, 4002, 65535])];
    let kind = prop::sample::select(vec![
        "audio {} RTP/AVP 8 0",
        "audio {} RTP/AVP 96\r\na=rtpmap:96 opus/48000/2",
        "video {} RTP/SAVP 31\r\na=rtcp-mux",
        "image {} udptl t38",
        "message {} TCP/MSRP *",
        "audio {} RTP/AVP 8\r\nc=IN IP4 0.0.0.0",
        "audio {} RTP/AVP 8\r\na=inactive",
        "audio {} RTP/AVP 8\r\nc=IN IP6 2001:db8::1",
    ]);
    (kind, port).prop_map(|(kind, port)| kind.replace("{}", &port.to_string()))
}

fn any_sdp() -> impl Strategy<Value = String> {
    let address = prop::sample::select(vec!["192.0.2.10", "198.51.100.10", "0.0.0.0", "2001:db8::10"]);
    let good = (address, vec(any_media(), 1..4))
        .prop_map(|(address, medias)| session(address, &medias.iter().map(String::as_str).collect::<Vec<_>>()));
    prop_oneof![9 => good, 1 => Just("v=0\r\n".to_owned())]
}

fn any_options() -> impl Strategy<Value = Options> {
    let name = || prop::option::of(prop::sample::select(vec!["pbx", "gateway", "internal", "external", "nowhere"]));
    let family = prop::option::of(prop::sample::select(vec![Family::V4, Family::V6]));
    let mux =
        any::<(Option<bool>, Option<bool>, bool)>().prop_map(|(offer, accept, require)| Mux { offer, accept, require });
    let removed =
        prop::sample::select(vec![vec![], vec![b"video".to_vec()], vec![b"audio".to_vec(), b"other".to_vec()]]);
    let profile = prop::option::of(prop::sample::select(vec![Profile::Avp, Profile::Avpf]));
    let all = (name(), name(), any::<[bool; 5]>(), prop::option::of(any::<u8>()), family, mux, removed, profile);
    all.prop_map(|(from, to, flags, tos, address_family, mux, media_remove, profile)| Options {
        media_remove,
        profile,
        steady: Steady { version: flags[3], ..Steady::default() },
        generate_mid: flags[4],
        from_interface: from.map(Into::into),
        to_interface: to.map(Into::into),
        asymmetric: flags[0],
        sip_source_address: flags[1],
        received_from: flags[2].then(|| "203.0.113.9".parse().unwrap()),
        tos,
        address_family,
        mux,
        ..Options::default()
    })
}

/// How a proxy may name what ends: the tags in either order, one of them, with the branch or without.
fn any_end() -> impl Strategy<Value = (u8, bool)> {
    (0..4_u8, any::<bool>())
}

/// The delete of the dialogue of the caller, a, with another one.
fn ended(other: &str, branch: Option<&str>, (form, names_branch): (u8, bool)) -> Intent {
    let command = match form {
        0 => delete(Some("a"), Some(other)),
        1 => delete(Some(other), Some("a")),
        2 => delete(Some(other), None),
        _ => delete(Some("a"), None),
    };
    match branch.filter(|_| names_branch) {
        Some(branch) => on_branch(branch, command),
        None => command,
    }
}

/// What becomes of a branch before the one that wins has answered.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// Nothing more is heard of it.
    Silent,
    /// It said something, and nothing more is heard of it.
    Announced,
    /// It failed, and the proxy says so.
    Failed((u8, bool)),
}

fn any_lost() -> impl Strategy<Value = Lost> {
    prop_oneof![
        2 => Just(Lost::Silent),
        2 => Just(Lost::Announced),
        1 => any_end().prop_map(|(form, _)| Lost::Failed((form % 2, true))),
    ]
}

fn receiver() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["rec", "rec2", "a"])
}

fn any_treatment() -> impl Strategy<Value = Treatment> {
    prop::sample::select(vec![Treatment::Block, Treatment::Silence, Treatment::Forward])
}

fn any_towards() -> impl Strategy<Value = Towards> {
    let (leg, copy) = (Towards::Tag(b"b".to_vec()), Towards::Tag(b"rec".to_vec()));
    prop::sample::select(vec![Towards::Anywhere, leg, copy, Towards::Dialogue, Towards::Copies, Towards::Every])
}

fn any_command() -> impl Strategy<Value = Intent> {
    let tag = || prop::sample::select(vec!["a", "b", "c", "d", "lost"]);
    let command = prop_oneof![
        6 => (tag(), prop::option::of(tag()), any_sdp(), any_options())
            .prop_map(|(from, to, sdp, options)| offer_with(from, to, &sdp, options)),
        6 => (tag(), tag(), any_sdp(), any_options())
            .prop_map(|(from, to, sdp, options)| answer_with(from, to, &sdp, options)),
        2 => (prop::option::of(tag()), prop::option::of(tag())).prop_map(|(from, to)| delete(from, to)),
        1 => (tag(), any::<bool>()).prop_map(|(tag, is_on)| block(Party::Tag(tag.into()), is_on)),
        1 => tag().prop_map(|tag| playing::play(playing::tag(tag))),
        1 => tag().prop_map(|tag| playing::stop(playing::tag(tag))),
        1 => any::<bool>().prop_map(|is_on| block(Party::All, is_on)),
        1 => Just(Intent::Query { call_id: Vec::new() }),
        1 => Just(Intent::List { limit: 2 }),
        2 => (any_treatment(), tag(), any_towards(), any::<bool>())
            .prop_map(|(treatment, tag, towards, is_on)| treat(treatment, Party::Tag(tag.into()), towards, is_on)),
        2 => (vec(tag(), 0..3), prop::option::of(receiver()), any::<bool>(), any::<bool>()).prop_map(|(tags, to_tag, is_siprec, is_paused)| {
            let parties = tags.into_iter().map(|tag| Party::Tag(tag.into())).collect();
            let to_tag = to_tag.map(|tag| tag.as_bytes().to_vec());
            let options = Options::default();
            let call_id = Vec::new();
            Intent::Subscribe(Box::new(Subscribe { call_id, parties, to_tag, is_siprec, is_paused, options }))
        }),
        2 => (receiver(), any_sdp()).prop_map(|(to_tag, sdp)| {
            let (to_tag, sdp) = (to_tag.into(), sdp.into());
            let options = Options::default();
            Intent::SubscribeAnswer(Box::new(SubscribeAnswer { call_id: Vec::new(), to_tag, sdp, options }))
        }),
        1 => (receiver(), prop::option::of(tag())).prop_map(|(to_tag, from)| {
            let from_tag = from.map(|tag| tag.as_bytes().to_vec());
            Intent::Unsubscribe(Unsubscribe { call_id: Vec::new(), to_tag: to_tag.into(), from_tag })
        }),
    ];
    let branch = prop::option::of(prop::sample::select(vec!["x", "y"]));
    let name = prop::sample::select(vec!["one", "two", "three"]);
    (command, name, branch).prop_map(|(command, name, branch)| {
        let command = named(command, name);
        match branch {
            Some(branch) => on_branch(branch, command),
            None => command,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Forks with branches or without, and hunting: whatever became of the others, when the dialogue has ended everything is free, and until then the
    /// parties of it hear each other, also after offers without change.
    #[test]
    fn a_fork_leaves_nothing_when_its_dialogue_has_ended(
        lost in vec(any_lost(), 0..4),
        has_branches in any::<bool>(),
        is_early in any::<bool>(),
        renewals in vec(any::<bool>(), 0..3),
        end in any_end(),
        delay in 0..3_u64,
    ) {
        let mut rig = Rig::with(Settings { delete_delay: Duration::from_secs(delay), ..Settings::default() }, 30099);
        let names: Vec<String> = (0..=lost.len()).map(|number| format!("b{number}")).collect();
        let branch = |at: usize| has_branches.then(|| names[at].as_str());
        let on = |at: usize, command| branch(at).map_or_else(|| Intent::clone(&command), |name| on_branch(name, command.clone()));
        let caller = audio("192.0.2.10", 4000);
        let callee = |at: usize| audio("198.51.100.10", 5000 + 2 * at as u16);
        let early = || Options { finality: Finality::Provisional, ..Options::default() };
        for at in 0..names.len() {
            rig.sdp(on(at, offer("a", None, &caller)));
        }
        for (at, lost) in lost.iter().enumerate() {
            match lost {
                Lost::Silent => {}
                Lost::Announced => drop(rig.sdp(on(at, answer_with("a", &names[at], &callee(at), early())))),
                // Without its branch nobody can tell which it was.
                Lost::Failed(form) if has_branches => drop(rig.run(ended("busy", branch(at), *form))),
                Lost::Failed(_) => {}
            }
        }
        let winner = lost.len();
        if is_early {
            rig.sdp(on(winner, answer_with("a", &names[winner], &callee(winner), early())));
        }
        rig.sdp(on(winner, answer("a", &names[winner], &callee(winner))));
        let port = format!("198.51.100.10:{}", 5000 + 2 * winner as u16);
        let mut renewals = renewals.into_iter();
        loop {
            let to_callee = rig.at("192.0.2.1:30000").partner().unwrap();
            prop_assert_eq!(rig.installed[&to_callee].party.at.unwrap().to_string(), &*port);
            prop_assert_eq!(rig.installed[&to_callee].partner(), rig.slot_of("192.0.2.1:30000"));
            let (from, to, offered, answered) = match renewals.next() {
                None => break,
                Some(true) => ("a", names[winner].as_str(), caller.clone(), callee(winner)),
                Some(false) => (names[winner].as_str(), "a", callee(winner), caller.clone()),
            };
            // The first one ends what may have been announcements of others.
            let (_, ops) = rig.sdp(offer(from, Some(to), &offered));
            prop_assert!(ops.iter().all(|op| matches!(op, FlowOp::Remove(_))), "{ops:?}");
            prop_assert_eq!(rig.sdp(answer(from, to, &answered)).1, []);
        }
        rig.run(ended(&names[winner], branch(winner).filter(|_| end.0 < 2), end));
        rig.wait(delay);
        rig.tick();
        prop_assert!(rig.calls.is_empty() && rig.installed.is_empty(), "{:?}", rig.calls.calls);
        prop_assert_eq!(rig.calls.ports().used(), 0);
    }

    #[test]
    fn calls_and_relay_agree_after_any_commands(
        steps in vec((any_command(), 0..3_u64), 1..40),
        last_port in prop::sample::select(vec![30003, 30011, 30099]),
        max_sessions in prop::option::of(1..3_usize),
        delay in 0..4_u64,
    ) {
        let interfaces = ["pbx/192.0.2.1", "pbx/2001:db8::1", "gateway/198.51.100.1"];
        let settings = Settings {
            limits: Limits { sessions: max_sessions, ..Limits::default() },
            delete_delay: Duration::from_secs(delay),
            ..Settings::default()
        };
        let mut rig = Rig::on(&interfaces, settings, last_port);
        let mut records = Records::default();
        for (command, seconds) in steps {
            rig.wait(seconds);
            rig.tick();
            // Rig::run compares all states after each command.
            let (reply, ops) = rig.run(command.clone());
            match reply {
                Reply::Error(_) | Reply::Warning(_) => prop_assert_eq!(ops, [], "{:?}", command),
                Reply::Ok(_) if matches!(command, Intent::Offer(_) | Intent::Answer(_)) => {
                    let again = rig.run(command.clone());
                    prop_assert_eq!((again.0, again.1), (reply, vec![]), "twice is once: {:?}", command);
                }
                Reply::Ok(_) | Reply::Pong | Reply::LoadLimit(_) => {}
            }
        }
        records.write(&mut rig.calls);
        assert_same(&rig.calls, &records.successor(&interfaces, last_port, rig.now));
        for name in ["one", "two", "three"] {
            rig.run(named(delete(None, None), name));
        }
        rig.wait(delay);
        rig.tick();
        prop_assert!(rig.calls.is_empty() && rig.installed.is_empty());
        prop_assert_eq!(rig.calls.ports().used(), 0);
    }
}
