//! Which way to a destination: routes, neighbours and devices in, next hops out. Pure; `netlink` is its edge.

use std::collections::HashMap;
use std::net::IpAddr;

use flow::{Hop, HopId, Mac};

/// What the resolver is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A way is needed, under this number.
    Want { way: Way, id: HopId },
    /// A way is not needed any more.
    Forget { way: Way },
    /// The kernel's answer to a lookup; `None` when there is no route that leaves this host.
    Route { way: Way, route: Option<Route> },
    /// Some route or address of the host changed.
    RoutesChanged,
    /// What the neighbour table says of a neighbour.
    Neighbour { neighbour: Neighbour, entry: Entry },
    /// A device's state; `None` when it is down or gone.
    Device { index: u32, mac: Option<Mac> },
    /// All devices and neighbours there are, after news were lost.
    Everything { devices: HashMap<u32, Mac>, neighbours: HashMap<Neighbour, Entry> },
}

/// A neighbour's entry in the kernel's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// Resolved by the kernel.
    Resolved(Mac),
    /// Given by the operator: there is nothing to manage.
    Permanent(Mac),
    /// Being resolved, or found not to answer; the kernel goes on trying as long as the entry is managed.
    Unresolved,
    /// Not in the table any more, and so not managed either.
    Gone,
}

/// From where to where packets go. The source and the type of service count: policy routing chooses a carrier by them.
pub(crate) use flow::Bearing as Way;

/// What the resolver wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Ask the kernel for the route of a way.
    Lookup(Way),
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
    pub(crate) addr: IpAddr,
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
    neighbours: HashMap<Neighbour, Entry>,
    wanted: HashMap<Way, Wanted>,
}

impl Resolver {
    /// A resolver for frames that may leave by these devices.
    pub(crate) fn new(ports: HashMap<u32, u16>) -> Self {
        Self { ports, devices: HashMap::new(), neighbours: HashMap::new(), wanted: HashMap::new() }
    }

