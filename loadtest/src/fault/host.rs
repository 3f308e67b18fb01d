//! The host fails under the daemon, in one way after another, while calls talk.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::crowd::{Crowd, Heard, query};
use crate::rig::daemon::{Daemon, DaemonOptions, NgClient};
use crate::rig::party::Call;
use crate::rig::process::{run as run_program, wait_until};
use crate::rig::scene::Scene;
use crate::rig::trunks::{Trunk, Trunks};

/// What fakes the time of the wall, and leaves the steady clock alone: Debian's package faketime.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// How long the daemon may take to notice something and to mend it.
const PATIENCE: Duration = Duration::from_secs(15);
/// A device that is down so long is missed.
const DOWN: Duration = Duration::from_millis(300);
/// Room for the notes and little else.
const ROOM: &str = "48m";

/// How many calls.
#[derive(Clone, Copy, Debug)]
pub struct HostPlan {
    /// Calls that talk, 50 packets a second each way.
    pub calls: u16,
    /// How long each time.
    pub time: Duration,
}

impl HostPlan {
    /// A short form.
    pub const fn smoke() -> Self {
        Self { calls: 4, time: Duration::from_millis(400) }
    }
}

/// What became of the calls when something failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// What.
    pub what: &'static str,
    /// What is documented of it, and was seen.
    pub behaviour: &'static str,
    /// Packets that parties sent while it failed, and those that never came.
    pub packets: u64,
    /// See above.
    pub lost: u64,
    /// The same when it was over.
    pub packets_after: u64,
    /// See above.
    pub lost_after: u64,
}

/// Has something fail, and tells what became of the calls.
type Fail = fn(HostPlan) -> anyhow::Result<Failure>;

/// Has everything fail once.
///
/// # Errors
/// When something does not behave as documented.
pub fn run(plan: HostPlan) -> anyhow::Result<Vec<Failure>> {
    let failures: [(&str, Fail); 8] = [
        ("disk full", disk_full),
        ("state folder read-only", read_only),
        ("bpffs not mounted", no_bpf_fs),
        ("clock stepped", clock_stepped),
        ("interface down and up", down_and_up),
        ("interface made again", made_again),
        ("neighbour lost", neighbour_lost),
        ("address comes later", late_address),
    ];
    let mut done = Vec::new();
    for (name, fail) in failures {
        crate::bench::go_on()?;
        let failure = fail(plan).context(name)?;
        eprintln!("{failure:?}");
        done.push(failure);
    }
    Ok(done)
}

/// A file system in memory, until it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(folder: &Path, options: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "intertrunk-fault"]).arg(folder);
        run_program(mount)?;
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        umount.arg("--lazy").arg(&self.0);
        if let Err(error) = run_program(umount) {
            eprintln!("{error}");
        }
    }
}

/// A scene whose daemon keeps its state in a file system of its own.
fn scene_on(options: &str) -> anyhow::Result<(Scene, Mount)> {
    let (trunks, folder) = (Trunks::new()?, tempfile::tempdir()?);
    let mount = Mount::new(&folder.path().join("state"), options)?;
    let args = ["--port-min=30000", "--port-max=33999"].map(str::to_owned).to_vec();
    let daemon = Daemon::start(&trunks, &DaemonOptions { args, ..DaemonOptions::new("xdp") }, folder.path())?;
    Ok((Scene { ng: NgClient::new(&trunks)?, daemon, folder, trunks }, mount))
}

fn scene(args: &[&str]) -> anyhow::Result<Scene> {
    Scene::new(Trunks::new()?, "xdp", args)
}

fn crowd(scene: &mut Scene, plan: HostPlan) -> anyhow::Result<Crowd> {
    Crowd::new(&scene.trunks, &mut scene.ng, plan.calls, true)
}

/// The parties talk for the plan's time.
fn talk(crowd: &mut Crowd, plan: HostPlan) -> anyhow::Result<Heard> {
    crowd.talk(|_| {
        std::thread::sleep(plan.time);
        Ok(())
    })
}

/// The parties talk again, and now nothing may be lost.
fn outcome(what: &'static str, behaviour: &'static str, during: Heard, after: Heard) -> anyhow::Result<Failure> {
    ensure!(after.lost == 0 && after.doubled + during.doubled == 0, "during: {during:?}; when it was over: {after:?}");
    Ok(Failure {
        what,
        behaviour,
        packets: during.sent,
        lost: during.lost,
        packets_after: after.sent,
        lost_after: after.lost,
    })
}

fn lossless(heard: Heard) -> anyhow::Result<Heard> {
    ensure!(heard.lost == 0, "{heard:?}");
    Ok(heard)
}

fn says(daemon: &Daemon, what: &str) -> anyhow::Result<()> {
    let said = || daemon.log().is_ok_and(|log| log.iter().any(|line| line.to_string().contains(what)));
    wait_until(what, PATIENCE, said)
}

