//! A line-preserving editor for session descriptions (RFC 8866).
//!
//! A media relay changes very little of the SDP that passes through it: ports, addresses, perhaps the ICE attributes.
//! Everything else belongs to the two endpoints, and an endpoint may depend on a line this module has never heard of.
//! So the description is not turned into a model and printed again. [`Body::parse`] cuts it into lines and reads what
//! a relay must know, and [`edit()`] writes the same lines back, changing single tokens and leaving all other bytes,
//! line endings included, as they came.
//!
//! Bodies are bytes: nothing here assumes UTF-8, and no input makes these functions panic. Work and memory are linear
//! in the size of the body, which is limited to [`MAX_BODY`] bytes, [`MAX_LINES`] lines
//! and [`MAX_MEDIA`] media sections.

mod attributes;
mod body;
mod codecs;
mod compose;
mod connection;
mod crypto;
mod edit;
mod error;
mod line;
mod media;
mod sections;
mod steady;

pub use attributes::{AttributeEdit, Level, change, generate_mids, mark, strip_extmaps};
pub use body::{Body, Origin};
pub use codecs::Codecs;
pub use compose::{Formats, Offered, Session, compose, formats};
pub use crypto::Crypto;
pub use edit::{Edit, NewMedia, RtcpAttribute, edit};
pub use error::{Error, MAX_BODY, MAX_LINES, MAX_MEDIA};
pub use media::{Direction, Media, Profile, Rtcp, Transport};
pub use sections::{fit, hide, rejected, rejections, restore, sections};
pub use steady::{Steady, Told};
