//! What a device's driver tells by the ethtool ioctl (linux/ethtool.h). Unlike sysfs, it answers for the network namespace of the caller.

use std::io;
use std::os::fd::AsRawFd as _;

use rustix::net::{AddressFamily, SocketType, socket};

const GET_DRIVER: u32 = 0x03;
const GET_FLAGS: u32 = 0x25;
const GET_FLOW_HASH: u32 = 0x29;
const GET_CHANNELS: u32 = 0x3c;
/// `ETH_FLAG_RXVLAN`: the card takes the VLAN tag out of frames.
const STRIPS_VLAN: u32 = 1 << 8;
/// `UDP_V4_FLOW` and `UDP_V6_FLOW`.
const UDP_FLOWS: [u32; 2] = [0x02, 0x06];
/// `RXH_L4_B_0_1 | RXH_L4_B_2_3`: both ports.
const PORTS: u64 = 1 << 6 | 1 << 7;

/// Room for the largest of the structures that these commands fill.
type Buffer = [u64; 64];

/// The name of the device's driver.
pub(crate) fn driver(device: &str) -> Option<String> {
    let buffer = ask(device, u64::from(GET_DRIVER)).ok()?;
    // struct ethtool_drvinfo: the command, then 32 bytes of the name.
    let bytes = buffer.map(u64::to_ne_bytes);
    let name = bytes.as_flattened().get(4..36)?.split(|byte| *byte == 0).next()?;
    String::from_utf8(name.to_vec()).ok().filter(|name| !name.is_empty())
}

/// Whether the card takes VLAN tags out of the frames before a program sees them.
pub(crate) fn strips_vlan(device: &str) -> Option<bool> {
    // struct ethtool_value: the command, the value.
    let buffer = ask(device, u64::from(GET_FLAGS)).ok()?;
    let bytes = buffer.first()?.to_ne_bytes();
    let flags = u32::from_ne_bytes(*bytes.last_chunk()?);
    Some(flags & STRIPS_VLAN != 0)
}

/// Whether the card spreads UDP over its queues by the ports too; `None` when it does not tell.
pub(crate) fn hashes_ports(device: &str) -> Option<bool> {
    let of_family = |flow: u32| {
        // struct ethtool_rxnfc: the command, the kind of flow, what is hashed.
        let words = [GET_FLOW_HASH.to_ne_bytes(), flow.to_ne_bytes()].concat();
        let buffer = ask(device, u64::from_ne_bytes(*words.first_chunk()?)).ok()?;
        Some(buffer.get(1)? & PORTS == PORTS)
    };
    let [ipv4, ipv6] = UDP_FLOWS.map(of_family);
    Some(ipv4? && ipv6.unwrap_or(true))
}

/// How many receive queues the device uses now; `None` when it does not tell.
pub(crate) fn receive_queues(device: &str) -> Option<u32> {
    queues(device, 5)
}

/// How many transmit queues the device uses now; `None` when it does not tell.
pub(crate) fn transmit_queues(device: &str) -> Option<u32> {
    queues(device, 6)
}

/// Queues of a kind, by the place of their number, and those that are of both kinds.
fn queues(device: &str, kind: usize) -> Option<u32> {
    let buffer = ask(device, u64::from(GET_CHANNELS)).ok()?;
    // struct ethtool_channels: the command, the most of each kind (receive, transmit, other, combined), then those in use.
    let bytes = buffer.map(u64::to_ne_bytes);
    let word = |number: usize| Some(u32::from_ne_bytes(*bytes.as_flattened().get(number * 4..)?.first_chunk()?));
    Some(word(kind)?.saturating_add(word(8)?)).filter(|count| *count > 0)
}

/// Sends the command and, where it has one, the word after it, and returns what the driver filled in.
fn ask(device: &str, words: u64) -> io::Result<Buffer> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut buffer: Buffer = [0; 64];
    // The command is the first four bytes, in the order of the host.
    buffer[0] = words;
    // struct ifreq: the name, then a union of which the pointer is the first member here.
    let mut name = [0; libc::IFNAMSIZ];
    if device.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: buffer.as_mut_ptr().cast() },
    };
    #[expect(unsafe_code, reason = "ethtool is an ioctl")]
    // SAFETY: the request is an ifreq whose name ends with a zero and whose pointer is to 512 bytes, more than any of the commands above
    // writes; both live until the call returns, and nothing else refers to them.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(buffer) }
}
