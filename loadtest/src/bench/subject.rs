//! What carries packets between two hosts: relays, and what else a user might build.

use std::path::Path;

use super::flood::{Family, relay};
use super::translation;
use crate::rig::daemon::{Build, Kept, NG};

/// Enough for ten thousand calls.
const PORTS: [&str; 2] = ["--port-min=20000", "--port-max=65535"];

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Subject {
    /// No relay: an XDP program that sends every frame back. The limit of the rig.
    Reflector,
    /// Ours, by XDP.
    Fast,
    /// Ours, by io_uring, with so many workers.
    Uring(u32),
    /// The same, and packets come to the worker past the stack, by AF_XDP.
    Xsk,
    /// The same, and they leave by AF_XDP as well: not on kernels where that is refused.
    XskOut,
    /// Ours, by epoll.
    Epoll,
    /// rtpengine in userspace.
    Rtpengine,
    /// No relay: the kernel translates addresses by rules that somebody has written.
    Nat,
    /// The same, and what is established passes the stack by.
    Flowtable,
}

/// Whether all of these are names of some of those.
///
/// # Errors
/// The first that is none, and what there is.
pub(crate) fn check_names(names: &[String], all: &[Subject]) -> anyhow::Result<()> {
    let known: Vec<_> = all.iter().map(|subject| subject.name()).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => anyhow::bail!("there is no {name}: choose of {}", known.join(", ")),
        None => Ok(()),
    }
}

impl Subject {
    /// The name in the result.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reflector => "reflector",
            Self::Fast => "intertrunk-xdp",
            Self::Uring(_) => "intertrunk-uring",
            Self::Xsk => "intertrunk-xsk",
            Self::XskOut => "intertrunk-xsk-out",
            Self::Epoll => "intertrunk-epoll",
            Self::Rtpengine => "rtpengine",
            Self::Nat => "nftables",
            Self::Flowtable => "flowtable",
        }
    }

    /// What it is, for people.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Reflector => "an XDP program that sends every frame back: the limit of the rig",
            Self::Fast => "Intertrunk, fast path: in the kernel, by XDP",
            Self::Uring(_) => "Intertrunk, slow path: a worker by io_uring",
            Self::Xsk => "Intertrunk, slow path: a worker that receives by AF_XDP",
            Self::XskOut => "Intertrunk, slow path: a worker that receives and sends by AF_XDP",
            Self::Epoll => "Intertrunk, slow path: a worker by epoll",
            Self::Rtpengine => "rtpengine, in userspace",
            Self::Nat => "no relay: address translation by nftables",
            Self::Flowtable => "no relay: address translation by nftables, with a flowtable",
        }
    }

    /// How many threads carry packets.
    pub(crate) const fn workers(self) -> u32 {
        match self {
            Self::Uring(workers) => workers,
            Self::Reflector | Self::Nat | Self::Flowtable => 0,
            Self::Fast | Self::Xsk | Self::XskOut | Self::Epoll | Self::Rtpengine => 1,
        }
    }

    /// It is a relay: a program that is told of calls.
    pub(crate) const fn is_relay(self) -> bool {
        !matches!(self, Self::Reflector | Self::Nat | Self::Flowtable)
    }

    /// It is ours.
    pub(crate) const fn is_ours(self) -> bool {
        self.is_relay() && !matches!(self, Self::Rtpengine)
    }

    /// What leaves has never been the kernel's packet: the other end of the cable takes it only with a program of its own.
    pub(crate) const fn sends_frames(self) -> bool {
        matches!(self, Self::Reflector | Self::Fast)
    }

    /// Why it cannot be measured here.
    ///
    /// # Errors
    /// When the kernel does not say what it is.
    pub(crate) fn obstacle(self) -> anyhow::Result<Option<&'static str>> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let minor = release.strip_prefix("6.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        if self == Self::XskOut && minor.is_some_and(|minor| (6..=17).contains(&minor)) {
            return Ok(Some("the daemon does not send by AF_XDP on Linux 6.6 to 6.17"));
        }
        if self == Self::Flowtable && !translation::has_flowtables()? {
            return Ok(Some("this kernel has no flowtables"));
        }
        Ok(None)
    }

    /// How it is started, for a relay.
    pub(crate) fn command(self, folder: &Path, build: &Build) -> anyhow::Result<Vec<String>> {
        let interfaces = [("a", 0), ("b", 1)].map(|(name, side)| format!("{name}/{}", relay(Family::Ipv4, side)));
        let mut words: Vec<String> = Vec::new();
        let (engine, intake) = match self {
            Self::Reflector | Self::Nat | Self::Flowtable => anyhow::bail!("{} is no program", self.name()),
            Self::Fast => ("xdp", "steered"),
            Self::Uring(_) => ("uring", "steered"),
            Self::Xsk | Self::XskOut => ("uring", "xsk"),
            Self::Epoll => ("epoll", "steered"),
            Self::Rtpengine => {
                words.extend(
                    ["rtpengine", "--foreground", "--log-stderr", "--log-level=4", "--table=-1"].map(str::to_owned),
                );
                words.extend([format!("--listen-ng={NG}"), PORTS[0].into(), PORTS[1].into()]);
                words.push(format!("--num-threads={}", self.workers()));
                words.extend(interfaces.map(|interface| format!("--interface={interface}")));
                return Ok(words);
            }
        };
        words.push(build.program()?.to_string_lossy().into_owned());
        words.extend(["serve", "--log-format", "json", "--engine", engine, "--intake", intake].map(str::to_owned));
        words.extend(["--listen-ng", NG].into_iter().chain(PORTS).map(str::to_owned));
        words.extend(["--pin-workers".to_owned(), "--workers".to_owned(), self.workers().to_string()]);
        if self == Self::XskOut {
            words.push("--output=xsk".to_owned());
        }
        for interface in interfaces {
            words.extend(["--interface".to_owned(), interface]);
        }
        // Several run at a time.
        words.extend(self.kept(folder).args());
        Ok(words)
    }

    /// The same for people, without what is of this machine only; none of what is no program.
    ///
    /// # Errors
    /// When the daemon was not built.
    pub(crate) fn told(self) -> anyhow::Result<Option<String>> {
        if matches!(self, Self::Reflector | Self::Nat | Self::Flowtable) {
            return Ok(None);
        }
        let words = self.command(Path::new(""), &Build::default())?;
        let is_of_people = |word: &&String| !word.starts_with("--instance=") && !word.starts_with("--state-dir=");
        let mut words: Vec<String> = words.iter().filter(is_of_people).cloned().collect();
        if let Some(program) = words.first_mut() {
            *program = program.rsplit('/').next().unwrap_or_default().to_owned();
        }
        Ok(Some(words.join(" ")))
    }

    /// Where ours keeps what the next one goes on with. The name is of the folder, too: what is pinned is all in one place.
    pub(crate) fn kept(self, folder: &Path) -> Kept {
        let rig = folder.file_name().unwrap_or_default().to_string_lossy();
        Kept::of(&folder.join(format!("{rig}-{}-{}", self.name(), self.workers())))
    }
}
