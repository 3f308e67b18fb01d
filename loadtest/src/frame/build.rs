//! The maker of Ethernet frames.

use std::net::SocketAddr;

use super::checksum::Sum;
use super::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Flow, PROTOCOL_UDP};

/// Time to live of the frames made here.
const TTL: u8 = 64;
/// Made-up, locally administered addresses: nothing of what reads these frames looks at them.
const MAC_ADDRESSES: [u8; 12] = [0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];

/// Why a frame cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// One address is IPv4 and the other one IPv6.
    #[error("{} and {} are not of one IP version", flow.src, flow.dst)]
    MixedFamilies {
        /// The two addresses.
        flow: Flow,
    },
    /// The payload does not fit into one datagram.
    #[error("{length} bytes are too many for one datagram")]
    TooLong {
        /// Bytes of the payload.
        length: usize,
    },
}

/// An Ethernet frame with one UDP datagram, all checksums right, TTL 64, type of service 0, not fragmented.
///
/// # Errors
/// When the addresses are not of one IP version, or the payload does not fit into one datagram.
pub fn ethernet_udp(flow: Flow, payload: &[u8]) -> Result<Vec<u8>, BuildError> {
    let too_long = BuildError::TooLong { length: payload.len() };
    let udp_length = u16::try_from(payload.len().saturating_add(8)).map_err(|_| too_long)?;
    let mut frame = MAC_ADDRESSES.to_vec();
    match (flow.src, flow.dst) {
        (SocketAddr::V4(src), SocketAddr::V4(dst)) => {
            let total = udp_length.checked_add(20).ok_or(too_long)?;
            // Identification 0 and don't-fragment, as the Linux kernel does for such datagrams.
            let first = [[0x45, 0], total.to_be_bytes(), [0, 0], [0x40, 0], [TTL, PROTOCOL_UDP]].concat();
            let addresses = [src.ip().octets(), dst.ip().octets()].concat();
            let checksum = Sum::new().bytes(&first).bytes(&addresses).checksum();
            frame.extend(ETHERTYPE_IPV4.to_be_bytes());
            frame.extend(first);
            frame.extend(checksum.to_be_bytes());
            frame.extend(addresses);
        }
        (SocketAddr::V6(src), SocketAddr::V6(dst)) => {
            frame.extend(ETHERTYPE_IPV6.to_be_bytes());
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(udp_length.to_be_bytes());
            frame.extend([PROTOCOL_UDP, TTL]);
            frame.extend(src.ip().octets());
            frame.extend(dst.ip().octets());
        }
        _ => return Err(BuildError::MixedFamilies { flow }),
    }
    let ports = [flow.src.port().to_be_bytes(), flow.dst.port().to_be_bytes(), udp_length.to_be_bytes()].concat();
    let sum = Sum::pseudo_header(flow.src.ip(), flow.dst.ip(), udp_length).bytes(&ports).bytes(payload);
    // Zero would say that there is no checksum (RFC 768).
    let checksum = if sum.checksum() == 0 { 0xffff } else { sum.checksum() };
    frame.extend(ports);
    frame.extend(checksum.to_be_bytes());
    frame.extend(payload);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_made_byte_by_byte_as_the_rfcs_say() {
        let flow = Flow { src: "192.0.2.1:6000".parse().unwrap(), dst: "192.0.2.2:6002".parse().unwrap() };
        let frame = ethernet_udp(flow, b"hi!").unwrap();
        #[rustfmt::skip]
        let expected = [
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00,
            0x45, 0, 0, 31, 0, 0, 0x40, 0, 64, 17, 0xb6, 0xca, 192, 0, 2, 1, 192, 0, 2, 2,
            0x17, 0x70, 0x17, 0x72, 0, 11, 0xc3, 0x88, b'h', b'i', b'!',
        ];
        assert_eq!(frame, expected, "{frame:02x?}");
    }

    #[test]
    fn a_checksum_that_comes_out_as_zero_is_written_as_ones() {
        let flow = Flow { src: "192.0.2.1:6000".parse().unwrap(), dst: "192.0.2.2:6002".parse().unwrap() };
        let zeros = ethernet_udp(flow, &[0, 0]).unwrap();
        // A payload that is the checksum of everything else makes the sum full.
        let frame = ethernet_udp(flow, &zeros[40..42]).unwrap();
        assert_eq!(frame[40..42], [0xff, 0xff]);
        let decoded = super::super::decode(crate::pcap::LinkType::Ethernet, &frame).udp().unwrap();
        assert!(decoded.udp_checksum_ok);
    }

    #[test]
    fn mixed_addresses_and_long_payloads_are_refused() {
        let flow = Flow { src: "192.0.2.1:1".parse().unwrap(), dst: "[2001:db8::1]:2".parse().unwrap() };
        assert_eq!(ethernet_udp(flow, b""), Err(BuildError::MixedFamilies { flow }));
        let flow = Flow { src: flow.src, dst: flow.src };
        assert!(ethernet_udp(flow, &vec![0; 65_507]).is_ok());
        assert_eq!(ethernet_udp(flow, &vec![0; 65_508]), Err(BuildError::TooLong { length: 65_508 }));
    }
}
