//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

use super::PROTOCOL_UDP;

/// One's-complement sum of big-endian 16-bit words, not folded yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum(u64);

impl Sum {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    /// Sum of the UDP pseudo header (RFC 768; RFC 8200 section 8.1). `length` is that of UDP header and payload.
    pub(super) fn pseudo_header(src: IpAddr, dst: IpAddr, length: u16) -> Self {
        let mut sum = Self(u64::from(length) + u64::from(PROTOCOL_UDP));
        for address in [src, dst] {
            sum = match address {
                IpAddr::V4(address) => sum.bytes(&address.octets()),
                IpAddr::V6(address) => sum.bytes(&address.octets()),
            };
        }
        sum
    }

    /// Adds bytes. Only the last piece may have an odd length, for an odd byte is padded with a zero.
    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let words = bytes.chunks(2).map(|word| match *word {
            [high, low] => u64::from(u16::from_be_bytes([high, low])),
            [high] => u64::from(high) << 8,
            _ => 0,
        });
        Self(self.0 + words.sum::<u64>())
    }

    /// The sum in 16 bits, carries added in.
    pub(super) const fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        // The loop leaves 16 bits.
        sum as u16
    }

    /// Over bytes with the checksum in its place: the checksum is right.
    pub(super) const fn is_right(self) -> bool {
        self.folded() == 0xffff
    }

    /// Over bytes with zero in the place of the checksum: the checksum to put there.
    pub(super) const fn checksum(self) -> u16 {
        !self.folded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_gives_its_sum() {
        let sum = Sum::new().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.folded(), 0xddf2);
        assert_eq!(sum.checksum(), 0x220d);
        assert!(sum.bytes(&[0x22, 0x0d]).is_right());
        assert!(!sum.bytes(&[0x22, 0x0e]).is_right());
    }

    #[test]
    fn an_odd_last_byte_counts_as_the_high_half_of_a_word() {
        assert_eq!(Sum::new().bytes(&[0x12, 0x34, 0x56]).folded(), 0x1234 + 0x5600);
    }
}
