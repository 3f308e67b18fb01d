//! Random commands: whatever a proxy says, the relay has what the calls want, and every port belongs to a call.

use proptest::collection::vec;
use proptest::prelude::*;

use relay::Family;

use super::*;
use crate::command::{Mux, Profile, Steady};

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

fn any_command() -> impl Strategy<Value = Command> {
    let tag = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let command = prop_oneof![
        6 => (tag(), prop::option::of(tag()), any_sdp(), any_options())
            .prop_map(|(from, to, sdp, options)| offer_with(from, to, &sdp, options)),
        6 => (tag(), tag(), any_sdp(), any_options())
            .prop_map(|(from, to, sdp, options)| answer_with(from, to, &sdp, options)),
        2 => (prop::option::of(tag()), prop::option::of(tag())).prop_map(|(from, to)| delete(from, to)),
        1 => (tag(), any::<bool>()).prop_map(|(tag, is_on)| block(Party::Tag(tag.into()), is_on)),
        1 => any::<bool>().prop_map(|is_on| block(Party::All, is_on)),
        1 => Just(Command::Query { call_id: Vec::new() }),
        1 => Just(Command::List { limit: 2 }),
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
        for (command, seconds) in steps {
            rig.wait(seconds);
            rig.tick();
            // Rig::run compares all states after each command.
            let (reply, ops) = rig.run(command.clone());
            match reply {
                Reply::Error(_) | Reply::Warning(_) => prop_assert_eq!(ops, []),
                Reply::Ok(_) if matches!(command, Command::Offer(_) | Command::Answer(_)) => {
                    let again = rig.run(command.clone());
                    prop_assert_eq!((again.0, again.1), (reply, vec![]), "twice is once: {:?}", command);
                }
                Reply::Ok(_) | Reply::Pong | Reply::LoadLimit(_) => {}
            }
        }
        for name in ["one", "two", "three"] {
            rig.run(named(delete(None, None), name));
        }
        rig.wait(delay);
        rig.tick();
        prop_assert!(rig.calls.is_empty() && rig.installed.is_empty());
        prop_assert_eq!(rig.calls.ports().used(), 0);
    }
}
