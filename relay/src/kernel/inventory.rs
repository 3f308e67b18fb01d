//! What an instance has in the kernel, for whoever looks from outside: nothing may be there that no call wants.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use aya::maps::MapData;
use flow::slot::Flags;
use flow::{HopCell, Slot};

use super::pins::LINKS;
use crate::host::{Mapped, Shareable};

/// How much there is of what calls need.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// Slots that do anything.
    pub slots: usize,
    /// Next hops that are resolved.
    pub next_hops: usize,
}

/// Looks at the maps that an instance has pinned; of several shapes, at all. Whether its daemon runs does not matter.
///
/// # Errors
/// When there are none, or they cannot be read.
pub fn inventory(pins: &Path) -> io::Result<Inventory> {
    let mut found = Inventory::default();
    for shape in fs::read_dir(pins)? {
        let shape = shape?;
        if shape.file_name() == LINKS {
            continue;
        }
        let slots = map::<Slot>(shape.path().join("SLOTS"))?;
        found.slots += slots.iter().filter(|slot| slot.state().flags() != Flags::NONE).count();
        let hops = map::<HopCell>(shape.path().join("HOPS"))?;
        found.next_hops += hops.iter().filter(|cell| cell.read().is_some()).count();
    }
    Ok(found)
}

fn map<T: Shareable>(path: PathBuf) -> io::Result<Mapped<T>> {
    let failed = |error: aya::maps::MapError| io::Error::other(format!("{}: {error}", path.display()));
    let map = MapData::from_pin(&path).map_err(failed)?;
    let info = map.info().map_err(failed)?;
    if info.value_size() as usize != size_of::<T>() {
        return Err(io::Error::other(format!("{} is another build's", path.display())));
    }
    Mapped::of_map(map.fd().as_fd(), info.max_entries() as usize)
}
