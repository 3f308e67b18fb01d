use super::*;

/// Where the headers begin in an Ethernet frame.
const IP: usize = 14;
const UDP_V4: usize = IP + 20;
const UDP_V6: usize = IP + 40;

fn v4() -> Vec<u8> {
    let flow = Flow { src: "192.0.2.1:6000".parse().unwrap(), dst: "198.51.100.7:30001".parse().unwrap() };
    ethernet_udp(flow, b"speech!").unwrap()
}

fn v6() -> Vec<u8> {
    let flow = Flow { src: "[2001:db8::1]:6000".parse().unwrap(), dst: "[2001:db8::7]:30001".parse().unwrap() };
    ethernet_udp(flow, b"speech!").unwrap()
}

fn datagram(frame: &[u8]) -> Datagram<'_> {
    decode(LinkType::Ethernet, frame).udp().unwrap()
}

#[test]
fn an_ipv4_datagram_is_decoded() {
    let mut frame = v4();
    let decoded = datagram(&frame);
    assert_eq!((decoded.src, decoded.dst), ("192.0.2.1:6000".parse().unwrap(), "198.51.100.7:30001".parse().unwrap()));
    assert_eq!((decoded.ttl, decoded.tos, decoded.payload), (64, 0, b"speech!".as_slice()));
    assert!(decoded.ip_checksum_ok && decoded.udp_checksum_ok && !decoded.udp_checksum_unfinished);
    (frame[IP + 1], frame[IP + 8]) = (0xb8, 63);
    let changed = datagram(&frame);
    assert_eq!((changed.tos, changed.ttl), (0xb8, 63));
    assert!(!changed.ip_checksum_ok && changed.udp_checksum_ok);
}

#[test]
fn an_ipv6_datagram_is_decoded() {
    let mut frame = v6();
    (frame[IP], frame[IP + 1], frame[IP + 7]) = (0x6b, 0x80, 9);
    let decoded = datagram(&frame);
    assert_eq!(
        (decoded.src, decoded.dst),
        ("[2001:db8::1]:6000".parse().unwrap(), "[2001:db8::7]:30001".parse().unwrap())
    );
    assert_eq!((decoded.ttl, decoded.tos, decoded.payload), (9, 0xb8, b"speech!".as_slice()));
    assert!(decoded.ip_checksum_ok && decoded.udp_checksum_ok);
}

#[test]
fn every_flipped_bit_of_a_datagram_makes_a_checksum_wrong() {
    for (frame, udp) in [(v4(), UDP_V4), (v6(), UDP_V6)] {
        let length_field = udp + 4..udp + 6;
        for place in (udp..frame.len()).filter(|place| !length_field.contains(place)) {
            for bit in 0..8 {
                let mut flipped = frame.clone();
                flipped[place] ^= 1 << bit;
                assert!(!datagram(&flipped).udp_checksum_ok, "byte {place} bit {bit}");
            }
        }
    }
}

#[test]
fn a_zero_udp_checksum_is_none_in_ipv4_and_wrong_in_ipv6() {
    let mut frame = v4();
    frame[UDP_V4 + 6..UDP_V4 + 8].fill(0);
    assert!(datagram(&frame).udp_checksum_ok);
    let mut frame = v6();
    frame[UDP_V6 + 6..UDP_V6 + 8].fill(0);
    assert!(!datagram(&frame).udp_checksum_ok);
}

#[test]
fn a_checksum_left_to_the_network_card_is_recognised() {
    let mut frame = v4();
    let pseudo = 0xc000u32 + 0x0201 + 0xc633 + 0x6407 + 17 + 15;
    let folded = u16::try_from((pseudo >> 16) + (pseudo & 0xffff)).unwrap();
    frame[UDP_V4 + 6..UDP_V4 + 8].copy_from_slice(&folded.to_be_bytes());
    let decoded = datagram(&frame);
    assert!(!decoded.udp_checksum_ok && decoded.udp_checksum_unfinished);
    frame[UDP_V4 + 7] ^= 1;
    assert!(!datagram(&frame).udp_checksum_unfinished);
}

