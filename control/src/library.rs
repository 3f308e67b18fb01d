//! Recordings that are played, read from files by threads of their own: a file that takes long keeps neither media nor commands.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use calls::ng::{Lacked, Loaded};
use crossbeam::channel::{Receiver, Sender, bounded};
use media::Recording;
use tokio::sync::oneshot;

/// The largest file: a quarter of an hour of 16-bit samples.
const MAX_LEN: u64 = 16 << 20;
/// Bytes of recordings that are kept for the next time.
const KEPT: usize = 128 << 20;
/// So many are kept at most, however short they are.
const ENTRIES: usize = 256;
/// Bytes of recordings that are in memory at most, those that are heard now included.
const HELD: usize = 512 << 20;
/// Threads that read: one that waits for a disk keeps the others' files from nobody.
const READERS: usize = 4;
/// So many requests wait for the threads at most.
const WAITING: usize = 256;
/// A file that is not read in so long is not played: the caller hears nothing meanwhile, and the proxy asks again.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to the threads that read files.
#[derive(Debug)]
pub struct Library(Sender<Request>);

#[derive(Debug)]
struct Request {
    file: Vec<u8>,
    reply: oneshot::Sender<Result<Arc<Recording>, String>>,
}

impl Library {
    /// Starts the threads. They end with their library.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start() -> io::Result<Self> {
        let (sender, requests) = bounded(WAITING);
        let shelf = Arc::new(Shelf::new(KEPT, HELD));
        for number in 0..READERS {
            let (requests, shelf) = (requests.clone(), Arc::clone(&shelf));
            let thread = std::thread::Builder::new().name(format!("library-{number}"));
            thread.spawn(move || read_on(&requests, &shelf))?;
        }
        Ok(Self(sender))
    }

    /// What is in a file, or why that cannot be played.
    pub async fn load(&self, lacked: Lacked) -> Loaded {
        let (reply, answer) = oneshot::channel();
        let is_full = self.0.try_send(Request { file: lacked.file.clone(), reply }).is_err();
        let recording = match tokio::time::timeout(PATIENCE, answer).await {
            _ if is_full => Err("too many files are waited for".to_owned()),
            Ok(Ok(recording)) => recording,
            Ok(Err(_)) => Err("it could not be read, by a mistake of this program; please report the log".to_owned()),
            Err(_) => Err(format!("reading it takes longer than {PATIENCE:?}")),
        };
        Loaded { lacked, recording }
    }
}

fn read_on(requests: &Receiver<Request>, shelf: &Shelf) {
    for Request { file, reply } in requests {
        // Nobody waits for it any more.
        if reply.is_closed() {
            continue;
        }
        // A mistake with one file must not cost the others.
        if let Ok(read) = catch_unwind(AssertUnwindSafe(|| shelf.read(&file))) {
            let _nobody_waits = reply.send(read);
        }
    }
}

/// Recordings that were read.
#[derive(Debug)]
struct Shelf(Mutex<Stock>);

#[derive(Debug)]
struct Stock {
    /// Bytes that are kept at most, and bytes that are held.
    room: (usize, usize),
    /// For the next time; the last used last.
    kept: VecDeque<Kept>,
    /// All that somebody may hear.
    held: Vec<Weak<Recording>>,
}

#[derive(Debug)]
struct Kept {
    file: Vec<u8>,
    /// What the file was like then.
    stamp: Stamp,
    recording: Arc<Recording>,
}

/// When a file was changed, and how long it is.
type Stamp = (Option<SystemTime>, u64);

impl Shelf {
    const fn new(kept: usize, held: usize) -> Self {
        Self(Mutex::new(Stock { room: (kept, held), kept: VecDeque::new(), held: Vec::new() }))
    }

