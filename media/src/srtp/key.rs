//! Master keys, and what comes of them (RFC 3711 4.3).

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::cipher::Cipher;
use super::counter::{AesKey, Counter};
use super::suite::Suite;

/// The longest salt; shorter ones have zeros behind them.
const SALT: usize = 14;
/// Bytes of a session key for HMAC-SHA1.
const AUTHENTICATION: usize = 20;

/// A name that packets give to the key that they are protected by (RFC 3711 3.1): as it lies in them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Mki(Box<[u8]>);

impl Mki {
    /// The longest (RFC 4568 6.1).
    pub const MAX: usize = 128;

    /// A number in so many bytes; `None` when it does not fit, or in none or more than [`Mki::MAX`].
    pub fn new(number: u128, len: usize) -> Option<Self> {
        if len == 0 || len > Self::MAX {
            return None;
        }
        let octets = number.to_be_bytes();
        let (beyond, within) = octets.split_at(octets.len().saturating_sub(len));
        let fits = beyond.iter().all(|byte| *byte == 0);
        let mut bytes = vec![0; len - within.len()];
        bytes.extend(within);
        fits.then(|| Self(bytes.into()))
    }

    /// As it lies in packets; nothing where keys have no names.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A key that both sides know, with its salt.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    #[zeroize(skip)]
    suite: Suite,
    key: AesKey,
    salt: [u8; SALT],
    #[zeroize(skip)]
    mki: Mki,
}

/// A key is not as long as its suite wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a key of {name} with its salt has {wanted} bytes, and not {found}", name = .suite.name())]
pub struct BadKey {
    suite: Suite,
    wanted: usize,
    found: usize,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever reads logs is not to hear calls.
        f.debug_struct("MasterKey").field("suite", &self.suite).field("mki", &self.mki).finish_non_exhaustive()
    }
}

impl MasterKey {
    /// A key for a suite, with the salt behind it, as SDP writes both (RFC 4568 6.1).
    ///
    /// # Errors
    /// When they are not as long as the suite wants them.
    pub fn new(suite: Suite, key_and_salt: &[u8], mki: Mki) -> Result<Self, BadKey> {
        let wanted = suite.key_len() + suite.salt_len();
        let bad = BadKey { suite, wanted, found: key_and_salt.len() };
        let (key, behind) = key_and_salt.split_at_checked(suite.key_len()).ok_or(bad)?;
        let key = AesKey::of(suite.key_len(), key).filter(|_| behind.len() == suite.salt_len()).ok_or(bad)?;
        let mut salt = [0; SALT];
        salt.iter_mut().zip(behind).for_each(|(place, byte)| *place = *byte);
        Ok(Self { suite, key, salt, mki })
    }

    /// What it is for.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The name that packets give to it.
    pub const fn mki(&self) -> &Mki {
        &self.mki
    }

    /// The key with the salt behind it.
    pub fn key_and_salt(&self) -> Zeroizing<Vec<u8>> {
        let salt = self.salt.get(..self.suite.salt_len()).unwrap_or_default();
        Zeroizing::new([self.key.bytes(), salt].concat())
    }

    /// Fills in what is derived from the key for a purpose: the key stream that begins at its label.
    fn derive(&self, label: u8, into: &mut [u8]) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = self.salt;
        into.fill(0);
        Counter::new(&self.key).apply([a, b, c, d, e, f, g, h ^ label, i, j, k, l, m, n, 0, 0], into);
    }

    /// What protects RTP, and RTCP.
    pub(super) fn ciphers(&self) -> [Cipher; 2] {
        [(0, self.suite.rtp()), (3, self.suite.rtcp())].map(|(label, authentication)| {
            let key = self.key.like(|into| self.derive(label, into));
            let (mut code, mut salt) = (Zeroizing::new([0; AUTHENTICATION]), Zeroizing::new([0; SALT]));
            self.derive(label + 1, &mut *code);
            self.derive(label + 2, &mut *salt);
            Cipher::new(authentication, &key, &*code, &salt)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::unhex;

    /// RFC 3711 B.3, RFC 6188 7.2 and 7.4.
    #[test]
    fn session_keys_are_those_of_the_standards() {
        for (suite, key, salt, cipher, session_salt, code) in [
            (
                Suite::AesCm128Sha80,
                "e1f97a0d3e018be0d64fa32c06de4139",
                "0ec675ad498afeebb6960b3aabe6",
                "c61e7a93744f39ee10734afe3ff7a087",
                "30cbbc08863d8c85d49db34a9ae1",
                "cebe321f6ff7716b6fd4ab49af256a156d38baa4",
            ),
            (
                Suite::AesCm256Sha80,
                "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
                "3b04803de51ee7c96423ab5b78d2",
                "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
                "fa31791685ca444a9e07c6c64e93",
                "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
            ),
            (
                Suite::AesCm192Sha80,
                "73edc66c4fa15776fb57f9505c17136550ffda71f3e8e5f1",
                "c8522f3acd4ce86d5add78edbb11",
                "31874736a8f1143870c26e4857d8a5b2c4a354407faadabb",
                "2372b82d639b6d8503a47adc0a6c",
                "355b10973cd95b9eacf4061c7e1a7151e7cfbfcb",
            ),
        ] {
            let key = MasterKey::new(suite, &unhex(&[key, salt].concat()), Mki::default()).unwrap();
            for (label, expected) in [(0, cipher), (1, code), (2, session_salt)] {
                let mut derived = vec![0; expected.len() / 2];
                key.derive(label, &mut derived);
                assert_eq!(derived, unhex(expected), "{} {label}", suite.name());
            }
        }
    }

    #[test]
    fn a_key_has_the_length_of_its_suite_and_shows_itself_to_nobody() {
        for suite in Suite::ALL {
            let len = suite.key_len() + suite.salt_len();
            assert!(MasterKey::new(suite, &vec![7; len], Mki::default()).is_ok());
            for wrong in [0, len - 1, len + 1, 100] {
                let error = MasterKey::new(suite, &vec![7; wrong], Mki::default()).unwrap_err();
                assert!(error.to_string().contains(suite.name()), "{error}");
            }
        }
        let key = MasterKey::new(Suite::AesCm128Sha80, &[0x5a; 30], Mki::default()).unwrap();
        assert!(!format!("{key:?}").contains("90"), "{key:?}");
    }

    #[test]
    fn a_name_of_a_key_is_a_number_in_so_many_bytes() {
        assert_eq!(Mki::new(1, 1).unwrap().bytes(), [1]);
        assert_eq!(Mki::new(0x1234, 4).unwrap().bytes(), [0, 0, 0x12, 0x34]);
        assert_eq!(Mki::new(7, 128).unwrap().bytes().len(), 128);
        for (number, len) in [(256, 1), (1, 0), (1, 129), (1 << 64, 8)] {
            assert_eq!(Mki::new(number, len), None);
        }
    }
}
