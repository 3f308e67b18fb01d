//! The frame around a dictionary: `<cookie> <dictionary>`.

use super::value::{Dict, Value};
use super::{bencode, json};

/// How a dictionary is written. The reply is written like the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// Begins with `d`.
    Bencode,
    /// Begins with `{`.
    Json,
}

impl Encoding {
    /// The encoding, told by the first byte.
    pub const fn detect(message: &[u8]) -> Option<Self> {
        match message {
            [b'd', ..] => Some(Self::Bencode),
            [b'{', ..] => Some(Self::Json),
            _ => None,
        }
    }

    /// A dictionary in this encoding.
    pub fn encode(self, dict: &Dict<'_>) -> Vec<u8> {
        match self {
            Self::Bencode => {
                // The account of a call of one audio fits.
                let mut out = Vec::with_capacity(2048);
                bencode::encode_dict(dict, &mut out);
                out
            }
            Self::Json => json::encode(dict),
        }
    }
}

/// Why a frame holds no dictionary. The texts are those that the proxies' logs are searched for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Nothing follows the cookie.
    #[error("Invalid data (no payload)")]
    NoPayload,
    /// What follows begins neither a bencode nor a JSON dictionary.
    #[error("Invalid NG data format")]
    Format,
    /// Begins like bencode, but is not.
    #[error("Could not decode bencode dictionary")]
    Bencode,
    /// Begins like JSON, but is not.
    #[error("Failed to parse JSON document")]
    Json,
}

/// How long a cookie may be, in bytes: clients write some dozen, and they are kept.
pub(super) const MAX_COOKIE: usize = 256;

