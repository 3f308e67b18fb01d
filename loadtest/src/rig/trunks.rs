//! The demonstration network: two IP-PBXes and a PSTN gateway, each on a trunk of its own to the relay's host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use serde_json::Value;

use super::host::{Host, Port};
use super::program::Program;

/// A trunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trunk {
    /// The first IP-PBX.
    Pbx1,
    /// The second IP-PBX.
    Pbx2,
    /// The gateway to the telephone network.
    Gateway,
}

impl Trunk {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pbx1, Self::Pbx2, Self::Gateway];

    /// The name of the relay's interface, and of its device, on this trunk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pbx1 => "pbx1",
            Self::Pbx2 => "pbx2",
            Self::Gateway => "gateway",
        }
    }

    /// The address of the host at the far end (RFC 5737: for documentation, so nobody's).
    pub const fn far(self) -> Ipv4Addr {
        match self {
            Self::Pbx1 => Ipv4Addr::new(192, 0, 2, 10),
            Self::Pbx2 => Ipv4Addr::new(203, 0, 113, 10),
            Self::Gateway => Ipv4Addr::new(198, 51, 100, 10),
        }
    }

    /// The relay's address on this trunk.
    pub const fn near(self) -> Ipv4Addr {
        match self {
            Self::Pbx1 => Ipv4Addr::new(192, 0, 2, 1),
            Self::Pbx2 => Ipv4Addr::new(203, 0, 113, 1),
            Self::Gateway => Ipv4Addr::new(198, 51, 100, 1),
        }
    }

    /// The IPv6 address of the host at the far end (RFC 3849: for documentation), where the trunks have both families.
    pub const fn far6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, self as u16 + 1, 0, 0, 0, 0, 0x10)
    }

    /// The relay's IPv6 address on this trunk, where the trunks have both families.
    pub const fn near6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, self as u16 + 1, 0, 0, 0, 0, 1)
    }

    /// A number that is reached by this trunk, as `deploy/kamailio/trunks.cfg` has it.
    pub const fn number(self) -> &'static str {
        match self {
            Self::Pbx1 => "+12025550100",
            Self::Pbx2 => "+12025550150",
            Self::Gateway => "+12125550199",
        }
    }
}

/// The device of every far host.
pub const FAR_DEVICE: &str = "eth0";

/// The hosts and the cables between them.
#[derive(Debug)]
pub struct Trunks {
    // Before the hosts whose devices they are attached to.
    programs: Vec<(Trunk, Program)>,
    /// Where the relay and the proxy run.
    pub relay: Host,
    is_dual_stack: bool,
    /// The trunk whose media is IPv6 alone; its signalling is not.
    media6: Option<Trunk>,
    pbx1: Host,
    pbx2: Host,
    gateway: Host,
}

impl Trunks {
    /// Makes the hosts and lays the cables.
    ///
    /// # Errors
    /// When the process may not make namespaces.
    pub fn new() -> anyhow::Result<Self> {
        let mut trunks = Self {
            programs: Vec::new(),
            is_dual_stack: false,
            media6: None,
            relay: Host::new("relay")?,
            pbx1: Host::new("pbx1")?,
            pbx2: Host::new("pbx2")?,
            gateway: Host::new("gateway")?,
        };
        for trunk in Trunk::ALL {
            let near = Port { device: trunk.name(), addr: trunk.near().into() };
            let far = Port { device: FAR_DEVICE, addr: trunk.far().into() };
            trunks.relay.connect(near, trunks.far(trunk), far)?;
            trunks.programs.push((trunk, Program::attach_pass(trunks.far(trunk), FAR_DEVICE)?));
        }
        Ok(trunks)
    }

