//! A Debian package: downloaded, and unpacked as far as it is needed, but not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::command::{output, run, workspace};

/// Where packages are kept.
pub(super) fn cache() -> PathBuf {
    workspace().join("target/kernels")
}

/// Some files of a package, in one folder.
pub(super) struct Package {
    folder: PathBuf,
}

impl Package {
    /// Fetches the version that apt would install, unless it is there. `files` are patterns of paths within the package, and each must
    /// match.
    ///
    /// # Errors
    /// When apt does not have the package, or the package not the files.
    pub(super) fn fetch(name: &str, files: &[String]) -> anyhow::Result<Self> {
        fs::create_dir_all(cache())?;
        // 'http://...' busybox-static_1%3a1.35.0-4+b1_amd64.deb 928188 SHA256:...
        let uris = output(apt_get().args(["download", "--print-uris", name]))?;
        let file = uris.split_whitespace().nth(1).with_context(|| format!("apt does not tell the file of {name}"))?;
        let folder = cache().join(file.trim_end_matches(".deb"));
        if !folder.exists() {
            eprintln!("kernels: downloading {name}");
            run(apt_get().args(["download", name]).stdout(std::io::stderr()))?;
            unpack(&cache().join(file), files, &folder)?;
        }
        Ok(Self { folder })
    }

    /// Where one of its files is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// The package that a package without contents of its own stands for at present.
///
/// # Errors
/// When apt does not know it.
pub(super) fn stands_for(name: &str) -> anyhow::Result<String> {
    let depends = output(Command::new("apt-cache").args(["depends", "--important", name]))?;
    let first = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(first.with_context(|| format!("the package {name} stands for no other"))?.to_owned())
}

/// Puts the files of a package into a folder, without the folders that they are in, and uncompressed; the package is removed.
fn unpack(package: &Path, files: &[String], folder: &Path) -> anyhow::Result<()> {
    // A folder that is there is complete.
    let partial = cache().join("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir(&partial)?;
    let mut contents = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let archive = contents.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = Command::new("tar");
    // `boot/vmlinuz-6.1.0-50-amd64` becomes `vmlinuz`.
    tar.args(["-x", "--no-same-owner", "--transform=s,.*/,,", "--transform=s,^vmlinuz-.*,vmlinuz,", "--wildcards"])
        .args(files)
        .current_dir(&partial)
        .stdin(archive);
    run(&mut tar)?;
    if !contents.wait()?.success() {
        bail!("{} cannot be unpacked", package.display());
    }
    for entry in fs::read_dir(&partial)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "xz") {
            run(Command::new("xz").arg("--decompress").arg(path))?;
        }
    }
    fs::rename(&partial, folder)?;
    Ok(fs::remove_file(package)?)
}

fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    // As whoever runs this: the user that apt would otherwise take cannot write here.
    apt.args(["-qq", "-o=APT::Sandbox::User=root"]).current_dir(cache());
    apt
}
