//! Which way to a destination: routes, neighbours and devices in, next hops out. Pure; `netlink` is its edge.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use flow::{Hop, HopId, Mac};

/// What the resolver is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A destination is needed, under this number.
    Want { dest: Ipv4Addr, id: HopId },
    /// A destination is not needed any more.
    Forget { dest: Ipv4Addr },
    /// The kernel's answer to a lookup; `None` when there is no route that leaves this host.
    Route { dest: Ipv4Addr, route: Option<Route> },
    /// Some route or address of the host changed.
    RoutesChanged,
    /// A neighbour's MAC, or that it has none now.
    Neighbour { neighbour: Neighbour, mac: Option<Mac> },
    /// A device's state; `None` when it is down or gone.
    Device { index: u32, mac: Option<Mac> },
}

/// What the resolver wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Ask the kernel for the route to a destination.
    Lookup(Ipv4Addr),
    /// Have the kernel keep a neighbour resolved although it sees no traffic to it.
    Manage(Neighbour),
    /// No longer.
    Release(Neighbour),
    /// Write the next hop into the table.
    Write(HopId, Option<Hop>),
    /// The number is written off: another destination may have it.
    Free(HopId),
}

/// A route to a destination, as far as a frame needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    /// The gateway, or else the destination itself.
    pub(crate) neighbour: Neighbour,
}

/// A host on the link of a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Neighbour {
    pub(crate) device: u32,
    pub(crate) addr: Ipv4Addr,
}

struct Wanted {
    id: HopId,
    route: Option<Route>,
    written: Option<Hop>,
}

/// The state behind the next-hop table.
pub(crate) struct Resolver {
    /// The devices that frames may leave by: device index to index in the device map.
    ports: HashMap<u32, u16>,
    devices: HashMap<u32, Mac>,
    neighbours: HashMap<Neighbour, Mac>,
    wanted: HashMap<Ipv4Addr, Wanted>,
}

impl Resolver {
    /// A resolver for frames that may leave by these devices.
    pub(crate) fn new(ports: HashMap<u32, u16>) -> Self {
        Self { ports, devices: HashMap::new(), neighbours: HashMap::new(), wanted: HashMap::new() }
    }