    /// The same, with IPv6 addresses as well.
    ///
    /// # Errors
    /// When the process may not make namespaces.
    pub fn dual_stack() -> anyhow::Result<Self> {
        let mut trunks = Self::new()?;
        for trunk in Trunk::ALL {
            trunks.relay.add_addr(trunk.name(), trunk.near6().into())?;
            trunks.far(trunk).add_addr(FAR_DEVICE, trunk.far6().into())?;
        }
        trunks.is_dual_stack = true;
        Ok(trunks)
    }

    /// Hosts of which one trunk's have media over IPv6 and all others over IPv4.
    ///
    /// # Errors
    /// When the process may not make namespaces.
    pub fn with_media6(trunk: Trunk) -> anyhow::Result<Self> {
        Ok(Self { media6: Some(trunk), ..Self::dual_stack()? })
    }

    /// The relay's interfaces, as it is told of them.
    pub fn interfaces(&self) -> Vec<String> {
        let near = |trunk: Trunk| format!("{}/{}", trunk.name(), trunk.near());
        let near6 = |trunk: Trunk| format!("{}/{}", trunk.name(), trunk.near6());
        let all = Trunk::ALL.into_iter();
        match self.media6 {
            Some(six) => all.map(|trunk| if trunk == six { near6(trunk) } else { near(trunk) }).collect(),
            None if self.is_dual_stack => all.clone().map(near).chain(all.map(near6)).collect(),
            None => all.map(near).collect(),
        }
    }

    /// Where a trunk's party has its media.
    pub fn media(&self, trunk: Trunk) -> IpAddr {
        if self.media6 == Some(trunk) { trunk.far6().into() } else { trunk.far().into() }
    }

    /// Takes the XDP program at the far end of a trunk away: the relay's device there cannot send frames of its own program any more.
    pub fn refuse_xdp_frames(&mut self, trunk: Trunk) {
        self.programs.retain(|(of, _)| *of != trunk);
    }

    /// Frames that the cables have lost: the rig's end of a cable has a ring of 256 frames, and whoever empties it may not have its turn in time. What
    /// is lost there, a relay has sent.
    ///
    /// # Errors
    /// When a device does not tell.
    pub fn lost_on_cables(&self) -> anyhow::Result<u64> {
        let mut lost = 0;
        for trunk in Trunk::ALL {
            for (host, device) in [(&self.relay, trunk.name()), (self.far(trunk), FAR_DEVICE)] {
                let told = host.run("ethtool", ["-S", device])?;
                let counts = told.lines().filter_map(|line| line.trim().split_once(": "));
                let of_cable =
                    counts.filter(|(name, _)| name.ends_with("_xdp_tx_errors") || name.ends_with("_xmit_errors"));
                for (_, count) in of_cable {
                    lost += count.parse::<u64>()?;
                }
                let link: Value = serde_json::from_str(&host.run("ip", ["-s", "-j", "link", "show", "dev", device])?)?;
                lost += link.pointer("/0/stats64/tx/dropped").and_then(Value::as_u64).context("no statistics")?;
            }
        }
        Ok(lost)
    }

    /// Takes the cable of a trunk away, and lays another one: the devices have the same names and addresses, and are others.
    ///
    /// # Errors
    /// When a device cannot be made.
    pub fn lay_again(&mut self, trunk: Trunk) -> anyhow::Result<()> {
        self.programs.retain(|(of, _)| *of != trunk);
        self.relay.run("ip", ["link", "del", trunk.name()])?;
        let near = Port { device: trunk.name(), addr: trunk.near().into() };
        let far = Port { device: FAR_DEVICE, addr: trunk.far().into() };
        self.relay.connect(near, self.far(trunk), far)?;
        self.programs.push((trunk, Program::attach_pass(self.far(trunk), FAR_DEVICE)?));
        Ok(())
    }

    /// The host at the far end of a trunk.
    pub const fn far(&self, trunk: Trunk) -> &Host {
        match trunk {
            Trunk::Pbx1 => &self.pbx1,
            Trunk::Pbx2 => &self.pbx2,
            Trunk::Gateway => &self.gateway,
        }
    }
}
