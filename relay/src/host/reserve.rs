//! Whether the media ports are ours alone. Steering takes a datagram for a media port before any other program's socket is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The ports that the kernel gives to whoever does not choose one (ip-sysctl.rst).
const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Those of them that it does not give.
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/// The UDP sockets of this namespace, by family.
const SOCKETS: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

/// Says what is wrong with the media ports, each in one sentence with what mends it.
pub(crate) fn conflicts(ranges: &[(IpAddr, u16, u16)]) -> Vec<String> {
    let mut different: Vec<(u16, u16)> = ranges.iter().map(|(_, first, last)| (*first, *last)).collect();
    different.sort_unstable();
    different.dedup();
    let of_range = |(first, last)| {
        let addrs: Vec<IpAddr> =
            ranges.iter().filter(|range| (range.1, range.2) == (first, last)).map(|range| range.0).collect();
        conflicts_of(&addrs, first, last)
    };
    different.into_iter().flat_map(of_range).collect()
}

/// Whether the kernel gives none of the media ports to somebody by chance.
pub(crate) fn is_reserved(ranges: &[(IpAddr, u16, u16)]) -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (ephemeral, reserved) = (read(EPHEMERAL), read(RESERVED));
    !ranges.iter().any(|(_, first, last)| is_ephemeral(&ephemeral, &reserved, *first, *last))
}

fn conflicts_of(addrs: &[IpAddr], first: u16, last: u16) -> Vec<String> {
    // A system without these files has no such trouble, or none that could be seen.
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut found = Vec::new();
    if is_ephemeral(&read(EPHEMERAL), &read(RESERVED), first, last) {
        found.push(format!(
            "the kernel gives ports of {first}-{last} to other programs, whose datagrams the relay would take, or which would keep it from its ports: sysctl -w \
             net.ipv4.ip_local_reserved_ports={first}-{last}"
        ));
    }
    let taken = taken(&SOCKETS.map(read).concat(), addrs, first, last);
    if let Some(port) = taken.first() {
        found.push(format!(
            "{} media ports are bound by other programs, which hear nothing any more, or, where ports are bound, keep the relay from them (the first: {port}; `ss -lunp sport = :{port}` shows \
             whose): move them, or change port-min and port-max",
            taken.len()
        ));
    }
    found
}

/// Whether the kernel may give a port of the range to somebody.
fn is_ephemeral(range: &str, reserved: &str, first: u16, last: u16) -> bool {
    let mut bounds = range.split_whitespace().filter_map(|bound| bound.parse::<u16>().ok());
    let (Some(low), Some(high)) = (bounds.next(), bounds.next()) else { return false };
    let reserved: Vec<(u16, u16)> = reserved
        .trim()
        .split(',')
        .filter_map(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            Some((low.parse().ok()?, high.parse().ok()?))
        })
        .collect();
    (first.max(low)..=last.min(high)).any(|port| !reserved.iter().any(|(low, high)| (*low..=*high).contains(&port)))
}

/// The media ports that sockets are bound to, on our addresses or on all.
fn taken(sockets: &str, addrs: &[IpAddr], first: u16, last: u16) -> Vec<u16> {
    let mut ports: Vec<u16> = sockets
        .lines()
        .filter_map(|line| {
            // "  12: 0100007F:08AF 00000000:0000 07 ...": the local address as the host stores it, and the port.
            let (addr, port) = line.split_whitespace().nth(1)?.split_once(':')?;
            let addr = address(addr)?;
            let port = u16::from_str_radix(port, 16).ok()?;
            // The wildcard of IPv6 stands for IPv4 too.
            let is_ours = addr.is_unspecified() || addrs.contains(&addr);
            (is_ours && (first..=last).contains(&port)).then_some(port)
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// An address as `/proc` has it: words of 32 bits in hexadecimal, each as the host stores it.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in (0..32).step_by(8).zip(octets.chunks_exact_mut(4)) {
                four.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_the_kernel_gives_away_is_noticed() {
        assert!(is_ephemeral("32768\t60999\n", "\n", 30000, 40000));
        assert!(!is_ephemeral("32768\t60999\n", "\n", 20000, 30000));
        assert!(!is_ephemeral("32768 60999", "30000-40000,50000\n", 30000, 40000));
        assert!(is_ephemeral("32768 60999", "30000-39999", 30000, 40000), "one port is not reserved");
        assert!(!is_ephemeral("", "", 30000, 40000), "no such file");
    }

    #[test]
    fn ports_of_other_programs_are_noticed() {
        let sockets = "   sl  local_address rem_address   st\n\
            1: 010200C0:7531 00000000:0000 07 0\n\
            2: 00000000:7530 00000000:0000 07 0\n\
            3: 0100007F:7532 00000000:0000 07 0\n\
            4: 00000000:0035 00000000:0000 07 0\n";
        let addrs = ["192.0.2.1".parse().unwrap()];
        assert_eq!(taken(sockets, &addrs, 30000, 40000), [30000, 30001]);
    }

    #[test]
    fn ports_of_ipv6_are_noticed_too() {
        let sockets = "   sl  local_address rem_address   st\n\
            1: B80D0120000000000000000001000000:7530 00000000000000000000000000000000:0000 07 0\n\
            2: B80D0120000000000000000002000000:7531 00000000000000000000000000000000:0000 07 0\n\
            3: 00000000000000000000000000000000:7532 00000000000000000000000000000000:0000 07 0\n\
            4: 0000000000000000FFFF0000010200C0:7533 00000000000000000000000000000000:0000 07 0\n";
        let addrs = ["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        assert_eq!(taken(sockets, &addrs, 30000, 40000), [30000, 30002, 30003]);
    }
}
