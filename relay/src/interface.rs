//! Interfaces: named local media addresses, as rtpengine means the word.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// The number of an interface in the configuration's order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InterfaceId(pub usize);

/// A named local media address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The name that the proxy's `direction` uses.
    pub name: String,
    /// The address that packets arrive at and leave from.
    pub addr: Ipv4Addr,
    /// The address that is written into SDP: the same, unless a static NAT stands before the relay.
    pub advertised: IpAddr,
}

/// What is wrong with an interface in the configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterfaceError {
    /// Not of the form.
    #[error("interface \"{0}\" is not of the form NAME/ADDRESS or NAME/ADDRESS!ADVERTISED, as in \"pbx/192.0.2.1\"")]
    Form(String),
    /// IPv6 comes later.
    #[error("interface \"{0}\": only IPv4 local addresses are supported so far")]
    Family(String),
    /// Two have the same name.
    #[error("interface \"{0}\" is there twice: give each its own name")]
    Double(String),
    /// None at all.
    #[error("no interface is configured: give at least one, as in interface = [\"pbx/192.0.2.1\"]")]
    None,
}

impl FromStr for Interface {
    type Err = InterfaceError;

    /// `name/address` or `name/address!advertised`; a bare address is the interface `default`.
    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let form = || InterfaceError::Form(text.to_owned());
        let (name, addrs) = text.split_once('/').unwrap_or(("default", text));
        let (addr, advertised) = addrs.split_once('!').unwrap_or((addrs, addrs));
        if name.is_empty() {
            return Err(form());
        }
        let addr: IpAddr = addr.parse().map_err(|_| form())?;
        let advertised: IpAddr = advertised.parse().map_err(|_| form())?;
        let IpAddr::V4(addr) = addr else { return Err(InterfaceError::Family(text.to_owned())) };
        Ok(Self { name: name.to_owned(), addr, advertised })
    }
}

/// All interfaces; there is at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interfaces(Vec<Interface>);

impl Interfaces {
    /// The interfaces in the configuration's order.
    ///
    /// # Errors
    /// When there is none, or two of one name.
    pub fn new(interfaces: Vec<Interface>) -> Result<Self, InterfaceError> {
        if interfaces.is_empty() {
            return Err(InterfaceError::None);
        }
        for (position, interface) in interfaces.iter().enumerate() {
            if interfaces.iter().take(position).any(|other| other.name == interface.name) {
                return Err(InterfaceError::Double(interface.name.clone()));
            }
        }
        Ok(Self(interfaces))
    }

    /// The interface that is meant when none is named: the first.
    pub const fn default_id(&self) -> InterfaceId {
        InterfaceId(0)
    }

    /// The interface of a name.
    pub fn find(&self, name: &[u8]) -> Option<InterfaceId> {
        self.0.iter().position(|interface| interface.name.as_bytes() == name).map(InterfaceId)
    }

    /// The interface of a number.
    pub fn get(&self, id: InterfaceId) -> Option<&Interface> {
        self.0.get(id.0)
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
        assert_eq!(interface.addr, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(interface.advertised, "203.0.113.5".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_bare_address_is_the_default_interface_and_advertises_itself() {
        let interface: Interface = "192.0.2.1".parse().unwrap();
        assert_eq!((interface.name.as_str(), interface.advertised), ("default", interface.addr.into()));
    }

    #[test]
    fn what_is_no_interface_is_refused_with_an_example() {
        for text in ["", "pbx/", "/192.0.2.1", "pbx/host", "pbx/192.0.2.1!", "pbx/192.0.2.1!host"] {
            let error = text.parse::<Interface>().unwrap_err().to_string();
            assert!(error.contains("pbx/192.0.2.1"), "{error}");
        }
    }

    #[test]
    fn two_interfaces_of_one_name_are_refused() {
        let pbx: Interface = "pbx/192.0.2.1".parse().unwrap();
        assert_eq!(Interfaces::new(vec![pbx.clone(), pbx]), Err(InterfaceError::Double("pbx".to_owned())));
        assert_eq!(Interfaces::new(vec![]), Err(InterfaceError::None));
    }
}
