//! Who may use a listener: those on this host, and those that the operator names.

use std::net::{IpAddr, SocketAddr};

use anyhow::bail;
use relay::Prefix;

/// The hosts that may use a listener besides this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guests(Vec<Prefix>);

impl Guests {
    /// Those of these networks, for listeners at these addresses. `keys` names the options of the listeners and of the networks.
    ///
    /// # Errors
    /// When others than this host reach a listener and nobody is named: whoever reaches it can end calls and hear them.
    pub fn new(networks: Vec<Prefix>, listeners: &[SocketAddr], keys: [&str; 2]) -> anyhow::Result<Self> {
        let [listen, allow] = keys;
        if let Some(open) = listeners.iter().find(|addr| !addr.ip().to_canonical().is_loopback())
            && networks.is_empty()
        {
            bail!(
                "{listen} = \"{open}\" is reachable from the network, and whoever reaches it can end calls: name the proxies that may use it, as \
                 in {allow} = [\"192.0.2.5\", \"198.51.100.0/28\"]"
            );
        }
        Ok(Self(networks))
    }

    /// Whether a client at this address may use the listener.
    pub fn admit(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        client.is_loopback() || self.0.iter().any(|network| network.holds(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(listener: &str, networks: &[&str]) -> anyhow::Result<Guests> {
        let networks = networks.iter().map(|text| text.parse().unwrap()).collect();
        Guests::new(networks, &[listener.parse().unwrap()], ["listen-ng", "allow-ng"])
    }

    #[test]
    fn a_listener_beyond_loopback_must_name_its_proxies() {
        for listener in ["192.0.2.1:2223", "0.0.0.0:2223", "[::]:2223", "[2001:db8::1]:2223"] {
            let error = guests(listener, &[]).unwrap_err().to_string();
            assert!(error.contains(listener) && error.contains("allow-ng"), "{error}");
            assert!(guests(listener, &["192.0.2.5"]).is_ok());
        }
        for listener in ["127.0.0.1:2223", "[::1]:2223", "[::ffff:127.0.0.1]:2223"] {
            assert!(guests(listener, &[]).is_ok(), "{listener}");
        }
    }

    #[test]
    fn this_host_and_those_that_are_named_are_admitted() {
        let guests = guests("[::]:2223", &["192.0.2.0/28", "2001:db8::/64"]).unwrap();
        for (client, is_admitted) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("192.0.2.5", true),
            ("::ffff:192.0.2.5", true),
            ("2001:db8::5", true),
            ("192.0.2.16", false),
            ("2001:db8:1::5", false),
        ] {
            assert_eq!(guests.admit(client.parse().unwrap()), is_admitted, "{client}");
        }
    }
}
