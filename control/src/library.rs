//! Recordings that are played, read from files by a thread of its own: a file that takes long keeps neither media nor commands.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use calls::ng::Loaded;
use crossbeam::channel::{Receiver, Sender, bounded};
use media::Recording;
use tokio::sync::oneshot;

/// The largest file: an hour of 16-bit samples.
const MAX_LEN: u64 = 64 << 20;
/// Octets of recordings that are kept for the next time: some hours.
const KEPT: usize = 128 << 20;
/// So many requests wait for the thread at most.
const WAITING: usize = 256;
/// A file that is not read in so long is not played: the caller hears nothing meanwhile, and the proxy asks again.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to the thread that reads files.
#[derive(Debug)]
pub struct Library(Sender<Request>);

#[derive(Debug)]
struct Request {
    file: Vec<u8>,
    reply: oneshot::Sender<Result<Arc<Recording>, String>>,
}

impl Library {
    /// Starts the thread. It ends with its library.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start() -> io::Result<Self> {
        let (sender, requests) = bounded(WAITING);
        std::thread::Builder::new().name("library".to_owned()).spawn(move || read_on(&requests))?;
        Ok(Self(sender))
    }

    /// What is in a file, or why that cannot be played.
    pub async fn load(&self, file: Vec<u8>) -> Loaded {
        let (reply, answer) = oneshot::channel();
        let is_full = self.0.try_send(Request { file: file.clone(), reply }).is_err();
        let recording = match tokio::time::timeout(PATIENCE, answer).await {
            _ if is_full => Err("too many files are waited for".to_owned()),
            Ok(Ok(recording)) => recording,
            Ok(Err(_)) => Err("it could not be read, by a mistake of this program; please report the log".to_owned()),
            Err(_) => Err(format!("reading it takes longer than {PATIENCE:?}")),
        };
        Loaded { file, recording }
    }
}

fn read_on(requests: &Receiver<Request>) {
    let mut shelf = Shelf::default();
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

/// Recordings that were read, the last used last.
#[derive(Debug, Default)]
struct Shelf(VecDeque<Kept>);

#[derive(Debug)]
struct Kept {
    file: Vec<u8>,
    /// What the file was like then.
    stamp: (Option<SystemTime>, u64),
    recording: Arc<Recording>,
}

impl Shelf {
    fn read(&mut self, file: &[u8]) -> Result<Arc<Recording>, String> {
        let told = |error: io::Error| format!("{}: {error}", file.escape_ascii());
        let path = Path::new(OsStr::from_bytes(file));
        if !path.is_absolute() {
            return Err(format!("{}: give its whole path, from / on", file.escape_ascii()));
        }
        let (mut opened, stamp) = open(path).map_err(told)?;
        let before = self.0.iter().position(|kept| kept.file == file).and_then(|place| self.0.remove(place));
        let kept = match before.filter(|kept| kept.stamp == stamp) {
            Some(kept) => kept,
            None => {
                let mut bytes = Vec::new();
                opened.by_ref().take(MAX_LEN).read_to_end(&mut bytes).map_err(told)?;
                let recording = Recording::read(&bytes).map_err(|error| format!("{}: {error}", file.escape_ascii()))?;
                Kept { file: file.to_vec(), stamp, recording: Arc::new(recording) }
            }
        };
        let recording = Arc::clone(&kept.recording);
        self.0.push_back(kept);
        while self.0.iter().map(|kept| 2 * kept.recording.len()).sum::<usize>() > KEPT {
            self.0.pop_front();
        }
        Ok(recording)
    }
}

/// Opens a file, and tells what it is like. What is none - a pipe would keep its reader for ever - is refused.
fn open(path: &Path) -> io::Result<(File, (Option<SystemTime>, u64))> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if facts.len() > MAX_LEN {
        return Err(io::Error::other(format!("it is longer than {} MiB", MAX_LEN >> 20)));
    }
    Ok((file, (facts.modified().ok(), facts.len())))
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
        let mut shelf = Shelf::default();
        let first = shelf.read(&file).unwrap();
        assert!(Arc::ptr_eq(&first, &shelf.read(&file).unwrap()));
        folder.write("one.wav", &wav(160));
        assert_eq!((shelf.read(&file).unwrap().len(), shelf.0.len()), (160, 1));
    }

    #[test]
    fn what_is_not_used_goes_when_there_is_too_much() {
        let folder = Folder::new("much");
        let mut shelf = Shelf::default();
        let files: Vec<_> = (0..3).map(|name| folder.write(&format!("{name}.wav"), &wav(KEPT / 5))).collect();
        for file in [0, 1, 0, 2] {
            shelf.read(&files[file]).unwrap();
        }
        assert_eq!(shelf.0.iter().map(|kept| &kept.file).collect::<Vec<_>>(), [&files[0], &files[2]]);
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_its_name_and_the_reason() {
        let folder = Folder::new("refused");
        let mut shelf = Shelf::default();
        let pipe = folder.0.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for (file, why) in [
            (b"one.wav".to_vec(), "whole path"),
            (folder.0.join("none.wav").as_os_str().as_bytes().to_vec(), "No such file"),
            (folder.0.as_os_str().as_bytes().to_vec(), "no regular file"),
            (pipe.as_os_str().as_bytes().to_vec(), "no regular file"),
            (folder.write("text.wav", b"hello"), "no WAV file"),
            (b"/\0".to_vec(), "NUL"),
        ] {
            let error = shelf.read(&file).unwrap_err();
            assert!(error.contains(why) && error.starts_with(&file.escape_ascii().to_string()), "{error}");
        }
    }

    #[tokio::test]
    async fn a_library_answers_everybody_also_after_a_file_that_cannot_be_read() {
        let folder = Folder::new("everybody");
        let library = Library::start().unwrap();
        assert!(library.load(b"/nowhere.wav".to_vec()).await.recording.is_err());
        let loaded = library.load(folder.write("one.wav", &wav(80))).await;
        assert_eq!(loaded.recording.unwrap().len(), 80);
    }
}
