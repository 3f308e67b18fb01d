//! What can go wrong with the files that this crate reads and writes.

use std::path::{Path, PathBuf};

use crate::{frame, pcap};

/// A file could not be read, understood or written. What the judge finds wrong with a call is not an error: it is a
/// sentence in [`crate::report::Report::failures`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, or is not a classic pcap file of a known link type, or is damaged in the middle.
    #[error("cannot read the capture {}: {source}", path.display())]
    Read {
        /// The file that was asked for.
        path: PathBuf,
        /// Why it cannot be read.
        source: pcap::Error,
    },
    /// The file cannot be created or written.
    #[error("cannot write the capture {}: {source}", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// Why it cannot be written.
        source: pcap::Error,
    },
    /// The capture has no G.711 RTP packet with a payload.
    #[error("{} has no G.711 RTP payload (payload type 0 or 8)", path.display())]
    NoSpeech {
        /// The capture that was to give the speech.
        path: PathBuf,
    },
    /// A frame cannot be made.
    #[error(transparent)]
    Frame(#[from] frame::BuildError),
}

impl Error {
    /// For `map_err`: a failure to read `path`.
    pub(crate) fn read(path: &Path) -> impl FnOnce(pcap::Error) -> Self + '_ {
        move |source| Self::Read { path: path.to_path_buf(), source }
    }

    /// For `map_err`: a failure to write `path`.
    pub(crate) fn write(path: &Path) -> impl FnOnce(pcap::Error) -> Self + '_ {
        move |source| Self::Write { path: path.to_path_buf(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file_and_the_cause() {
        let error = Error::read(Path::new("/x/end-a.pcap"))(pcap::Error::LinkType(147));
        let text = error.to_string();
        assert!(text.contains("/x/end-a.pcap") && text.contains("147"), "{text}");
    }
}
