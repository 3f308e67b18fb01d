//! SRTP of ours against that of others: what libsrtp protects is read here, and what is protected here libsrtp reads. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use media::srtp::{MasterKey, Mki, Protector, Suite, Unprotector};
use media::{Packet, TAIL_ROOM};

/// The other implementation, by one key.
struct Other {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

impl Other {
    fn build(folder: &Path) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/srtp.c");
        let program = folder.join("srtp");
        let built = Command::new("cc").arg("-o").arg(&program).arg(source).arg("-lsrtp2").status().unwrap();
        assert!(built.success(), "cargo xtask setup installs libsrtp2-dev");
        program
    }

    fn start(program: &Path, key: &MasterKey) -> Self {
        let mut child = Command::new(program)
            .args([key.suite().name(), &hex(&key.key_and_salt())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    /// What it makes of a packet; `None` where it refuses that.
    fn ask(&mut self, what: char, packet: &[u8]) -> Option<Vec<u8>> {
        writeln!(self.stdin, "{what} {}", hex(packet)).unwrap();
        let mut line = String::new();
        assert!(self.stdout.read_line(&mut line).unwrap() > 0, "it has ended");
        (!line.starts_with("error")).then(|| unhex(line.trim()))
    }
}

fn with(bytes: &[u8], work: impl FnOnce(&mut Packet<'_>) -> bool) -> Option<Vec<u8>> {
    let mut buffer = bytes.to_vec();
    buffer.resize(bytes.len() + TAIL_ROOM, 0);
    let mut packet = Packet::new(&mut buffer, 0, bytes.len()).unwrap();
    work(&mut packet).then(|| packet.payload().to_vec())
}

/// A packet of one of two sources, some with contributing sources and an extension.
fn rtp(index: u32) -> Vec<u8> {
    let has_more = index.is_multiple_of(3);
    let mut packet = vec![if has_more { 0x91 } else { 0x80 }, 8];
    packet.extend((index as u16).to_be_bytes());
    packet.extend((index * 160).to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    if has_more {
        packet.extend([9, 9, 9, 9, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0]);
    }
    packet.extend((0..index % 190).map(|byte| byte as u8));
    packet
}

fn rtcp(number: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6, 1, 2, 3, 4];
    packet.extend((0..20).map(|byte| byte ^ number as u8));
    packet
}

/// In the order in which a network brings them: through two turns, with some early, and some lost.
fn order() -> Vec<u32> {
    let mixed = |range: std::ops::Range<u32>| {
        let mut order: Vec<u32> = range.collect();
        for place in (5..order.len() - 5).step_by(7) {
            order.swap(place, place + 3);
        }
        order
    };
    let lost = (65_700..131_000).step_by(20_000).collect();
    [mixed(65_400..65_700), lost, mixed(131_000..131_200)].concat()
}

#[test]
#[ignore = "privileged: a C compiler and libsrtp"]
fn each_reads_what_the_other_has_protected_by_every_suite_and_through_every_turn() {
    let folder = tempfile::tempdir().unwrap();
    let program = Other::build(folder.path());
    // libsrtp 2.5 derives other keys from those of AES-192 than RFC 6188 7.4 has (cisco/libsrtp#763); ours are held to that standard's own.
    let is_right = |suite: &Suite| !suite.name().contains("192");
    for suite in Suite::ALL.into_iter().filter(is_right) {
        let material: Vec<u8> = (0..suite.key_len() + suite.salt_len()).map(|byte| 200 - byte as u8).collect();
        let key = MasterKey::new(suite, &material, Mki::default()).unwrap();
        let mut other = Other::start(&program, &key);
        let (mut protector, mut unprotector) = (Protector::new(&key), Unprotector::new(&key));
        for index in order() {
            let name = || format!("{} {index}", suite.name());
            let plain = rtp(index);
            let ours = with(&plain, |packet| protector.rtp(packet).is_ok()).unwrap();
            assert_eq!(other.ask('u', &ours).as_ref(), Some(&plain), "{}", name());
            assert_eq!(other.ask('u', &ours), None, "{}: replayed", name());
            let theirs = other.ask('p', &plain).unwrap();
            assert_eq!(theirs, ours, "{}", name());
            assert_eq!(with(&theirs, |packet| unprotector.rtp(packet).is_ok()), Some(plain), "{}", name());
            if index % 40 == 0 {
                let plain = rtcp(index);
                let ours = with(&plain, |packet| protector.rtcp(packet).is_ok()).unwrap();
                assert_eq!(other.ask('U', &ours).as_ref(), Some(&plain), "{}", name());
                let theirs = other.ask('P', &plain).unwrap();
                assert_eq!(with(&theirs, |packet| unprotector.rtcp(packet).is_ok()), Some(plain), "{}", name());
            }
        }
    }
}
