//! The steering program: attached in the network namespace, kept there for the next process, and looked for, because anybody may detach it.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;

use aya::programs::links::FdLink;
use aya::programs::{ProgramError, SkLookup};

use crate::kernel::pins::{self, Pins, STEER};
use crate::kernel::programs::{Kernel, KernelError};

/// The same while it takes the place of another. A BPF file system takes no names with dots.
const STEER_NEW: &str = "steer-new";

/// This process' network namespace.
const NAMESPACE: &str = "/proc/self/ns/net";
/// `BPF_PROG_QUERY` and `BPF_SK_LOOKUP` (`linux/bpf.h`).
const PROG_QUERY: libc::c_long = 16;
const SK_LOOKUP: u32 = 36;
/// So many programs can be attached in one namespace (`MAX_BPF_LINKS` of such are 64).
const PROGRAMS: usize = 64;

impl Kernel {
    /// Steers media ports to the workers, in this network namespace, until `self` is dropped. A port whose worker has no socket yet is left to
    /// the kernel's own lookup.
    pub(crate) fn steer(&mut self) -> Result<(), KernelError> {
        let namespace = File::open(NAMESPACE)?;
        let pins = self.pins().cloned();
        let program = self.load_steer()?;
        let id = program.attach(&namespace).map_err(KernelError::Steer)?;
        let Some(pins) = pins else { return Ok(()) };
        let link: FdLink = program.take_link(id).map_err(KernelError::Steer)?.into();
        let kept = keep(link, &pins);
        if let Err(error) = &kept {
            tracing::warn!(%error, "steering ends with this process, and the slow path with it until there is another");
            program.attach(namespace).map(drop).map_err(KernelError::Steer)?;
        }
        self.is_steer_kept = kept.is_ok();
        Ok(())
    }

    /// Whether the steering program is attached.
    pub(crate) fn is_steering(&mut self) -> Result<bool, KernelError> {
        let namespace = File::open(NAMESPACE)?;
        let info = self.load_steer()?.info().map_err(|error| KernelError::Program("steer", error))?;
        Ok(attached(&namespace)?.contains(&info.id()))
    }

    /// Loads the steering program.
    pub(crate) fn load_steer(&mut self) -> Result<&mut SkLookup, KernelError> {
        let program = self.program("steer")?;
        let program: &mut SkLookup = program.try_into().map_err(|error| KernelError::Program("steer", error))?;
        if program.fd().is_err() {
            program.load().map_err(|error: ProgramError| KernelError::Program("steer", error))?;
        }
        Ok(program)
    }
}

/// Pins what holds the steering program, in the place of what an earlier process has left: both steer alike for a moment, and then only this one does.
fn keep(link: FdLink, pins: &Pins) -> io::Result<()> {
    let (new, path) = (pins.link(STEER_NEW), pins.link(STEER));
    pins::remove(&new);
    let _pinned = link.pin(&new).map_err(io::Error::other)?;
    fs::rename(new, path)
}

/// `bpf_attr.query`, as far as is asked for.
#[repr(C)]
#[derive(Debug)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_count: u32,
    padding: u32,
}

/// The numbers of the programs that choose sockets in a network namespace.
#[expect(unsafe_code, reason = "a system call that no wrapper has: aya asks only for the programs of other kinds")]
fn attached(namespace: &File) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; PROGRAMS];
    let mut query = Query {
        target_fd: namespace.as_raw_fd().cast_unsigned(),
        attach_type: SK_LOOKUP,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_count: PROGRAMS as u32,
        padding: 0,
    };
    // SAFETY: the kernel reads so many bytes of the query, writes its counts, and writes at most `prog_count` numbers to `prog_ids`; both outlive
    // the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut query, size_of::<Query>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ids.into_iter().take(query.prog_count as usize).collect())
}
