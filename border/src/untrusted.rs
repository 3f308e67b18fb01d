//! Why a party may not be where it says.

use std::net::{IpAddr, Ipv4Addr};

/// Why a party may not be at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Untrusted {
    /// Nobody's address.
    #[error("it is nobody's address")]
    Unspecified,
    /// The address of a group.
    #[error("it is a multicast address")]
    Multicast,
    /// Everybody's address.
    #[error("it is a broadcast address")]
    Broadcast,
    /// What only this host can reach.
    #[error("it is a loopback address, and the interface is not on loopback")]
    Loopback,
    /// What means something only together with a device.
    #[error("it is a link-local address; media-allow can permit it")]
    LinkLocal,
    /// The operator denies it.
    #[error("media-deny forbids it")]
    Denied,
}

impl Untrusted {
    /// What can be said of a party that talks to a local address without knowing the host and its operator: nobody's addresses, and loopback beyond
    /// it.
    ///
    /// # Errors
    /// Why it may not be there.
    pub fn by_kind(local: IpAddr, party: IpAddr) -> Result<(), Self> {
        let party = party.to_canonical();
        if party.is_unspecified() || matches!(party, IpAddr::V4(addr) if addr.octets()[0] == 0) {
            return Err(Self::Unspecified);
        }
        if party.is_multicast() {
            return Err(Self::Multicast);
        }
        if party == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(Self::Broadcast);
        }
        if party.is_loopback() && !local.is_loopback() {
            return Err(Self::Loopback);
        }
        Ok(())
    }
}
