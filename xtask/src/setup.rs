//! `cargo xtask setup`: installs what is missing, and says so.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{exists, run, workspace};

/// The linker of BPF programs. Later versions want an LLVM that Debian 12 does not have.
const BPF_LINKER: &str = "0.10.3";
/// The version of Debian's compiler whose LLVM is the one below.
const RUST_WEB: &str = "1.96.";
/// The library that bpf-linker loads, by the name it looks for, and where Debian's package has it.
const LLVM: (&str, &str) = ("libLLVM-22.so", "/usr/lib/x86_64-linux-gnu/libLLVM.so.22.1");

/// The NG client of drachtio applications. The number is also that of `loadtest/drachtio/package.json`.
const DRACHTIO: &str = "0.4.12";

/// What one thing is needed for, and how to see whether it is there.
struct Need {
    what: &'static str,
    package: &'static str,
    is_there: fn() -> bool,
}

/// Debian's packages. The compiler of the XDP program is Debian's `rustc-web`: it comes with the library sources that a target without a
/// ready-made `core` needs, and with the LLVM that bpf-linker needs.
const PACKAGES: [Need; 21] = [
    Need {
        what: "the compiler of the XDP program",
        package: "rustc-web",
        is_there: || Path::new("/usr/bin/rustc").exists(),
    },
    Need { what: "its cargo", package: "cargo-web", is_there: || is_web("/usr/bin/cargo") },
    Need {
        what: "the library sources for it",
        package: "rust-web-src",
        is_there: || Path::new("/usr/lib/rustlib/src/rust/library/core").exists(),
    },
    Need { what: "a C compiler", package: "gcc", is_there: || exists("cc") },
    Need {
        what: "the C library's headers",
        package: "libc6-dev",
        is_there: || Path::new("/usr/include/stdio.h").exists(),
    },
    Need { what: "Kamailio, the SIP proxy", package: "kamailio", is_there: || exists("kamailio") },
    Need {
        what: "sipp, the SIP tester, and its speech",
        package: "sip-tester",
        is_there: || Path::new("/usr/share/sip-tester/g711a.pcap").exists(),
    },
    Need { what: "baresip, a telephone with SRTP", package: "baresip-core", is_there: || exists("baresip") },
    Need { what: "tcpdump, for captures at the far ends", package: "tcpdump", is_there: || exists("tcpdump") },
    Need { what: "ip and ss, for namespaces", package: "iproute2", is_there: || exists("ip") && exists("ss") },
    Need { what: "ethtool, for the namespaces' devices", package: "ethtool", is_there: || exists("ethtool") },
    Need { what: "bpftool, to detach what the relay has attached", package: "bpftool", is_there: || exists("bpftool") },
    Need { what: "strace, to count system calls", package: "strace", is_there: || exists("strace") },
    Need { what: "sysctl, for the namespaces' settings", package: "procps", is_there: || exists("sysctl") },
    Need { what: "Node.js, for the NG client of drachtio", package: "nodejs", is_there: || exists("node") },
    Need {
        what: "faketime, to step the clock of one program",
        package: "libfaketime",
        is_there: || Path::new("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1").exists(),
    },
    Need {
        what: "systemd-analyze, to rate the service's unit",
        package: "systemd",
        is_there: || exists("systemd-analyze"),
    },
    Need { what: "npm, to get it", package: "npm", is_there: || exists("npm") },
    Need { what: "Chromium, to look at the dashboard", package: "chromium", is_there: || exists("chromium") },
    Need { what: "what drives it", package: "chromium-driver", is_there: || exists("chromedriver") },
    Need {
        what: "libsrtp, which has to read what we protect",
        package: "libsrtp2-dev",
        is_there: || Path::new("/usr/include/srtp2/srtp.h").exists(),
    },
];

/// What `cargo xtask kernels` needs besides. It is large, and nothing else needs it.
const EMULATOR: [Need; 2] = [
    Need {
        what: "an emulator of whole computers",
        package: "qemu-system-x86",
        is_there: || exists("qemu-system-x86_64"),
    },
    Need { what: "xz, for kernel modules", package: "xz-utils", is_there: || exists("xz") },
];