fn all_fast(scene: &mut Scene, calls: &[Call]) -> anyhow::Result<()> {
    for call in calls {
        for local in [call.for_caller, call.for_callee] {
            let ng = &mut scene.ng;
            wait_until("the fast path is back", PATIENCE, || {
                call.stream(ng, local).is_ok_and(|stream| stream.get("path") == Some(&json!("fast")))
            })?;
        }
    }
    Ok(())
}

fn kill_and_start(scene: &mut Scene) -> anyhow::Result<()> {
    scene.daemon.kill()?;
    scene.daemon.restart()
}

fn disk_full(plan: HostPlan) -> anyhow::Result<Failure> {
    let (mut scene, mount) = scene_on(&format!("size={ROOM}"))?;
    let mut crowd = crowd(&mut scene, plan)?;
    let filler = mount.0.join("filler");
    let mut file = fs::File::create(&filler)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let ng = &mut scene.ng;
    // Each is a change that cannot be put on record. While nobody speaks: what is blocked is lost, as it is to be.
    for call in &crowd.calls() {
        for command in ["block media", "unblock media"] {
            let reply = ng.request(&json!({"command": command, "call-id": call.id, "all": "all"}))?;
            ensure!(reply.get("result") == Some(&json!("ok")), "{reply}");
        }
    }
    says(&scene.daemon, "the journal cannot be written")?;
    let during = lossless(talk(&mut crowd, plan)?)?;
    fs::remove_file(filler)?;
    says(&scene.daemon, "the journal can be written again")?;
    std::thread::sleep(Duration::from_secs(1));
    let calls = crowd.calls();
    all_fast(&mut scene, &calls)?;
    let after = crowd.talk(|calls| {
        kill_and_start(&mut scene)?;
        calls.iter().try_for_each(|call| query(&mut scene.ng, call).map(drop))
    })?;
    outcome("disk full", "calls go on, and are on record again when there is room", during, after)
}

fn read_only(plan: HostPlan) -> anyhow::Result<Failure> {
    let (mut scene, _mount) = scene_on("ro")?;
    says(&scene.daemon, "calls end with this process")?;
    let mut crowd = crowd(&mut scene, plan)?;
    lossless(talk(&mut crowd, plan)?)?;
    let calls = crowd.calls();
    kill_and_start(&mut scene)?;
    for call in &calls {
        let reply = scene.ng.request(&json!({"command": "query", "call-id": call.id}))?;
        ensure!(reply.get("result") == Some(&json!("error")), "{reply}");
    }
    // One that has become so: what was on record before is taken over.
    drop((crowd, scene));
    let (mut scene, mount) = scene_on(&format!("size={ROOM}"))?;
    let mut crowd = self::crowd(&mut scene, plan)?;
    let calls = crowd.calls();
    let over = crowd.talk(|_| {
        scene.daemon.kill()?;
        let mut remount = Command::new("mount");
        remount.args(["-o", "remount,ro"]).arg(&mount.0);
        run_program(remount)?;
        scene.daemon.restart()
    })?;
    says(&scene.daemon, "the state folder cannot be written")?;
    for call in &calls {
        query(&mut scene.ng, call)?;
    }
    // What was learned could not be noted for this one: it is learned anew.
    talk(&mut crowd, plan)?;
    all_fast(&mut scene, &calls)?;
    let after = talk(&mut crowd, plan)?;
    let expected = "calls are carried; those that were on record before go on, others end with the daemon";
    outcome("state folder read-only", expected, over, after)
}

fn no_bpf_fs(plan: HostPlan) -> anyhow::Result<Failure> {
    let pins = tempfile::tempdir()?;
    let mut scene = scene(&[&format!("--pin-dir={}", pins.path().display())])?;
    says(&scene.daemon, "BPF file system")?;
    let mut crowd = crowd(&mut scene, plan)?;
    let during = crowd.talk(|_| kill_and_start(&mut scene))?;
    let calls = crowd.calls();
    all_fast(&mut scene, &calls)?;
    let after = talk(&mut crowd, plan)?;
    outcome(
        "bpffs not mounted",
        "the fast path ends with the daemon and comes back with the next; calls go on",
        during,
        after,
    )
}

