//! Keys in descriptions, and packets that claim to be protected by them: nothing panics, and nothing is taken for the peer's that is not.
#![no_main]

use calls::sdp::Crypto;
use libfuzzer_sys::fuzz_target;
use media::srtp::{MasterKey, Mki, Protector, Suite, Unprotector};
use media::{Packet, TAIL_ROOM};

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    if let Some(line) = Crypto::parse(data) {
        let again = line.write(choice & 1 == 0, choice & 2 == 0);
        let value = again.strip_prefix("a=crypto:").expect("an attribute");
        assert_eq!(Crypto::parse(value.as_bytes()), Some(line), "what was written is read");
    }
    let suite = Suite::ALL[usize::from(choice >> 4) % Suite::ALL.len()];
    let material = vec![7; suite.key_len() + suite.salt_len()];
    let mki = if choice & 4 == 0 { Mki::default() } else { Mki::new(1, 2).expect("a name") };
    let key = MasterKey::new(suite, &material, mki).expect("a key");
    let (mut protector, mut unprotector) = (Protector::new(&key), Unprotector::new(&key));
    let is_rtcp = choice & 8 != 0;
    let mut buffer = data.to_vec();
    buffer.resize(data.len() + TAIL_ROOM, 0);
    let mut packet = Packet::new(&mut buffer, 0, data.len()).expect("room");
    let opened = if is_rtcp { unprotector.rtcp(&mut packet) } else { unprotector.rtp(&mut packet) };
    assert!(opened.is_err(), "nobody has the key");
    assert_eq!(packet.payload(), data, "as it was");
    let sealed = if is_rtcp { protector.rtcp(&mut packet) } else { protector.rtp(&mut packet) };
    if sealed.is_ok() {
        let opened = if is_rtcp { unprotector.rtcp(&mut packet) } else { unprotector.rtp(&mut packet) };
        assert_eq!(opened, Ok(()));
        assert_eq!(packet.payload(), data, "and back");
    }
});
