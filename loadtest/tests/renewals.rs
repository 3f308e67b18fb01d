//! Parties that are described again, that send from elsewhere than where they receive, or that only listen; media that are not RTP, and lines
//! that become other media: with packets on the wire, over the NG protocol. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use loadtest::rig::daemon::{Daemon, DaemonOptions, NgClient};
use loadtest::rig::party::{Party, sdp};
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

const ENGINES: [&str; 3] = ["xdp", "uring", "epoll"];

/// The relay, and a callee at its SDP's address. Fields in the order in which they must end.
struct Rig {
    ng: NgClient,
    callee: Party,
    _daemon: Daemon,
    _folder: tempfile::TempDir,
    trunks: Trunks,
    /// Where the caller and the callee send to.
    for_caller: SocketAddr,
    for_callee: SocketAddr,
    flags: Vec<&'static str>,
}

/// Somebody on the caller's host.
fn party(trunks: &Trunks, port: u16) -> Party {
    let party = Party::new(trunks, Trunk::Pbx1, port).unwrap();
    party.rtp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    party
}

/// Where a description has the media of a kind.
fn place(reply: &Value, kind: &str) -> SocketAddr {
    let sdp = reply["sdp"].as_str().unwrap();
    let address = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")).unwrap();
    let line = sdp.lines().find_map(|line| line.strip_prefix("m=")?.strip_prefix(kind)).unwrap();
    SocketAddr::new(address.parse().unwrap(), line.split(' ').nth(1).unwrap().parse().unwrap())
}

/// A description of one section.
fn section(addr: SocketAddr, line: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm={}\r\n",
        line.replace("{}", &addr.port().to_string()),
        ip = addr.ip()
    )
}