    fn read(&self, file: &[u8]) -> Result<Arc<Recording>, String> {
        let told = |error: io::Error| format!("{}: {error}", file.escape_ascii());
        let path = Path::new(OsStr::from_bytes(file));
        if !path.is_absolute() {
            return Err(format!("{}: give its whole path, from / on", file.escape_ascii()));
        }
        // A device would notice that it is opened.
        let stamp = check(&std::fs::metadata(path).map_err(told)?).map_err(told)?;
        if let Some(recording) = self.lock().find(file, stamp) {
            return Ok(recording);
        }
        let (mut opened, stamp) = open(path).map_err(told)?;
        let mut bytes = Vec::new();
        opened.by_ref().take(MAX_LEN).read_to_end(&mut bytes).map_err(told)?;
        let recording = Recording::read(&bytes).map_err(|error| format!("{}: {error}", file.escape_ascii()))?;
        let kept = Kept { file: file.to_vec(), stamp, recording: Arc::new(recording) };
        self.lock()
            .take(kept)
            .ok_or_else(|| "there are too many long recordings in memory, which are heard now".to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        // The stock is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    /// A recording of a file that has not changed since it was read.
    fn find(&mut self, file: &[u8], stamp: Stamp) -> Option<Arc<Recording>> {
        let place = self.kept.iter().position(|kept| kept.file == file)?;
        let kept = self.kept.remove(place).filter(|kept| kept.stamp == stamp)?;
        let recording = Arc::clone(&kept.recording);
        self.kept.push_back(kept);
        Some(recording)
    }

    /// Takes in what was read; `None` when there is no room.
    fn take(&mut self, new: Kept) -> Option<Arc<Recording>> {
        let recording = Arc::clone(&new.recording);
        self.kept.retain(|kept| kept.file != new.file);
        self.kept.push_back(new);
        while self.kept.iter().map(|kept| size(&kept.recording)).sum::<usize>() > self.room.0
            || self.kept.len() > ENTRIES
        {
            self.kept.pop_front();
        }
        self.held.retain(|held| held.strong_count() > 0);
        let held: usize = self.held.iter().filter_map(Weak::upgrade).map(|held| size(&held)).sum();
        if held + size(&recording) > self.room.1 {
            self.kept.retain(|kept| !Arc::ptr_eq(&kept.recording, &recording));
            return None;
        }
        self.held.push(Arc::downgrade(&recording));
        Some(recording)
    }
}

/// Bytes of a recording: it is there in both laws.
fn size(recording: &Recording) -> usize {
    2 * recording.len()
}

/// What a file is like, if it may be read: one that is none - a pipe would keep its reader for ever - or has no length, as those of the kernel, is not.
fn check(facts: &Metadata) -> io::Result<Stamp> {
    if !facts.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if facts.len() == 0 {
        return Err(io::Error::other("it is empty"));
    }
    if facts.len() > MAX_LEN {
        return Err(io::Error::other(format!("it is longer than {} MiB", MAX_LEN >> 20)));
    }
    Ok((facts.modified().ok(), facts.len()))
}

/// Opens a file, which may be another one by now.
fn open(path: &Path) -> io::Result<(File, Stamp)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let stamp = check(&file.metadata()?)?;
    Ok((file, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, which goes with it.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("intertrunk-library-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, bytes: &[u8]) -> Vec<u8> {
            let path = self.0.join(name);
            std::fs::write(&path, bytes).unwrap();
            path.as_os_str().as_bytes().to_vec()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// A file with so many samples of mu-law.
    fn wav(samples: usize) -> Vec<u8> {
        let format = [7, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0];
        let mut file = [&b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0"[..], &format, b"data"].concat();
        file.extend((samples as u32).to_le_bytes());
        file.extend(vec![0x80; samples]);
        file
    }

    #[test]
    fn a_file_is_read_once_until_it_changes() {
        let folder = Folder::new("changes");
        let file = folder.write("one.wav", &wav(80));
        let shelf = Shelf::new(10_000, 40_000);
        let first = shelf.read(&file).unwrap();
        assert!(Arc::ptr_eq(&first, &shelf.read(&file).unwrap()));
        folder.write("one.wav", &wav(160));
        assert_eq!((shelf.read(&file).unwrap().len(), shelf.lock().kept.len()), (160, 1));
    }

    #[test]
    fn what_is_not_used_goes_when_there_is_too_much() {
        let folder = Folder::new("much");
        let shelf = Shelf::new(10_000, 40_000);
        let files: Vec<_> = (0..6).map(|name| folder.write(&format!("{name}.wav"), &wav(1000))).collect();
        for file in [0, 1, 2, 3, 0, 4, 5] {
            shelf.read(&files[file]).unwrap();
        }
        let stock = shelf.lock();
        let kept: Vec<_> = stock.kept.iter().map(|kept| files.iter().position(|file| *file == kept.file)).collect();
        assert_eq!(kept, [2, 3, 0, 4, 5].map(Some));
    }

    #[test]
    fn recordings_that_are_heard_take_no_more_memory_than_there_is_for_them() {
        let folder = Folder::new("heard");
        let shelf = Shelf::new(10_000, 40_000);
        let file = |name: usize| folder.write(&format!("{name}.wav"), &wav(1000));
        let heard: Vec<_> = (0..20).map(|name| shelf.read(&file(name)).unwrap()).collect();
        assert!(shelf.read(&file(20)).unwrap_err().contains("too many long recordings"));
        drop(heard);
        assert!(shelf.read(&file(21)).is_ok());
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_its_name_and_the_reason() {
        let folder = Folder::new("refused");
        let shelf = Shelf::new(10_000, 40_000);
        let pipe = folder.0.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for (file, why) in [
            (b"one.wav".to_vec(), "whole path"),
            (folder.0.join("none.wav").as_os_str().as_bytes().to_vec(), "No such file"),
            (folder.0.as_os_str().as_bytes().to_vec(), "no regular file"),
            (pipe.as_os_str().as_bytes().to_vec(), "no regular file"),
            (folder.write("text.wav", b"hello"), "no WAV file"),
            (b"/\0".to_vec(), "NUL"),
            (folder.write("nothing.wav", b""), "empty"),
            (b"/proc/kmsg".to_vec(), "empty"),
        ] {
            let error = shelf.read(&file).unwrap_err();
            assert!(error.contains(why) && error.starts_with(&file.escape_ascii().to_string()), "{error}");
        }
    }

    const fn lacked(file: Vec<u8>) -> Lacked {
        Lacked { file, ticket: 1 }
    }

    #[tokio::test]
    async fn a_library_answers_everybody_also_after_a_file_that_cannot_be_read() {
        let folder = Folder::new("everybody");
        let library = Library::start().unwrap();
        assert!(library.load(lacked(b"/nowhere.wav".to_vec())).await.recording.is_err());
        let loaded = library.load(lacked(folder.write("one.wav", &wav(80)))).await;
        assert_eq!(loaded.recording.unwrap().len(), 80);
    }
}
