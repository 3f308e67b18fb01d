use border::Interfaces;
use relay::probe::Nic;
use relay::{Engine, Features, Intake, XdpMode};

use super::*;

fn config() -> RelayConfig {
    RelayConfig {
        interfaces: Interfaces::new(vec!["pbx/192.0.2.1".parse().unwrap()]).unwrap(),
        port_min: 30000,
        port_max: 40000,
        engine: Engine::Auto,
        xdp_mode: XdpMode::Native,
        intake: Intake::Auto,
        output: relay::Output::Device,
        workers: 1,
        pin_workers: false,
        busy_poll: std::time::Duration::ZERO,
        measure_rtcp: true,
        trust: relay::TrustConfig::default(),
        keep: None,
    }
}

fn nic() -> Nic {
    Nic {
        name: "eth0".into(),
        interfaces: vec!["pbx".into()],
        driver: Some("ixgbe".into()),
        mtu: 1500,
        queues: (8, 8),
        xdp: Some(Features { runs_programs: true, redirects: true, takes_redirects: true }),
        hashes_ports: Some(true),
        strips_vlan: Some(true),
        gateways: vec![("192.0.2.254".parse().unwrap(), true)],
        ..Nic::default()
    }
}

fn facts() -> Host {
    Host {
        kernel: "6.1.0-18-amd64".into(),
        is_x86_64: true,
        capabilities: u64::MAX,
        lockdown: None,
        bpf: Ok(()),
        io_uring: Ok(()),
        raw_socket: Ok(()),
        af_xdp: Ok(()),
        transmit: Ok(()),
        ports: vec![],
        missing: vec![],
        nics: vec![nic()],
    }
}

/// What is not good.
fn bad(facts: &Host, config: &RelayConfig) -> Vec<(Level, String, Option<String>)> {
    let findings = examine(facts, config).findings.into_iter().filter(|finding| finding.level != Level::Good);
    findings.map(|finding| (finding.level, finding.sentence, finding.remedy)).collect()
}

