//! Address translation in the kernel, as somebody might build it by hand: for each call a rule for each direction.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::Stdio;

use anyhow::{Context as _, ensure};

use super::flood::{Family, party, relay};
use crate::rig::host::Host;

/// Sets the rules of so many calls up on a host whose only device is this one; the parties' ports are counted up in pairs from the first, and each sends
/// to the relay's port of the same number.
///
/// # Errors
/// When nftables are not there, or the kernel has not what they need.
pub(super) fn set_up(
    host: &Host,
    device: &str,
    first_port: u16,
    calls: u16,
    has_flowtable: bool,
) -> anyhow::Result<()> {
    let settings = ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.all.send_redirects=0"];
    for setting in settings
        .map(str::to_owned)
        .into_iter()
        .chain([format!("net.ipv4.conf.{device}.rp_filter=0"), format!("net.ipv4.conf.{device}.send_redirects=0")])
    {
        host.run("sysctl", ["-qw", &setting])?;
    }
    let mut nft = host.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    nft.stdin.take().context("no input")?.write_all(rules(device, first_port, calls, has_flowtable).as_bytes())?;
    let output = nft.wait_with_output()?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Whether this kernel has flowtables.
///
/// # Errors
/// When no host can be made to try it on.
pub(super) fn has_flowtables() -> anyhow::Result<bool> {
    let host = Host::new("tried")?;
    host.run("nft", ["add", "table", "ip", "rig"])?;
    let flowtable = ["add", "flowtable", "ip", "rig", "passed", "{ hook ingress priority 0; devices = { lo }; }"];
    Ok(host.run("nft", flowtable).is_ok())
}

fn rules(device: &str, first_port: u16, calls: u16, has_flowtable: bool) -> String {
    let side = |addr: fn(Family, u8) -> IpAddr, side| addr(Family::Ipv4, side);
    let (mut to, mut from) = (String::new(), String::new());
    for port in (0..calls).map(|call| first_port + 2 * call) {
        for (here, there) in [(0, 1), (1, 0)] {
            // What comes to the relay's address of a side goes to the party of the other, from the relay's address there.
            let _infallible = writeln!(to, "{} . {port} : {} . {port},", side(relay, here), side(party, there));
            let _infallible = writeln!(from, "{} . {port} : {} . {port},", side(party, here), side(relay, there));
        }
    }
    let kind = "type ipv4_addr . inet_service : ipv4_addr . inet_service";
    let (flowtable, forward) = if has_flowtable {
        (
            format!("flowtable passed {{ hook ingress priority 0; devices = {{ {device} }}; }}"),
            "chain forward { type filter hook forward priority 0; ct state established flow add @passed; }",
        )
    } else {
        (String::new(), "")
    };
    format!(
        "table ip rig {{\n{flowtable}\nmap to {{ {kind}; elements = {{ {to} }} }}\nmap from {{ {kind}; elements = {{ {from} }} }}\n\
         chain before {{ type nat hook prerouting priority dstnat; dnat ip to ip daddr . udp dport map @to; }}\n{forward}\n\
         chain after {{ type nat hook postrouting priority srcnat; snat ip to ip saddr . udp sport map @from; }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_a_rule_for_each_direction() {
        let rules = rules("r", 20_000, 2, true);
        for rule in [
            "192.0.2.1 . 20000 : 192.0.2.11 . 20000,",
            "192.0.2.2 . 20002 : 192.0.2.10 . 20002,",
            "192.0.2.10 . 20002 : 192.0.2.2 . 20002,",
            "192.0.2.11 . 20000 : 192.0.2.1 . 20000,",
            "devices = { r }",
        ] {
            assert!(rules.contains(rule), "{rule} is not in {rules}");
        }
    }
}
