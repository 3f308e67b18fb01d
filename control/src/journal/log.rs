//! The journal as files: an append-only log in chapters. A new chapter begins with everything that holds, so that what is before it can go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::entry::{self, End, Entry};
use super::store::Store;

/// The first line of a file. The number is that of the format of entries.
const TITLE: &str = "intertrunk journal 1";
/// What files are called, before their numbers.
const NAME: &str = "journal.";
/// What files that cannot be read are called, instead of [`NAME`]; so many are kept.
const SET_ASIDE: &str = "set-aside.";
const MAX_SET_ASIDE: usize = 4;

/// What holds for a whole file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heading {
    /// Which time the host was booted: times mean nothing afterwards, and no call has lasted.
    pub boot: String,
    /// What marks descriptions that have been through this relay.
    pub mark: String,
}

/// What an earlier process has left.
#[derive(Debug, Default)]
pub struct Found {
    /// Its log, chapter by chapter.
    chapters: Vec<Vec<u8>>,
    /// What it marked descriptions with.
    pub mark: Option<String>,
    /// All that it had put on record is here, as far as can be known; not so where there is nothing at all, which may be because it is lost.
    pub is_whole: bool,
}

impl Found {
    /// All entries, in their order.
    pub fn each<'a>(&'a self, mut take: impl FnMut(Entry<'a>)) {
        for chapter in &self.chapters {
            entry::read(chapter, &mut take);
        }
    }
}

/// The log of this process.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    heading: Heading,
    /// The chapter that is written.
    file: Option<File>,
    number: u64,
    /// Its length, of whole entries.
    len: u64,
    buffer: Vec<u8>,
}

/// Reads what an earlier process has left in a folder. What cannot be read is set aside, with a word in the log: it keeps nobody from starting.
pub fn find(folder: &Path, boot: &str) -> Found {
    let (mut found, mut is_damaged) = (Found::default(), false);
    for (_, path) in chapters(folder) {
        match read(&path, boot) {
            Ok(Some((heading, entries))) => {
                match entry::read(&entries, |_| {}) {
                    End::Whole => {}
                    End::Torn => {
                        // Whoever was killed then has told nobody of it; or the file was cut, and who knows what was behind.
                        tracing::warn!(path = %path.display(), "the last entry of the journal was never finished");
                        is_damaged = true;
                    }
                    End::Damaged(left) => {
                        tracing::error!(
                            path = %path.display(),
                            bytes = left,
                            "the journal is damaged: what was written over is lost, and the file is set aside"
                        );
                        set_aside(folder, &path);
                        is_damaged = true;
                    }
                }
                found.mark = Some(heading.mark);
                found.chapters.push(entries);
            }
            Ok(None) => {
                tracing::info!(path = %path.display(), "the journal is from before this host was booted: no call has lasted");
                let _gone = fs::remove_file(&path);
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a journal cannot be read, and is set aside");
                set_aside(folder, &path);
                is_damaged = true;
            }
        }
    }
    found.is_whole = !is_damaged && found.chapters.iter().any(|chapter| !chapter.is_empty());
    found
}

impl Log {
    /// A log that goes on after what is found in a folder. Nothing is written before the first chapter begins.
    pub fn new(folder: &Path, heading: Heading) -> Self {
        let number = chapters(folder).last().map_or(0, |(number, _)| *number);
        Self { folder: folder.to_owned(), heading, file: None, number, len: 0, buffer: Vec::new() }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{NAME}{number}"))
    }
}

