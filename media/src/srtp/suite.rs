//! Crypto suites, by the names that SDP knows them by (RFC 4568 6.2, RFC 6188, RFC 7714 14.2).

/// What packets are protected by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Suite {
    /// AES-128 in counter mode, HMAC-SHA1 of 80 bits.
    AesCm128Sha80,
    /// AES-128 in counter mode, HMAC-SHA1 of 32 bits (80 in RTCP).
    AesCm128Sha32,
    /// AES-192 in counter mode, HMAC-SHA1 of 80 bits.
    AesCm192Sha80,
    /// AES-192 in counter mode, HMAC-SHA1 of 32 bits (80 in RTCP).
    AesCm192Sha32,
    /// AES-256 in counter mode, HMAC-SHA1 of 80 bits.
    AesCm256Sha80,
    /// AES-256 in counter mode, HMAC-SHA1 of 32 bits (80 in RTCP).
    AesCm256Sha32,
    /// AES-128 in Galois counter mode.
    Gcm128,
    /// AES-256 in Galois counter mode.
    Gcm256,
}

/// What authenticates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Authentication {
    /// HMAC-SHA1, cut to so many bytes.
    Sha1(usize),
    /// The cipher itself.
    Gcm,
}

impl Suite {
    /// All, the best first of those that everybody knows.
    pub const ALL: [Self; 8] = [
        Self::Gcm256,
        Self::Gcm128,
        Self::AesCm256Sha80,
        Self::AesCm256Sha32,
        Self::AesCm192Sha80,
        Self::AesCm192Sha32,
        Self::AesCm128Sha80,
        Self::AesCm128Sha32,
    ];

    /// Its name in SDP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128Sha80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128Sha32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm192Sha80 => "AES_192_CM_HMAC_SHA1_80",
            Self::AesCm192Sha32 => "AES_192_CM_HMAC_SHA1_32",
            Self::AesCm256Sha80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm256Sha32 => "AES_256_CM_HMAC_SHA1_32",
            Self::Gcm128 => "AEAD_AES_128_GCM",
            Self::Gcm256 => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of a name, in any case; also in the spelling that many write for those of RFC 6188, with the size behind the mode.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        let other = |suite: Self| suite.name().replace("_256_CM_", "_CM_256_").replace("_192_CM_", "_CM_192_");
        Self::ALL.into_iter().find(|suite| {
            name.eq_ignore_ascii_case(suite.name().as_bytes()) || name.eq_ignore_ascii_case(other(*suite).as_bytes())
        })
    }

    /// Bytes of a master key, and of a session key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCm128Sha80 | Self::AesCm128Sha32 | Self::Gcm128 => 16,
            Self::AesCm192Sha80 | Self::AesCm192Sha32 => 24,
            Self::AesCm256Sha80 | Self::AesCm256Sha32 | Self::Gcm256 => 32,
        }
    }

    /// Bytes of a master salt, and of a session salt.
    pub const fn salt_len(self) -> usize {
        match self.rtp() {
            Authentication::Sha1(_) => 14,
            Authentication::Gcm => 12,
        }
    }

    /// What authenticates RTP.
    pub(super) const fn rtp(self) -> Authentication {
        match self {
            Self::AesCm128Sha80 | Self::AesCm192Sha80 | Self::AesCm256Sha80 => Authentication::Sha1(10),
            Self::AesCm128Sha32 | Self::AesCm192Sha32 | Self::AesCm256Sha32 => Authentication::Sha1(4),
            Self::Gcm128 | Self::Gcm256 => Authentication::Gcm,
        }
    }

    /// What authenticates RTCP: never with less than 80 bits (RFC 4568 6.2.2).
    pub(super) const fn rtcp(self) -> Authentication {
        match self.rtp() {
            Authentication::Sha1(_) => Authentication::Sha1(10),
            Authentication::Gcm => Authentication::Gcm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_in_each_spelling() {
        for suite in Suite::ALL {
            assert_eq!(Suite::of_name(suite.name().as_bytes()), Some(suite));
            assert_eq!(Suite::of_name(suite.name().to_lowercase().as_bytes()), Some(suite));
        }
        assert_eq!(Suite::of_name(b"AES_CM_256_HMAC_SHA1_80"), Some(Suite::AesCm256Sha80));
        assert_eq!(Suite::of_name(b"aes_cm_192_hmac_sha1_32"), Some(Suite::AesCm192Sha32));
        for unknown in [&b"AES_CM_128_HMAC_SHA1_8"[..], b"", b"F8_128_HMAC_SHA1_80", b"AES_CM_128_HMAC_SHA1_80 "] {
            assert_eq!(Suite::of_name(unknown), None);
        }
    }
}
