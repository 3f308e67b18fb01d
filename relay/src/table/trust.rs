//! Where a party may be: whoever can place a call must not reach what only the relay can reach.
//!
//! Signalled and learned addresses are judged alike. What the operator says by prefixes comes first, and of several prefixes the longest
//! decides; but nothing makes a party of an address that is nobody's.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use border::Untrusted;

use crate::host::{HostAddresses, Prefix};

/// What may be sent to a party.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// Anything.
    Everything,
    /// The party is on this host, beside everything else that is: only what is RTP or RTCP by its header.
    MediaOnly,
}

/// What the operator decided about where parties may be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustConfig {
    /// Networks where no party may be.
    pub deny: Vec<Prefix>,
    /// Networks where parties may be, exceptions from those and from what is denied by default.
    pub allow: Vec<Prefix>,
}

/// Decides where parties may be.
#[derive(Debug, Default)]
pub struct Trust {
    config: TrustConfig,
    /// Addresses under which this host is known elsewhere, by a static NAT.
    advertised: HashSet<IpAddr>,
    host: RwLock<HostAddresses>,
}

impl Trust {
    /// As the operator has it. `advertised`: this host's addresses beyond a static NAT.
    pub fn new(config: TrustConfig, advertised: impl Iterator<Item = IpAddr>) -> Self {
        Self { config, advertised: advertised.collect(), host: RwLock::default() }
    }

    /// Takes notice of the host's addresses.
    pub(crate) fn set_host(&self, host: HostAddresses) {
        *self.host.write().unwrap_or_else(PoisonError::into_inner) = host;
    }

    /// Whether a party that talks to the local address may be at another one.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, local: IpAddr, party: IpAddr) -> Result<(), Untrusted> {
        let party = party.to_canonical();
        Untrusted::by_kind(local, party)?;
        let host = self.host.read().unwrap_or_else(PoisonError::into_inner);
        if host.broadcast.contains(&party) {
            return Err(Untrusted::Broadcast);
        }
        let longest = |list: &[Prefix]| list.iter().filter(|one| one.holds(party)).map(|one| one.bits).max();
        let (allowed, denied) = (longest(&self.config.allow), longest(&self.config.deny));
        let link_local = is_link_local(party);
        match (allowed, denied) {
            (allowed, Some(denied)) if allowed.is_none_or(|allowed| allowed <= denied) => Err(Untrusted::Denied),
            (allowed, _) if link_local.is_some_and(|bits| allowed.is_none_or(|allowed| allowed < bits)) => {
                Err(Untrusted::LinkLocal)
            }
            _ => Ok(()),
        }
    }

    /// What may be sent to a party at this address.
    pub(crate) fn scope(&self, party: IpAddr) -> Scope {
        let host = self.host.read().unwrap_or_else(PoisonError::into_inner);
        let is_own = host.own.contains(&party)
            || self.advertised.contains(&party)
            || host.networks.iter().any(|network| network.holds(party));
        // A network that happens to hold an address of this host is not meant so.
        let is_whole = |one: &Prefix| one.bits == if party.is_ipv4() { 32 } else { 128 };
        let is_allowed = || self.config.allow.iter().any(|one| is_whole(one) && one.holds(party));
        if is_own && !is_allowed() { Scope::MediaOnly } else { Scope::Everything }
    }
}