/// A message: a dictionary that is still encoded, and the cookie it came with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Opaque bytes that the reply begins with; None on a stream without cookies.
    pub cookie: Option<&'a [u8]>,
    /// The encoded dictionary.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame in a datagram. None without a cookie and a space: nobody could tell whose reply it is, so the datagram
    /// is dropped.
    pub fn datagram(bytes: &'a [u8]) -> Option<Self> {
        let frame = Self::with_cookie(bytes);
        if frame.is_none() {
            tracing::warn!(length = bytes.len(), "dropped an NG datagram that has no cookie");
        }
        frame
    }

    /// The same without a word about those that have none.
    pub fn with_cookie(bytes: &'a [u8]) -> Option<Self> {
        let space = bytes.iter().position(|byte| *byte == b' ').filter(|at| (1..=MAX_COOKIE).contains(at));
        // Cookies are what programs write, and no media packet is: one that strays here must not be taken for a command.
        let space = space.filter(|at| bytes.iter().take(*at).all(u8::is_ascii_graphic));
        let (cookie, payload) = space.and_then(|at| bytes.split_at_checked(at))?;
        Some(Self { cookie: Some(cookie), payload: payload.trim_ascii_start() })
    }

    /// The frame of a stream without cookies.
    pub const fn without_cookie(bytes: &'a [u8]) -> Self {
        Self { cookie: None, payload: bytes }
    }

    /// The frame that a stream without cookies begins with, and how many bytes it takes; `None` while it is not complete. White space
    /// between frames is skipped.
    ///
    /// # Errors
    /// When what has come can never become a frame.
    pub fn prefix(stream: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let payload = stream.trim_ascii_start();
        let skipped = stream.len() - payload.len();
        let len = match Encoding::detect(payload) {
            None if payload.is_empty() => return Ok(None),
            None => return Err(FrameError::Format),
            Some(Encoding::Bencode) => match bencode::decode_prefix(payload) {
                Ok((_, len)) => len,
                Err(bencode::Error::Incomplete) => return Ok(None),
                Err(_) => return Err(FrameError::Bencode),
            },
            Some(Encoding::Json) => match json::prefix(payload) {
                Ok(Some(len)) => len,
                Ok(None) => return Ok(None),
                Err(_) => return Err(FrameError::Json),
            },
        };
        let payload = payload.get(..len).unwrap_or(payload);
        Ok(Some((Self { cookie: None, payload }, skipped + len)))
    }

    /// How many bytes the frame takes that a stream with cookies begins with; `None` while it is not complete. White space between frames is
    /// skipped.
    ///
    /// # Errors
    /// When what has come can never become a frame.
    pub fn prefix_with_cookie(stream: &'a [u8]) -> Result<Option<usize>, FrameError> {
        let frame = stream.trim_ascii_start();
        let skipped = stream.len() - frame.len();
        match frame.iter().position(|byte| *byte == b' ') {
            None if frame.len() > MAX_COOKIE => Err(FrameError::Format),
            Some(space) if space > MAX_COOKIE => Err(FrameError::Format),
            None => Ok(None),
            Some(space) => {
                let Some((_, payload)) = frame.split_at_checked(space) else { return Ok(None) };
                Ok(Self::prefix(payload)?.map(|(_, len)| skipped + space + len))
            }
        }
    }

    /// The Call-ID that it names; empty where it names none, or cannot be read.
    pub fn call_id(&self) -> Vec<u8> {
        let value = match Encoding::detect(self.payload) {
            Some(Encoding::Bencode) => bencode::decode(self.payload).ok(),
            Some(Encoding::Json) => json::decode(self.payload).ok(),
            None => None,
        };
        let named = value.as_ref().and_then(|value| value.as_dict()?.get("call-id")?.as_text());
        named.unwrap_or_default().into_owned()
    }

    /// The dictionary.
    ///
    /// # Errors
    /// When the payload is not exactly one dictionary.
    pub fn dictionary(&self) -> Result<Dict<'a>, FrameError> {
        let (value, malformed) = match Encoding::detect(self.payload) {
            None if self.payload.is_empty() => return Err(FrameError::NoPayload),
            None => return Err(FrameError::Format),
            Some(Encoding::Bencode) => {
                (bencode::decode(self.payload).map_err(|error| error.to_string()), FrameError::Bencode)
            }
            Some(Encoding::Json) => (json::decode(self.payload).map_err(|error| error.to_string()), FrameError::Json),
        };
        match value {
            Ok(Value::Dict(dict)) => Ok(dict),
            Ok(Value::Int(_) | Value::Text(_) | Value::List(_)) => Err(malformed),
            Err(error) => {
                tracing::warn!(%error, "{malformed}");
                Err(malformed)
            }
        }
    }

    /// The bytes of a reply: the same cookie and a space, then the dictionary in the encoding of the request. To a
    /// request in no encoding the reply is bencode, which every client reads.
    pub fn reply(&self, dict: &Dict<'_>) -> Vec<u8> {
        let dict = Encoding::detect(self.payload).unwrap_or(Encoding::Bencode).encode(dict);
        match self.cookie {
            Some(cookie) => [cookie, b" ", &dict].concat(),
            None => dict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        Frame::datagram(bytes).unwrap().dictionary().unwrap_err().to_string()
    }

    #[test]
    fn a_ping_of_kamailio_is_read() {
        let frame = Frame::datagram(b"0_9_0 d7:command4:pinge").unwrap();
        assert_eq!(frame.cookie, Some(&b"0_9_0"[..]));
        assert_eq!(frame.dictionary().unwrap(), Dict::new().with("command", "ping"));
    }

    #[test]
    fn a_datagram_without_a_space_is_dropped() {
        for bytes in [
            &b""[..],
            b"cookie",
            b"d7:command4:pinge",
            b"\xff\x00",
            b" d7:command4:pinge",
            b"\x80\x08 d7:command4:pinge",
        ] {
            assert_eq!(Frame::datagram(bytes), None);
        }
    }

    #[test]
    fn what_is_no_dictionary_is_refused_with_the_texts_of_the_contract() {
        assert_eq!(error(b"c "), "Invalid data (no payload)");
        assert_eq!(error(b"c   "), "Invalid data (no payload)");
        assert_eq!(error(b"c li1ee"), "Invalid NG data format");
        assert_eq!(error(b"c \xff"), "Invalid NG data format");
        assert_eq!(error(b"c d7:command4:ping"), "Could not decode bencode dictionary");
        assert_eq!(error(b"c d7:command4:pingee"), "Could not decode bencode dictionary");
        assert_eq!(error(b"c {\"command\":"), "Failed to parse JSON document");
    }

    #[test]
    fn the_reply_has_the_cookie_and_the_encoding_of_the_request() {
        let reply = Dict::new().with("result", "pong");
        let send = |bytes| Frame::datagram(bytes).unwrap().reply(&reply);
        assert_eq!(send(b"a d7:command4:pinge"), b"a d6:result4:ponge");
        assert_eq!(send(b"~ {\"command\":\"ping\"}"), b"~ {\"result\":\"pong\"}");
        assert_eq!(send(b"a nonsense"), b"a d6:result4:ponge");
    }

    #[test]
    fn frames_with_cookies_follow_one_another_on_a_stream() {
        let stream = b"a d7:command4:pinge\r\nb {\"command\":\"ping\"}c d7:comm";
        assert_eq!(Frame::prefix_with_cookie(stream), Ok(Some(19)));
        assert_eq!(Frame::prefix_with_cookie(&stream[19..]), Ok(Some(22)));
        assert_eq!(Frame::prefix_with_cookie(&stream[41..]), Ok(None));
        assert_eq!(Frame::prefix_with_cookie(b"cookie nonsense"), Err(FrameError::Format));
        for cookie in [257, 2000] {
            let long = "x".repeat(cookie);
            assert_eq!(Frame::prefix_with_cookie(long.as_bytes()), Err(FrameError::Format));
            assert_eq!(Frame::prefix_with_cookie(format!("{long} de").as_bytes()), Err(FrameError::Format));
        }
    }

    #[test]
    fn a_stream_has_no_cookie_in_either_direction() {
        let frame = Frame::without_cookie(b"d7:command4:pinge");
        assert!(frame.dictionary().is_ok());
        assert_eq!(frame.reply(&Dict::new().with("result", "pong")), b"d6:result4:ponge");
    }
}
