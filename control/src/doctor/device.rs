//! What is found about a device that has media addresses.

use relay::probe::Nic;
use relay::{Engine, RelayConfig, XdpMode};

use super::host::has_queues;
use super::{Finding, Level, without_xdp};

/// The largest frame that drivers take in one page, with XDP's headroom; some take more.
const LARGEST_MTU: u32 = 3498;

pub(super) fn findings(nic: &Nic, config: &RelayConfig) -> Vec<Finding> {
    let mut findings = vec![what(nic)];
    if matches!(config.engine, Engine::Auto | Engine::Xdp) {
        findings.extend(xdp(nic, config));
        findings.extend(occupied(nic, config));
        findings.extend(redirects(nic));
        findings.extend(vlan(nic));
        findings.extend(mtu(nic));
    }
    findings.extend(queues(nic));
    if has_queues(config)
        && !nic.is_loopback
        && let Some(why) = &nic.past_stack
    {
        let text = format!("What is not on the fast path comes to the workers by the stack, which costs more: {why}.");
        findings.push(Finding::warning(&nic.name, text));
    }
    findings.extend(nic.gateways.iter().map(|(gateway, is_known)| {
        if *is_known {
            return Finding::good(&nic.name, format!("The MAC of the gateway {gateway} is known."));
        }
        let text =
            format!("The gateway {gateway} has not answered yet: the first packets beyond it take the slow path.");
        Finding::warning(&nic.name, text).mended_by(format!("ping -c 1 -I {} {gateway}", nic.name))
    }));
    findings
}

fn what(nic: &Nic) -> Finding {
    let driver = nic.driver.as_deref().unwrap_or("unknown");
    let (receive, transmit) = nic.queues;
    let interfaces = nic.interfaces.join(", ");
    let text = format!(
        "Interface {interfaces}; driver {driver}, {receive} receive and {transmit} transmit queues, MTU {}.",
        nic.mtu
    );
    Finding::good(&nic.name, text)
}

/// Whether XDP can be attached as the configuration says.
fn xdp(nic: &Nic, config: &RelayConfig) -> Option<Finding> {
    let worst = without_xdp(config);
    if nic.is_loopback {
        let text = "The loopback device has no XDP: the slow path carries everything.";
        return Some(Finding::new(worst, &nic.name, text).mended_by("engine = \"uring\""));
    }
    match (config.xdp_mode, nic.xdp) {
        (XdpMode::Generic, _) => {
            let text = "Generic XDP works with any driver, but is hardly faster than the slow path.";
            let native = nic.xdp.is_some_and(|xdp| xdp.runs_programs);
            let finding = Finding::warning(&nic.name, text);
            Some(if native { finding.mended_by("xdp-mode = \"native\"") } else { finding })
        }
        (XdpMode::Native, Some(xdp)) if xdp.runs_programs => {
            Some(Finding::good(&nic.name, "The driver has native XDP."))
        }
        (XdpMode::Native, Some(_)) => {
            let text = "The driver has no native XDP: the slow path carries everything.";
            Some(Finding::new(worst, &nic.name, text).mended_by("xdp-mode = \"generic\", or engine = \"uring\""))
        }
        (XdpMode::Native, None) => None,
    }
}

fn occupied(nic: &Nic, config: &RelayConfig) -> Option<Finding> {
    let (id, name) = nic.program.as_ref()?;
    let text = format!("The XDP program \"{name}\" (number {id}) is attached already, and a device has one only.");
    Some(Finding::new(without_xdp(config), &nic.name, text).mended_by(format!("ip link set dev {} xdp off", nic.name)))
}

fn redirects(nic: &Nic) -> Option<Finding> {
    let refuses = nic.xdp.is_some_and(|xdp| xdp.runs_programs && !xdp.takes_redirects);
    if !refuses {
        return None;
    }
    if nic.driver.as_deref() == Some("veth") {
        let text = "The other end of this veth device takes no frames from an XDP program: what leaves by it takes the slow path.";
        let remedy = "at the other end (of a container: on its host), with the device up: ethtool -K DEVICE gro on";
        return Some(Finding::warning(&nic.name, text).mended_by(remedy));
    }
    let text =
        "The driver takes no redirected frames now: what leaves by it and came by another device takes the slow path.";
    Some(Finding::warning(&nic.name, text))
}

fn vlan(nic: &Nic) -> Option<Finding> {
    let is_stripped = nic.has_vlans && nic.strips_vlan == Some(true);
    is_stripped.then(|| {
        let text = "The card takes VLAN tags out before the program sees the frames, so those of other VLANs look like this one's.";
        Finding::warning(&nic.name, text).mended_by(format!("ethtool -K {} rxvlan off", nic.name))
    })
}

fn mtu(nic: &Nic) -> Option<Finding> {
    (nic.mtu > LARGEST_MTU && !nic.is_loopback).then(|| {
        let text = format!("An MTU of {} is more than many drivers take with XDP.", nic.mtu);
        Finding::warning(&nic.name, text).mended_by(format!("ip link set dev {} mtu 1500", nic.name))
    })
}

fn queues(nic: &Nic) -> Option<Finding> {
    let is_uneven = nic.queues.0 > 1 && nic.hashes_ports == Some(false);
    is_uneven.then(|| {
        let text =
            "The card spreads packets by addresses only: all calls between two hosts come to one queue and one core.";
        Finding::new(Level::Warning, &nic.name, text)
            .mended_by(format!("ethtool -N {} rx-flow-hash udp4 sdfn", nic.name))
    })
}
