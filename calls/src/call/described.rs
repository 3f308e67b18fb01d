//! The last descriptions of a call, as they came and as they went on, for whoever looks at it.

use std::time::SystemTime;

use crate::outcome::{DescriptionAccount, DescriptionKind};

/// So much of each is kept: hardly any is as long.
const MOST: usize = 4096;

/// What is not shown of a line that begins so: whoever has it could listen, or speak in a party's place.
const SECRETS: [(&[u8], &[u8]); 4] =
    [(b"a=crypto:", b"inline:"), (b"a=ice-pwd:", b":"), (b"a=key-mgmt:", b":"), (b"k=", b"=")];

/// Those of a call: its last offer, and its last answer.
#[derive(Debug, Default)]
pub(super) struct Described {
    offer: Option<Box<Passed>>,
    answer: Option<Box<Passed>>,
}

#[derive(Debug)]
struct Passed {
    tag: Box<[u8]>,
    before: Box<[u8]>,
    after: Box<[u8]>,
    at: SystemTime,
}

impl Described {
    /// A description has passed.
    pub(super) fn note(&mut self, kind: DescriptionKind, tag: &[u8], [before, after]: [&[u8]; 2], at: SystemTime) {
        let place = match kind {
            DescriptionKind::Offer => &mut self.offer,
            DescriptionKind::Answer => &mut self.answer,
        };
        let kept = |sdp: &[u8]| sdp.get(..MOST).unwrap_or(sdp).into();
        *place = Some(Box::new(Passed { tag: tag.into(), before: kept(before), after: kept(after), at }));
    }

    /// As they are shown.
    pub(super) fn accounts(&self) -> Vec<DescriptionAccount> {
        let kinds = [(DescriptionKind::Offer, &self.offer), (DescriptionKind::Answer, &self.answer)];
        let passed = kinds.into_iter().filter_map(|(kind, passed)| Some((kind, passed.as_deref()?)));
        let account = |(kind, passed): (_, &Passed)| DescriptionAccount {
            kind,
            tag: passed.tag.to_vec(),
            before: without_secrets(&passed.before),
            after: without_secrets(&passed.after),
            at: passed.at,
        };
        passed.map(account).collect()
    }
}

fn without_secrets(sdp: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(sdp.len());
    for line in sdp.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        let starts = |start: &[u8]| text.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start));
        match SECRETS.iter().find(|(start, _)| starts(start)) {
            Some((start, mark)) => {
                let lower = text.to_ascii_lowercase();
                let at = lower.windows(mark.len()).position(|window| window == *mark).map(|at| at + mark.len());
                shown.extend_from_slice(text.get(..at.unwrap_or(start.len())).unwrap_or_default());
                shown.extend_from_slice(b"...");
                shown.extend_from_slice(line.get(text.len()..).unwrap_or_default());
            }
            None => shown.extend_from_slice(line),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_passwords_are_not_shown_and_all_else_is() {
        let sdp = b"v=0\r\nk=clear:secret\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET|2^31\r\nA=CRYPTO:2 X INLINE:SECRET\r\n\
                    a=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=key-mgmt:mikey secret\r\na=crypto:3 secret\r\na=rtpmap:8 PCMA/8000";
        let shown = String::from_utf8(without_secrets(sdp)).unwrap();
        assert_eq!(
            shown,
            "v=0\r\nk=...\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:...\r\nA=CRYPTO:2 X INLINE:...\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:...\r\na=key-mgmt:...\r\na=crypto:...\r\na=rtpmap:8 PCMA/8000"
        );
    }

    #[test]
    fn the_last_offer_and_the_last_answer_are_kept() {
        let (mut described, at) = (Described::default(), SystemTime::UNIX_EPOCH);
        for (kind, tag, before) in [
            (DescriptionKind::Offer, &b"a"[..], &b"one"[..]),
            (DescriptionKind::Answer, b"b", b"two"),
            (DescriptionKind::Offer, b"b", &[b'x'; 5000]),
        ] {
            described.note(kind, tag, [before, b"went on"], at);
        }
        let accounts = described.accounts();
        let told: Vec<_> = accounts.iter().map(|one| (one.kind, one.tag.as_slice(), one.before.len())).collect();
        assert_eq!(told, [(DescriptionKind::Offer, &b"b"[..], MOST), (DescriptionKind::Answer, &b"b"[..], 3)]);
    }
}
