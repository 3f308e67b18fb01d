//! Where a party receives media: `c=` lines.

use std::net::IpAddr;

use super::error::Error;
use super::line::{Line, address, before_slash, tokens};

/// A `c=` line (RFC 8866 section 5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connection<'a> {
    /// The line it is in.
    pub line: Line<'a>,
    /// None for a host name and for networks other than the Internet.
    pub address: Option<IpAddr>,
}

impl<'a> Connection<'a> {
    /// Reads the line if it is a `c=` line.
    pub(super) fn parse(line: &Line<'a>) -> Result<Option<Self>, Error> {
        let Some(text) = line.field(b'c') else { return Ok(None) };
        let mut parts = tokens(text);
        let (Some(network), Some(_), Some(host)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::Incomplete { line: line.number, field: "c=" });
        };
        let address = if network.eq_ignore_ascii_case(b"IN") { address(before_slash(host)) } else { None };
        Ok(Some(Self { line: *line, address }))
    }

    /// The first `c=` of a level. All are checked, so that the editor meets none that it cannot rewrite.
    pub(super) fn first_of(lines: &[Line<'a>]) -> Result<Option<Self>, Error> {
        let mut first = None;
        for line in lines {
            first = first.or(Self::parse(line)?);
        }
        Ok(first)
    }
}
