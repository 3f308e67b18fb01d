//! The `intertrunk` program as another version, as far as the kernel can tell: for `cargo xtask fault upgrade`.

#[path = "main.rs"]
mod program;

fn main() -> std::process::ExitCode {
    program::main()
}
