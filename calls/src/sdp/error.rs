//! What a description may not be.

use std::fmt;

/// The longest body that is read, in bytes.
pub const MAX_BODY: usize = 48 * 1024;

/// The most lines a body may have. The longest that browsers write have some hundred.
pub const MAX_LINES: usize = 1500;

/// The most `m=` sections a body may have.
pub const MAX_MEDIA: usize = 64;

/// Why a body could not be read. Line numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The body has more than [`MAX_BODY`] bytes.
    TooLong,
    /// The body has more than [`MAX_LINES`] lines.
    TooManyLines,
    /// The body has more than [`MAX_MEDIA`] media sections.
    TooManyMedia,
    /// The body has no `m=` line, so there is nothing to relay. An empty body ends here too.
    NoMedia,
    /// The body is more than one description.
    Second {
        /// Where the second one begins.
        line: usize,
    },
    /// A line lacks tokens that its kind needs.
    Incomplete {
        /// Where.
        line: usize,
        /// The kind of line, such as `"m="`.
        field: &'static str,
    },
    /// A word of an `m=` line is longer than any that means something.
    LongToken {
        /// Where.
        line: usize,
    },
    /// The port of an `m=` line is not a number between 0 and 65535.
    Port {
        /// Where.
        line: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "SDP body is longer than {MAX_BODY} bytes"),
            Self::TooManyLines => write!(f, "SDP body has more than {MAX_LINES} lines"),
            Self::TooManyMedia => write!(f, "SDP body has more than {MAX_MEDIA} m= lines"),
            Self::NoMedia => f.write_str("SDP body has no m= line"),
            Self::Second { line } => write!(f, "SDP line {line}: a second description begins"),
            Self::Incomplete { line, field } => write!(f, "SDP line {line}: incomplete {field} line"),
            Self::LongToken { line } => write!(f, "SDP line {line}: a word of the m= line is too long"),
            Self::Port { line } => write!(f, "SDP line {line}: port of the m= line is not a number from 0 to 65535"),
        }
    }
}

impl std::error::Error for Error {}