impl Rig {
    /// A call whose caller says this.
    fn new(engine: &str, offer: &str, flags: &[&'static str]) -> Self {
        let (trunks, folder) = (Trunks::new().unwrap(), tempfile::tempdir().unwrap());
        let daemon = Daemon::start(&trunks, &DaemonOptions::new(engine), folder.path()).unwrap();
        let ng = NgClient::new(&trunks).unwrap();
        let callee = Party::new(&trunks, Trunk::Gateway, 6000).unwrap();
        callee.rtp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let flags = flags.to_vec();
        let mut rig = Self {
            ng,
            callee,
            _daemon: daemon,
            _folder: folder,
            trunks,
            for_caller: nowhere,
            for_callee: nowhere,
            flags,
        };
        let answer = rig.callee.sdp();
        rig.agree(offer, &answer, "audio");
        rig
    }

    /// The caller offers this, and the callee answers that.
    fn agree(&mut self, offer: &str, answer: &str, kind: &str) {
        let offer = self.ng.request(&json!({"command": "offer", "call-id": "1", "from-tag": "a", "sdp": offer,
            "flags": self.flags, "direction": ["pbx1", "gateway"]}));
        let answer = self
            .ng
            .request(&json!({"command": "answer", "call-id": "1", "from-tag": "a", "to-tag": "b", "sdp": answer}));
        (self.for_callee, self.for_caller) = (place(&offer.unwrap(), kind), place(&answer.unwrap(), kind));
    }

    /// Whether what this one sends to the caller's port reaches the callee.
    fn is_heard(&self, party: &mut Party) -> bool {
        let sent = party.speak(self.for_caller).unwrap();
        self.callee.hear().unwrap().is_some_and(|(heard, _)| heard == sent)
    }

    /// Whether what the callee sends reaches this one.
    fn hears(&mut self, party: &Party) -> bool {
        let sent = self.callee.speak(self.for_callee).unwrap();
        party.hear().unwrap().is_some_and(|(heard, _)| heard == sent)
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_that_is_described_again_without_change_may_send_from_elsewhere() {
    for engine in ENGINES {
        let offer = sdp("192.168.1.10:4000".parse().unwrap());
        let mut rig = Rig::new(engine, &offer, &[]);
        let (mut before, mut after) = (party(&rig.trunks, 5000), party(&rig.trunks, 5100));
        assert!(rig.is_heard(&mut before) && rig.hears(&before), "{engine}");
        // The window is over.
        std::thread::sleep(Duration::from_millis(3100));
        assert!(!rig.is_heard(&mut after), "{engine}");
        let answer = rig.callee.sdp();
        rig.agree(&offer, &answer, "audio");
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(600) {
            assert!(rig.is_heard(&mut after), "{engine}: it is heard all the time");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(rig.hears(&after), "{engine}");
        assert!(!rig.hears(&before), "{engine}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn an_asymmetric_party_is_heard_from_where_it_sends_and_hears_where_it_said() {
    for engine in ENGINES {
        let trunks_offer = SocketAddr::new(Trunk::Pbx1.far().into(), 4000);
        let mut rig = Rig::new(engine, &sdp(trunks_offer), &["asymmetric"]);
        let (receiver, mut sender) = (party(&rig.trunks, 4000), party(&rig.trunks, 5000));
        for _ in 0..3 {
            assert!(rig.is_heard(&mut sender), "{engine}");
            assert!(rig.hears(&receiver), "{engine}");
        }
        assert_eq!(sender.hear().unwrap(), None, "{engine}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_listener_behind_a_nat_hears_once_it_has_kept_its_nat_open() {
    let stun = [&[0, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[0; 12]].concat();
    for engine in ENGINES {
        for payload in [&b""[..], b"\0", &stun] {
            let mut rig = Rig::new(engine, &sdp("192.168.1.10:4000".parse().unwrap()), &[]);
            let listener = party(&rig.trunks, 5000);
            listener.rtp.send_to(payload, rig.for_caller).unwrap();
            assert_eq!(rig.callee.hear().unwrap().map(|(heard, _)| heard), Some(payload.to_vec()), "{engine}");
            for _ in 0..3 {
                assert!(rig.hears(&listener), "{engine} {payload:?}");
            }
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn datagrams_that_are_no_rtp_go_both_ways_from_behind_a_nat() {
    for engine in ENGINES {
        for (kind, line) in [("image", "image {} udptl t38"), ("application", "application {} UDP/BFCP *")] {
            let mut rig = Rig::new(engine, &sdp("192.168.1.10:4000".parse().unwrap()), &[]);
            let old = rig.for_caller;
            let mut party = party(&rig.trunks, 5000);
            assert!(rig.is_heard(&mut party), "{engine}");
            let (offer, answer) =
                (section("192.168.1.10:4002".parse().unwrap(), line), section(rig.callee.addr(), line));
            rig.agree(&offer, &answer, kind);
            assert_ne!(rig.for_caller, old, "{engine} {kind}: a line that becomes another media has other ports");
            for payload in [&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13][..], &[0x20; 200], b"x"] {
                party.rtp.send_to(payload, rig.for_caller).unwrap();
                assert_eq!(
                    rig.callee.hear().unwrap().map(|(heard, _)| heard),
                    Some(payload.to_vec()),
                    "{engine} {kind}"
                );
                rig.callee.rtp.send_to(payload, rig.for_callee).unwrap();
                assert_eq!(party.hear().unwrap().map(|(heard, _)| heard), Some(payload.to_vec()), "{engine} {kind}");
            }
            // What is late of the old media does not come out at the new one.
            party.speak(old).unwrap();
            assert_eq!(rig.callee.hear().unwrap(), None, "{engine} {kind}");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_that_names_another_private_address_and_stays_hears_all_the_time() {
    for engine in ["xdp", "uring"] {
        let mut rig = Rig::new(engine, &sdp("192.168.1.10:4000".parse().unwrap()), &[]);
        let mut behind_nat = party(&rig.trunks, 5000);
        assert!(rig.is_heard(&mut behind_nat) && rig.hears(&behind_nat), "{engine}");
        let answer = rig.callee.sdp();
        rig.agree(&sdp("192.168.1.77:4444".parse().unwrap()), &answer, "audio");
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(5200) {
            assert!(rig.hears(&behind_nat), "{engine}: after {:?}", start.elapsed());
            assert!(rig.is_heard(&mut behind_nat), "{engine}");
            std::thread::sleep(Duration::from_millis(20));
        }
        // It has become certain: the next packets take the fast path, where there is one.
        let path = |rig: &mut Rig| {
            let call = rig.ng.request(&json!({"command": "query", "call-id": "1"})).unwrap();
            call["tags"]["a"]["medias"][0]["streams"][0]["path"].clone()
        };
        assert_eq!(path(&mut rig), if engine == "xdp" { "fast" } else { "slow" });
    }
}
