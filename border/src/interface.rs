//! Interfaces: named local media addresses, as rtpengine means the word.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of an interface in the configuration's order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct InterfaceId(pub usize);

/// A family of addresses. Each leg of a call has one of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// `IP4` of SDP.
    V4,
    /// `IP6` of SDP.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The one that this is not.
    pub const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// `IPv4` or `IPv6`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A named local media address. One name may stand for two of them, an IPv4 and an IPv6 address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The name that the proxy's `direction` uses.
    pub name: String,
    /// The address that packets arrive at and leave from.
    pub addr: IpAddr,
    /// The address that is written into SDP: the same, unless a static NAT stands before the relay. Of the same family.
    pub advertised: IpAddr,
    /// Its first and last media port; `None`: those that are configured for all.
    pub ports: Option<(u16, u16)>,
    /// Other names that it is called by.
    pub aliases: Vec<String>,
}

/// What is wrong with an interface in the configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterfaceError {
    /// Not of the form.
    #[error(
        "interface \"{0}\" is not of the form NAME/ADDRESS, NAME/ADDRESS!ADVERTISED or NAME/ADDRESS ports FIRST-LAST, as in \"pbx/192.0.2.1\" or \"pbx/2001:db8::1\""
    )]
    Form(String),
    /// A port range that is none.
    #[error(
        "interface \"{0}\": its ports are no range: want 1024 <= first < last <= 65535, as in \"pbx/192.0.2.1 ports 30000-39999\""
    )]
    Ports(String),
    /// What arrives in one family cannot be answered in another.
    #[error("interface \"{0}\": the address and the advertised one must be of one family")]
    Advertised(String),
    /// An address that no party could send to.
    #[error(
        "interface \"{0}\": give the address of a device of this host that parties can reach, not a wildcard, link-local or multicast one"
    )]
    Unusable(String),
    /// Two have the same name.
    #[error("interface \"{0}\" has two {family} addresses: give each its own name, or name them {0}:1 and {0}:2, and {0} takes turns", family = .1.name())]
    Double(String, Family),
    /// What arrives at an address arrives there for all of its interfaces.
    #[error("the interfaces \"{0}\" and \"{1}\" have one address, and so must have the same ports")]
    SharedPorts(String, String),
    /// An alias of nothing, or of two.
    #[error(
        "interface \"{0}\" is no alias: want NEW=NAME, as in \"public=gateway\", where NAME is an interface that is configured and NEW is none"
    )]
    Alias(String),
    /// None at all.
    #[error("no interface is configured: give at least one, as in interface = [\"pbx/192.0.2.1\"]")]
    None,
}

impl Interface {
    /// The name before the first colon: that of the interfaces that take turns.
    fn group(&self) -> &str {
        self.name.split(':').next().unwrap_or(&self.name)
    }

    /// Whether a name means this interface, alone or as one of a group.
    fn is_called(&self, name: &[u8]) -> bool {
        let is_alias = |alias: &String| alias.as_bytes() == name;
        self.name.as_bytes() == name || self.group().as_bytes() == name || self.aliases.iter().any(is_alias)
    }
}

impl FromStr for Interface {
    type Err = InterfaceError;

    /// `name/address` or `name/address!advertised`; a bare address is the interface `default`.
    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let form = || InterfaceError::Form(text.to_owned());
        let (addrs, range) = match text.split_once(" ports ") {
            Some((addrs, range)) => {
                (addrs.trim(), Some(ports(range).ok_or_else(|| InterfaceError::Ports(text.to_owned()))?))
            }
            None => (text, None),
        };
        let (name, addrs) = addrs.split_once('/').unwrap_or(("default", addrs));
        let (addr, advertised) = addrs.split_once('!').unwrap_or((addrs, addrs));
        if name.is_empty() {
            return Err(form());
        }
        let addr = parse(addr).ok_or_else(form)?;
        let advertised = parse(advertised).ok_or_else(form)?;
        if Family::of(addr) != Family::of(advertised) {
            return Err(InterfaceError::Advertised(text.to_owned()));
        }
        // A link-local address means something only together with a device, which SDP cannot name.
        let is_link_local = matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
        if addr.is_unspecified() || addr.is_multicast() || is_link_local {
            return Err(InterfaceError::Unusable(text.to_owned()));
        }
        Ok(Self { name: name.to_owned(), addr, advertised, ports: range, aliases: Vec::new() })
    }
}

/// `FIRST-LAST`.
fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.trim().split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (1024 <= first && first < last).then_some((first, last))
}

/// An address, also in the brackets that belong to it elsewhere. IPv4 written as IPv6 is IPv4.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().map(|addr: IpAddr| addr.to_canonical())
}

/// All interfaces; there is at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interfaces(Vec<Interface>);

