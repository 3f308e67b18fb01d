//! What stays in the kernel when the process ends: maps and links, pinned in a BPF file system.
//!
//! ```text
//! <folder>/<shape>/SLOTS, HOPS, ...    the maps; of another shape they are another build's, or another configuration's
//! <folder>/<shape>/live               whether somebody has worked with them
//! <folder>/<shape>/orphans            whether there are rules of calls on no record among them
//! <folder>/links/xdp-<mode>-<device>   what holds the XDP program at a device
//! <folder>/links/steer                 what holds the steering program in the network namespace
//! ```

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flow::counters::Timing;
use flow::{HopCell, LAYOUT, Locals, Slot};
use rustix::fs::{FlockOperation, flock, statfs};

use super::sizes::Sizes;

/// What `statfs` says of a BPF file system (`linux/magic.h`).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// The folder of the links.
pub(super) const LINKS: &str = "links";

/// The name of what holds the steering program.
pub(super) const STEER: &str = "steer";

/// The folder that says that maps are in use: one that was killed at its start has left empty ones. A BPF file system has no ordinary files.
const LIVE: &str = "live";

/// The folder that says that there are orphans among the rules.
const ORPHANS: &str = "orphans";

/// What the maps are made for: those of the same shape can be gone on with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shape(String);

impl Shape {
    /// Of maps of these sizes for these local addresses.
    pub(crate) fn of(locals: &Locals, sizes: Sizes) -> Self {
        let Sizes { slots, hops, workers } = sizes;
        let types = [size_of::<Slot>(), size_of::<Timing>(), size_of::<HopCell>()];
        let numbers = [slots, hops, workers].into_iter().chain(types).map(|number| number as u64);
        Self(format!("v{LAYOUT}-{:016x}", hash(numbers.chain(locals.words()))))
    }

    /// Of memory for the ports of these local addresses in their order, whatever a slot is: which ports and how many workers there are is no matter.
    pub(crate) fn of_memory(addrs: &[IpAddr]) -> Self {
        let octets = |addr: &IpAddr| match addr {
            IpAddr::V4(addr) => addr.to_ipv6_mapped().to_bits(),
            IpAddr::V6(addr) => addr.to_bits(),
        };
        let words = addrs.iter().map(octets).flat_map(|bits| [(bits >> 64) as u64, bits as u64]);
        Self(format!("{:016x}", hash(words.chain([addrs.len() as u64]))))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

/// FNV-1a, over words: another build has to come to the same.
fn hash(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29))
}

/// The pins of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    folder: PathBuf,
    shape: Shape,
    /// Nobody else has the folder as long as this lives.
    _lock: Arc<File>,
}

/// Why there are no pins.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinsError {
    /// Another daemon goes by what is there.
    #[error("another daemon has {}: stop it, or give this one another name (instance) or folder (pin-dir)", .0.display())]
    Taken(PathBuf),
    /// The host permits none.
    #[error(transparent)]
    Folder(#[from] io::Error),
}

impl Pins {
    /// The pins in a folder, which is made where there is none.
    ///
    /// # Errors
    /// When it cannot be made, is in no BPF file system, or another process has it.
    pub(crate) fn open(folder: &Path, shape: Shape) -> Result<Self, PinsError> {
        let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
        if statfs(existing).map_err(io::Error::from)?.f_type as i64 != BPF_FS_MAGIC {
            return Err(io::Error::other(format!(
                "{} is in no BPF file system: mount -t bpf bpf /sys/fs/bpf",
                existing.display()
            ))
            .into());
        }
        fs::create_dir_all(folder.join(LINKS))?;
        let lock = File::open(folder)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(PinsError::Taken(folder.to_owned())),
            locked => locked.map_err(io::Error::from)?,
        }
        let pins = Self { folder: folder.to_owned(), shape, _lock: Arc::new(lock) };
        if !pins.has_maps() && pins.maps().exists() {
            pins.remove_maps()?;
        }
        fs::create_dir_all(pins.maps())?;
        Ok(pins)
    }

    fn maps(&self) -> PathBuf {
        self.folder.join(self.shape.name())
    }

    /// Where a map is, or is to be.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Whether there are maps of this shape that an earlier process has worked with.
    pub(crate) fn has_maps(&self) -> bool {
        self.maps().join(LIVE).exists()
    }

    /// The maps of this shape are what the programs go by.
    pub(crate) fn set_live(&self) -> io::Result<()> {
        match fs::create_dir(self.maps().join(LIVE)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Whether there are orphans among the rules of these maps.
    pub(crate) fn has_orphans(&self) -> bool {
        self.maps().join(ORPHANS).exists()
    }

    /// There are orphans among the rules of these maps, or none any more.
    pub(crate) fn set_orphans(&self, has_some: bool) {
        let path = self.maps().join(ORPHANS);
        let set = if has_some { fs::create_dir(path) } else { fs::remove_dir(path) };
        if let Err(error) = set
            && !matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound)
        {
            tracing::warn!(%error, "the next process will not know whether there are calls on no record");
        }
    }

    /// Where a link is, or is to be.
    pub(crate) fn link(&self, name: &str) -> PathBuf {
        self.folder.join(LINKS).join(name)
    }

    /// The names of all links.
    pub(crate) fn links(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder.join(LINKS)).into_iter().flatten().flatten();
        files.filter_map(|file| file.file_name().into_string().ok()).collect()
    }

    /// Removes a link; what it held is not held any more as soon as nobody has it open.
    pub(crate) fn remove_link(&self, name: &str) {
        remove(&self.link(name));
    }

    /// Removes the maps of this shape.
    pub(crate) fn remove_maps(&self) -> io::Result<()> {
        fs::remove_dir_all(self.maps())?;
        fs::create_dir_all(self.maps())
    }

    /// Removes the maps of other shapes: nobody reads them any more.
    pub(crate) fn remove_other_shapes(&self) {
        let folders = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let others = folders.filter(|folder| folder.file_name() != LINKS && folder.file_name() != self.shape.name());
        for other in others {
            tracing::info!(folder = %other.path().display(), "maps of another build or configuration are removed");
            if let Err(error) = fs::remove_dir_all(other.path()) {
                tracing::warn!(%error, "they cannot be removed");
            }
        }
    }

    /// Removes everything: the programs go as soon as nobody has them open.
    pub(crate) fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "pins cannot be removed");
        }
    }
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a pin cannot be removed");
    }
}
