//! Replies: what the proxy is told.

use std::borrow::Cow;

use crate::ng::Dict;

/// What the proxy is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Here I am.
    Pong,
    /// Done, and this is to be known.
    Ok(Dict<'static>),
    /// There was nothing to do; no error, but worth a word.
    Warning(&'static str),
    /// Not done.
    Error(Cow<'static, str>),
    /// Not done because there is too much to do, told to a client that knows this result: it tries the next relay.
    LoadLimit(Cow<'static, str>),
}

impl Reply {
    /// An error for a reason.
    pub fn error(reason: &impl ToString) -> Self {
        Self::Error(Cow::Owned(reason.to_string()))
    }

    /// An error for a mistake of this program.
    pub const fn internal() -> Self {
        Self::Error(Cow::Borrowed("Internal error"))
    }

    /// The dictionary that says it.
    pub fn into_dict(self) -> Dict<'static> {
        match self {
            Self::Pong => Dict::new().with("result", "pong"),
            Self::Ok(dict) => dict.with("result", "ok"),
            Self::Warning(warning) => Dict::new().with("warning", warning).with("result", "ok"),
            Self::Error(reason) => Dict::new().with("error-reason", reason.into_owned()).with("result", "error"),
            Self::LoadLimit(text) => Dict::new().with("message", text.into_owned()).with("result", "load limit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ng::{Encoding, Value};

    fn bytes(reply: Reply) -> String {
        String::from_utf8(Encoding::Bencode.encode(&reply.into_dict())).unwrap()
    }

    #[test]
    fn every_reply_has_the_result_of_the_contract() {
        assert_eq!(bytes(Reply::Pong), "d6:result4:ponge");
        assert_eq!(bytes(Reply::Ok(Dict::new().with("sdp", "v=0"))), "d3:sdp3:v=06:result2:oke");
        assert_eq!(bytes(Reply::Warning("w")), "d7:warning1:w6:result2:oke");
        assert_eq!(bytes(Reply::error(&"Unknown call-id")), "d12:error-reason15:Unknown call-id6:result5:errore");
        let reply = Reply::LoadLimit("Parallel session limit reached".into());
        assert_eq!(reply.into_dict().get("result"), Some(&Value::from("load limit")));
    }
}