impl Interfaces {
    /// The interfaces in the configuration's order.
    ///
    /// # Errors
    /// When there is none, or two of one name and family, or two of one address with different ports.
    pub fn new(interfaces: Vec<Interface>) -> Result<Self, InterfaceError> {
        if interfaces.is_empty() {
            return Err(InterfaceError::None);
        }
        for (position, interface) in interfaces.iter().enumerate() {
            let family = Family::of(interface.addr);
            let is_same = |other: &Interface| other.name == interface.name && Family::of(other.addr) == family;
            if interfaces.iter().take(position).any(is_same) {
                return Err(InterfaceError::Double(interface.name.clone(), family));
            }
            let differs = |other: &&Interface| other.addr == interface.addr && other.ports != interface.ports;
            if let Some(other) = interfaces.iter().take(position).find(differs) {
                return Err(InterfaceError::SharedPorts(other.name.clone(), interface.name.clone()));
            }
        }
        Ok(Self(interfaces))
    }

    /// Gives an interface or a group another name, by a text of the form `ALIAS=NAME`.
    ///
    /// # Errors
    /// When there is no such name, or the alias is a name already.
    pub fn alias(&mut self, text: &str) -> Result<(), InterfaceError> {
        let error = || InterfaceError::Alias(text.to_owned());
        let (alias, name) = text.split_once('=').map(|(alias, name)| (alias.trim(), name.trim())).ok_or_else(error)?;
        if alias.is_empty() || self.has(alias.as_bytes()) || !self.has(name.as_bytes()) {
            return Err(error());
        }
        for interface in self.0.iter_mut().filter(|interface| interface.is_called(name.as_bytes())) {
            interface.aliases.push(alias.to_owned());
        }
        Ok(())
    }

    /// The name that is meant when none is said: the first, or that of its group.
    pub fn default_name(&self) -> &str {
        self.0.first().map_or("", Interface::group)
    }

    /// Whether there is an interface or a group of a name.
    pub fn has(&self, name: &[u8]) -> bool {
        self.0.iter().any(|interface| interface.is_called(name))
    }

    /// The address of a name and family.
    pub fn find(&self, name: &[u8], family: Family) -> Option<InterfaceId> {
        self.named(name, family).next()
    }

    /// The interface of the same name in a family: itself, where it is of that.
    pub fn in_family(&self, id: InterfaceId, family: Family) -> Option<InterfaceId> {
        if self.family(id) == Some(family) {
            return Some(id);
        }
        self.find(self.get(id)?.name.as_bytes(), family)
    }

    /// The family of an interface.
    pub fn family(&self, id: InterfaceId) -> Option<Family> {
        self.get(id).map(|interface| Family::of(interface.addr))
    }

    /// The addresses of a name and family: one, or those of a group, `NAME:1`, `NAME:2` and so on, that take turns.
    pub fn named(&self, name: &[u8], family: Family) -> impl Iterator<Item = InterfaceId> + Clone {
        let is_meant = move |interface: &Interface| interface.is_called(name) && Family::of(interface.addr) == family;
        self.0.iter().enumerate().filter(move |(_, one)| is_meant(one)).map(|(position, _)| InterfaceId(position))
    }

    /// The interface of a number.
    pub fn get(&self, id: InterfaceId) -> Option<&Interface> {
        self.0.get(id.0)
    }

    /// The local addresses, each once, in the order in which interfaces name them: that of their numbers.
    pub fn addrs(&self) -> Vec<IpAddr> {
        let mut addrs = Vec::new();
        for interface in &self.0 {
            if !addrs.contains(&interface.addr) {
                addrs.push(interface.addr);
            }
        }
        addrs
    }

