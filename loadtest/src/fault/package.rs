//! The Debian package on a host of its own: installed, started by systemd, upgraded while calls talk, killed, hung, and removed.
//!
//! The host is a root that debootstrap has made, booted by `systemd-nspawn` in the network namespace of the relay's host: the parties, and the proxy
//! that signals their calls, are where they always are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::json;

use super::crowd::{Crowd, query};
use crate::rig::daemon::NgClient;
use crate::rig::process::{Process, run as run_program, wait_until};
use crate::rig::trunks::{Trunk, Trunks};

/// How long systemd may take to boot, and a package to be installed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The service's watchdog has ended a daemon that hangs after so long.
const WATCHDOG: Duration = Duration::from_secs(25);
/// What the container may ask of the kernel beyond what containers usually may.
const CALLS: &str = "bpf io_uring_setup io_uring_enter io_uring_register";
/// How the daemon ends that is not told of any interface.
const NO_INTERFACES: &str = "78";
/// What the package must not leave behind.
const NOTHING: [&str; 7] = [
    "/usr/bin/intertrunk",
    "/usr/lib/intertrunk",
    "/etc/intertrunk",
    "/lib/systemd/system/intertrunk.service",
    "/lib/systemd/system/intertrunk-prepare.service",
    "/run/intertrunk",
    "/run/intertrunk-bpf",
];

