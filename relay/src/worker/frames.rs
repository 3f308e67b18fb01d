//! Frames that come past the stack, by AF_XDP, as arrivals like any other.

use border::Intake;
use media::Packet;

use crate::worker::departure::Departure;
use crate::worker::departure::{HEADERS_MAX, NAME_MAX};
use crate::worker::handler::{Arrival, Handler, PAYLOAD_MAX};
use crate::worker::outbox::Outbox;
use crate::xsk::{Frame, Inlet};

/// Frames of one socket that one turn handles: other sockets wait, too.
pub(crate) const FRAMES: usize = 256;

/// As much as the kernel leaves before a frame (`XDP_PACKET_HEADROOM`), and the shortest headers.
const BEFORE: usize = 256 + 14 + 20 + 8;

const _: () = assert!(BEFORE >= NAME_MAX + HEADERS_MAX + media::HEAD_ROOM);

/// Has the datagram in a frame handled: how it leaves, and where in its chunk the payload is then; `None` when that is done, or nothing leaves.
pub(crate) fn handle(
    inlet: &mut Inlet,
    number: u32,
    frame: Frame,
    handler: &mut impl Handler,
    outbox: &mut Outbox,
) -> Option<(Departure, usize, usize)> {
    let (reader, chunk) = inlet.parts(number, frame.chunk)?;
    let datagram = match reader.read(chunk.get(frame.start..frame.end)?) {
        Ok(datagram) => datagram,
        Err(reason) => {
            handler.lost(reason);
            return None;
        }
    };
    let (start, end) = datagram.payload;
    if end - start > PAYLOAD_MAX {
        handler.oversized();
        return None;
    }
    let packet = Packet::new(chunk, frame.start + start, frame.start + end)?;
    let (sender, local, ttl) = (datagram.sender, datagram.local, Some(datagram.ttl));
    let mut arrival = Arrival { sender, local, ttl, intake: Intake::Xsk, packet };
    let departure = handler.arrived(&mut arrival, outbox)?;
    let (start, end) = arrival.packet.range();
    if let Some(device) = departure.device()
        && inlet.sends()
    {
        let headers = departure.write_before(inlet.chunk(number, frame.chunk)?.get_mut(..start)?)?;
        if inlet.send(device, (number, frame.chunk), start - headers..end) {
            return None;
        }
    }
    Some((departure, start, end))
}