#[test]
fn ethernet_padding_is_not_payload() {
    let mut frame = v4();
    frame.extend([0xee; 11]);
    let decoded = datagram(&frame);
    assert_eq!(decoded.payload, b"speech!");
    assert!(decoded.udp_checksum_ok);
}

#[test]
fn the_other_link_types_carry_the_same_packets() {
    for frame in [v4(), v6()] {
        let expected = datagram(&frame);
        let (ethertype, packet) = (&frame[12..14], &frame[14..]);
        assert_eq!(decode(LinkType::Raw, packet).udp(), Some(expected));
        let sll = [&[0; 14], ethertype, packet].concat();
        assert_eq!(decode(LinkType::LinuxSll, &sll).udp(), Some(expected));
        let sll2 = [ethertype, &[0; 18], packet].concat();
        assert_eq!(decode(LinkType::LinuxSll2, &sll2).udp(), Some(expected));
        let tagged = [&frame[..12], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6], ethertype, packet].concat();
        assert_eq!(decode(LinkType::Ethernet, &tagged).udp(), Some(expected));
    }
}

#[test]
fn ip_options_and_extension_headers_are_skipped() {
    let plain = v4();
    let mut frame = [&plain[..UDP_V4], &[1, 1, 1, 0], &plain[UDP_V4..]].concat();
    frame[IP] = 0x46;
    frame[IP + 3] += 4;
    assert_eq!(datagram(&frame).payload, b"speech!");
    let plain = v6();
    let extensions = [60, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 6, 0, 0, 0, 1];
    let mut frame = [&plain[..UDP_V6], &extensions, &plain[UDP_V6..]].concat();
    frame[IP + 6] = 0;
    frame[IP + 5] += 24;
    assert_eq!(datagram(&frame).payload, b"speech!");
    assert!(datagram(&frame).udp_checksum_ok);
}

#[test]
fn fragments_are_told_apart_from_whole_datagrams() {
    for field in [0x2000u16, 0x0001, 0x1fff] {
        let mut frame = v4();
        frame[IP + 6..IP + 8].copy_from_slice(&field.to_be_bytes());
        assert_eq!(decode(LinkType::Ethernet, &frame), Decoded::Fragment, "{field:04x}");
    }
    let plain = v6();
    let mut frame = [&plain[..UDP_V6], &[17, 0, 0, 1, 0, 0, 0, 1], &plain[UDP_V6..]].concat();
    frame[IP + 6] = 44;
    frame[IP + 5] += 8;
    assert_eq!(decode(LinkType::Ethernet, &frame), Decoded::Fragment);
    assert!(decode(LinkType::Ethernet, &frame).udp().is_none());
}

#[test]
fn a_frame_cut_by_the_snap_length_is_cut_short_or_nothing_and_never_a_datagram() {
    for (frame, headers) in [(v4(), UDP_V4), (v6(), UDP_V6)] {
        for kept in 0..frame.len() {
            let expected = if kept < headers { Decoded::Other } else { Decoded::CutShort };
            assert_eq!(decode(LinkType::Ethernet, &frame[..kept]), expected, "{kept} bytes");
        }
    }
}

#[test]
fn what_is_not_udp_is_something_else() {
    let mut tcp = v4();
    tcp[IP + 9] = 6;
    let mut tcp6 = v6();
    tcp6[IP + 6] = 6;
    let mut arp = v4();
    arp[13] = 6;
    let mut too_long = v4();
    too_long[UDP_V4 + 5] += 1;
    let mut too_short = v4();
    too_short[UDP_V4 + 5] = 7;
    for frame in [tcp, tcp6, arp, too_long, too_short] {
        assert_eq!(decode(LinkType::Ethernet, &frame), Decoded::Other);
    }
}
