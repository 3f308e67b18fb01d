//! What a guest holds: the tests, what they need, and the script that runs them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::build::Built;
use super::cpio::Archive;
use super::package::{Package, cache};
use crate::command::{find, output, run};

/// The kernel's modules that the tests need, in the order in which they need one another. Packages in the cache hold no others.
const MODULES: [&str; 1] = ["veth.ko"];
/// Programs that the tests call.
const PROGRAMS: [&str; 5] = ["ip", "ethtool", "nsenter", "sysctl", "tcpdump"];

/// The patterns of the files that a kernel's package has to give.
pub(super) fn kernel_files() -> Vec<String> {
    std::iter::once("./boot/vmlinuz-*".to_owned()).chain(MODULES.map(|module| format!("*/{module}*"))).collect()
}

/// The guest's first file system.
///
/// # Errors
/// When something that belongs into it is missing.
pub(super) fn initramfs(kernel: &Package, busybox: &Package, built: &Built, checks: &str) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["/proc", "/sys", "/dev", "/tmp", "/run"] {
        archive.folder(Path::new(folder));
    }
    archive.file(Path::new("/init"), include_bytes!("init.sh"));
    archive.file(Path::new("/checks"), checks.as_bytes());
    // tcpdump looks its user up.
    archive.file(Path::new("/etc/passwd"), b"root:x:0:0:root:/:/bin/sh\n");
    archive.file(Path::new("/bin/busybox"), &read(&busybox.path("busybox"))?);
    for (number, module) in MODULES.iter().enumerate() {
        archive.file(&Path::new("/modules").join(format!("{number}-{module}")), &read(&kernel.path(module))?);
    }
    for program in PROGRAMS {
        let path = find(program).with_context(|| format!("there is no {program}"))?;
        archive.file(&Path::new("/usr/bin").join(program), &read(&path)?);
        add_libraries(&mut archive, &path)?;
    }
    for (name, path) in &built.programs {
        archive.file(&Path::new("/target").join(name), &stripped(path)?);
        add_libraries(&mut archive, path)?;
    }
    archive.file(&Path::new("/target").join(Built::RIG), &read(&built.rig)?);
    Ok(archive.finish())
}

/// Adds the shared libraries of a program, where the program looks for them.
fn add_libraries(archive: &mut Archive, program: &Path) -> anyhow::Result<()> {
    // libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f0000000000)
    let libraries = output(Command::new("ldd").arg(program))?;
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
        archive.file(library, &read(library)?);
    }
    Ok(())
}

/// A program without what is for debuggers only: an emulated machine unpacks what is left in a fraction of the time.
fn stripped(program: &Path) -> anyhow::Result<Vec<u8>> {
    let copy = cache().join("stripped");
    run(Command::new("strip").arg("--strip-debug").arg("-o").arg(&copy).arg(program))?;
    let bytes = read(&copy)?;
    fs::remove_file(copy)?;
    Ok(bytes)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