/// What `cargo xtask fault package` needs besides.
const MACHINE: [Need; 3] = [
    Need { what: "a root of its own", package: "debootstrap", is_there: || exists("debootstrap") },
    Need { what: "a machine to boot it", package: "systemd-container", is_there: || exists("systemd-nspawn") },
    Need { what: "Debian's rules for packages", package: "lintian", is_there: || exists("lintian") },
];

/// What `cargo xtask bench slowpath` compares with.
const RIVAL: [Need; 2] = [
    Need { what: "rtpengine, to compare with", package: "rtpengine-daemon", is_there: || exists("rtpengine") },
    Need { what: "nft, whose address translation is compared, too", package: "nftables", is_there: || exists("nft") },
];

/// Whether a program is of the version that the XDP program is built with: Debian's ordinary compiler is years older, and has the same path.
fn is_web(program: &str) -> bool {
    let version = Command::new(program).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    version.split(' ').nth(1).is_some_and(|version| version.starts_with(RUST_WEB))
}

/// Where the BPF tools are: the folder that the relay's build script looks in.
fn tools() -> anyhow::Result<PathBuf> {
    if let Some(tools) = std::env::var_os("INTERTRUNK_BPF_TOOLS") {
        return Ok(tools.into());
    }
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".local/share/intertrunk/bpf"))
}

fn has_linker(tools: &Path) -> bool {
    let version = Command::new(tools.join("bin/bpf-linker"))
        .arg("--version")
        .env("LD_LIBRARY_PATH", tools.join("llvm"))
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    version.is_ok_and(|version| version.trim().ends_with(BPF_LINKER))
}

/// Where the client of drachtio is, and the call that the tests make with it.
fn drachtio() -> PathBuf {
    workspace().join("loadtest/drachtio")
}

fn has_drachtio() -> bool {
    let package = std::fs::read_to_string(drachtio().join("node_modules/rtpengine-client/package.json"));
    package.is_ok_and(|package| package.contains(&format!("\"version\": \"{DRACHTIO}\"")))
}

fn missing(needs: &[Need]) -> Vec<&Need> {
    needs.iter().filter(|need| !(need.is_there)()).collect()
}

/// Where systemd mounts it on most hosts, and nobody in most containers.
const BPF_FS: &str = "/sys/fs/bpf";

fn has_bpf_fs() -> bool {
    let is_it = |line: &str| line.split(' ').skip(1).take(2).eq([BPF_FS, "bpf"]);
    std::fs::read_to_string("/proc/self/mounts").is_ok_and(|mounts| mounts.lines().any(is_it))
}

/// Judges metrics and rules. It comes with the server, which nobody wants to have running for it.
fn has_promtool(tools: &Path) -> bool {
    exists("promtool") || tools.join("bin/promtool").exists()
}

/// Takes it out of Debian's package without installing that.
fn fetch_promtool(tools: &Path) -> anyhow::Result<()> {
    let folder = tools.join("prometheus");
    std::fs::create_dir_all(folder.join("root"))?;
    update()?;
    let mut download = Command::new("apt-get");
    download.args(["-qq", "download", "prometheus"]).current_dir(&folder).stdout(std::io::stderr());
    run(&mut download)
        .context("promtool cannot be fetched: setup needs Debian 12 (or install its package prometheus)")?;
    for file in std::fs::read_dir(&folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(path).arg(folder.join("root")))?;
        }
    }
    std::fs::create_dir_all(tools.join("bin"))?;
    std::fs::copy(folder.join("root/usr/bin/promtool"), tools.join("bin/promtool"))
        .context("Debian's package prometheus has no promtool")?;
    Ok(std::fs::remove_dir_all(folder)?)
}

/// Reports what is missing.
pub(crate) fn check() -> anyhow::Result<()> {
    let tools = tools()?;
    let mut missing = 0;
    for need in &PACKAGES {
        let is_there = (need.is_there)();
        missing += u32::from(!is_there);
        eprintln!("{} {} (package {})", if is_there { "ok     " } else { "missing" }, need.what, need.package);
    }
    let is_there = has_linker(&tools) && tools.join("llvm").join(LLVM.0).exists();
    missing += u32::from(!is_there);
    eprintln!("{} bpf-linker {BPF_LINKER} in {}", if is_there { "ok     " } else { "missing" }, tools.display());
    let is_there = has_promtool(&tools);
    missing += u32::from(!is_there);
    eprintln!("{} promtool", if is_there { "ok     " } else { "missing" });
    let is_there = has_bpf_fs();
    missing += u32::from(!is_there);
    eprintln!("{} a BPF file system at {BPF_FS}", if is_there { "ok     " } else { "missing" });
    let is_there = has_drachtio();
    missing += u32::from(!is_there);
    eprintln!(
        "{} rtpengine-client {DRACHTIO} in {}",
        if is_there { "ok     " } else { "missing" },
        drachtio().display()
    );
    if missing > 0 {
        bail!("{missing} things are missing: cargo xtask setup installs them");
    }
    Ok(())
}