    /// Takes an event; returns what follows from it, in order.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Want { dest, id } => {
                self.wanted.insert(dest, Wanted { id, route: None, written: None });
                vec![Action::Write(id, None), Action::Lookup(dest)]
            }
            Event::Forget { dest } => self.forget(dest),
            Event::Route { dest, route } => self.route(dest, route),
            Event::RoutesChanged => {
                let mut dests: Vec<_> = self.wanted.keys().copied().collect();
                dests.sort_unstable();
                dests.into_iter().map(Action::Lookup).collect()
            }
            Event::Neighbour { neighbour, mac } => {
                match mac {
                    Some(mac) => self.neighbours.insert(neighbour, mac),
                    None => self.neighbours.remove(&neighbour),
                };
                self.write(|route| route.neighbour == neighbour)
            }
            Event::Device { index, mac } => {
                match mac {
                    Some(mac) => self.devices.insert(index, mac),
                    None => self.devices.remove(&index),
                };
                self.write(|route| route.neighbour.device == index)
            }
        }
    }

    /// The neighbours that are managed now, for a clean end.
    pub(crate) fn managed(&self) -> Vec<Neighbour> {
        self.wanted.values().filter_map(|wanted| wanted.route).map(|route| route.neighbour).collect()
    }

    fn forget(&mut self, dest: Ipv4Addr) -> Vec<Action> {
        let Some(wanted) = self.wanted.remove(&dest) else { return Vec::new() };
        let mut actions = vec![Action::Write(wanted.id, None), Action::Free(wanted.id)];
        actions.extend(self.release(wanted.route));
        actions
    }

    fn route(&mut self, dest: Ipv4Addr, route: Option<Route>) -> Vec<Action> {
        // Only devices that take redirected frames are ways for the fast path.
        let route = route.filter(|route| self.ports.contains_key(&route.neighbour.device));
        let Some(wanted) = self.wanted.get_mut(&dest) else { return Vec::new() };
        if wanted.route == route {
            return Vec::new();
        }
        let old = std::mem::replace(&mut wanted.route, route);
        let mut actions: Vec<_> = route.map(|route| Action::Manage(route.neighbour)).into_iter().collect();
        actions.extend(self.release(old));
        actions.extend(self.write_one(dest));
        actions
    }

    /// Gives up managing a neighbour that no destination needs any more.
    fn release(&self, route: Option<Route>) -> Option<Action> {
        let neighbour = route?.neighbour;
        let needed = self.wanted.values().filter_map(|wanted| wanted.route).any(|route| route.neighbour == neighbour);
        (!needed).then_some(Action::Release(neighbour))
    }

    fn write(&mut self, concerns: impl Fn(&Route) -> bool) -> Vec<Action> {
        let mut dests: Vec<_> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.route.as_ref().is_some_and(&concerns))
            .map(|(dest, _)| *dest)
            .collect();
        dests.sort_unstable();
        dests.into_iter().filter_map(|dest| self.write_one(dest)).collect()
    }

    /// The next hop of one destination, if it is another than before.
    fn write_one(&mut self, dest: Ipv4Addr) -> Option<Action> {
        let route = self.wanted.get(&dest)?.route;
        let hop = route.and_then(|Route { neighbour }| {
            Some(Hop {
                to: *self.neighbours.get(&neighbour)?,
                from: *self.devices.get(&neighbour.device)?,
                device: neighbour.device,
                port: *self.ports.get(&neighbour.device)?,
            })
        });
        let wanted = self.wanted.get_mut(&dest)?;
        if wanted.written == hop {
            return None;
        }
        wanted.written = hop;
        Some(Action::Write(wanted.id, hop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
    const GATEWAY: Neighbour = Neighbour { device: 3, addr: Ipv4Addr::new(192, 0, 2, 254) };
    const ID: HopId = HopId(5);

    fn mac(last: u8) -> Mac {
        [2, 0, 0, 0, 0, last].into()
    }

    fn hop(to: u8) -> Hop {
        Hop { to: mac(to), from: mac(1), device: 3, port: 0 }
    }

    /// A resolver that has resolved `DEST` by way of `GATEWAY`.
    fn resolved() -> Resolver {
        let mut resolver = Resolver::new(HashMap::from([(3, 0), (4, 1)]));
        resolver.handle(Event::Device { index: 3, mac: Some(mac(1)) });
        resolver.handle(Event::Neighbour { neighbour: GATEWAY, mac: Some(mac(9)) });
        assert_eq!(
            resolver.handle(Event::Want { dest: DEST, id: ID }),
            [Action::Write(ID, None), Action::Lookup(DEST)]
        );
        let route = Event::Route { dest: DEST, route: Some(Route { neighbour: GATEWAY }) };
        assert_eq!(resolver.handle(route), [Action::Manage(GATEWAY), Action::Write(ID, Some(hop(9)))]);
        resolver
    }

    #[test]
    fn a_destination_is_resolved_by_route_neighbour_and_device() {
        resolved();
    }

    #[test]
    fn a_neighbour_that_changes_its_mac_is_rewritten_and_one_that_fails_is_unresolved() {
        let mut resolver = resolved();
        let event = |mac| Event::Neighbour { neighbour: GATEWAY, mac };
        assert_eq!(resolver.handle(event(Some(mac(8)))), [Action::Write(ID, Some(hop(8)))]);
        assert_eq!(resolver.handle(event(Some(mac(8)))), [], "nothing new");
        assert_eq!(resolver.handle(event(None)), [Action::Write(ID, None)]);
    }

    #[test]
    fn a_device_that_goes_down_unresolves_what_leaves_by_it() {
        let mut resolver = resolved();
        assert_eq!(resolver.handle(Event::Device { index: 3, mac: None }), [Action::Write(ID, None)]);
        assert_eq!(resolver.handle(Event::Device { index: 3, mac: Some(mac(1)) }), [Action::Write(ID, Some(hop(9)))]);
    }

    #[test]
    fn a_route_change_is_followed_and_the_old_gateway_released() {
        let mut resolver = resolved();
        let other = Neighbour { device: 4, addr: DEST };
        resolver.handle(Event::Device { index: 4, mac: Some(mac(2)) });
        resolver.handle(Event::Neighbour { neighbour: other, mac: Some(mac(7)) });
        assert_eq!(resolver.handle(Event::RoutesChanged), [Action::Lookup(DEST)]);
        let route = Event::Route { dest: DEST, route: Some(Route { neighbour: other }) };
        let hop = Hop { to: mac(7), from: mac(2), device: 4, port: 1 };
        assert_eq!(
            resolver.handle(route),
            [Action::Manage(other), Action::Release(GATEWAY), Action::Write(ID, Some(hop))]
        );
    }

    #[test]
    fn a_device_without_a_place_in_the_device_map_is_no_way_out() {
        let mut resolver = resolved();
        let foreign = Neighbour { device: 9, addr: DEST };
        let route = Event::Route { dest: DEST, route: Some(Route { neighbour: foreign }) };
        assert_eq!(resolver.handle(route), [Action::Release(GATEWAY), Action::Write(ID, None)]);
    }

    #[test]
    fn a_gateway_is_released_with_the_last_destination_behind_it() {
        let mut resolver = resolved();
        let second = Ipv4Addr::new(198, 51, 100, 11);
        resolver.handle(Event::Want { dest: second, id: HopId(6) });
        resolver.handle(Event::Route { dest: second, route: Some(Route { neighbour: GATEWAY }) });
        assert_eq!(resolver.handle(Event::Forget { dest: DEST }), [Action::Write(ID, None), Action::Free(ID)]);
        assert_eq!(
            resolver.handle(Event::Forget { dest: second }),
            [Action::Write(HopId(6), None), Action::Free(HopId(6)), Action::Release(GATEWAY)]
        );
    }
}