    /// Takes an event; returns what follows from it, in order.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Want { way, id } => {
                self.wanted.insert(way, Wanted { id, route: None, written: None });
                vec![Action::Write(id, None), Action::Lookup(way)]
            }
            Event::Forget { way } => self.forget(way),
            Event::Route { way, route } => self.route(way, route),
            Event::RoutesChanged => self.ways(|_| true).into_iter().map(Action::Lookup).collect(),
            Event::Neighbour { neighbour, entry } => self.neighbour(neighbour, entry),
            Event::Device { index, mac } => self.device(index, mac),
            Event::Everything { devices, neighbours } => {
                self.devices = devices;
                self.neighbours = neighbours;
                let routes = self.routes(|_| true);
                let mut actions: Vec<_> = routes.into_iter().filter_map(|route| self.manage(route.neighbour)).collect();
                actions.extend(self.write(|_| true));
                actions.extend(self.handle(Event::RoutesChanged));
                actions
            }
        }
    }

    fn neighbour(&mut self, neighbour: Neighbour, entry: Entry) -> Vec<Action> {
        let is_needed = !self.routes(|route| route.neighbour == neighbour).is_empty();
        let mut actions = Vec::new();
        match entry {
            Entry::Resolved(_) | Entry::Permanent(_) | Entry::Unresolved => {
                self.neighbours.insert(neighbour, entry);
            }
            // The link went down, or somebody flushed the table: what is needed must be managed again, or nobody would ever notice that its
            // MAC has changed.
            Entry::Gone => {
                self.neighbours.remove(&neighbour);
                actions.extend(is_needed.then_some(Action::Manage(neighbour)));
            }
        }
        actions.extend(self.write(|route| route.neighbour == neighbour));
        actions
    }

    fn device(&mut self, index: u32, mac: Option<Mac>) -> Vec<Action> {
        let old = match mac {
            Some(mac) => self.devices.insert(index, mac),
            None => self.devices.remove(&index),
        };
        if old == mac {
            return Vec::new();
        }
        let routes = self.routes(|route| route.neighbour.device == index);
        let mut actions: Vec<_> = routes.into_iter().filter_map(|route| self.manage(route.neighbour)).collect();
        actions.extend(self.write(|route| route.neighbour.device == index));
        // A device that goes down takes its routes with it, without a word about them.
        actions.extend(self.handle(Event::RoutesChanged));
        actions
    }

    /// The wanted ways of which something holds, in order.
    fn ways(&self, holds: impl Fn(&Wanted) -> bool) -> Vec<Way> {
        let mut ways: Vec<_> = self.wanted.iter().filter(|(_, wanted)| holds(wanted)).map(|(way, _)| *way).collect();
        ways.sort_unstable();
        ways
    }

    /// The routes in use of which something holds, each once.
    fn routes(&self, holds: impl Fn(&Route) -> bool) -> Vec<Route> {
        let mut routes: Vec<_> = self.wanted.values().filter_map(|wanted| wanted.route).filter(holds).collect();
        routes.sort_unstable_by_key(|route| (route.neighbour.device, route.neighbour.addr));
        routes.dedup();
        routes
    }

    /// Has a neighbour managed, unless the operator does.
    fn manage(&self, neighbour: Neighbour) -> Option<Action> {
        let is_permanent = matches!(self.neighbours.get(&neighbour), Some(Entry::Permanent(_)));
        (!is_permanent).then_some(Action::Manage(neighbour))
    }

    /// The neighbours that are managed now, for a clean end.
    pub(crate) fn managed(&self) -> Vec<Neighbour> {
        let routes = self.routes(|_| true).into_iter().map(|route| route.neighbour);
        routes.filter(|neighbour| self.manage(*neighbour).is_some()).collect()
    }

    fn forget(&mut self, way: Way) -> Vec<Action> {
        let Some(wanted) = self.wanted.remove(&way) else { return Vec::new() };
        let mut actions = vec![Action::Write(wanted.id, None), Action::Free(wanted.id)];
        actions.extend(self.release(wanted.route));
        actions
    }

    fn route(&mut self, way: Way, route: Option<Route>) -> Vec<Action> {
        // Only devices that take redirected frames are ways for the fast path.
        let route = route.filter(|route| self.ports.contains_key(&route.neighbour.device));
        let Some(wanted) = self.wanted.get_mut(&way) else { return Vec::new() };
        if wanted.route == route {
            return Vec::new();
        }
        let old = std::mem::replace(&mut wanted.route, route);
        let mut actions: Vec<_> = route.and_then(|route| self.manage(route.neighbour)).into_iter().collect();
        actions.extend(self.release(old));
        actions.extend(self.write_one(way));
        actions
    }

    /// Gives up managing a neighbour that no way needs any more.
    fn release(&self, route: Option<Route>) -> Option<Action> {
        let neighbour = route?.neighbour;
        let is_needed =
            self.wanted.values().filter_map(|wanted| wanted.route).any(|route| route.neighbour == neighbour);
        (!is_needed && self.manage(neighbour).is_some()).then_some(Action::Release(neighbour))
    }

    fn write(&mut self, concerns: impl Fn(&Route) -> bool) -> Vec<Action> {
        let ways = self.ways(|wanted| wanted.route.as_ref().is_some_and(&concerns));
        ways.into_iter().filter_map(|way| self.write_one(way)).collect()
    }

    /// The next hop of one way, if it is another than before.
    fn write_one(&mut self, way: Way) -> Option<Action> {
        let route = self.wanted.get(&way)?.route;
        let hop = route.and_then(|Route { neighbour }| {
            let (Entry::Resolved(to) | Entry::Permanent(to)) = *self.neighbours.get(&neighbour)? else { return None };
            Some(Hop {
                to,
                from: *self.devices.get(&neighbour.device)?,
                device: neighbour.device,
                port: *self.ports.get(&neighbour.device)?,
            })
        });
        let wanted = self.wanted.get_mut(&way)?;
        if wanted.written == hop {
            return None;
        }
        wanted.written = hop;
        Some(Action::Write(wanted.id, hop))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const DEST: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10));
    const WAY: Way = Way { from: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), to: DEST, tos: None };
    const GATEWAY: Neighbour = Neighbour { device: 3, addr: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254)) };
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
        resolver.handle(Event::Neighbour { neighbour: GATEWAY, entry: Entry::Resolved(mac(9)) });
        assert_eq!(resolver.handle(Event::Want { way: WAY, id: ID }), [Action::Write(ID, None), Action::Lookup(WAY)]);
        let route = Event::Route { way: WAY, route: Some(Route { neighbour: GATEWAY }) };
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
        let event = |entry| Event::Neighbour { neighbour: GATEWAY, entry };
        assert_eq!(resolver.handle(event(Entry::Resolved(mac(8)))), [Action::Write(ID, Some(hop(8)))]);
        assert_eq!(resolver.handle(event(Entry::Resolved(mac(8)))), [], "nothing new");
        assert_eq!(resolver.handle(event(Entry::Unresolved)), [Action::Write(ID, None)]);
    }

    #[test]
    fn a_device_that_goes_down_unresolves_what_leaves_by_it() {
        let mut resolver = resolved();
        let down = resolver.handle(Event::Device { index: 3, mac: None });
        assert_eq!(down, [Action::Manage(GATEWAY), Action::Write(ID, None), Action::Lookup(WAY)]);
        let up = resolver.handle(Event::Device { index: 3, mac: Some(mac(1)) });
        assert_eq!(up, [Action::Manage(GATEWAY), Action::Write(ID, Some(hop(9))), Action::Lookup(WAY)]);
    }

    #[test]
    fn a_route_change_is_followed_and_the_old_gateway_released() {
        let mut resolver = resolved();
        let other = Neighbour { device: 4, addr: DEST };
        resolver.handle(Event::Device { index: 4, mac: Some(mac(2)) });
        resolver.handle(Event::Neighbour { neighbour: other, entry: Entry::Resolved(mac(7)) });
        assert_eq!(resolver.handle(Event::RoutesChanged), [Action::Lookup(WAY)]);
        let route = Event::Route { way: WAY, route: Some(Route { neighbour: other }) };
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
        let route = Event::Route { way: WAY, route: Some(Route { neighbour: foreign }) };
        assert_eq!(resolver.handle(route), [Action::Release(GATEWAY), Action::Write(ID, None)]);
    }

    #[test]
    fn a_gateway_is_released_with_the_last_destination_behind_it() {
        let mut resolver = resolved();
        let second = Way { to: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 11)), ..WAY };
        resolver.handle(Event::Want { way: second, id: HopId(6) });
        resolver.handle(Event::Route { way: second, route: Some(Route { neighbour: GATEWAY }) });
        assert_eq!(resolver.handle(Event::Forget { way: WAY }), [Action::Write(ID, None), Action::Free(ID)]);
        assert_eq!(
            resolver.handle(Event::Forget { way: second }),
            [Action::Write(HopId(6), None), Action::Free(HopId(6)), Action::Release(GATEWAY)]
        );
    }

    #[test]
    fn a_managed_neighbour_that_was_flushed_is_managed_again() {
        let mut resolver = resolved();
        let gone = Event::Neighbour { neighbour: GATEWAY, entry: Entry::Gone };
        assert_eq!(resolver.handle(gone), [Action::Manage(GATEWAY), Action::Write(ID, None)]);
    }

    #[test]
    fn the_operators_own_entries_are_left_alone() {
        let mut resolver = Resolver::new(HashMap::from([(3, 0)]));
        resolver.handle(Event::Device { index: 3, mac: Some(mac(1)) });
        resolver.handle(Event::Neighbour { neighbour: GATEWAY, entry: Entry::Permanent(mac(9)) });
        resolver.handle(Event::Want { way: WAY, id: ID });
        let route = Event::Route { way: WAY, route: Some(Route { neighbour: GATEWAY }) };
        assert_eq!(resolver.handle(route), [Action::Write(ID, Some(hop(9)))]);
        assert_eq!(resolver.managed(), []);
        assert_eq!(resolver.handle(Event::Forget { way: WAY }), [Action::Write(ID, None), Action::Free(ID)]);
    }

    #[test]
    fn after_lost_news_what_vanished_meanwhile_is_forgotten_and_what_stayed_is_not_rewritten() {
        let mut resolver = resolved();
        let everything = |neighbours| Event::Everything { devices: HashMap::from([(3, mac(1))]), neighbours };
        let same = HashMap::from([(GATEWAY, Entry::Resolved(mac(9)))]);
        assert_eq!(resolver.handle(everything(same)), [Action::Manage(GATEWAY), Action::Lookup(WAY)]);
        let actions = resolver.handle(everything(HashMap::new()));
        assert_eq!(actions, [Action::Manage(GATEWAY), Action::Write(ID, None), Action::Lookup(WAY)]);
    }
}
