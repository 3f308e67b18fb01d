//! What a device's driver can do with XDP frames, by the kernel's `netdev` family of generic netlink (Linux 6.3).

use std::io;

use netlink_sys::{Socket, SocketAddr};

/// Generic netlink (`NETLINK_GENERIC`).
const PROTOCOL: isize = 16;
/// The control family, and its command and attributes (linux/genetlink.h).
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// The command and attributes of the `netdev` family (linux/netdev.h).
const GET_DEVICE: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_BASIC`: the driver runs programs before the kernel makes a socket buffer of a frame.
const RUNS_PROGRAMS: u64 = 1;
/// `NETDEV_XDP_ACT_REDIRECT`: the driver does what a program says with a frame that it redirects.
const REDIRECTS: u64 = 2;
/// `NETDEV_XDP_ACT_NDO_XMIT`: the driver sends frames that a program on another device redirects to it.
const TAKES_REDIRECTS: u64 = 4;

const REQUEST: u16 = 1;
const ERROR: u16 = 2;
const HEADER_LEN: usize = 16;
const GENERIC_LEN: usize = 4;

/// What a driver can do with XDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features {
    /// It runs programs itself, in native mode.
    pub runs_programs: bool,
    /// Programs on it can redirect frames.
    pub redirects: bool,
    /// It sends frames that are redirected to it. A program that redirects to one that does not is told of success, and the frame is
    /// dropped: this has to be known before.
    pub takes_redirects: bool,
}

impl Features {
    /// What a device can do; `None` when the kernel does not tell.
    ///
    /// # Errors
    /// When there is no netlink.
    pub(crate) fn of(device: u32) -> io::Result<Option<Self>> {
        let mut socket = Socket::new(PROTOCOL)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let Some(family) = ask(&socket, CONTROL, GET_FAMILY, FAMILY_NAME, b"netdev\0", FAMILY_ID)? else {
            return Ok(None);
        };
        let Some(family) = family.first_chunk().map(|id| u16::from_ne_bytes(*id)) else { return Ok(None) };
        let features = ask(&socket, family, GET_DEVICE, DEVICE_INDEX, &device.to_ne_bytes(), DEVICE_FEATURES)?;
        let features = features.as_ref().and_then(|value| value.first_chunk()).map(|value| u64::from_ne_bytes(*value));
        Ok(features.map(|features| Self {
            runs_programs: features & RUNS_PROGRAMS != 0,
            redirects: features & REDIRECTS != 0,
            takes_redirects: features & TAKES_REDIRECTS != 0,
        }))
    }
}

/// Sends a request with one attribute and returns one attribute of the answer; `None` when the kernel does not know.
fn ask(socket: &Socket, family: u16, command: u8, key: u16, value: &[u8], wanted: u16) -> io::Result<Option<Vec<u8>>> {
    socket.send(&request(family, command, key, value), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    Ok(attribute(&answer, wanted))
}

fn request(family: u16, command: u8, key: u16, value: &[u8]) -> Vec<u8> {
    let attribute_len = 4 + value.len();
    let len = HEADER_LEN + GENERIC_LEN + attribute_len.next_multiple_of(4);
    let mut bytes = Vec::with_capacity(len);
    bytes.extend((len as u32).to_ne_bytes());
    bytes.extend(family.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    // Sequence number and port: one question at a time needs neither.
    bytes.extend([0; 8]);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend((attribute_len as u16).to_ne_bytes());
    bytes.extend(key.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(len, 0);
    bytes
}

/// An attribute of the first message of a datagram, unless that is an error.
fn attribute(datagram: &[u8], wanted: u16) -> Option<Vec<u8>> {
    let kind = u16::from_ne_bytes(*datagram.get(4..)?.first_chunk()?);
    if kind == ERROR {
        return None;
    }
    let mut rest = datagram.get(HEADER_LEN + GENERIC_LEN..)?;
    loop {
        let len = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let key = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        if key == wanted {
            return Some(rest.get(4..len)?.to_vec());
        }
        // A length below the attribute's own header would go in circles.
        rest = rest.get(len.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER_LEN + GENERIC_LEN, 0);
        bytes.extend(attributes);
        bytes
    }

    fn pair(key: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(key.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn an_attribute_is_found_behind_others() {
        let datagram = answer(0x20, &[pair(1, &[7; 3]), pair(3, &4u64.to_ne_bytes())].concat());
        assert_eq!(attribute(&datagram, 3), Some(4u64.to_ne_bytes().to_vec()));
        assert_eq!(attribute(&datagram, 9), None);
    }

    #[test]
    fn an_error_and_a_broken_answer_have_no_attributes() {
        assert_eq!(attribute(&answer(ERROR, &pair(3, &[0; 8])), 3), None);
        for broken in [&[0; 3][..], &[0; 100], &answer(0x20, &[2, 0, 1, 0]), &answer(0x20, &[200, 0, 3, 0])] {
            assert_eq!(attribute(broken, 3), None);
        }
    }

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let bytes = request(CONTROL, GET_FAMILY, FAMILY_NAME, b"netdev\0");
        assert_eq!(u32::from_ne_bytes(*bytes.first_chunk().unwrap()) as usize, bytes.len());
        assert_eq!(bytes.len() % 4, 0);
    }
}
