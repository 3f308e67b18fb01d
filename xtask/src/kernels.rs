//! `cargo xtask kernels`: the kernels that Intertrunk has to run on, booted under emulation, and the tests that depend on the kernel.

mod build;
mod cpio;
mod initramfs;
mod machine;
mod package;
mod verdict;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;

use self::build::Built;
use self::machine::Machine;
use self::package::{Package, cache};
use self::verdict::Verdict;
use crate::command::output;
use crate::setup;

/// A kernel to test on.
struct Kernel {
    /// What people call it.
    name: &'static str,
    /// Debian's package that stands for its newest build.
    package: &'static str,
    /// Tests of what this kernel cannot do.
    lacks: &'static [Lack],
}

/// A test that a kernel cannot pass.
struct Lack {
    test: &'static str,
    why: &'static str,
}

/// The oldest kernel that is promised to work, and the other one that Debian 12 has.
const KERNELS: [Kernel; 2] = [
    Kernel {
        name: "6.1",
        package: "linux-image-amd64",
        lacks: &[Lack {
            test: "a_device_that_loses_what_xdp_sends_costs_no_packet",
            why: "before Linux 6.3 the kernel does not tell which devices take redirected frames",
        }],
    },
    Kernel { name: "6.12", package: "linux-image-6.12-amd64", lacks: &[] },
];

/// Tests that a guest runs.
struct Check {
    name: &'static str,
    /// The program of tests.
    program: &'static str,
    /// Which of its tests.
    filter: &'static str,
}

const CHECKS: [Check; 6] = [
    Check { name: "loaded", program: "relay", filter: "kernel::programs::tests::the_program_stays_small" },
    Check { name: "vectors", program: "relay", filter: "kernel::programs::tests" },
    Check { name: "forwarding", program: "media", filter: "" },
    Check { name: "sending", program: "outputs", filter: "" },
    Check { name: "kept", program: "life", filter: "ends_its_calls_or_keeps" },
    Check { name: "bound", program: "intake", filter: "bound_ports_carry" },
];

/// The names of all kernels.
pub(crate) fn names() -> [&'static str; KERNELS.len()] {
    KERNELS.map(|kernel| kernel.name)
}

/// Tests on the kernels of these names, or on all.
pub(crate) fn kernels(names: &[String]) -> anyhow::Result<()> {
    setup::install_emulator()?;
    let built = Built::new()?;
    let chosen = KERNELS.iter().filter(|kernel| names.is_empty() || names.iter().any(|name| name == kernel.name));
    let rows: Vec<Row> = chosen.map(|kernel| kernel.test(&built)).collect::<Result<_, _>>()?;
    print(&rows);
    let bad = rows.iter().flat_map(|row| row.verdicts).filter(|verdict| !verdict.is_good()).count();
    if bad > 0 {
        bail!("{bad} checks failed");
    }
    Ok(())
}

/// Looks whether the tests that a guest would run exist, and those that kernels lack: a name that nothing has any more would pass unseen.
pub(crate) fn check() -> anyhow::Result<()> {
    let built = Built::new()?;
    let mut lacked: Vec<&str> = KERNELS.iter().flat_map(|kernel| kernel.lacks).map(|lack| lack.test).collect();
    for check in CHECKS {
        let program = built.programs.iter().find(|(name, _)| name == check.program);
        let Some((_, path)) = program else { bail!("{}: there is no program {}", check.name, check.program) };
        let mut list = Command::new(path);
        list.args(["--list", "--ignored"]).args((!check.filter.is_empty()).then_some(check.filter));
        let tests = output(&mut list)?;
        let count = tests.lines().filter(|line| line.ends_with(": test")).count();
        if count == 0 {
            bail!("{}: {} has no test {}", check.name, check.program, check.filter);
        }
        eprintln!("{}: {count} tests", check.name);
        lacked.retain(|lack| !tests.contains(lack));
    }
    if !lacked.is_empty() {
        bail!("no such tests: {}", lacked.join(", "));
    }
    Ok(())
}

/// What came of a kernel.
struct Row {
    kernel: &'static Kernel,
    /// What the guest calls its kernel.
    release: String,
    verdicts: [Verdict; CHECKS.len()],
    time: Duration,
}

impl Kernel {
    fn test(&'static self, built: &Built) -> anyhow::Result<Row> {
        let (image, busybox) = self.packages().or_else(|error| {
            // Old lists name packages that are not there any more.
            eprintln!("kernels: {error:#}; once more with new lists of packages");
            setup::update()?;
            self.packages()
        })?;
        let machine = Machine {
            kernel: image.path("vmlinuz"),
            initramfs: cache().join(format!("{}.cpio", self.name)),
            messages: cache().join(format!("{}.messages", self.name)),
        };
        fs::write(&machine.initramfs, initramfs::initramfs(&image, &busybox, built, &self.checks())?)?;
        eprintln!("== {} on an emulated computer", self.name);
        let start = Instant::now();
        let said = machine.run()?;
        let verdicts = CHECKS.map(|check| Verdict::of(check.name, &said));
        if verdicts.contains(&Verdict::Silent) {
            eprintln!(
                "the last that the kernel said, of {}:\n{}",
                machine.messages.display(),
                machine.last_messages()?
            );
        }
        let release = said.iter().find_map(|line| line.strip_prefix("== kernel ")).unwrap_or("did not boot");
        Ok(Row { kernel: self, release: release.to_owned(), verdicts, time: start.elapsed() })
    }

    /// The kernel, and busybox.
    fn packages(&self) -> anyhow::Result<(Package, Package)> {
        let image = Package::fetch(&package::stands_for(self.package)?, &initramfs::kernel_files())?;
        Ok((image, Package::fetch("busybox-static", &["./bin/busybox".to_owned()])?))
    }

    /// The checks as the guest's script reads them: name, program, arguments.
    fn checks(&self) -> String {
        let skips: String = self.lacks.iter().map(|lack| format!(" --skip {}", lack.test)).collect();
        CHECKS.map(|check| format!("{} /target/{} {}{skips}\n", check.name, check.program, check.filter)).concat()
    }
}

fn print(rows: &[Row]) {
    let width = rows.iter().map(|row| row.release.len()).max().unwrap_or(0) + 2;
    let titles = CHECKS.map(|check| format!("{:16}", check.name)).concat();
    eprintln!("\n{:8}{:width$}{titles}seconds", "kernel", "release");
    for row in rows {
        let verdicts = row.verdicts.map(|verdict| format!("{verdict:16}")).concat();
        eprintln!("{:8}{:width$}{verdicts}{:7.0}", row.kernel.name, row.release, row.time.as_secs_f32());
    }
    for row in rows {
        for lack in row.kernel.lacks {
            eprintln!("not on {}: {} ({})", row.kernel.name, lack.test, lack.why);
        }
    }
}
