//! What lies behind the kernel's "no".

use std::error::Error;
use std::io;

/// The operating system's error at the bottom of a chain.
fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        next = error.source();
    }
    None
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text
}

/// The error, and what to do about it where that is known.
pub(crate) fn explain(error: &(dyn Error + 'static)) -> String {
    let text = chain(error);
    match os_error(error) {
        Some(libc::EPERM | libc::EACCES) => format!(
            "{text}. The process lacks CAP_BPF, CAP_NET_ADMIN or CAP_PERFMON (run as root, or give them in the unit file), or a \
             container's seccomp filter or kernel lockdown forbids bpf(2)"
        ),
        Some(libc::ENOSYS) => {
            format!("{text}. This kernel has no BPF: Linux 6.1 or newer with CONFIG_BPF_SYSCALL is needed")
        }
        Some(_) | None => text,
    }
}

/// The same for attaching XDP.
pub(crate) fn explain_attach(error: &(dyn Error + 'static)) -> String {
    let text = chain(error);
    match os_error(error) {
        Some(libc::EBUSY) => format!(
            "{text}. Another XDP program is attached there: `ip link show` names it, `ip link set dev ... xdp off` removes it"
        ),
        Some(libc::EOPNOTSUPP) => {
            format!("{text}. The driver has no native XDP: choose xdp-mode = \"generic\" or engine = \"uring\"")
        }
        Some(libc::ERANGE) => format!("{text}. The device's MTU is too large for XDP: lower it to 1500"),
        Some(_) | None => explain(error),
    }
}

/// The error of a ring that could not be made.
pub(crate) fn explain_ring(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => format!(
            "{error}. io_uring is forbidden here: sysctl kernel.io_uring_disabled, or a container's seccomp filter"
        ),
        Some(libc::ENOSYS) => format!("{error}. This kernel was built without io_uring"),
        Some(libc::EINVAL) => format!("{error}. The kernel is older than 6.1"),
        Some(_) | None => error.to_string(),
    }
}

/// The error of a raw socket that could not be made.
pub(crate) fn explain_raw(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => format!("no raw socket: {error}. The process lacks CAP_NET_RAW"),
        Some(_) | None => format!("no raw socket: {error}"),
    }
}
