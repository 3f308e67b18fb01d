//! Which stream a captured packet belongs to.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::End;
use super::stream::{Channel, Stream};
use crate::frame::Flow;
use crate::pcap::CaptureTime;

/// What a packet is to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It left this end.
    Sent,
    /// It arrived at this end.
    Received,
    /// It came from the relay's address of the stream, but goes to another address than the stream's.
    Misdirected,
}

/// A packet's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// Index of the stream.
    pub(super) stream: usize,
    pub(super) role: Role,
    pub(super) channel: Channel,
}

/// Routes of one key, in the order of their beginning: ports are used again by later calls.
#[derive(Debug, Default)]
struct Timeline(Vec<(CaptureTime, Route)>);

impl Timeline {
    fn at(&self, time: CaptureTime) -> Option<Route> {
        let begun = self.0.partition_point(|(since, _)| *since <= time);
        // What comes before the first beginning can only belong to the first.
        self.0.get(begun.saturating_sub(1)).map(|(_, route)| *route)
    }
}

/// The streams of one end, found by the addresses of a packet.
#[derive(Debug, Default)]
pub(super) struct Routes {
    flows: HashMap<Flow, Timeline>,
    relay: HashMap<SocketAddr, Timeline>,
}

impl Routes {
    /// The routes of the streams that leave `end` or arrive there.
    pub(super) fn of(end: End, streams: &[Stream]) -> Self {
        let mut routes = Self::default();
        for (stream, Stream { sent, received, .. }) in streams.iter().enumerate() {
            for (leg, role) in [(sent, Role::Sent), (received, Role::Received)] {
                if leg.end != end {
                    continue;
                }
                let flows = [(Channel::Rtp, Some(leg.flow)), (Channel::Rtcp, next_ports(leg.flow))];
                for (channel, flow) in flows {
                    let Some(flow) = flow else { continue };
                    let route = Route { stream, role, channel };
                    routes.flows.entry(flow).or_default().0.push((leg.since, route));
                    if role == Role::Received {
                        let astray = Route { role: Role::Misdirected, ..route };
                        routes.relay.entry(flow.src).or_default().0.push((leg.since, astray));
                    }
                }
            }
        }
        for timeline in routes.flows.values_mut().chain(routes.relay.values_mut()) {
            timeline.0.sort_by_key(|(since, _)| *since);
        }
        routes
    }

    /// Where a packet belongs; `None` when it is no business of the judge's.
    pub(super) fn find(&self, flow: Flow, time: CaptureTime) -> Option<Route> {
        let timeline = self.flows.get(&flow).or_else(|| self.relay.get(&flow.src))?;
        timeline.at(time)
    }
}

/// Addresses of the RTCP packets of an RTP flow (RFC 3550 section 11); `None` past the last port.
fn next_ports(flow: Flow) -> Option<Flow> {
    let next = |address: SocketAddr| Some(SocketAddr::new(address.ip(), address.port().checked_add(1)?));
    Some(Flow { src: next(flow.src)?, dst: next(flow.dst)? })
}

#[cfg(test)]
mod tests {
    use super::super::stream::Leg;
    use super::*;
    use crate::signalling::CallId;

    fn flow(src: &str, dst: &str) -> Flow {
        Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
    }

    /// A stream that begins at `since` microseconds, from end A to end B.
    fn stream(since: u64) -> Stream {
        let since = CaptureTime::from_micros(since);
        let sent = Leg::new(End(0), since, flow("192.0.2.1:10", "192.0.2.9:20"));
        Stream::new(CallId("x".into()), sent, Leg::new(End(1), since, flow("192.0.2.9:30", "192.0.2.2:40")))
    }

    fn role_at(end: End, src: &str, dst: &str) -> Option<(Role, Channel)> {
        let routes = Routes::of(end, &[stream(0)]);
        routes.find(flow(src, dst), CaptureTime::default()).map(|route| (route.role, route.channel))
    }

    #[test]
    fn rtp_and_rtcp_of_a_stream_are_found_at_each_end() {
        let sent = |channel| Some((Role::Sent, channel));
        assert_eq!(role_at(End(0), "192.0.2.1:10", "192.0.2.9:20"), sent(Channel::Rtp));
        assert_eq!(role_at(End(0), "192.0.2.1:11", "192.0.2.9:21"), sent(Channel::Rtcp));
        let received = |channel| Some((Role::Received, channel));
        assert_eq!(role_at(End(1), "192.0.2.9:30", "192.0.2.2:40"), received(Channel::Rtp));
        assert_eq!(role_at(End(1), "192.0.2.9:31", "192.0.2.2:41"), received(Channel::Rtcp));
    }

    #[test]
    fn only_packets_from_the_relay_can_be_misdirected() {
        let astray = |channel| Some((Role::Misdirected, channel));
        assert_eq!(role_at(End(1), "192.0.2.9:30", "192.0.2.2:42"), astray(Channel::Rtp));
        assert_eq!(role_at(End(1), "192.0.2.9:31", "192.0.2.3:41"), astray(Channel::Rtcp));
        assert_eq!(role_at(End(1), "192.0.2.9:32", "192.0.2.2:40"), None);
        assert_eq!(role_at(End(0), "192.0.2.1:10", "192.0.2.9:22"), None);
        assert_eq!(role_at(End(0), "192.0.2.9:30", "192.0.2.2:40"), None, "a packet of the other end");
    }

    #[test]
    fn a_port_that_is_used_again_belongs_to_the_call_of_the_time() {
        let routes = Routes::of(End(0), &[stream(500), stream(100), stream(300)]);
        let found = |micros| {
            let flow = flow("192.0.2.1:10", "192.0.2.9:20");
            routes.find(flow, CaptureTime::from_micros(micros)).map(|route| route.stream)
        };
        let times = [(0, 1), (100, 1), (299, 1), (300, 2), (499, 2), (500, 0), (9_000, 0)];
        for (micros, stream) in times {
            assert_eq!(found(micros), Some(stream), "at {micros} us");
        }
    }

    #[test]
    fn the_last_port_has_no_port_for_rtcp_after_it() {
        assert_eq!(next_ports(flow("192.0.2.1:65535", "192.0.2.9:20")), None);
    }
}
