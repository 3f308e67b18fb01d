//! `cargo xtask package`: the Debian package; and what `cargo xtask fault package` needs to try it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::command::{cargo, exists, run, workspace};
use crate::setup;

/// What makes the package.
const CARGO_DEB: &str = "3.8.0";
/// The unit, and the greatest exposure that it may have by `systemd-analyze security`, in tenths.
const UNIT: &str = "deploy/systemd/intertrunk.service";
const EXPOSURE: &str = "30";
/// Of the package, and of one that comes later.
const FIRST: &str = "0.1.0-1";
const LATER: &str = "0.1.1-1";
/// Where the machine's packages come from.
const SUITE: &str = "bookworm";

fn target(what: &str) -> PathBuf {
    workspace().join("target").join(what)
}

/// Builds the package; where it is.
pub(crate) fn package() -> anyhow::Result<PathBuf> {
    build()?;
    deb(FIRST)
}

/// Builds the package and a later version of it, looks for what Debian's rules forbid, and has them installed, upgraded and removed on a booted
/// machine.
pub(crate) fn try_it(args: &[String]) -> anyhow::Result<()> {
    setup::install_machine()?;
    build()?;
    let [first, second] = [FIRST, LATER].map(deb);
    let (first, second) = (first?, second?);
    run(Command::new("lintian").args(["--allow-root", "--fail-on=error"]).arg(&first))?;
    let root = target("package/root");
    let _none = fs::remove_dir_all(&root);
    fs::create_dir_all(root.parent().unwrap_or(&root))?;
    eprintln!("== debootstrap");
    run(Command::new("debootstrap")
        .args(["--variant=minbase", "--include=systemd,systemd-sysv,iproute2,procps", SUITE])
        .arg(&root)
        .stdout(std::process::Stdio::null()))?;
    let mut loadtest = cargo();
    loadtest.args(["run", "--quiet", "--release", "--package", "loadtest", "--", "fault", "package"]);
    for (key, path) in [("--root", &root), ("--first", &first), ("--second", &second)] {
        loadtest.arg(key).arg(path);
    }
    run(loadtest.args(args))
}

/// Whether everything is there that the package is made of, and the unit is as careful as it is to be.
pub(crate) fn check() -> anyhow::Result<()> {
    let folder = target("pages-check");
    pages(&folder, "dev")?;
    for page in ["intertrunk.1", "intertrunk-serve.1", "intertrunk.bash", "_intertrunk", "intertrunk.fish"] {
        ensure!(folder.join(page).is_file(), "there is no {page} in {}", folder.display());
    }
    let manifest = fs::read_to_string(workspace().join("control/Cargo.toml"))?;
    let ours = manifest.lines().filter_map(|line| line.trim().strip_prefix("[\"../")?.split('"').next());
    let missing: Vec<_> = ours.filter(|path| !workspace().join(path).is_file()).collect();
    ensure!(missing.is_empty(), "the package is to have {missing:?}, and there is no such file");
    if !exists("systemd-analyze") {
        bail!("there is no systemd-analyze: cargo xtask setup");
    }
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=yes", "--no-pager", &format!("--threshold={EXPOSURE}")]);
    let output = security.arg(workspace().join(UNIT)).output().context("systemd-analyze")?;
    ensure!(output.status.success(), "{UNIT}: {}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn build() -> anyhow::Result<()> {
    setup::install()?;
    run(cargo().args(["build", "--release", "--locked", "--package", "control", "--package", "loadtest", "--bins"]))?;
    let folder = target("release/pages");
    pages(&folder, "release")?;
    // As Debian has them, and the same each time.
    let pages = fs::read_dir(&folder)?.filter_map(|file| Some(file.ok()?.path()));
    let manuals = pages.filter(|path| path.extension().is_some_and(|extension| extension == "1"));
    run(Command::new("gzip").args(["--best", "--no-name", "--force"]).args(manuals))
}

/// Man pages and completions.
fn pages(folder: &Path, profile: &str) -> anyhow::Result<()> {
    let mut pages = cargo();
    pages.args([
        "run",
        "--quiet",
        "--locked",
        "--profile",
        profile,
        "--package",
        "control",
        "--example",
        "pages",
        "--",
    ]);
    run(pages.arg(folder))
}

fn deb(version: &str) -> anyhow::Result<PathBuf> {
    let has = Command::new("cargo-deb").arg("--version").output();
    if !has.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim().ends_with(CARGO_DEB)) {
        run(cargo().args(["install", "--quiet", "--locked", "cargo-deb", "--version", CARGO_DEB]))?;
    }
    let mut deb = cargo();
    deb.args(["deb", "--package", "control", "--no-build", "--dbgsym", "--quiet", "--output"]);
    // Each version in a folder of its own: others of the same package would be removed.
    let file = target("debian").join(version).join(format!("intertrunk_{version}_amd64.deb"));
    fs::create_dir_all(file.parent().unwrap_or(&file))?;
    deb.arg(&file).args(["--deb-version", version]);
    run(&mut deb)?;
    Ok(file)
}
