//! A packet that can change: a payload in a buffer, with room before and behind it.

/// Room that every packet has before its payload for what a processor puts first; the headers of whoever sends it have theirs before that.
pub const HEAD_ROOM: usize = 32;
/// Room that every packet has behind its payload: an authentication tag with its key's name (RFC 3711 3.1), and some.
pub const TAIL_ROOM: usize = 32;

/// The room around a packet is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// A payload in a buffer.
#[derive(Debug)]
pub struct Packet<'a> {
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
}

impl<'a> Packet<'a> {
    /// The payload from `start` to `end` of a buffer; `None` when that is not within it.
    pub fn new(buffer: &'a mut [u8], start: usize, end: usize) -> Option<Self> {
        (start <= end && end <= buffer.len()).then_some(Self { buffer, start, end })
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The payload, to be changed.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Where in its buffer the payload is now.
    pub const fn range(&self) -> (usize, usize) {
        (self.start, self.end)
    }

    /// Bytes of room behind the payload.
    pub const fn tail_room(&self) -> usize {
        self.buffer.len() - self.end
    }

    /// Puts bytes behind the payload.
    ///
    /// # Errors
    /// When there is no room; then nothing has changed.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let place = self.buffer.get_mut(self.end..).and_then(|room| room.get_mut(..bytes.len())).ok_or(Full)?;
        place.copy_from_slice(bytes);
        self.end += bytes.len();
        Ok(())
    }

    /// Puts bytes before the payload.
    ///
    /// # Errors
    /// When there is no room; then nothing has changed.
    pub fn prepend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let start = self.start.checked_sub(bytes.len()).ok_or(Full)?;
        let place = self.buffer.get_mut(start..self.start).ok_or(Full)?;
        place.copy_from_slice(bytes);
        self.start = start;
        Ok(())
    }

    /// Leaves only the first bytes of the payload; a shorter one stays as it is.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start.saturating_add(len));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_grows_into_the_room_around_it_and_no_further() {
        let mut buffer = *b"..abc...";
        let mut packet = Packet::new(&mut buffer, 2, 5).unwrap();
        assert_eq!(packet.append(b"de"), Ok(()));
        assert_eq!(packet.prepend(b"_"), Ok(()));
        assert_eq!((packet.payload(), packet.range()), (&b"_abcde"[..], (1, 7)));
        assert_eq!((packet.append(b"fg"), packet.prepend(b"--")), (Err(Full), Err(Full)));
        assert_eq!(packet.payload(), b"_abcde");
        packet.truncate(3);
        packet.truncate(9);
        assert_eq!(packet.payload(), b"_ab");
        packet.payload_mut().copy_from_slice(b"xyz");
        assert_eq!(buffer, *b".xyzcde.");
    }

    #[test]
    fn a_payload_beyond_its_buffer_is_none() {
        for (start, end) in [(0, 5), (3, 2), (5, 5)] {
            assert!(Packet::new(&mut [0; 4], start, end).is_none());
        }
    }
}
