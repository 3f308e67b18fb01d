//! The programs that run in a guest, built like those that `cargo xtask test` runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::command::{cargo, output};

/// Programs by their names.
pub(super) struct Built {
    /// The daemon, and programs of tests.
    pub(super) programs: Vec<(String, PathBuf)>,
    /// The XDP programs of test hosts.
    pub(super) rig: PathBuf,
}

impl Built {
    /// Where the object of test hosts is in the target folder.
    pub(super) const RIG: &str = "bpf/bpfel-unknown-none/bpf/intertrunk-rig";

    /// Builds them.
    ///
    /// # Errors
    /// When cargo fails.
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut daemon = cargo();
        daemon.args(["build", "--package", "control", "--bins"]);
        let mut tests = cargo();
        tests.args(["test", "--no-run", "--package", "relay", "--package", "loadtest", "--lib"]);
        tests.args(["media", "outputs", "intake", "life"].iter().flat_map(|test| ["--test", test]));
        let paths = [executables(&mut daemon)?, executables(&mut tests)?].concat();
        let rig = paths.iter().flat_map(|path| path.ancestors()).map(|folder| folder.join(Self::RIG));
        let rig =
            rig.into_iter().find(|path| path.is_file()).context("cargo did not build the programs of test hosts")?;
        Ok(Self { programs: paths.into_iter().map(|path| (name(&path), path)).collect(), rig })
    }
}

/// Builds, and tells what programs came of it.
fn executables(build: &mut Command) -> anyhow::Result<Vec<PathBuf>> {
    let messages = output(build.args(["--quiet", "--locked", "--message-format=json"]))?;
    let executables = messages.lines().filter_map(|message| {
        let (_, rest) = message.split_once("\"executable\":\"")?;
        rest.split('"').next().map(Into::into)
    });
    Ok(executables.collect())
}

/// A program's name without what cargo adds to it: `media` of `media-7a6a6f37549dcf42`.
fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.rsplit_once('-').filter(|(_, end)| is_hash(end)).map_or(&*name, |(name, _)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_manifest() {
        assert_eq!(name(Path::new("/target/debug/deps/media-7a6a6f37549dcf42")), "media");
        assert_eq!(name(Path::new("/target/debug/intertrunk")), "intertrunk");
        assert_eq!(name(Path::new("/target/debug/intertrunk-rig")), "intertrunk-rig");
    }
}
