//! Builds the BPF programs of the `ebpf` crate with the toolchain that `cargo xtask setup` installs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where Debian's `rustc-web` and `cargo-web` put the compiler that has the library sources, and whose LLVM `bpf-linker` can use.
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";

/// v3 has 32-bit arithmetic and jumps, which every kernel since 5.1 runs; the default is v1. Frames are read by words that are not aligned,
/// which x86 and its JIT permit; without the feature each is read byte by byte. BTF gives the verifier source lines.
const FLAGS: [&str; 4] =
    ["-Ctarget-cpu=v3", "-Ctarget-feature=+allows-misaligned-mem-access", "-Cdebuginfo=2", "-Clink-arg=--btf"];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    for path in ["ebpf/src", "ebpf/Cargo.toml", "flow/src", "flow/Cargo.toml", "Cargo.toml"] {
        println!("cargo::rerun-if-changed=../{path}");
    }
    println!("cargo::rerun-if-env-changed=INTERTRUNK_BPF_TOOLS");
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!(
                "cargo::error=The XDP program cannot be built ({problem}): run `cargo xtask setup`, which installs the BPF toolchain."
            );
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let tools = tools()?;
    for (what, path) in
        [("rustc", Path::new(RUSTC)), ("cargo", Path::new(CARGO)), ("bpf-linker", &tools.join("bin/bpf-linker"))]
    {
        if !path.exists() {
            return Err(format!("there is no {what} at {}", path.display()));
        }
    }
    // Beside the workspace's own builds, so that all profiles share one: OUT_DIR is target/PROFILE/build/relay-HASH/out.
    let target = out.ancestors().nth(4).ok_or("OUT_DIR is not inside a target folder")?.join("bpf");
    let mut path = tools.join("bin").into_os_string();
    if let Some(rest) = env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    let mut cargo = Command::new(CARGO);
    // What cargo and rustup tell a build script about their own compiler must not reach the other one.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_") || name.starts_with("RUST") || name == "CARGO" {
            cargo.env_remove(name.as_ref());
        }
    }
    if let Some(home) = env::var_os("CARGO_HOME") {
        cargo.env("CARGO_HOME", home);
    }
    cargo
        .current_dir(manifest.join(".."))
        .env("RUSTC", RUSTC)
        // The compiler is a stable one; building `core` for a target without a ready-made one is not a stable option.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("PATH", path)
        // bpf-linker opens the first libLLVM that it finds here; Debian may have older ones beside the right one.
        .env("LD_LIBRARY_PATH", tools.join("llvm"))
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .args(["build", "--locked", "--package", "ebpf", "--profile", "bpf"])
        .args(["--target", "bpfel-unknown-none", "-Zbuild-std=core", "--target-dir"])
        .arg(&target);
    if env::var_os("CARGO_FEATURE_OTHER_LAYOUT").is_some() {
        cargo.args(["--features", "other-layout"]);
    }
    let output = cargo.output().map_err(|error| format!("{CARGO}: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        for line in text.lines() {
            println!("cargo::warning={line}");
        }
        return Err("its build failed".to_owned());
    }
    let object = target.join("bpfel-unknown-none/bpf/intertrunk-ebpf");
    std::fs::copy(&object, out.join("intertrunk-ebpf")).map_err(|error| format!("{}: {error}", object.display()))?;
    Ok(())
}

/// The folder of `cargo xtask setup`: `bin/bpf-linker` and `llvm/`.
fn tools() -> Result<PathBuf, String> {
    if let Some(tools) = env::var_os("INTERTRUNK_BPF_TOOLS") {
        return Ok(tools.into());
    }
    let home = env::var_os("HOME").ok_or("HOME is not set")?;
    Ok(Path::new(&home).join(".local/share/intertrunk/bpf"))
}
