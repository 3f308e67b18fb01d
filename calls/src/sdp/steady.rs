//! What a party has been told of its session, and is to be told again, whoever it talks with.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::{Deserialize, Serialize};

use super::line::{Line, number, split, tokens};

/// What of the `o=` and `s=` lines stays the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Steady {
    /// The user name.
    pub username: bool,
    /// The whole `o=` line but for its version.
    pub origin: bool,
    /// The session name.
    pub session_name: bool,
    /// The version: it goes up whenever the description changes, and only then (RFC 8866 section 5.2).
    pub version: bool,
    /// The version goes up with every description.
    pub force_version: bool,
}

impl Steady {
    /// Whether anything is to be kept.
    pub const fn is_wanted(self) -> bool {
        self.username || self.origin || self.session_name || self.version || self.force_version
    }
}

/// How long what is kept may be, in bytes.
const MAX_TOKEN: usize = 256;

/// What a party was told before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The six tokens of the first `o=` line.
    origin: [Vec<u8>; 6],
    #[serde(with = "serde_bytes")]
    session_name: Vec<u8>,
    version: u64,
    /// Of everything but the `o=` line.
    digest: u64,
}

impl Told {
    /// A body as a party is to see it that was told this before, and what it has been told then.
    pub fn tell(before: Option<&Self>, body: &[u8], steady: Steady) -> (Vec<u8>, Option<Self>) {
        // What is kept is written again and again, so nobody may make it long.
        let is_short = |text: &[u8]| text.len() <= MAX_TOKEN;
        let origin = split(body).find_map(|line| fields(&line)).filter(|origin| origin.iter().all(|one| is_short(one)));
        let name = split(body).find_map(|line| line.field(b's')).unwrap_or_default();
        let (Some(origin), true) = (origin, is_short(name)) else { return (body.to_vec(), before.cloned()) };
        let digest = digest(body);
        let [_, _, said, ..] = &origin;
        let said: u64 = number(said).unwrap_or(0);
        let mut told = before.cloned().unwrap_or_else(|| Self {
            origin: origin.map(<[u8]>::to_vec),
            session_name: name.to_vec(),
            version: said,
            digest,
        });
        if before.is_some() {
            told.version = match (steady.version, steady.force_version) {
                (_, true) => told.version.saturating_add(1),
                (true, false) => told.version.saturating_add(u64::from(told.digest != digest)),
                (false, false) => said,
            };
            told.digest = digest;
        }
        let mut out = Vec::with_capacity(body.len() + 16);
        let (mut has_name, mut has_origin) = (false, false);
        for line in split(body) {
            match (line.field(b's'), fields(&line)) {
                (Some(_), _) if steady.session_name && !std::mem::replace(&mut has_name, true) => {
                    out.extend_from_slice(b"s=");
                    out.extend_from_slice(&told.session_name);
                    out.extend_from_slice(line.ending);
                }
                (None, Some(now)) if !std::mem::replace(&mut has_origin, true) => {
                    out.extend_from_slice(b"o=");
                    out.extend_from_slice(&told.origin_line(now, steady));
                    out.extend_from_slice(line.ending);
                }
                (Some(_) | None, _) => line.write(&mut out),
            }
        }
        (out, Some(told))
    }

    fn origin_line(&self, now: [&[u8]; 6], steady: Steady) -> Vec<u8> {
        let version = self.version.to_string().into_bytes();
        let [user, session, _, network, family, address] = now;
        let [first_user, first_session, _, first_network, first_family, first_address] = self.origin.each_ref();
        let version = if steady.version || steady.force_version { version.as_slice() } else { now[2] };
        let user = if steady.username || steady.origin { first_user.as_slice() } else { user };
        if steady.origin {
            let rest: [&[u8]; 3] = [first_network, first_family, first_address];
            return [&[user, first_session, version][..], &rest[..]].concat().join(&b' ');
        }
        // The version is counted within a session.
        let session = if steady.version || steady.force_version { first_session.as_slice() } else { session };
        [user, session, version, network, family, address].join(&b' ')
    }
}

/// The tokens of an `o=` line that has all six.
fn fields<'a>(line: &Line<'a>) -> Option<[&'a [u8]; 6]> {
    tokens(line.field(b'o')?).collect::<Vec<_>>().try_into().ok()
}

fn digest(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for line in split(body).filter(|line| line.field(b'o').is_none()) {
        line.content.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(user: &str, version: u32, name: &str, port: u16) -> String {
        format!("v=0\r\no={user} 7 {version} IN IP4 192.0.2.1\r\ns={name}\r\nm=audio {port} RTP/AVP 8\r\n")
    }

    fn tell(before: Option<&Told>, text: &str, steady: Steady) -> (String, Option<Told>) {
        let (out, told) = Told::tell(before, text.as_bytes(), steady);
        (String::from_utf8(out).unwrap(), told)
    }

    #[test]
    fn the_version_goes_up_with_changes_only() {
        let steady = Steady { version: true, ..Steady::default() };
        let (first, told) = tell(None, &body("a", 10, "x", 4), steady);
        assert_eq!(first, body("a", 10, "x", 4));
        let (same, told) = tell(told.as_ref(), &body("a", 99, "x", 4), steady);
        assert_eq!(same, body("a", 10, "x", 4));
        let (changed, told) = tell(told.as_ref(), &body("a", 3, "x", 5), steady);
        assert_eq!(changed, body("a", 11, "x", 5));
        let forced = Steady { force_version: true, ..Steady::default() };
        assert_eq!(tell(told.as_ref(), &body("a", 3, "x", 5), forced).0, body("a", 12, "x", 5));
    }

    #[test]
    fn names_stay_those_of_the_first_description() {
        let steady = Steady { username: true, session_name: true, ..Steady::default() };
        let (_, told) = tell(None, &body("a", 1, "x y", 4), steady);
        assert_eq!(tell(told.as_ref(), &body("b", 2, "z", 5), steady).0, body("a", 2, "x y", 5));
        assert_eq!(tell(told.as_ref(), &body("b", 2, "z", 5), Steady::default()).0, body("b", 2, "z", 5));
    }

    #[test]
    fn nobody_makes_what_is_kept_long_or_has_it_written_often() {
        let steady = Steady { origin: true, session_name: true, ..Steady::default() };
        let long = "x".repeat(300);
        assert_eq!(tell(None, &body("a", 1, &long, 4), steady), (body("a", 1, &long, 4), None));
        assert_eq!(tell(None, &body(&long, 1, "x", 4), steady).1, None);
        let (_, told) = tell(None, &body("a", 1, "first", 4), steady);
        let many = body("b", 2, "z", 5).replace("s=z\r\n", "s=z\r\ns=z\r\n");
        assert_eq!(
            tell(told.as_ref(), &many, steady).0,
            body("a", 2, "first", 5).replace("s=first\r\n", "s=first\r\ns=z\r\n")
        );
    }

    #[test]
    fn a_body_without_a_whole_origin_stays() {
        let steady = Steady { origin: true, version: true, ..Steady::default() };
        assert_eq!(
            tell(None, "v=0\r\no=7 8\r\nm=audio 4 RTP/AVP 8\r\n", steady),
            ("v=0\r\no=7 8\r\nm=audio 4 RTP/AVP 8\r\n".to_owned(), None)
        );
    }
}