    /// The numbers of the interfaces' addresses, in the interfaces' order.
    pub fn locals(&self) -> Vec<usize> {
        let addrs = self.addrs();
        let number = |interface: &Interface| addrs.iter().position(|addr| *addr == interface.addr).unwrap_or(0);
        self.0.iter().map(number).collect()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Interface> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_an_address_and_an_advertised_address_are_read() {
        let interface: Interface = "pbx/192.0.2.1!203.0.113.5".parse().unwrap();
        assert_eq!(interface.name, "pbx");
        assert_eq!(interface.addr, "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(interface.advertised, "203.0.113.5".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn an_interface_may_have_other_names() {
        let one = |text: &str| text.parse::<Interface>().unwrap();
        let list = vec![one("pbx/192.0.2.1"), one("pub:1/192.0.2.2"), one("pub:2/192.0.2.3"), one("pub:1/2001:db8::1")];
        let mut all = Interfaces::new(list).unwrap();
        all.alias("outside=pub").unwrap();
        all.alias("far = outside").unwrap();
        for name in [&b"outside"[..], b"far"] {
            assert_eq!(all.named(name, Family::V4).map(|id| id.0).collect::<Vec<_>>(), [1, 2]);
            assert_eq!(all.find(name, Family::V6), Some(InterfaceId(3)));
        }
        for wrong in ["outside=pbx", "pbx=pub", "x=nowhere", "=pbx", "x="] {
            assert!(matches!(all.alias(wrong), Err(InterfaceError::Alias(_))), "{wrong}");
        }
    }

    #[test]
    fn a_bare_address_is_the_default_interface_and_advertises_itself() {
        let interface: Interface = "192.0.2.1".parse().unwrap();
        assert_eq!((interface.name.as_str(), interface.advertised), ("default", interface.addr));
    }

    #[test]
    fn an_interface_may_have_ports_of_its_own() {
        let interface: Interface = "pbx/192.0.2.1!203.0.113.5 ports 20000-20999".parse().unwrap();
        assert_eq!((interface.name.as_str(), interface.ports), ("pbx", Some((20000, 20999))));
        for range in ["", "x-y", "20000", "80-90", "20001-20000", "20000-70000"] {
            let error = format!("pbx/192.0.2.1 ports {range}").parse::<Interface>();
            assert!(matches!(error, Err(InterfaceError::Ports(_))), "{error:?}");
        }
    }

    #[test]
    fn the_interfaces_of_a_group_are_found_by_its_name_and_by_their_own() {
        let one = |text: &str| text.parse::<Interface>().unwrap();
        let all =
            Interfaces::new(vec![one("pub:1/192.0.2.1"), one("pub:2/192.0.2.2"), one("pub:3/2001:db8::1")]).unwrap();
        assert_eq!(all.default_name(), "pub");
        assert_eq!(all.named(b"pub", Family::V4).collect::<Vec<_>>(), [InterfaceId(0), InterfaceId(1)]);
        assert_eq!(all.named(b"pub:2", Family::V4).collect::<Vec<_>>(), [InterfaceId(1)]);
        assert!(all.has(b"pub") && all.has(b"pub:3") && !all.has(b"pub:4"));
    }

    #[test]
    fn what_is_no_interface_is_refused_with_an_example() {
        for text in ["", "pbx/", "/192.0.2.1", "pbx/host", "pbx/192.0.2.1!", "pbx/192.0.2.1!host"] {
            let error = text.parse::<Interface>().unwrap_err().to_string();
            assert!(error.contains("pbx/192.0.2.1"), "{error}");
        }
    }

    #[test]
    fn an_ipv6_address_may_stand_in_brackets() {
        let plain: Interface = "pbx/2001:db8::1!2001:db8:ffff::1".parse().unwrap();
        assert_eq!("pbx/[2001:db8::1]!2001:db8:ffff::1".parse(), Ok(plain.clone()));
        assert_eq!(Family::of(plain.addr), Family::V6);
        let mapped: Interface = "pbx/::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(mapped.addr.to_string(), "192.0.2.1");
    }

    #[test]
    fn addresses_of_two_families_do_not_stand_for_one_another() {
        let error = "pbx/192.0.2.1!2001:db8::1".parse::<Interface>();
        assert!(matches!(error, Err(InterfaceError::Advertised(_))), "{error:?}");
    }

    #[test]
    fn addresses_that_nobody_can_send_to_are_refused() {
        for addr in ["0.0.0.0", "::", "fe80::1", "ff02::1", "224.0.0.1"] {
            let error = format!("pbx/{addr}").parse::<Interface>();
            assert!(matches!(error, Err(InterfaceError::Unusable(_))), "{error:?}");
        }
    }

    #[test]
    fn one_name_may_have_an_address_of_each_family_and_no_two_of_one() {
        let one = |text: &str| text.parse::<Interface>().unwrap();
        let both = Interfaces::new(vec![one("pbx/192.0.2.1"), one("pbx/2001:db8::1")]).unwrap();
        assert_eq!(both.find(b"pbx", Family::V4), Some(InterfaceId(0)));
        assert_eq!(both.find(b"pbx", Family::V6), Some(InterfaceId(1)));
        assert_eq!(both.find(b"gateway", Family::V4), None);
        assert!(both.has(b"pbx") && !both.has(b"gateway"));
        let double = Interfaces::new(vec![one("pbx/192.0.2.1"), one("pbx/192.0.2.2")]);
        assert_eq!(double, Err(InterfaceError::Double("pbx".to_owned(), Family::V4)));
        assert_eq!(Interfaces::new(vec![]), Err(InterfaceError::None));
    }

    #[test]
    fn several_interfaces_may_share_an_address_and_then_its_ports() {
        let one = |text: &str| text.parse::<Interface>().unwrap();
        let texts = ["priv/10.0.0.5", "six/2001:db8::1", "pub/10.0.0.5!203.0.113.5"];
        let all = Interfaces::new(texts.map(one).to_vec()).unwrap();
        assert_eq!(all.addrs(), ["10.0.0.5", "2001:db8::1"].map(|addr| addr.parse::<IpAddr>().unwrap()));
        assert_eq!(all.locals(), [0, 1, 0]);
        assert_ne!(all.find(b"priv", Family::V4), all.find(b"pub", Family::V4));
        let error = Interfaces::new(vec![one("priv/10.0.0.5"), one("pub/10.0.0.5 ports 20000-29999")]);
        assert_eq!(error, Err(InterfaceError::SharedPorts("priv".to_owned(), "pub".to_owned())));
    }
}
