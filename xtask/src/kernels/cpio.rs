//! An archive in the format that the kernel unpacks into its first file system (cpio, "newc").

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
/// Name of the entry that ends an archive.
const END: &str = "TRAILER!!!";

/// An archive that is being written.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    paths: BTreeSet<PathBuf>,
}

impl Archive {
    /// Adds an executable file, with the folders that lead to it. What is there already stays.
    pub(super) fn file(&mut self, path: &Path, contents: &[u8]) {
        if let Some(folder) = path.parent() {
            self.folder(folder);
        }
        if self.paths.insert(path.to_owned()) {
            self.entry(&path.to_string_lossy(), FILE, contents);
        }
    }

    /// Adds a folder, with those that lead to it.
    pub(super) fn folder(&mut self, path: &Path) {
        let mut folders: Vec<_> = path.ancestors().filter(|folder| folder.file_name().is_some()).collect();
        folders.reverse();
        for folder in folders {
            if self.paths.insert(folder.to_owned()) {
                self.entry(&folder.to_string_lossy(), FOLDER, &[]);
            }
        }
    }

    /// The archive's bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(END, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        let name = name.trim_start_matches('/');
        // Inode, mode, owner, group, links, time, size, device (twice two numbers), length of the name with its zero, checksum.
        let fields = [0, mode, 0, 0, 1, 0, contents.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names and contents that an archive holds.
    fn read(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let (mut at, mut entries) = (0, Vec::new());
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |number: usize| {
                let digits = &bytes[at + 6 + 8 * number..][..8];
                usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            };
            let (size, name_len) = (field(6), field(11));
            let name = &bytes[at + 110..][..name_len - 1];
            let contents = (at + 110 + name_len).next_multiple_of(4);
            entries.push((String::from_utf8(name.to_vec()).unwrap(), bytes[contents..][..size].to_vec()));
            at = (contents + size).next_multiple_of(4);
        }
        entries
    }

    #[test]
    fn folders_come_before_what_they_hold_and_only_once() {
        let mut archive = Archive::default();
        archive.file(Path::new("/usr/bin/one"), b"first");
        archive.file(Path::new("/usr/bin/two"), b"");
        archive.file(Path::new("/usr/bin/one"), b"again");
        archive.folder(Path::new("/proc"));
        let entries = read(&archive.finish());
        let names: Vec<_> = entries.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["usr", "usr/bin", "usr/bin/one", "usr/bin/two", "proc", END]);
        assert_eq!(entries[2].1, b"first");
    }
}