/// How many bits say that an address is link-local, if it is.
const fn is_link_local(addr: IpAddr) -> Option<u8> {
    match addr {
        IpAddr::V4(addr) if addr.is_link_local() => Some(16),
        IpAddr::V6(addr) if addr.is_unicast_link_local() => Some(10),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trust(deny: &[&str], allow: &[&str]) -> Trust {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let trust = Trust::new(TrustConfig { deny: list(deny), allow: list(allow) }, [addr("203.0.113.5")].into_iter());
        trust.set_host(HostAddresses {
            own: ["192.0.2.1", "2001:db8::1"].map(addr).into(),
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            broadcast: [addr("192.0.2.255")].into(),
        });
        trust
    }

    const LOCALS: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

    fn judge(trust: &Trust, party: &str) -> Result<(), Untrusted> {
        let [one, other] = LOCALS.map(|local| trust.judge(addr(local), addr(party)));
        assert_eq!(one, other);
        one
    }

    #[test]
    fn addresses_that_are_no_partys_are_refused_in_every_form_and_whatever_the_operator_says() {
        let trust = trust(&[], &["0.0.0.0/0", "::/0"]);
        for (party, why) in [
            ("0.0.0.0", Untrusted::Unspecified),
            ("0.1.2.3", Untrusted::Unspecified),
            ("::", Untrusted::Unspecified),
            ("::ffff:0.0.0.0", Untrusted::Unspecified),
            ("224.0.0.1", Untrusted::Multicast),
            ("239.255.255.250", Untrusted::Multicast),
            ("ff02::1", Untrusted::Multicast),
            ("::ffff:224.0.0.1", Untrusted::Multicast),
            ("255.255.255.255", Untrusted::Broadcast),
            ("192.0.2.255", Untrusted::Broadcast),
            ("::ffff:192.0.2.255", Untrusted::Broadcast),
            ("127.0.0.1", Untrusted::Loopback),
            ("127.8.8.8", Untrusted::Loopback),
            ("::1", Untrusted::Loopback),
            ("::ffff:127.0.0.1", Untrusted::Loopback),
        ] {
            assert_eq!(judge(&trust, party), Err(why), "{party}");
        }
    }

    #[test]
    fn loopback_is_for_interfaces_on_loopback() {
        let trust = trust(&[], &[]);
        assert_eq!(trust.judge(addr("127.0.0.1"), addr("127.0.0.2")), Ok(()));
        assert_eq!(trust.judge(addr("::1"), addr("::1")), Ok(()));
    }

    #[test]
    fn link_local_addresses_are_refused_unless_a_network_of_theirs_is_allowed() {
        for (party, network, all) in [("169.254.1.2", "169.254.0.0/16", "0.0.0.0/0"), ("fe80::1", "fe80::/64", "::/0")]
        {
            assert_eq!(judge(&trust(&[], &[]), party), Err(Untrusted::LinkLocal));
            assert_eq!(judge(&trust(&[], &[all]), party), Err(Untrusted::LinkLocal), "all is not meant so");
            assert_eq!(judge(&trust(&[], &[network]), party), Ok(()));
        }
    }

    #[test]
    fn of_allowed_and_denied_networks_the_longest_decides_and_of_equals_the_denied() {
        let trust = trust(&["10.0.0.0/8", "2001:db8::/32", "10.1.1.1"], &["10.1.0.0/16", "2001:db8::/32"]);
        assert_eq!(judge(&trust, "10.2.0.1"), Err(Untrusted::Denied));
        assert_eq!(judge(&trust, "10.1.0.1"), Ok(()));
        assert_eq!(judge(&trust, "10.1.1.1"), Err(Untrusted::Denied));
        assert_eq!(judge(&trust, "::ffff:10.2.0.1"), Err(Untrusted::Denied));
        assert_eq!(judge(&trust, "2001:db8::9"), Err(Untrusted::Denied));
        assert_eq!(judge(&trust, "198.51.100.1"), Ok(()));
    }

    #[test]
    fn only_media_goes_to_this_host_unless_it_is_allowed() {
        for own in ["192.0.2.1", "2001:db8::1", "203.0.113.5", "127.0.0.7"] {
            assert_eq!(trust(&[], &[]).scope(addr(own)), Scope::MediaOnly, "{own}");
            assert_eq!(trust(&[], &[own]).scope(addr(own)), Scope::Everything, "{own}");
            let networks = ["0.0.0.0/0", "::/0", "192.0.2.0/24", "2001:db8::/64", "127.0.0.0/8", "203.0.113.0/24"];
            assert_eq!(trust(&[], &networks).scope(addr(own)), Scope::MediaOnly, "{own}: not by a network");
        }
        assert_eq!(trust(&[], &[]).scope(addr("192.0.2.10")), Scope::Everything);
    }

    #[test]
    fn what_is_no_network_is_an_error_with_an_example() {
        for text in ["", "host", "192.0.2.1/33", "192.0.2.1/x", "2001:db8::/129", "/8"] {
            let error = text.parse::<Prefix>().unwrap_err().to_string();
            assert!(error.contains("192.0.2.0/24"), "{error}");
        }
        assert_eq!("::ffff:10.0.0.0/104".parse::<Prefix>(), "10.0.0.0/8".parse());
        assert_eq!("192.0.2.0/24".parse::<Prefix>().unwrap().to_string(), "192.0.2.0/24");
    }
}