impl Store for Log {
    fn append(&mut self, entries: &mut dyn Iterator<Item = Entry<'_>>) -> io::Result<()> {
        self.buffer.clear();
        entries.for_each(|entry| entry::write(&entry, &mut self.buffer));
        if self.buffer.is_empty() {
            return Ok(());
        }
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("no chapter has begun"))?;
        // One call to the kernel: what it has taken survives this process.
        if let Err(error) = file.write_all(&self.buffer) {
            // Half an entry would hide all that come after it.
            let _cut = file.set_len(self.len);
            return Err(error);
        }
        self.len += self.buffer.len() as u64;
        Ok(())
    }

    fn begin_chapter(&mut self) -> io::Result<()> {
        let number = self.number + 1;
        let mut file = OpenOptions::new().append(true).create_new(true).open(self.path(number))?;
        let Heading { boot, mark } = &self.heading;
        let heading = format!("{TITLE}\n{boot}\n{mark}\n");
        if let Err(error) = file.write_all(heading.as_bytes()) {
            let _gone = fs::remove_file(self.path(number));
            return Err(error);
        }
        (self.file, self.number, self.len) = (Some(file), number, heading.len() as u64);
        Ok(())
    }

    fn give_up_chapter(&mut self) {
        if self.file.take().is_some() {
            let _gone = fs::remove_file(self.path(self.number));
            self.len = 0;
        }
    }

    fn forget_earlier(&mut self, needed: usize) -> io::Result<()> {
        let mut earlier = chapters(&self.folder);
        earlier.retain(|(number, _)| *number < self.number);
        earlier.truncate(earlier.len().saturating_sub(needed));
        // All that can be: one that cannot must not keep the others.
        earlier.into_iter().map(|(_, path)| fs::remove_file(path)).fold(Ok(()), io::Result::and)
    }

    fn size(&self) -> u64 {
        self.len
    }

    fn end(&mut self) -> io::Result<()> {
        self.file = None;
        // The last one first: whoever is killed in the middle leaves the least.
        let removed = chapters(&self.folder).into_iter().rev().map(|(_, path)| fs::remove_file(path));
        removed.fold(Ok(()), io::Result::and)
    }
}

/// The files of a folder's log, in their order.
fn chapters(folder: &Path) -> Vec<(u64, PathBuf)> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut chapters: Vec<(u64, PathBuf)> = files
        .filter_map(|file| Some((file.file_name().to_str()?.strip_prefix(NAME)?.parse().ok()?, file.path())))
        // There are others before and behind every one of ours.
        .filter(|(number, _)| *number < u64::MAX / 2)
        .collect();
    chapters.sort_unstable();
    chapters
}

/// The heading and the entries of a file; `None` where it is from before the host was booted.
fn read(path: &Path, boot: &str) -> io::Result<Option<(Heading, Vec<u8>)>> {
    let mut bytes = fs::read(path)?;
    let mut lines = bytes.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().and_then(|line| std::str::from_utf8(line).ok()).map(str::to_owned);
    let (title, of_boot, mark) = (line(), line(), line());
    if title.as_deref() != Some(TITLE) {
        let title: String = title.unwrap_or_default().chars().take(40).collect();
        return Err(io::Error::other(format!(
            "it begins with {title:?}, and not with {TITLE:?}: another build has written it"
        )));
    }
    let (Some(of_boot), Some(mark), Some(rest)) = (of_boot, mark, lines.next()) else {
        return Err(io::Error::other("its heading is not whole"));
    };
    if of_boot != boot {
        return Ok(None);
    }
    let start = bytes.len() - rest.len();
    Ok(Some((Heading { boot: of_boot, mark }, bytes.split_off(start))))
}

/// Gives a file one more name, under which nobody reads it but people; the oldest go.
fn set_aside(folder: &Path, path: &Path) {
    let Some(number) = path.file_name().and_then(|name| name.to_str()?.strip_prefix(NAME)) else { return };
    // Beside the file itself: what is readable of it is nowhere else before the next chapter has it.
    let aside = folder.join(format!("{SET_ASIDE}{number}"));
    let linked = fs::hard_link(path, &aside);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // What is no file at all has nothing that is readable.
            if let Err(error) = fs::rename(path, aside).map_err(|_| error) {
                tracing::error!(path = %path.display(), %error, "it cannot even be set aside");
            }
        }
        Ok(()) | Err(_) => {}
    }
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let number = |path: &PathBuf| -> Option<u64> { path.file_name()?.to_str()?.strip_prefix(SET_ASIDE)?.parse().ok() };
    let mut aside: Vec<_> = files.filter_map(|path| Some((number(&path)?, path))).collect();
    aside.sort_unstable();
    let too_many = aside.len().saturating_sub(MAX_SET_ASIDE);
    for (_, path) in aside.into_iter().take(too_many) {
        let _gone = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(path));
    }
}

#[cfg(test)]
mod tests;