/// What is not good, of which there is one thing, of a device.
fn of_device(nic: Nic, config: &RelayConfig) -> (Level, String, Option<String>) {
    let found = bad(&Host { nics: vec![nic], ..facts() }, config);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn a_host_as_it_should_be_is_able_and_every_sentence_ends() {
    let examination = examine(&facts(), &config());
    assert!(examination.able);
    assert_eq!(bad(&facts(), &config()), []);
    assert!(examination.findings.iter().all(|finding| finding.sentence.ends_with('.')), "{examination}");
    assert!(examination.to_string().ends_with("The relay can run as configured."));
}

#[test]
fn without_native_xdp_the_relay_runs_unless_it_was_asked_for() {
    let nic = Nic { xdp: Some(Features::default()), ..nic() };
    let (level, sentence, remedy) = of_device(nic.clone(), &config());
    assert_eq!(level, Level::Warning);
    assert!(sentence.contains("no native XDP"));
    assert!(remedy.unwrap().contains("generic"));
    let asked = RelayConfig { engine: Engine::Xdp, ..config() };
    assert_eq!(of_device(nic.clone(), &asked).0, Level::Error);
    assert!(!examine(&Host { nics: vec![nic], ..facts() }, &asked).able);
}

#[test]
fn a_foreign_program_is_named_with_the_command_that_removes_it() {
    let (_, sentence, remedy) = of_device(Nic { program: Some((7, "firewall".into())), ..nic() }, &config());
    assert!(sentence.contains("\"firewall\" (number 7)"), "{sentence}");
    assert_eq!(remedy.as_deref(), Some("ip link set dev eth0 xdp off"));
}

#[test]
fn addresses_alone_in_the_hash_are_noticed_where_there_are_several_queues() {
    let (_, _, remedy) = of_device(Nic { hashes_ports: Some(false), ..nic() }, &config());
    assert_eq!(remedy.as_deref(), Some("ethtool -N eth0 rx-flow-hash udp4 sdfn"));
    let one_queue = Nic { hashes_ports: Some(false), queues: (1, 1), ..nic() };
    assert_eq!(bad(&Host { nics: vec![one_queue], ..facts() }, &config()), []);
}

#[test]
fn stripped_tags_matter_only_under_vlans() {
    let (_, _, remedy) = of_device(Nic { has_vlans: true, ..nic() }, &config());
    assert_eq!(remedy.as_deref(), Some("ethtool -K eth0 rxvlan off"));
}

#[test]
fn a_silent_gateway_a_large_mtu_and_a_deaf_veth_are_warnings() {
    let gateway = Nic { gateways: vec![("192.0.2.254".parse().unwrap(), false)], ..nic() };
    assert!(of_device(gateway, &config()).2.unwrap().starts_with("ping"));
    assert!(of_device(Nic { mtu: 9000, ..nic() }, &config()).2.unwrap().contains("mtu 1500"));
    let veth = Nic {
        driver: Some("veth".into()),
        xdp: Some(Features { runs_programs: true, redirects: true, takes_redirects: false }),
        ..nic()
    };
    assert!(of_device(veth, &config()).2.unwrap().contains("other end"));
}

#[test]
fn what_no_engine_can_do_without_is_an_error() {
    let examination = examine(&Host { kernel: "5.10.0-9".into(), ..facts() }, &config());
    let errors: Vec<_> = examination.findings.iter().filter(|finding| finding.level == Level::Error).collect();
    assert!(!examination.able && errors.len() == 1 && errors[0].subject == "kernel", "{examination}");
    assert!(examination.to_string().ends_with("The relay cannot run as configured."));
}

#[test]
fn an_address_that_is_yet_to_come_is_a_warning() {
    let missing = vec![("pbx".to_owned(), "192.0.2.1".parse().unwrap())];
    let examination = examine(&Host { missing, ..facts() }, &config());
    let warnings: Vec<_> = examination.findings.iter().filter(|finding| finding.level == Level::Warning).collect();
    assert!(examination.able && warnings.len() == 1 && warnings[0].subject == "addresses", "{examination}");
}

#[test]
fn only_who_asks_for_steering_or_xdp_by_name_cannot_do_without_what_it_takes() {
    let why = || Err("forbidden".to_owned());
    for (broken, subject) in [
        (Host { capabilities: 0, ..facts() }, "capabilities"),
        (Host { bpf: why(), ..facts() }, "bpf"),
        (Host { raw_socket: why(), ..facts() }, "raw socket"),
    ] {
        for (intake, engine, level) in [
            (Intake::Steered, Engine::Uring, Level::Error),
            (Intake::Auto, Engine::Xdp, Level::Error),
            (Intake::Auto, Engine::Auto, Level::Warning),
            (Intake::Auto, Engine::Uring, Level::Warning),
            (Intake::Bound, Engine::Auto, Level::Warning),
            (Intake::Bound, Engine::Uring, Level::Good),
        ] {
            let examination = examine(&broken, &RelayConfig { intake, engine, ..config() });
            let finding = examination.findings.iter().find(|finding| finding.subject == subject).unwrap();
            // XDP needs no raw socket.
            let is_mild = subject == "raw socket" && intake != Intake::Steered;
            let level = if is_mild { level.min(Level::Warning) } else { level };
            assert_eq!(
                (finding.level, examination.able),
                (level, level != Level::Error),
                "{subject} {intake:?} {engine}"
            );
        }
    }
}

#[test]
fn only_who_asks_for_io_uring_by_name_cannot_do_without() {
    let broken = Host { io_uring: Err("forbidden".to_owned()), ..facts() };
    for (engine, level) in [
        (Engine::Uring, Level::Error),
        (Engine::Xdp, Level::Warning),
        (Engine::Auto, Level::Warning),
        (Engine::Epoll, Level::Good),
    ] {
        let examination = examine(&broken, &RelayConfig { engine, ..config() });
        let finding = examination.findings.iter().find(|finding| finding.subject == "io_uring").unwrap();
        assert_eq!((finding.level, examination.able), (level, level != Level::Error), "{engine}");
        assert!(finding.sentence.contains("forbidden"));
    }
}

#[test]
fn cap_sys_admin_stands_for_the_bpf_capabilities() {
    let capabilities = 1 << 12 | 1 << 13 | 1 << 21;
    assert_eq!(bad(&Host { capabilities, ..facts() }, &config()), []);
}

#[test]
fn a_conflict_of_ports_has_its_command_apart() {
    let ports = vec!["the kernel gives ports away: sysctl -w net.x=1-2".to_owned()];
    let found = bad(&Host { ports, ..facts() }, &config());
    assert_eq!(found[0].2.as_deref(), Some("sysctl -w net.x=1-2"));
    assert!(found[0].1.ends_with("away."));
}

#[test]
fn a_host_that_only_uses_the_slow_path_needs_no_xdp() {
    let config = RelayConfig { engine: Engine::Uring, ..config() };
    let nic = Nic { xdp: Some(Features::default()), program: Some((7, "firewall".into())), mtu: 9000, ..nic() };
    assert_eq!(bad(&Host { nics: vec![nic], is_x86_64: false, ..facts() }, &config), []);
}

#[test]
fn what_keeps_packets_from_coming_past_the_stack_is_told_where_they_are_to() {
    let (mut facts, mut config) = (facts(), config());
    facts.af_xdp = Err("Address family not supported: the kernel has no AF_XDP".into());
    facts.nics[0].past_stack = Some("1 receive queues for 8 workers: the stack spreads packets better".into());
    for (intake, expected) in [
        (Intake::Auto, vec![Level::Warning, Level::Warning]),
        (Intake::Xsk, vec![Level::Error, Level::Warning]),
        (Intake::Steered, vec![]),
    ] {
        config.intake = intake;
        let levels: Vec<_> = bad(&facts, &config).into_iter().map(|(level, ..)| level).collect();
        assert_eq!(levels, expected, "{intake:?}");
    }
    config.intake = Intake::Auto;
    config.engine = Engine::Epoll;
    assert_eq!(bad(&facts, &config), []);
}