fn clock_stepped(plan: HostPlan) -> anyhow::Result<Failure> {
    ensure!(Path::new(FAKETIME).exists(), "there is no {FAKETIME}: cargo xtask setup");
    let folder = tempfile::tempdir()?;
    let time = folder.path().join("time");
    fs::write(&time, "+0")?;
    let trunks = Trunks::new()?;
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", time.display());
    let preload = format!("LD_PRELOAD={FAKETIME}");
    let before = ["env", &preload, &file, "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_RESET=1"];
    let before = before.map(str::to_owned).to_vec();
    let daemon = Daemon::start(&trunks, &DaemonOptions { before, ..DaemonOptions::new("xdp") }, folder.path())?;
    let mut scene = Scene { ng: NgClient::new(&trunks)?, daemon, folder, trunks };
    let mut crowd = crowd(&mut scene, plan)?;
    let created = |scene: &mut Scene| -> anyhow::Result<i64> {
        let reply = scene.ng.request(&json!({"command": "offer", "call-id": "now", "from-tag": "a", "sdp":
            crate::rig::party::sdp(std::net::SocketAddr::new(Trunk::Pbx1.far().into(), 4000))}))?;
        ensure!(reply.get("result") == Some(&json!("ok")), "{reply}");
        let reply = scene.ng.request(&json!({"command": "query", "call-id": "now"}))?;
        let created = reply.get("created").and_then(Value::as_i64).context("no time")?;
        scene.ng.request(&json!({"command": "delete", "call-id": "now"}))?;
        Ok(created)
    };
    let now = created(&mut scene)?;
    let during = crowd.talk(|calls| {
        for (step, seconds) in [("-2d", -172_800), ("+2d", 172_800), ("-1d", -86_400)] {
            fs::write(&time, step)?;
            let off = created(&mut scene)? - now - seconds;
            ensure!(off.abs() < 100, "the daemon does not see the clock step: it is {off} s off");
            std::thread::sleep(plan.time);
            calls.iter().try_for_each(|call| query(&mut scene.ng, call).map(drop))?;
        }
        fs::write(&time, "+1d")?;
        kill_and_start(&mut scene)
    })?;
    lossless(during)?;
    let after = talk(&mut crowd, plan)?;
    crowd.check_totals(&mut scene.ng)?;
    outcome("clock stepped", "nothing depends on it but the times that are told", during, after)
}

fn down_and_up(plan: HostPlan) -> anyhow::Result<Failure> {
    let mut scene = scene(&[])?;
    let mut crowd = crowd(&mut scene, plan)?;
    let device = Trunk::Pbx1.name();
    let during = crowd.talk(|_| {
        scene.trunks.relay.run("ip", ["link", "set", device, "down"])?;
        std::thread::sleep(DOWN);
        scene.trunks.relay.run("ip", ["link", "set", device, "up"])?;
        std::thread::sleep(plan.time);
        Ok(())
    })?;
    let calls = crowd.calls();
    all_fast(&mut scene, &calls)?;
    let after = talk(&mut crowd, plan)?;
    outcome("interface down and up", "calls go on as soon as it is up", during, after)
}

fn made_again(plan: HostPlan) -> anyhow::Result<Failure> {
    let mut scene = scene(&[])?;
    let mut crowd = crowd(&mut scene, plan)?;
    scene.trunks.lay_again(Trunk::Pbx1)?;
    let calls = crowd.calls();
    // Attached anew, and the peers are heard again.
    let during = talk(&mut crowd, HostPlan { time: Duration::from_secs(2), ..plan })?;
    all_fast(&mut scene, &calls)?;
    let after = talk(&mut crowd, plan)?;
    outcome("interface made again", "calls go on, and return to the fast path", during, after)
}

fn neighbour_lost(plan: HostPlan) -> anyhow::Result<Failure> {
    let mut scene = scene(&[])?;
    let mut crowd = crowd(&mut scene, plan)?;
    let during = crowd.talk(|_| {
        for device in [Trunk::Pbx1.name(), Trunk::Gateway.name()] {
            scene.trunks.relay.forget_neighbours(device)?;
            std::thread::sleep(plan.time / 2);
        }
        Ok(())
    })?;
    let calls = crowd.calls();
    all_fast(&mut scene, &calls)?;
    let after = talk(&mut crowd, plan)?;
    outcome("neighbour lost", "the slow path has it found again, and calls return to the fast path", during, after)
}

fn late_address(plan: HostPlan) -> anyhow::Result<Failure> {
    let trunks = Trunks::new()?;
    let (device, addr) = (Trunk::Pbx1.name(), format!("{}/24", Trunk::Pbx1.near()));
    trunks.relay.run("ip", ["addr", "del", &addr, "dev", device])?;
    let mut scene = Scene::new(trunks, "xdp", &[])?;
    scene.trunks.relay.run("ip", ["addr", "add", &addr, "dev", device])?;
    let mut crowd = crowd(&mut scene, plan)?;
    let after = talk(&mut crowd, plan)?;
    // It goes to the other host of a pair, and comes back.
    let during = crowd.talk(|_| {
        scene.trunks.relay.run("ip", ["addr", "del", &addr, "dev", device])?;
        std::thread::sleep(DOWN);
        scene.trunks.relay.run("ip", ["addr", "add", &addr, "dev", device])?;
        std::thread::sleep(plan.time);
        Ok(())
    })?;
    ensure!(after.lost == 0, "{after:?}");
    let calls = crowd.calls();
    all_fast(&mut scene, &calls)?;
    let after = talk(&mut crowd, plan)?;
    outcome("address comes later", "the daemon starts without it, and serves it as soon as it is there", during, after)
}
