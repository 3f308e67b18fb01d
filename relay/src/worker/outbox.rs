//! Packets that a worker sends beside the one that came: copies for further sinks, and packets of its own.

use std::collections::VecDeque;

use media::{HEAD_ROOM, Packet, TAIL_ROOM};

use crate::worker::departure::{Departure, HEADERS_MAX, NAME_MAX};

/// Where the payload begins: behind the address it is sent to, its headers, and the room before it.
const PAYLOAD: usize = NAME_MAX + HEADERS_MAX + HEAD_ROOM;

/// So many buffers are kept for the next packets: more than one turn makes.
const SPARE: usize = 1024;

/// A packet in a buffer of its own, with room for its headers before it.
#[derive(Debug)]
pub(crate) struct Own {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Own {
    /// The packet, to be worked on.
    pub(crate) fn packet(&mut self) -> Option<Packet<'_>> {
        Packet::new(&mut self.buffer, self.start, self.end)
    }

    /// Takes what work on the packet has made of it.
    pub(crate) const fn set_range(&mut self, (start, end): (usize, usize)) {
        (self.start, self.end) = (start, end);
    }

    /// The buffer, and where in it the payload is.
    pub(crate) fn parts(&mut self) -> (&mut [u8], usize, usize) {
        (&mut self.buffer, self.start, self.end)
    }
}

/// Packets that are to be sent in this turn.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    packets: VecDeque<(Departure, Own)>,
    spare: Vec<Vec<u8>>,
}

impl Outbox {
    /// A packet with this payload, not to be sent yet.
    pub(crate) fn copy(&mut self, payload: &[u8]) -> Own {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.resize(PAYLOAD, 0);
        buffer.extend_from_slice(payload);
        let end = buffer.len();
        buffer.resize(end + TAIL_ROOM, 0);
        Own { buffer, start: PAYLOAD, end }
    }

    /// Has a packet sent.
    pub(crate) fn send(&mut self, departure: Departure, packet: Own) {
        self.packets.push_back((departure, packet));
    }

    /// The next packet to send: in the order in which they came.
    pub(crate) fn next(&mut self) -> Option<(Departure, Own)> {
        self.packets.pop_front()
    }

    /// Takes back what was sent, or is not.
    pub(crate) fn recycle(&mut self, packet: Own) {
        if self.spare.len() < SPARE {
            self.spare.push(packet.buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_in_the_order_in_which_they_came() {
        let mut outbox = Outbox::default();
        for number in 0..3 {
            let packet = outbox.copy(&[number]);
            let bearing = flow::Bearing { from: [192, 0, 2, 1].into(), to: [192, 0, 2, 2].into(), tos: None };
            let headers = flow::compose::Outgoing::new(&bearing, [flow::Be16::new(1); 2], 64, &[number]).unwrap();
            let way = crate::worker::departure::Way::Stack(0);
            outbox.send(Departure { way, headers, slot: None }, packet);
        }
        let left = std::iter::from_fn(|| outbox.next()).map(|(_, mut packet)| packet.packet().unwrap().payload()[0]);
        assert_eq!(left.collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_copy_has_room_on_both_sides_and_its_buffer_is_used_again() {
        let mut outbox = Outbox::default();
        let mut own = outbox.copy(b"payload");
        let mut packet = own.packet().unwrap();
        assert_eq!((packet.append(&[1; TAIL_ROOM]), packet.prepend(&[2; HEAD_ROOM])), (Ok(()), Ok(())));
        let range = packet.range();
        own.set_range(range);
        assert_eq!(own.packet().unwrap().payload().len(), HEAD_ROOM + 7 + TAIL_ROOM);
        let place = own.buffer.as_ptr();
        outbox.recycle(own);
        let mut again = outbox.copy(b"other");
        assert_eq!((again.buffer.as_ptr(), again.packet().unwrap().payload()), (place, &b"other"[..]));
    }
}
