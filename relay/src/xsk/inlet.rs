//! The way of AF_XDP sockets to the workers: the guard opens and closes them while the workers run.

use std::ops::Range;
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, unbounded};
use flow::incoming::Incoming;
use flow::{Locals, Reason};

use crate::host::Wake;
use crate::xsk::socket::{Frame, Socket};

/// What a worker is told.
enum News {
    /// A socket of this number is its own from now on.
    Open(u32, Box<Socket>),
    /// It is to let go of the socket of this number.
    Close(u32),
}

/// Reads frames.
#[derive(Clone)]
pub(crate) struct Reader {
    /// The relay's addresses and ports.
    pub(crate) locals: Arc<Locals>,
}

impl Reader {
    /// The datagram in a frame.
    ///
    /// # Errors
    /// Why it is lost.
    pub(crate) fn read(&self, frame: &[u8]) -> Result<Incoming, Reason> {
        Incoming::read(frame, &self.locals)
    }
}

/// The ways to all workers.
pub(crate) struct Lines {
    lines: Vec<(Sender<News>, Arc<Wake>)>,
    /// The number of the last socket: each has one of its own, for ever.
    last: u32,
}

impl Lines {
    /// A way to the worker of each of these wakes; and what each hears of it by.
    pub(crate) fn new(wakes: &[Arc<Wake>], reader: &Reader) -> (Self, Vec<Inlet>) {
        let (mut lines, mut inlets) = (Vec::new(), Vec::new());
        for wake in wakes {
            let (sender, news) = unbounded();
            lines.push((sender, Arc::clone(wake)));
            inlets.push(Inlet { reader: reader.clone(), news, sockets: Vec::new() });
        }
        (Self { lines, last: 0 }, inlets)
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.lines.len()
    }

    /// Gives a socket to a worker; its number.
    pub(crate) fn open(&mut self, worker: usize, socket: Socket) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.tell(worker, News::Open(self.last, Box::new(socket)));
        self.last
    }

    /// Has a worker close a socket.
    pub(crate) fn close(&self, worker: usize, number: u32) {
        self.tell(worker, News::Close(number));
    }

    fn tell(&self, worker: usize, news: News) {
        if let Some((sender, wake)) = self.lines.get(worker) {
            // A worker that has died is noticed elsewhere.
            let _is_dead = sender.send(news);
            wake.ring();
        }
    }
}

/// A worker's side: its sockets.
pub(crate) struct Inlet {
    /// Reads their frames.
    pub(crate) reader: Reader,
    news: Receiver<News>,
    sockets: Vec<(u32, Socket)>,
}

/// What has become of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FramesChange {
    /// There is one of this number.
    Opened(u32),
    /// The one of this number is to be closed: [`Inlet::close`].
    Closing(u32),
}

impl Inlet {
    /// The next news.
    pub(crate) fn next(&mut self) -> Option<FramesChange> {
        Some(match self.news.try_recv().ok()? {
            News::Open(number, socket) => {
                self.sockets.push((number, *socket));
                FramesChange::Opened(number)
            }
            News::Close(number) => FramesChange::Closing(number),
        })
    }

    /// Closes a socket.
    pub(crate) fn close(&mut self, number: u32) {
        self.sockets.retain(|(other, _)| *other != number);
    }

    /// The socket of this number.
    pub(crate) fn socket(&mut self, number: u32) -> Option<&mut Socket> {
        self.sockets.iter_mut().find_map(|(other, socket)| (*other == number).then_some(socket))
    }

    /// All sockets, with their numbers.
    pub(crate) fn sockets(&mut self) -> impl Iterator<Item = (u32, &mut Socket)> {
        self.sockets.iter_mut().map(|(number, socket)| (*number, socket))
    }

    /// The number of the socket at this place.
    pub(crate) fn number(&self, place: usize) -> Option<u32> {
        self.sockets.get(place).map(|(number, _)| *number)
    }

    /// The next frame that has come to a socket.
    pub(crate) fn take(&mut self, number: u32) -> Option<Frame> {
        self.socket(number)?.take()
    }

    /// The chunk of a frame.
    pub(crate) fn chunk(&mut self, number: u32, chunk: u32) -> Option<&mut [u8]> {
        Some(self.socket(number)?.chunk(chunk))
    }

    /// The reader, and the chunk of a frame.
    pub(crate) fn parts(&mut self, number: u32, chunk: u32) -> Option<(&Reader, &mut [u8])> {
        let (_, socket) = self.sockets.iter_mut().find(|(other, _)| *other == number)?;
        Some((&self.reader, socket.chunk(chunk)))
    }

    /// Gives a chunk back, if its socket is still there.
    pub(crate) fn give(&mut self, number: u32, chunk: u32) {
        if let Some(socket) = self.socket(number) {
            socket.give(chunk);
        }
    }

    /// Whether frames are sent by any of its sockets.
    pub(crate) fn sends(&self) -> bool {
        self.sockets.first().is_some_and(|(_, socket)| socket.sends())
    }

    /// Sends a frame that lies in a lent chunk of a socket out of a device, by the socket that this worker has there. `false` when it has none, or
    /// sends nothing by it, or not now. It leaves with [`Inlet::publish`].
    pub(crate) fn send(&mut self, device: u32, (number, chunk): (u32, u32), frame: Range<usize>) -> bool {
        let place = |is_it: &dyn Fn(&(u32, Socket)) -> bool| self.sockets.iter().position(is_it);
        let to = place(&|(_, socket)| socket.device() == device && socket.sends());
        let (Some(to), Some(from)) = (to, place(&|(other, _)| *other == number)) else { return false };
        if to == from {
            return self.sockets.get_mut(to).is_some_and(|(_, socket)| socket.send_back(chunk, frame));
        }
        let Ok([(_, from), (_, to)]) = self.sockets.get_disjoint_mut([from, to]) else { return false };
        from.chunk(chunk).get(frame).is_some_and(|frame| to.send(frame))
    }

    /// Gives the kernel what was given back, and tells it of what is to be sent.
    pub(crate) fn publish(&mut self) {
        self.sockets().for_each(|(_, socket)| socket.publish());
    }
}
