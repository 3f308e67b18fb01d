//! What is done to packets on their way to a sink.

use std::fmt;

use crate::packet::Packet;

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It goes on, as it is now.
    Goes,
    /// It goes nowhere.
    Ends,
}

/// One piece of work on the packets of a source or for a sink. Its state is its own: it is called by one thread at a time.
pub trait Processor: Send {
    /// Works on a packet. `now_ns` is a steady clock.
    fn process(&mut self, packet: &mut Packet<'_>, now_ns: u64) -> Fate;
}

/// Processors, one after another.
#[derive(Default)]
pub struct Chain(Vec<Box<dyn Processor>>);

impl Chain {
    /// A chain that does nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// With one more, behind the others.
    #[must_use]
    pub fn with(mut self, processor: impl Processor + 'static) -> Self {
        self.0.push(Box::new(processor));
        self
    }

    /// Has all work on a packet, in order, until one ends it.
    pub fn process(&mut self, packet: &mut Packet<'_>, now_ns: u64) -> Fate {
        let ends = self.0.iter_mut().any(|processor| processor.process(packet, now_ns) == Fate::Ends);
        if ends { Fate::Ends } else { Fate::Goes }
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts a letter behind the payload until there are four.
    struct Append(u8);

    impl Processor for Append {
        fn process(&mut self, packet: &mut Packet<'_>, _: u64) -> Fate {
            if packet.payload().len() == 4 {
                return Fate::Ends;
            }
            packet.append(&[self.0]).map_or(Fate::Ends, |()| Fate::Goes)
        }
    }

    #[test]
    fn processors_work_in_order_until_one_ends_the_packet() {
        let mut chain = Chain::new().with(Append(b'a')).with(Append(b'b'));
        for (len, fate, left) in [(2, Fate::Goes, &b"..ab"[..]), (3, Fate::Ends, b"...a"), (4, Fate::Ends, b"....")] {
            let mut buffer = [b'.'; 8];
            let mut packet = Packet::new(&mut buffer, 0, len).unwrap();
            assert_eq!(chain.process(&mut packet, 0), fate);
            assert_eq!(packet.payload(), left);
        }
    }

    #[test]
    fn an_empty_chain_lets_everything_pass() {
        let mut buffer = [7; 8];
        let mut packet = Packet::new(&mut buffer, 1, 5).unwrap();
        assert_eq!((Chain::new().process(&mut packet, 0), packet.payload()), (Fate::Goes, &[7; 4][..]));
    }
}
