//! The short forms of everything that people run by hand: what is not run rots.

use anyhow::bail;

use crate::command::{cargo, run};
use crate::{fuzz, gate, kernels, package, setup};

/// What each is called, and how it is run: by the program of the load tests as it was built for the tests.
const FORMS: [(&str, &[&str]); 21] = [
    ("demo", &["demo", "--seconds", "1"]),
    ("demo without XDP, to IPv6", &["demo", "--seconds", "1", "--engine", "uring", "--to-ipv6"]),
    ("bench fastpath", &["bench-fastpath", "--smoke"]),
    ("bench slowpath", &["bench-slowpath", "--smoke"]),
    ("bench control", &["bench-control", "--smoke"]),
    ("bench strangers", &["bench-strangers", "--smoke"]),
    ("bench scale", &["bench-scale", "--smoke"]),
    (
        "bench slowpath --srtp",
        &["bench-slowpath", "--srtp", "--smoke", "--only", "intertrunk-xsk", "--only", "rtpengine"],
    ),
    ("bench srtp", &["bench-srtp", "--smoke"]),
    ("bench observe", &["bench-observe", "--smoke"]),
    ("bench compare", &["bench-compare", "--smoke"]),
    ("loadtest report", &REPORT),
    ("loadtest plan", &["plan", "--smoke"]),
    ("loadtest streams", &["streams", "--smoke"]),
    ("fault kill", &["fault", "kill", "--smoke"]),
    ("fault upgrade", &["fault", "upgrade", "--smoke"]),
    ("fault points", &["fault", "points", "--smoke"]),
    ("fault soak", &["fault", "soak", "--smoke"]),
    ("fault hostile", &["fault", "hostile", "--smoke"]),
    ("fault secured", &["fault", "secured", "--smoke"]),
    ("fault host", &["fault", "host", "--smoke"]),
];

/// Those that mostly wait: they run beside what is compiled for the last steps.
const BESIDE: [(&str, &[&str]); 3] = [
    ("loadtest sipp", &["sipp", "--smoke"]),
    ("loadtest talk", &["talk", "--smoke"]),
    ("loadtest talk --srtp", &["talk", "--srtp", "--smoke"]),
];

type Step = fn() -> anyhow::Result<()>;

/// What is no form of the load tests' program.
const LAST: [(&str, Step); 5] = [
    ("criterion benches", benches),
    ("fuzz", fuzzers),
    ("bench compare --slowed", slowed),
    ("kernels --check", other_kernels),
    ("package --check", packages),
];

/// One of each kind: the benches above try the others.
const REPORT: [&str; 14] = [
    "report",
    "--smoke",
    "--out",
    "target/report-smoke",
    "--only",
    "reflector",
    "--only",
    "intertrunk-xdp",
    "--only",
    "intertrunk-xsk",
    "--only",
    "rtpengine",
    "--only",
    "nftables",
];

/// Another version of the daemon, which takes over from this one.
pub(crate) const OTHER: [&str; 6] = ["--package", "control", "--features", "other-layout", "--bin", "intertrunk-other"];

/// Seconds for each fuzzer.
const FUZZ: u32 = 2;

/// Runs all of them; how many there were.
pub(crate) fn smoke() -> anyhow::Result<usize> {
    setup::install_rival()?;
    run(cargo().args(["build", "--quiet", "--locked", "--package", "control", "--package", "loadtest", "--bins"]))?;
    run(cargo().args(["build", "--quiet", "--locked"]).args(OTHER))?;
    let mut failed: Vec<_> = FORMS.into_iter().filter_map(failure).collect();
    let beside = std::thread::spawn(|| BESIDE.into_iter().filter_map(failure).collect::<Vec<_>>());
    failed.extend(LAST.into_iter().filter_map(|(name, run)| failed_at(name, run())));
    failed.extend(beside.join().unwrap_or_else(|_| vec!["what runs beside has panicked".to_owned()]));
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(FORMS.len() + BESIDE.len() + LAST.len())
}

/// Runs one of the forms; its name, if it failed.
fn failure((name, args): (&'static str, &[&str])) -> Option<String> {
    eprintln!("-- {name}");
    failed_at(name, run(cargo().args(["run", "--quiet", "--locked", "--package", "loadtest", "--"]).args(args)))
}

fn failed_at(name: &str, ran: anyhow::Result<()>) -> Option<String> {
    ran.err().map(|error| {
        eprintln!("{name}: {error:#}");
        name.to_owned()
    })
}

fn benches() -> anyhow::Result<()> {
    eprintln!("-- criterion benches");
    // Each once, to see that it runs.
    run(cargo().args(["bench", "--quiet", "--locked", "--package", "benches", "--profile", "dev", "--", "--test"]))
}

fn fuzzers() -> anyhow::Result<()> {
    eprintln!("-- fuzz");
    fuzz::fuzz(&[], FUZZ, fuzz::Build::Quick)
}

fn slowed() -> anyhow::Result<()> {
    eprintln!("-- bench compare --slowed, as far as whether it can be built");
    gate::check()
}

fn other_kernels() -> anyhow::Result<()> {
    eprintln!("-- kernels --check");
    kernels::check()
}

fn packages() -> anyhow::Result<()> {
    eprintln!("-- package --check");
    package::check()
}
