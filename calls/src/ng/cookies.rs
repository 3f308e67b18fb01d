//! Replies that were sent, for clients that ask again.
//!
//! UDP clients send a request again when no reply came within a second. Doing it twice would be wrong (an offer would
//! be answered with other ports), so the reply is kept under the request's cookie and sent again as it was.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// The replies of the last minute, by cookie.
///
/// The oldest go first, a few with each that comes, so that no request waits for a great clearing. When there is no room the oldest go sooner:
/// retransmissions come within seconds.
#[derive(Debug)]
pub struct Cookies {
    replies: HashMap<Arc<[u8]>, Kept>,
    /// In the order in which they were kept. A cookie that came again is in it again, and counts when its last time comes.
    order: VecDeque<(Instant, Arc<[u8]>)>,
    bytes: usize,
    limits: Limits,
}

/// What may be kept.
#[derive(Clone, Copy, Debug)]
struct Limits {
    entries: usize,
    bytes: usize,
}

/// A reply that was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The request's cookie.
    pub cookie: Arc<[u8]>,
    /// What tells the request from another one under the same cookie: two proxies may come to the same. Another process of the same build finds the
    /// same.
    pub fingerprint: u64,
    /// The reply.
    pub reply: Bytes,
}

#[derive(Debug)]
struct Kept {
    since: Instant,
    /// Of the request.
    fingerprint: u64,
    reply: Bytes,
}

impl Cookies {
    /// How long a reply is kept.
    pub const LIFE: Duration = Duration::from_secs(60);

    /// An empty store. Its limits (200,000 replies or 128 MiB) hold a minute of 1,000 calls per second.
    pub fn new() -> Self {
        Self::with_limits(Limits { entries: 200_000, bytes: 128 << 20 })
    }

    fn with_limits(limits: Limits) -> Self {
        Self { replies: HashMap::new(), order: VecDeque::new(), bytes: 0, limits }
    }

    /// The reply that was sent to this request under this cookie, if that is not long ago.
    pub fn find(&self, cookie: &[u8], request: &[u8], now: Instant) -> Option<&Bytes> {
        let kept = self.replies.get(cookie)?;
        let is_young = now.saturating_duration_since(kept.since) < Self::LIFE;
        (is_young && kept.fingerprint == fingerprint(request)).then_some(&kept.reply)
    }

    /// Keeps the reply to a request.
    pub fn keep(&mut self, cookie: &[u8], request: &[u8], reply: Bytes, now: Instant) -> Answered {
        let answered = Answered { cookie: cookie.into(), fingerprint: fingerprint(request), reply };
        self.recall(answered.clone(), now);
        answered
    }

    /// Keeps a reply that was sent then. They come in the order of their times.
    pub fn recall(&mut self, answered: Answered, now: Instant) {
        let Answered { cookie, fingerprint, reply } = answered;
        // Two for each that comes: it shrinks as fast as it has grown.
        for _ in 0..2 {
            let is_old =
                self.order.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) >= Self::LIFE);
            if is_old {
                self.forget_oldest();
            }
        }
        let size = cookie.len() + reply.len();
        while !self.order.is_empty()
            && (self.order.len() >= self.limits.entries || self.bytes + size > self.limits.bytes)
        {
            self.forget_oldest();
        }
        let kept = Kept { since: now, fingerprint, reply };
        if let Some(before) = self.replies.insert(Arc::clone(&cookie), kept) {
            self.bytes = self.bytes.saturating_sub(cookie.len() + before.reply.len());
        }
        self.order.push_back((now, cookie));
        self.bytes += size;
    }

    fn forget_oldest(&mut self) {
        let Some((since, cookie)) = self.order.pop_front() else { return };
        // One that was kept again since then has its turn later.
        if self.replies.get(&cookie).is_some_and(|kept| kept.since == since)
            && let Some(gone) = self.replies.remove(&cookie)
        {
            self.bytes = self.bytes.saturating_sub(cookie.len() + gone.reply.len());
        }
    }
}

/// What tells a request from most others.
fn fingerprint(request: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish()
}

