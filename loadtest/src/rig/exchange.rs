//! An exchange: a scene with a proxy, where parties call each other by SIP.

use super::agent::Agent;
use super::proxy::Proxy;
use super::scene::Scene;
use super::trunks::{Trunk, Trunks};

/// The relay forgets a call as soon as it is deleted, so that it can be seen whether it was.
const AT_ONCE: [&str; 2] = ["--delete-delay", "0"];

/// The proxy and the relay, in the order in which they must end.
#[derive(Debug)]
pub struct Exchange {
    /// The proxy.
    pub proxy: Proxy,
    /// The relay and the hosts.
    pub scene: Scene,
}

impl Exchange {
    /// With the routing of `deploy/kamailio`.
    ///
    /// # Errors
    /// When relay or proxy do not become ready.
    pub fn deployed(trunks: Trunks) -> anyhow::Result<Self> {
        let scene = Scene::new(trunks, "xdp", &AT_ONCE)?;
        Ok(Self { proxy: Proxy::start(&scene.trunks, scene.folder.path())?, scene })
    }

    /// The same with other peers, the lines of a `dispatcher.list`.
    ///
    /// # Errors
    /// When relay or proxy do not become ready.
    pub fn with_peers(trunks: Trunks, peers: &str) -> anyhow::Result<Self> {
        let scene = Scene::new(trunks, "xdp", &AT_ONCE)?;
        let list = scene.folder.path().join("dispatcher.list");
        std::fs::write(&list, peers)?;
        Ok(Self { proxy: Proxy::start_with_peers(&scene.trunks, scene.folder.path(), &list)?, scene })
    }

    /// With SRTP on trunks of these names.
    ///
    /// # Errors
    /// When relay or proxy do not become ready.
    pub fn secured(trunks: Trunks, secured: &str) -> anyhow::Result<Self> {
        let scene = Scene::new(trunks, "xdp", &AT_ONCE)?;
        let proxy = Proxy::start_with_srtp(&scene.trunks, scene.folder.path(), "SECURED_TRUNKS", secured)?;
        Ok(Self { proxy, scene })
    }

    /// With trunks of these names that have SRTP where their peers can.
    ///
    /// # Errors
    /// When relay or proxy do not become ready.
    pub fn opportunistic(trunks: Trunks, secured: &str) -> anyhow::Result<Self> {
        let scene = Scene::new(trunks, "xdp", &AT_ONCE)?;
        let proxy = Proxy::start_with_srtp(&scene.trunks, scene.folder.path(), "OPPORTUNISTIC_TRUNKS", secured)?;
        Ok(Self { proxy, scene })
    }

    /// With a configuration of `loadtest/kamailio`, and a relay that keeps a deleted call for so many seconds.
    ///
    /// # Errors
    /// When relay or proxy do not become ready.
    pub fn configured(trunks: Trunks, config: &str, delete_delay: u32) -> anyhow::Result<Self> {
        let scene = Scene::new(trunks, "xdp", &["--delete-delay", &delete_delay.to_string()])?;
        Ok(Self { proxy: Proxy::start_with(&scene.trunks, scene.folder.path(), config)?, scene })
    }

    /// A party at the far end of a trunk.
    ///
    /// # Errors
    /// When its ports are taken.
    pub fn agent(&self, trunk: Trunk) -> anyhow::Result<Agent> {
        Agent::new(&self.scene.trunks, trunk)
    }

    /// The same at other ports, for SIP and for RTP.
    ///
    /// # Errors
    /// When its ports are taken.
    pub fn agent_at(&self, trunk: Trunk, sip_port: u16, media_port: u16) -> anyhow::Result<Agent> {
        Agent::at(&self.scene.trunks, trunk, sip_port, media_port)
    }

    /// A caller at the first PBX and a callee at the gateway, who talk with each other.
    ///
    /// # Errors
    /// When they do not come to.
    pub fn connected(&self) -> anyhow::Result<(Agent, Agent)> {
        let (mut caller, mut callee) = (self.agent(Trunk::Pbx1)?, self.agent(Trunk::Gateway)?);
        caller.connect(Trunk::Gateway.number(), &mut callee)?;
        caller.converse(&mut callee, 3)?;
        Ok((caller, callee))
    }

    /// One hangs up, and the relay forgets the call.
    ///
    /// # Errors
    /// When a message does not arrive, or the relay still knows the call after a while.
    pub fn hang_up(&mut self, one: &mut Agent, other: &mut Agent) -> anyhow::Result<()> {
        one.hang_up(other)?;
        one.wait_until_forgotten(&mut self.scene.ng)
    }
}
