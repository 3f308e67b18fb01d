//! Networks, as the operator and the routing name them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network: all addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix {
    addr: IpAddr,
    pub(crate) bits: u8,
}

/// Not a network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is no network: want an address, or ADDRESS/BITS as in \"192.0.2.0/24\" or \"2001:db8::/32\"")]
pub struct UnknownPrefix(String);

impl Prefix {
    /// The network of these bits of an address.
    pub(crate) fn new(addr: IpAddr, bits: u8) -> Self {
        let (addr, most) = (addr.to_canonical(), if addr.to_canonical().is_ipv4() { 32 } else { 128 });
        Self { addr, bits: bits.min(most) }
    }

    /// Whether the network holds an address.
    pub fn holds(&self, addr: IpAddr) -> bool {
        match (self.addr, addr.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(two)) => shared(u128::from(one.to_bits() ^ two.to_bits()) << 96, self.bits),
            (IpAddr::V6(one), IpAddr::V6(two)) => shared(one.to_bits() ^ two.to_bits(), self.bits),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Whether two addresses that differ in these bits have so many first ones in common.
const fn shared(difference: u128, bits: u8) -> bool {
    difference.leading_zeros() >= bits as u32
}

impl FromStr for Prefix {
    type Err = UnknownPrefix;

    fn from_str(text: &str) -> Result<Self, UnknownPrefix> {
        let unknown = || UnknownPrefix(text.to_owned());
        let (addr, bits) = text.split_once('/').map_or((text, None), |(addr, bits)| (addr, Some(bits)));
        let addr: IpAddr = addr.trim().parse().map_err(|_| unknown())?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.trim().parse().ok().filter(|bits| *bits <= most).ok_or_else(unknown)?,
            None => most,
        };
        // IPv4 written as IPv6 has 96 bits that say so.
        match (addr, addr.to_canonical()) {
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) if bits >= 96 => Ok(Self::new(canonical, bits - 96)),
            _ => Ok(Self { addr, bits }),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}
