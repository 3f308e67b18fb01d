//! What is found about the host as a whole.

use relay::probe::Host;
use relay::{Engine, Intake, RelayConfig};

use super::{Finding, Level, without_xdp};

/// The oldest kernel that the relay is tested with.
const OLDEST: (u32, u32) = (6, 1);
/// The oldest that tells whether a device takes redirected frames.
const TELLS_REDIRECTS: (u32, u32) = (6, 3);

/// What the relay needs, and the bit of each (linux/capability.h).
const CAPABILITIES: [(&str, u32); 4] =
    [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];
/// In the place of the last two.
const SYS_ADMIN: u32 = 21;

pub(super) fn findings(facts: &Host, config: &RelayConfig) -> Vec<Finding> {
    let mut findings = vec![kernel(facts), capabilities(facts, config)];
    if let Some(mode) = &facts.lockdown {
        let text = format!("Lockdown is in {mode} mode, which may forbid BPF.");
        findings.push(Finding::warning("kernel", text).mended_by("cat /sys/kernel/security/lockdown"));
    }
    if !facts.is_x86_64 && matches!(config.engine, Engine::Auto | Engine::Xdp) {
        let text = "The fast path is for x86-64 only so far: the slow path carries everything.";
        findings.push(Finding::new(without_xdp(config), "processor", text).mended_by("engine = \"uring\""));
    }
    let level = without_steering(config);
    findings.push(steering("bpf", &facts.bpf, "The programs load, and the verifier accepts them.", level));
    findings.push(io_uring(facts, config));
    // XDP does without one.
    let level = if matches!(config.intake, Intake::Steered | Intake::Xsk) { level } else { level.min(Level::Warning) };
    findings.push(steering("raw socket", &facts.raw_socket, "The slow path can send with headers of its own.", level));
    if has_queues(config) {
        let finding = try_out("af_xdp", &facts.af_xdp, "Packets can come to the workers past the stack.");
        let level = if config.intake == Intake::Xsk { Level::Error } else { Level::Warning };
        findings.push(if finding.level == Level::Good { finding } else { Finding { level, ..finding } });
    }
    if let Err(why) = &facts.transmit {
        findings.push(Finding::new(Level::Error, "af_xdp", format!("{why}.")).mended_by("output = \"device\""));
    }
    for (name, addr) in &facts.missing {
        let text =
            format!("Interface \"{name}\": this host has no address {addr}. Its calls are silent until it comes.");
        findings.push(Finding::warning("addresses", text).mended_by("ip address"));
    }
    if facts.ports.is_empty() {
        let text = format!("{}-{} are the relay's alone.", config.port_min, config.port_max);
        findings.push(Finding::good("media ports", text));
    }
    for conflict in &facts.ports {
        findings.push(ports(conflict));
    }
    findings
}

/// Whether packets come past the stack where that can be.
pub(super) const fn has_queues(config: &RelayConfig) -> bool {
    match config.intake {
        Intake::Xsk => true,
        Intake::Auto => matches!(config.engine, Engine::Auto | Engine::Xdp),
        Intake::Steered | Intake::Bound => false,
    }
}

fn kernel(facts: &Host) -> Finding {
    let release = &facts.kernel;
    match version(release) {
        None => Finding::warning("kernel", format!("Its release \"{release}\" cannot be read.")),
        Some(version) if version < OLDEST => {
            let text = format!("Linux {release} is older than 6.1, which the relay is tested with.");
            Finding::new(Level::Error, "kernel", text).mended_by("apt install linux-image-amd64")
        }
        Some(version) if version < TELLS_REDIRECTS => Finding::good(
            "kernel",
            format!("Linux {release}; before 6.3 it does not tell which devices take redirected frames."),
        ),
        Some(_) => Finding::good("kernel", format!("Linux {release}.")),
    }
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn capabilities(facts: &Host, config: &RelayConfig) -> Finding {
    let has = |bit: u32| facts.capabilities >> bit & 1 == 1;
    let missing: Vec<_> = CAPABILITIES
        .into_iter()
        .filter(|(_, bit)| !(has(*bit) || *bit >= 38 && has(SYS_ADMIN)))
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        return Finding::good("capabilities", "The process has what the relay needs.");
    }
    let names = missing.join(" ");
    let text = format!("The process lacks {}.", missing.join(", "));
    let remedy = format!("systemctl edit intertrunk   # AmbientCapabilities={names}, or run this as root");
    Finding::new(without_steering(config), "capabilities", text).mended_by(remedy)
}

/// How bad it is that media ports cannot be steered: each gets a socket of its own, unless the configuration forbids it.
fn without_steering(config: &RelayConfig) -> Level {
    match (config.intake, config.engine) {
        (Intake::Steered | Intake::Xsk, _) | (_, Engine::Xdp) => Level::Error,
        (Intake::Bound, Engine::Uring | Engine::Epoll) => Level::Good,
        (Intake::Auto | Intake::Bound, _) => Level::Warning,
    }
}

/// What is needed to steer media ports.
fn steering(subject: &str, tried: &Result<(), String>, good: &str, level: Level) -> Finding {
    match tried {
        Ok(()) => Finding::good(subject, good),
        Err(why) => {
            let instead = " Each media port has a socket of its own, of which there can be as many as open files.";
            Finding::new(level, subject, format!("{why}.{}", if level == Level::Error { "" } else { instead }))
        }
    }
}

/// Only who asks for io_uring by name cannot do without.
fn io_uring(facts: &Host, config: &RelayConfig) -> Finding {
    let finding = try_out("io_uring", &facts.io_uring, "Rings can be made.");
    let level = match config.engine {
        Engine::Uring => return finding,
        Engine::Auto | Engine::Xdp => Level::Warning,
        Engine::Epoll => Level::Good,
    };
    match &facts.io_uring {
        Ok(()) => finding,
        Err(why) => {
            let text = format!("{why}. The slow path runs by epoll, which costs more for each packet.");
            Finding::new(level, "io_uring", text).mended_by("sysctl -w kernel.io_uring_disabled=0")
        }
    }
}

fn try_out(subject: &str, tried: &Result<(), String>, good: &str) -> Finding {
    match tried {
        Ok(()) => Finding::good(subject, good),
        Err(why) => Finding::new(Level::Error, subject, why.clone()),
    }
}

/// A conflict is told as "what: how to mend it", where the latter may be a command.
fn ports(conflict: &str) -> Finding {
    match conflict.split_once(": sysctl ") {
        Some((text, command)) => {
            Finding::warning("media ports", format!("{text}.")).mended_by(format!("sysctl {command}"))
        }
        None => Finding::warning("media ports", format!("{conflict}.")),
    }
}