impl Default for Cookies {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"d7:command4:pinge";
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_reply_is_found_by_its_cookie_for_a_minute() {
        let start = Instant::now();
        let mut cookies = Cookies::new();
        cookies.keep(b"1", REQUEST, Bytes::copy_from_slice(b"one"), start);
        assert_eq!(cookies.find(b"1", REQUEST, start + SECOND * 59).map(|reply| &reply[..]), Some(&b"one"[..]));
        assert_eq!(cookies.find(b"2", REQUEST, start + SECOND * 59).map(|reply| &reply[..]), None);
        assert_eq!(cookies.find(b"1", REQUEST, start + SECOND * 60).map(|reply| &reply[..]), None);
    }

    #[test]
    fn a_reply_of_another_process_is_sent_again_as_long_as_if_it_were_this_ones() {
        let start = Instant::now();
        let answered = Cookies::new().keep(b"1", REQUEST, Bytes::copy_from_slice(b"one"), start);
        let mut cookies = Cookies::new();
        cookies.recall(answered, start);
        assert_eq!(cookies.find(b"1", REQUEST, start + SECOND * 59).map(|reply| &reply[..]), Some(&b"one"[..]));
        assert_eq!(cookies.find(b"1", b"d7:command4:liste", start), None);
        assert_eq!(cookies.find(b"1", REQUEST, start + SECOND * 60), None);
    }

    #[test]
    fn what_is_old_goes_while_new_ones_come() {
        let start = Instant::now();
        let mut cookies = Cookies::new();
        for number in 0..1000_u32 {
            cookies.keep(&number.to_be_bytes(), REQUEST, Bytes::copy_from_slice(b"reply"), start);
        }
        for number in 1000..1600_u32 {
            cookies.keep(&number.to_be_bytes(), REQUEST, Bytes::copy_from_slice(b"reply"), start + SECOND * 60);
        }
        assert_eq!((cookies.replies.len(), cookies.order.len(), cookies.bytes), (600, 600, 600 * 9));
    }

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        let start = Instant::now() + SECOND * 100;
        let mut cookies = Cookies::new();
        cookies.keep(b"1", REQUEST, Bytes::copy_from_slice(b"one"), start - SECOND * 50);
        assert!(cookies.find(b"1", REQUEST, start - SECOND * 90).is_some());
    }

    #[test]
    fn a_full_store_keeps_the_youngest() {
        let start = Instant::now();
        let mut cookies = Cookies::with_limits(Limits { entries: 10, bytes: 1000 });
        for number in 0..100_u32 {
            cookies.keep(&number.to_be_bytes(), REQUEST, Bytes::copy_from_slice(b"reply"), start);
        }
        assert!(cookies.find(&99_u32.to_be_bytes(), REQUEST, start).is_some());
        assert!(cookies.find(&90_u32.to_be_bytes(), REQUEST, start).is_some());
        assert!(cookies.find(&0_u32.to_be_bytes(), REQUEST, start).is_none());
        assert_eq!(cookies.replies.len(), 10);
    }

    #[test]
    fn bytes_are_limited_and_counted_right_when_a_cookie_comes_twice() {
        let start = Instant::now();
        let mut cookies = Cookies::with_limits(Limits { entries: 1000, bytes: 100 });
        for step in 0..50 {
            cookies.keep(b"same", REQUEST, Bytes::copy_from_slice(&[0; 20]), start + SECOND * step);
        }
        assert_eq!((cookies.bytes, cookies.replies.len()), (24, 1));
        for number in 0..100_u32 {
            cookies.keep(&number.to_be_bytes(), REQUEST, Bytes::copy_from_slice(&[0; 20]), start);
            assert!(cookies.bytes <= 100);
        }
        assert!(cookies.find(&99_u32.to_be_bytes(), REQUEST, start).is_some());
    }

    #[test]
    fn another_request_under_the_same_cookie_is_not_a_retransmission() {
        let now = Instant::now();
        let mut cookies = Cookies::new();
        cookies.keep(b"1", REQUEST, Bytes::copy_from_slice(b"pong"), now);
        assert_eq!(cookies.find(b"1", b"d7:command4:liste", now).map(|reply| &reply[..]), None);
        assert_eq!(cookies.find(b"1", REQUEST, now).map(|reply| &reply[..]), Some(&b"pong"[..]));
    }
}