/// What is installed where.
#[derive(Clone, Debug)]
pub struct PackagePlan {
    /// A root with systemd; it is changed.
    pub root: PathBuf,
    /// The package, and a later version of it.
    pub packages: [PathBuf; 2],
    /// Calls that talk, 50 packets a second each way.
    pub calls: u16,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Package {
    /// Calls that talked.
    pub calls: u16,
    /// How systemd rates what the service may do: 0 is nothing, 10 everything.
    pub exposure: String,
    /// Who the daemon runs as, and what it may do.
    pub user: String,
    /// See above.
    pub capabilities: String,
    /// Packets that parties sent while the package was upgraded, and those that never came.
    pub upgrade: (u64, u64),
    /// The same while the daemon was killed.
    pub kill: (u64, u64),
    /// The same while it hung, until systemd noticed.
    pub hang: (u64, u64),
    /// Those of the lost that were lost on the rig's cables, and not by the relay.
    pub lost_on_cables: u64,
    /// Files that are left when the package has been removed.
    pub left: Vec<String>,
}

/// A booted root.
struct Machine {
    nspawn: Process,
    leader: String,
}

impl Machine {
    fn boot(root: &Path, trunks: &Trunks, folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--capability=all", "--console=read-only"]);
        command.arg(format!("--directory={}", root.display()));
        command.arg(format!("--network-namespace-path={}", trunks.relay.path()));
        command.arg(format!("--system-call-filter={CALLS}"));
        let nspawn = Process::start("systemd-nspawn", command, &folder.join("nspawn.log"))?;
        let children = format!("/proc/{0}/task/{0}/children", nspawn.id());
        let leader = || std::fs::read_to_string(&children).ok()?.split_whitespace().next().map(str::to_owned);
        let mut found = None;
        let booting = wait_until("the machine has a first process", PATIENCE, || {
            found = leader();
            found.is_some()
        });
        booting.with_context(|| nspawn.output().unwrap_or_default())?;
        let machine = Self { leader: found.context("no first process")?, nspawn };
        let is_up = || {
            let state = machine.command(&["systemctl", "is-system-running"]).output();
            state.is_ok_and(|state| [&b"running\n"[..], b"degraded\n"].contains(&&state.stdout[..]))
        };
        wait_until("the machine is up", PATIENCE, is_up)?;
        Ok(machine)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]);
        command.env("DEBIAN_FRONTEND", "noninteractive").args(words);
        command
    }

    fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        run_program(self.command(words))
    }

    /// The daemon's process, as the machine counts them.
    fn daemon(&self) -> anyhow::Result<String> {
        let pid = self.run(&["systemctl", "show", "--property=MainPID", "--value", "intertrunk"])?;
        Ok(pid.trim().to_owned())
    }

    /// Waits until another daemon than this one is ready.
    fn wait_for_another(&self, than: &str) -> anyhow::Result<()> {
        wait_until("another daemon is ready", WATCHDOG, || {
            let state = self.run(&["systemctl", "is-active", "intertrunk"]).unwrap_or_default();
            state.trim() == "active" && self.daemon().is_ok_and(|pid| pid != than)
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The machine's first process takes this for "power off" (systemd(1), SIGRTMIN+4).
        let mut off = Command::new("kill");
        off.args(["-s", "RTMIN+4", &self.leader]);
        let is_off = run_program(off).and_then(|_| {
            wait_until("the machine is off", Duration::from_secs(20), || {
                self.nspawn.ended().is_ok_and(|ended| ended.is_some())
            })
        });
        if let Err(error) = is_off {
            eprintln!("{error:#}");
        }
    }
}

/// Installs, upgrades and removes the package, and fails when a packet is lost or anything left.
///
/// # Errors
/// When one is.
pub fn run(plan: &PackagePlan) -> anyhow::Result<Package> {
    let (folder, trunks) = (tempfile::tempdir()?, Trunks::new()?);
    let machine = Machine::boot(&plan.root, &trunks, folder.path())?;
    let inside = ["/root/first.deb", "/root/second.deb"];
    for (package, inside) in plan.packages.iter().zip(inside) {
        std::fs::copy(package, plan.root.join(inside.trim_start_matches('/')))?;
    }
    let [first, second] = inside;
    machine.run(&["dpkg", "--install", first])?;
    // It says which interfaces are missing, and does not try for ever.
    let state = machine.command(&["systemctl", "is-failed", "intertrunk"]).output()?;
    ensure!(state.stdout == b"failed\n", "without interfaces: {}", String::from_utf8_lossy(&state.stdout));
    let config = plan.root.join("etc/intertrunk/intertrunk.toml");
    let interfaces = format!("interface = {:?}\ndelete-delay = 0\n", trunks.interfaces());
    std::fs::write(&config, interfaces + &std::fs::read_to_string(&config)?)?;
    machine.run(&["systemctl", "restart", "intertrunk"])?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", host_pid(&machine)?))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().unwrap_or_default().to_owned()
    };
    let security = machine.run(&["systemd-analyze", "security", "intertrunk"])?;
    let exposure = security.lines().last().unwrap_or_default().trim().to_owned();
    let mut ng = NgClient::new(&trunks)?;
    let mut crowd = Crowd::new(&trunks, &mut ng, plan.calls, true)?;
    let mut lost_on_cables = 0;
    let mut while_calls_talk = |what: &str, fail: &dyn Fn() -> anyhow::Result<()>| -> anyhow::Result<(u64, u64)> {
        eprintln!("{what}");
        let (start, before) = (Instant::now(), trunks.lost_on_cables()?);
        let heard = crowd.talk(|calls| {
            std::thread::sleep(Duration::from_millis(500));
            fail()?;
            calls.iter().try_for_each(|call| query(&mut ng, call).map(drop))?;
            std::thread::sleep(Duration::from_millis(500));
            Ok(())
        })?;
        let on_cables = trunks.lost_on_cables()? - before;
        let statistics = ng.request(&json!({"command": "statistics"}))?;
        let reasons = statistics.pointer("/statistics/reasons").map(ToString::to_string).unwrap_or_default();
        ensure!(
            heard.lost <= on_cables && heard.doubled == 0,
            "{what}: {heard:?}, {on_cables} of them on cables, in {:?}; by the relay's account: {reasons}",
            start.elapsed()
        );
        lost_on_cables += on_cables.min(heard.lost);
        Ok((heard.sent, heard.lost))
    };
    let upgrade = while_calls_talk("upgrade", &|| {
        let before = machine.daemon()?;
        machine.run(&["dpkg", "--install", second])?;
        machine.wait_for_another(&before)
    })?;
    let kill = while_calls_talk("kill", &|| {
        let before = machine.daemon()?;
        machine.run(&["systemctl", "kill", "--signal=KILL", "intertrunk"])?;
        machine.wait_for_another(&before)
    })?;
    let hang = while_calls_talk("hang", &|| {
        let before = machine.daemon()?;
        machine.run(&["systemctl", "kill", "--signal=STOP", "intertrunk"])?;
        machine.wait_for_another(&before)
    })?;
    let calls = crowd.calls();
    for call in &calls {
        let reply = ng.request(&json!({"command": "delete", "call-id": call.id}))?;
        ensure!(reply.get("result") == Some(&json!("ok")), "{reply}");
    }
    machine.run(&["dpkg", "--purge", "intertrunk"])?;
    // And it can come back.
    machine.run(&["dpkg", "--install", first])?;
    let status = machine.run(&["systemctl", "show", "--property=ExecMainStatus", "--value", "intertrunk"])?;
    ensure!(status.trim() == NO_INTERFACES, "installed once more, it ends with {status}");
    machine.run(&["dpkg", "--purge", "intertrunk"])?;
    let mut left: Vec<String> = NOTHING
        .iter()
        .filter(|path| machine.run(&["test", "-e", path]).is_ok())
        .map(|path| (*path).to_owned())
        .collect();
    for trunk in Trunk::ALL {
        let link = trunks.relay.run("ip", ["-details", "link", "show", "dev", trunk.name()])?;
        left.extend(link.contains("prog/xdp").then(|| format!("a program at {}", trunk.name())));
    }
    ensure!(left.is_empty(), "{left:?}");
    Ok(Package {
        calls: plan.calls,
        exposure,
        user: field("Uid:"),
        capabilities: field("CapEff:"),
        upgrade,
        kill,
        hang,
        lost_on_cables,
        left,
    })
}

/// The daemon's process, as this host counts them.
fn host_pid(machine: &Machine) -> anyhow::Result<u32> {
    let inside = machine.daemon()?;
    let is_it = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        let mut numbers = numbers.split_whitespace();
        numbers.clone().count() > 1 && numbers.next_back() == Some(&inside) && status.starts_with("Name:\tintertrunk")
    };
    let processes = std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.into_iter().find(is_it).context("the daemon's process is not seen from here")
}