/// Installs what is missing.
pub(crate) fn install() -> anyhow::Result<()> {
    install_packages(&PACKAGES)?;
    let tools = tools()?;
    let llvm = tools.join("llvm");
    std::fs::create_dir_all(&llvm).with_context(|| format!("cannot make {}", llvm.display()))?;
    // A folder of its own that holds nothing else: bpf-linker opens the first LLVM that it finds, and Debian has older ones.
    let link = llvm.join(LLVM.0);
    if !link.exists() {
        eprintln!("setup: linking Debian's LLVM for bpf-linker");
        // A link that leads nowhere is in the way of the right one.
        drop(std::fs::remove_file(&link));
        symlink(LLVM.1, &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    if !link.exists() {
        bail!("there is no {} although rustc-web is installed: its LLVM is of another version than {}", LLVM.1, LLVM.0);
    }
    if !has_linker(&tools) {
        eprintln!("setup: building bpf-linker {BPF_LINKER}, which takes a minute or two");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["install", "bpf-linker", "--locked", "--quiet", "--force", "--version", BPF_LINKER, "--root"])
            .arg(&tools);
        // What it is built with is its own affair, not this workspace's.
        cargo.current_dir(&tools).env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
        run(&mut cargo)?;
    }
    if !has_bpf_fs() {
        eprintln!("setup: mounting a BPF file system, where what outlives a daemon is kept");
        run(Command::new("mount").args(["-t", "bpf", "bpf", BPF_FS]))?;
    }
    if !has_promtool(&tools) {
        eprintln!("setup: fetching promtool, which judges metrics and alert rules");
        fetch_promtool(&tools)?;
    }
    if !has_drachtio() {
        eprintln!("setup: installing rtpengine-client {DRACHTIO}, the NG client of drachtio");
        let mut npm = Command::new("npm");
        // `ci` and not `install`, which would write where packages come from on this host into the lock file.
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]).current_dir(drachtio());
        // Standard output belongs to the task that needs the set-up.
        run(npm.stdout(std::io::stderr()))?;
    }
    Ok(())
}

/// The same, with what emulated computers need.
pub(crate) fn install_emulator() -> anyhow::Result<()> {
    install()?;
    install_packages(&EMULATOR)
}

/// The same, with the relay that benches compare with.
pub(crate) fn install_rival() -> anyhow::Result<()> {
    install()?;
    install_packages(&RIVAL)
}

/// The same, with what a package is tried on.
pub(crate) fn install_machine() -> anyhow::Result<()> {
    install()?;
    install_packages(&MACHINE)
}

fn install_packages(needs: &[Need]) -> anyhow::Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        eprintln!("setup: installing {} (package {})", need.what, need.package);
    }
    update()?;
    apt(["install", "--yes", "--no-install-recommends"].into_iter().chain(missing.iter().map(|need| need.package)))?;
    if missing.iter().any(|need| need.package == "kamailio") && Path::new("/run/systemd/system").exists() {
        eprintln!(
            "setup: the demo starts Kamailio itself; unless you want its service too: systemctl disable --now kamailio"
        );
    }
    if let Some(need) = self::missing(needs).first() {
        bail!("{} is still missing although the package {} is installed", need.what, need.package);
    }
    Ok(())
}

/// Gets new lists of packages.
pub(crate) fn update() -> anyhow::Result<()> {
    apt(["update"].into_iter())
}

fn apt<'a>(args: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
    let mut apt = Command::new("apt-get");
    // Standard output belongs to the task that needs the set-up.
    apt.args(["-qq", "-o=Dpkg::Use-Pty=0"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::io::stderr());
    run(&mut apt).context("setup needs root and Debian 12 (or install the packages above by hand)")
}
