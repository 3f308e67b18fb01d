//! `a=crypto` (RFC 4568): keys for SRTP in descriptions.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use media::srtp::{MasterKey, Mki, Suite};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::line::{number, tokens};

/// Everybody reads both forms, and not everybody writes what the standard has.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// So many keys of a line are read, and so many lines of a media.
const MAX_KEYS: usize = 8;
pub(super) const MAX_LINES: usize = 24;

/// One way of protecting a media, with the keys of whoever wrote it: what it sends is protected by one of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crypto {
    /// By what an answer names it.
    pub tag: u32,
    /// The first key.
    pub key: MasterKey,
    /// More, which packets name.
    pub others: Vec<MasterKey>,
}

impl Crypto {
    /// What the attribute says; `None` where that cannot be read, or is not supported: a line that asks for what nobody knows is as good as none
    /// (RFC 4568 6.3.7).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut words = tokens(value);
        let tag = number(words.next()?)?;
        let suite = Suite::of_name(words.next()?)?;
        let mut keys = words.next()?.split(|byte| *byte == b';').take(MAX_KEYS).map(|key| key_of(suite, key));
        let (key, others) = (keys.next()??, keys.collect::<Option<Vec<_>>>()?);
        words.all(is_harmless).then_some(Self { tag, key, others })
    }

    /// What it is protected by.
    pub fn suite(&self) -> Suite {
        self.key.suite()
    }

    /// All keys.
    pub fn keys(&self) -> Vec<MasterKey> {
        std::iter::once(&self.key).chain(&self.others).cloned().collect()
    }

    /// The attribute. `is_padded`: as the standard has it, and not as most write it. `has_lifetime`: with how long a key is good, which is forever.
    pub fn write(&self, is_padded: bool, has_lifetime: bool) -> String {
        let mut keys = String::new();
        for (number, key) in std::iter::once(&self.key).chain(&self.others).enumerate() {
            let text = Zeroizing::new(BASE64.encode(key.key_and_salt()));
            let text = if is_padded { text.as_str() } else { text.trim_end_matches('=') };
            keys.push_str(if number > 0 { ";inline:" } else { "inline:" });
            keys.push_str(text);
            if has_lifetime {
                keys.push_str("|2^31");
            }
            let mki = key.mki().bytes();
            if !mki.is_empty() {
                let value = mki.iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
                keys.push_str(&format!("|{value}:{}", mki.len()));
            }
        }
        format!("a=crypto:{} {} {keys}", self.tag, self.suite().name())
    }
}

/// `inline:<key and salt>[|<lifetime>][|<MKI>:<length>]`. How long a key lives is for whoever has it: it is good for longer than any call.
fn key_of(suite: Suite, text: &[u8]) -> Option<MasterKey> {
    let mut parts = text.strip_prefix(b"inline:")?.split(|byte| *byte == b'|');
    let material = Zeroizing::new(BASE64.decode(parts.next()?).ok()?);
    let mut mki = Mki::default();
    for part in parts {
        let Some(at) = part.iter().position(|byte| *byte == b':') else { continue };
        let (value, len) = part.split_at_checked(at)?;
        mki = Mki::new(number(value)?, number(len.get(1..)?)?)?;
    }
    MasterKey::new(suite, &material, mki).ok()
}

/// Whether a session parameter changes nothing about how packets look.
fn is_harmless(word: &[u8]) -> bool {
    word.starts_with(b"WSH=") || word.starts_with(b"-") || word == b"KDR=0"
}

impl Serialize for Crypto {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.write(true, false))
    }
}

impl<'de> Deserialize<'de> for Crypto {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let value = text.strip_prefix("a=crypto:").and_then(|value| Self::parse(value.as_bytes()));
        value.ok_or_else(|| serde::de::Error::custom("no such key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    fn parse(value: &str) -> Option<Crypto> {
        Crypto::parse(value.as_bytes())
    }

    /// RFC 4568 4.1 and 6.1; what Microsoft's media processors write; keys of 46 bytes in both forms.
    #[test]
    fn a_line_is_read_as_people_write_it() {
        let line = parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4 FEC_ORDER=FEC_SRTP"));
        assert_eq!(line, None, "an order of FEC that nobody has agreed to");
        let line = parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4 WSH=60")).unwrap();
        assert_eq!((line.tag, line.suite(), line.key.mki().bytes()), (1, Suite::AesCm128Sha80, &[0, 0, 0, 1][..]));
        let line = parse(&format!("2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31")).unwrap();
        assert_eq!((line.tag, line.suite(), line.others.len()), (2, Suite::AesCm128Sha32, 0));
        let two = parse(&format!("3 aes_cm_128_hmac_sha1_80 inline:{KEY}|1:1;inline:{KEY}|2^4|2:1")).unwrap();
        assert_eq!((two.keys().len(), two.others[0].mki().bytes()), (2, &[2][..]));
        let long = "A".repeat(61) + "Q";
        for (text, is_right) in [(format!("{long}=="), true), (long.clone(), true), (format!("{long}A="), false)] {
            assert_eq!(parse(&format!("1 AES_CM_256_HMAC_SHA1_80 inline:{text}")).is_some(), is_right, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_line() {
        for wrong in [
            "",
            "1",
            "1 AES_CM_128_HMAC_SHA1_80",
            "x AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
            "1 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
            "1 AES_CM_128_HMAC_SHA1_80 uri:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGV",
            "1 AES_CM_128_HMAC_SHA1_80 inline:!!!!",
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|1:0",
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNENCRYPTED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNAUTHENTICATED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz KDR=3",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_written_is_read_and_kept() {
        for suite in Suite::ALL {
            for mki in [Mki::default(), Mki::new(700, 2).unwrap()] {
                let material: Vec<u8> = (0..suite.key_len() + suite.salt_len()).map(|byte| 255 - byte as u8).collect();
                let key = MasterKey::new(suite, &material, mki).unwrap();
                let line = Crypto { tag: 7, others: vec![key.clone()], key };
                for (is_padded, has_lifetime) in [(false, false), (true, true)] {
                    let text = line.write(is_padded, has_lifetime);
                    assert_eq!(parse(text.strip_prefix("a=crypto:").unwrap()).as_ref(), Some(&line), "{text}");
                }
                let kept = postcard::to_stdvec(&line).unwrap();
                assert_eq!(postcard::from_bytes::<Crypto>(&kept).unwrap(), line);
            }
        }
    }
}
