//! Replies that were sent, for clients that ask again.
//!
//! UDP clients send a request again when no reply came within a second. Doing it twice would be wrong (an offer would
//! be answered with other ports), so the reply is kept under the request's cookie and sent again as it was.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// The replies of the last 30 to 60 seconds, by cookie.
///
/// There are two generations; every 30 seconds the older one is dropped. When the younger one is full it becomes the
/// older one at once: retransmissions come within seconds, so the youngest replies are those to keep.
#[derive(Debug)]
pub struct Cookies {
    young: Generation,
    old: Generation,
    since: Instant,
    limits: Limits,
    hasher: RandomState,
}

/// What one generation may hold.
#[derive(Clone, Copy, Debug)]
struct Limits {
    entries: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Generation {
    replies: HashMap<Vec<u8>, Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    /// Of the request: two proxies may come to the same cookie.
    fingerprint: u64,
    reply: Vec<u8>,
}

impl Cookies {
    /// How long a generation grows.
    pub const GENERATION: Duration = Duration::from_secs(30);

    /// An empty store. Its limits (two generations of 100,000 replies or 64 MiB) hold a minute of 1,000 calls per second.
    pub fn new(now: Instant) -> Self {
        Self::with_limits(now, Limits { entries: 100_000, bytes: 64 << 20 })
    }

    fn with_limits(now: Instant, limits: Limits) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            since: now,
            limits,
            hasher: RandomState::new(),
        }
    }

    /// The reply that was sent to this request under this cookie, if that is not long ago.
    pub fn find(&mut self, cookie: &[u8], request: &[u8], now: Instant) -> Option<&[u8]> {
        self.turn(now);
        let fingerprint = self.hasher.hash_one(request);
        let kept = self.young.replies.get(cookie).or_else(|| self.old.replies.get(cookie))?;
        (kept.fingerprint == fingerprint).then_some(kept.reply.as_slice())
    }

    /// Keeps the reply to a request.
    pub fn keep(&mut self, cookie: &[u8], request: &[u8], reply: &[u8], now: Instant) {
        self.turn(now);
        let size = cookie.len() + reply.len();
        if self.young.replies.len() >= self.limits.entries || self.young.bytes + size > self.limits.bytes {
            self.drop_old();
        }
        let kept = Kept { fingerprint: self.hasher.hash_one(request), reply: reply.to_vec() };
        if let Some(before) = self.young.replies.insert(cookie.to_vec(), kept) {
            self.young.bytes = self.young.bytes.saturating_sub(cookie.len() + before.reply.len());
        }
        self.young.bytes += size;
    }

    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= Self::GENERATION * 2 {
            self.drop_old();
        }
        if age >= Self::GENERATION {
            self.drop_old();
            self.since = now;
        }
    }

    fn drop_old(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"d7:command4:pinge";
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_reply_is_found_by_its_cookie_for_at_least_thirty_seconds() {
        let start = Instant::now();
        let mut cookies = Cookies::new(start);
        cookies.keep(b"1", REQUEST, b"one", start + SECOND * 29);
        assert_eq!(cookies.find(b"1", REQUEST, start + SECOND * 29), Some(&b"one"[..]));
        assert_eq!(cookies.find(b"1", REQUEST, start + SECOND * 59), Some(&b"one"[..]));
        assert_eq!(cookies.find(b"2", REQUEST, start + SECOND * 59), None);
    }

    #[test]
    fn a_reply_is_forgotten_after_a_minute() {
        let start = Instant::now();
        let mut cookies = Cookies::new(start);
        cookies.keep(b"1", REQUEST, b"one", start);
        assert!(cookies.find(b"1", REQUEST, start + SECOND * 30).is_some());
        assert_eq!(cookies.find(b"1", REQUEST, start + SECOND * 60), None);
    }

    #[test]
    fn a_long_silence_forgets_both_generations() {
        let start = Instant::now();
        let mut cookies = Cookies::new(start);
        cookies.keep(b"1", REQUEST, b"one", start);
        assert_eq!(cookies.find(b"1", REQUEST, start + SECOND * 300), None);
    }

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        let start = Instant::now() + SECOND * 100;
        let mut cookies = Cookies::new(start);
        cookies.keep(b"1", REQUEST, b"one", start - SECOND * 50);
        assert!(cookies.find(b"1", REQUEST, start - SECOND * 90).is_some());
    }

    #[test]
    fn a_full_store_keeps_the_youngest() {
        let start = Instant::now();
        let mut cookies = Cookies::with_limits(start, Limits { entries: 10, bytes: 1000 });
        for number in 0..100_u32 {
            cookies.keep(&number.to_be_bytes(), REQUEST, b"reply", start);
        }
        assert!(cookies.find(&99_u32.to_be_bytes(), REQUEST, start).is_some());
        assert!(cookies.find(&90_u32.to_be_bytes(), REQUEST, start).is_some());
        assert!(cookies.find(&0_u32.to_be_bytes(), REQUEST, start).is_none());
        assert!(cookies.young.replies.len() + cookies.old.replies.len() <= 20);
    }

    #[test]
    fn bytes_are_limited_and_counted_right_when_a_cookie_comes_twice() {
        let start = Instant::now();
        let mut cookies = Cookies::with_limits(start, Limits { entries: 1000, bytes: 100 });
        for _ in 0..50 {
            cookies.keep(b"same", REQUEST, &[0; 20], start);
        }
        assert_eq!((cookies.young.bytes, cookies.young.replies.len()), (24, 1));
        for number in 0..100_u32 {
            cookies.keep(&number.to_be_bytes(), REQUEST, &[0; 20], start);
            assert!(cookies.young.bytes <= 100);
        }
        assert!(cookies.find(&99_u32.to_be_bytes(), REQUEST, start).is_some());
    }

    #[test]
    fn another_request_under_the_same_cookie_is_not_a_retransmission() {
        let now = Instant::now();
        let mut cookies = Cookies::new(now);
        cookies.keep(b"1", REQUEST, b"pong", now);
        assert_eq!(cookies.find(b"1", b"d7:command4:liste", now), None);
        assert_eq!(cookies.find(b"1", REQUEST, now), Some(&b"pong"[..]));
    }
}
