//! Which way to a destination: routes, neighbours and devices in, next hops out. Pure; `netlink` is its edge.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use flow::{Hop, HopId, Mac};

/// What the resolver is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A way is needed, under this number. One that an earlier process has resolved is known, and stays as it is until there is better news.
    Want { way: Way, id: HopId, known: Option<Hop> },
    /// A way is not needed any more.
    Forget { way: Way },
    /// The kernel's answer to a lookup; `None` when there is no route that leaves this host.
    Route { way: Way, route: Option<Route> },
    /// Some route or address of the host changed.
    RoutesChanged,
    /// What the neighbour table says of a neighbour.
    Neighbour { neighbour: Neighbour, entry: Entry },
    /// A device's state; `None` when it is down or gone.
    Device { index: u32, link: Option<Link> },
    /// The devices that frames may leave by now.
    Ports(Ports),
    /// All devices and neighbours there are, after news were lost.
    Everything { devices: HashMap<u32, Link>, neighbours: HashMap<Neighbour, Entry> },
}

/// How frames leave by a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Port {
    /// Its index in the device map.
    pub(crate) index: u16,
    /// Whether frames that came by it leave by it without being redirected.
    pub(crate) reflects: bool,
}

/// Devices by their index.
pub(crate) type Ports = HashMap<u32, Port>;

/// A device that is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    pub(crate) mac: Mac,
    /// The longest IP packet that it takes, in bytes.
    pub(crate) mtu: u32,
}

/// A neighbour's entry in the kernel's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// Resolved by the kernel.
    Resolved(Mac),
    /// Given by the operator: there is nothing to manage.
    Permanent(Mac),
    /// Being resolved, or found not to answer; the kernel goes on trying as long as the entry is managed. One that was resolved is taken to be
    /// where it was.
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
    /// The longest IP packet that it takes, where it is not the device's.
    pub(crate) mtu: Option<u32>,
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
    /// The devices that frames may leave by.
    ports: Ports,
    devices: HashMap<u32, Link>,
    neighbours: HashMap<Neighbour, Entry>,
    wanted: HashMap<Way, Wanted>,
    /// The ways by each neighbour in use: what happens to one concerns no more than these.
    users: HashMap<Neighbour, BTreeSet<Way>>,
}

impl Resolver {
    /// A resolver for frames that may leave by these devices.
    pub(crate) fn new(ports: Ports) -> Self {
        Self {
            ports,
            devices: HashMap::new(),
            neighbours: HashMap::new(),
            wanted: HashMap::new(),
            users: HashMap::new(),
        }
    }

    /// Takes an event; returns what follows from it, in order.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Want { way, id, known } => {
                self.wanted.insert(way, Wanted { id, route: None, written: known });
                let write = known.is_none().then_some(Action::Write(id, None));
                write.into_iter().chain([Action::Lookup(way)]).collect()
            }
            Event::Forget { way } => self.forget(way),
            Event::Route { way, route } => self.route(way, route),
            Event::RoutesChanged => self.look_all_up(),
            Event::Ports(ports) => {
                self.ports = ports;
                self.look_all_up()
            }
            Event::Neighbour { neighbour, entry } => self.neighbour(neighbour, entry),
            Event::Device { index, link } => self.device(index, link),
            Event::Everything { devices, neighbours } => {
                self.devices = devices;
                self.neighbours = neighbours;
                let used = self.used(|_| true);
                let mut actions: Vec<_> = used.iter().filter_map(|neighbour| self.manage(*neighbour)).collect();
                actions.extend(used.into_iter().flat_map(|neighbour| self.write(neighbour)));
                actions.extend(self.look_all_up());
                actions
            }
        }
    }

    fn look_all_up(&self) -> Vec<Action> {
        let mut ways: Vec<_> = self.wanted.keys().copied().collect();
        ways.sort_unstable();
        ways.into_iter().map(Action::Lookup).collect()
    }

    fn neighbour(&mut self, neighbour: Neighbour, entry: Entry) -> Vec<Action> {
        let mut actions = Vec::new();
        match entry {
            // One that is asked again and does not answer at once - under a flood, its answer is late - is where it was, as far as anybody knows:
            // the stack would have nowhere else to send to, and would lose what it got.
            Entry::Unresolved if matches!(self.neighbours.get(&neighbour), Some(Entry::Resolved(_))) => {}
            Entry::Resolved(_) | Entry::Permanent(_) | Entry::Unresolved => {
                self.neighbours.insert(neighbour, entry);
            }
            // The link went down, or somebody flushed the table: what is needed must be managed again, or nobody would ever notice that its
            // MAC has changed.
            Entry::Gone => {
                self.neighbours.remove(&neighbour);
                actions.extend(self.users.contains_key(&neighbour).then_some(Action::Manage(neighbour)));
            }
        }
        actions.extend(self.write(neighbour));
        actions
    }

    fn device(&mut self, index: u32, link: Option<Link>) -> Vec<Action> {
        let old = match link {
            Some(link) => self.devices.insert(index, link),
            None => self.devices.remove(&index),
        };
        if old == link {
            return Vec::new();
        }
        let used = self.used(|neighbour| neighbour.device == index);
        let mut actions: Vec<_> = used.iter().filter_map(|neighbour| self.manage(*neighbour)).collect();
        actions.extend(used.into_iter().flat_map(|neighbour| self.write(neighbour)));
        // A device that goes down takes its routes with it, without a word about them.
        actions.extend(self.look_all_up());
        actions
    }

    /// The neighbours in use of which something holds, in order.
    fn used(&self, holds: impl Fn(&Neighbour) -> bool) -> Vec<Neighbour> {
        let mut used: Vec<_> = self.users.keys().copied().filter(holds).collect();
        used.sort_unstable_by_key(|neighbour| (neighbour.device, neighbour.addr));
        used
    }

    /// Has a neighbour managed, unless the operator does.
    fn manage(&self, neighbour: Neighbour) -> Option<Action> {
        let is_permanent = matches!(self.neighbours.get(&neighbour), Some(Entry::Permanent(_)));
        (!is_permanent).then_some(Action::Manage(neighbour))
    }

    /// The neighbours that are managed now, for a clean end.
    pub(crate) fn managed(&self) -> Vec<Neighbour> {
        self.used(|neighbour| self.manage(*neighbour).is_some())
    }

    fn forget(&mut self, way: Way) -> Vec<Action> {
        let Some(wanted) = self.wanted.remove(&way) else { return Vec::new() };
        let mut actions = vec![Action::Write(wanted.id, None), Action::Free(wanted.id)];
        actions.extend(self.release(way, wanted.route));
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
        let has_moved = old.map(|old| old.neighbour) != route.map(|route| route.neighbour);
        let mut actions = Vec::new();
        if has_moved {
            if let Some(Route { neighbour, .. }) = route {
                self.users.entry(neighbour).or_default().insert(way);
                actions.extend(self.manage(neighbour));
            }
            actions.extend(self.release(way, old));
        }
        actions.extend(self.write_one(way));
        actions
    }

    /// A way has left a route. A neighbour that no way needs any more is not managed any more.
    fn release(&mut self, way: Way, route: Option<Route>) -> Option<Action> {
        let neighbour = route?.neighbour;
        let ways = self.users.get_mut(&neighbour)?;
        ways.remove(&way);
        if !ways.is_empty() {
            return None;
        }
        self.users.remove(&neighbour);
        self.manage(neighbour).map(|_| Action::Release(neighbour))
    }

    /// The next hops of the ways by a neighbour that are others than before.
    fn write(&mut self, neighbour: Neighbour) -> Vec<Action> {
        let ways: Vec<Way> = self.users.get(&neighbour).into_iter().flatten().copied().collect();
        ways.into_iter().filter_map(|way| self.write_one(way)).collect()
    }

    /// The next hop of one way, if it is another than before.
    fn write_one(&mut self, way: Way) -> Option<Action> {
        let route = self.wanted.get(&way)?.route;
        let hop = route.and_then(|Route { neighbour, mtu }| {
            let (Entry::Resolved(to) | Entry::Permanent(to)) = *self.neighbours.get(&neighbour)? else { return None };
            let link = self.devices.get(&neighbour.device)?;
            let mtu = mtu.unwrap_or(link.mtu).min(link.mtu);
            let port = self.ports.get(&neighbour.device)?;
            Some(Hop {
                to,
                from: link.mac,
                device: neighbour.device,
                port: port.index,
                reflects: port.reflects,
                mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
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

    fn ports<const COUNT: usize>(ports: [(u32, u16); COUNT]) -> Ports {
        ports.into_iter().map(|(device, index)| (device, Port { index, reflects: true })).collect()
    }

    fn link(last: u8) -> Link {
        Link { mac: mac(last), mtu: 1500 }
    }

    fn hop(to: u8) -> Hop {
        Hop { to: mac(to), from: mac(1), device: 3, port: 0, reflects: true, mtu: 1500 }
    }

    /// A resolver that has resolved `DEST` by way of `GATEWAY`.
    fn resolved() -> Resolver {
        let mut resolver = Resolver::new(ports([(3, 0), (4, 1)]));
        resolver.handle(Event::Device { index: 3, link: Some(link(1)) });
        resolver.handle(Event::Neighbour { neighbour: GATEWAY, entry: Entry::Resolved(mac(9)) });
        assert_eq!(
            resolver.handle(Event::Want { way: WAY, id: ID, known: None }),
            [Action::Write(ID, None), Action::Lookup(WAY)]
        );
        let route = Event::Route { way: WAY, route: Some(Route { neighbour: GATEWAY, mtu: None }) };
        assert_eq!(resolver.handle(route), [Action::Manage(GATEWAY), Action::Write(ID, Some(hop(9)))]);
        resolver
    }

    #[test]
    fn a_destination_is_resolved_by_route_neighbour_and_device() {
        resolved();
    }

    #[test]
    fn a_way_that_an_earlier_process_has_resolved_is_written_only_when_it_is_another_now() {
        for (known, written) in [(hop(9), None), (hop(8), Some(hop(9)))] {
            let mut resolver = Resolver::new(ports([(3, 0)]));
            resolver.handle(Event::Device { index: 3, link: Some(link(1)) });
            resolver.handle(Event::Neighbour { neighbour: GATEWAY, entry: Entry::Resolved(mac(9)) });
            let want = Event::Want { way: WAY, id: ID, known: Some(known) };
            assert_eq!(resolver.handle(want), [Action::Lookup(WAY)]);
            let route = Event::Route { way: WAY, route: Some(Route { neighbour: GATEWAY, mtu: None }) };
            let actions: Vec<_> = written.map(|hop| Action::Write(ID, Some(hop))).into_iter().collect();
            assert_eq!(resolver.handle(route)[1..], actions);
        }
    }

    #[test]
    fn a_neighbour_that_changes_its_mac_is_rewritten_and_one_that_does_not_answer_stays_where_it_was() {
        let mut resolver = resolved();
        let event = |entry| Event::Neighbour { neighbour: GATEWAY, entry };
        assert_eq!(resolver.handle(event(Entry::Resolved(mac(8)))), [Action::Write(ID, Some(hop(8)))]);
        assert_eq!(resolver.handle(event(Entry::Resolved(mac(8)))), [], "nothing new");
        assert_eq!(resolver.handle(event(Entry::Unresolved)), []);
        assert_eq!(resolver.handle(event(Entry::Resolved(mac(7)))), [Action::Write(ID, Some(hop(7)))]);
        assert_eq!(resolver.handle(event(Entry::Gone)), [Action::Manage(GATEWAY), Action::Write(ID, None)]);
    }

    #[test]
    fn a_device_that_goes_down_unresolves_what_leaves_by_it() {
        let mut resolver = resolved();
        let down = resolver.handle(Event::Device { index: 3, link: None });
        assert_eq!(down, [Action::Manage(GATEWAY), Action::Write(ID, None), Action::Lookup(WAY)]);
        let up = resolver.handle(Event::Device { index: 3, link: Some(link(1)) });
        assert_eq!(up, [Action::Manage(GATEWAY), Action::Write(ID, Some(hop(9))), Action::Lookup(WAY)]);
    }

    #[test]
    fn a_route_change_is_followed_and_the_old_gateway_released() {
        let mut resolver = resolved();
        let other = Neighbour { device: 4, addr: DEST };
        resolver.handle(Event::Device { index: 4, link: Some(link(2)) });
        resolver.handle(Event::Neighbour { neighbour: other, entry: Entry::Resolved(mac(7)) });
        assert_eq!(resolver.handle(Event::RoutesChanged), [Action::Lookup(WAY)]);
        let route = Event::Route { way: WAY, route: Some(Route { neighbour: other, mtu: None }) };
        let hop = Hop { to: mac(7), from: mac(2), device: 4, port: 1, reflects: true, mtu: 1500 };
        assert_eq!(
            resolver.handle(route),
            [Action::Manage(other), Action::Release(GATEWAY), Action::Write(ID, Some(hop))]
        );
    }

    #[test]
    fn the_shorter_of_what_route_and_device_take_is_what_the_way_takes() {
        let mut resolver = resolved();
        for (mtu, expected) in [(1280, 1280), (9000, 1500)] {
            let route = Event::Route { way: WAY, route: Some(Route { neighbour: GATEWAY, mtu: Some(mtu) }) };
            let hop = Hop { mtu: expected, ..hop(9) };
            assert_eq!(resolver.handle(route), [Action::Write(ID, Some(hop))]);
        }
        let jumbo = Event::Device { index: 3, link: Some(Link { mtu: 9000, ..link(1) }) };
        let hop = Hop { mtu: 9000, ..hop(9) };
        assert!(resolver.handle(jumbo).contains(&Action::Write(ID, Some(hop))));
    }

    #[test]
    fn a_device_that_may_not_be_left_by_any_more_has_its_ways_looked_up_and_written_off() {
        let mut resolver = resolved();
        assert_eq!(resolver.handle(Event::Ports(HashMap::new())), [Action::Lookup(WAY)]);
        let route = Event::Route { way: WAY, route: Some(Route { neighbour: GATEWAY, mtu: None }) };
        assert_eq!(resolver.handle(route), [Action::Release(GATEWAY), Action::Write(ID, None)]);
    }

    #[test]
    fn news_of_a_neighbour_concern_only_the_ways_by_it() {
        let mut resolver = resolved();
        let other = Neighbour { device: 3, addr: DEST };
        let second = Way { to: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 11)), ..WAY };
        resolver.handle(Event::Want { way: second, id: HopId(6), known: None });
        resolver.handle(Event::Route { way: second, route: Some(Route { neighbour: other, mtu: None }) });
        let news = Event::Neighbour { neighbour: other, entry: Entry::Resolved(mac(7)) };
        assert_eq!(resolver.handle(news), [Action::Write(HopId(6), Some(hop(7)))]);
    }

    #[test]
    fn a_device_without_a_place_in_the_device_map_is_no_way_out() {
        let mut resolver = resolved();
        let foreign = Neighbour { device: 9, addr: DEST };
        let route = Event::Route { way: WAY, route: Some(Route { neighbour: foreign, mtu: None }) };
        assert_eq!(resolver.handle(route), [Action::Release(GATEWAY), Action::Write(ID, None)]);
    }

    #[test]
    fn a_gateway_is_released_with_the_last_destination_behind_it() {
        let mut resolver = resolved();
        let second = Way { to: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 11)), ..WAY };
        resolver.handle(Event::Want { way: second, id: HopId(6), known: None });
        resolver.handle(Event::Route { way: second, route: Some(Route { neighbour: GATEWAY, mtu: None }) });
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
        let mut resolver = Resolver::new(ports([(3, 0)]));
        resolver.handle(Event::Device { index: 3, link: Some(link(1)) });
        resolver.handle(Event::Neighbour { neighbour: GATEWAY, entry: Entry::Permanent(mac(9)) });
        resolver.handle(Event::Want { way: WAY, id: ID, known: None });
        let route = Event::Route { way: WAY, route: Some(Route { neighbour: GATEWAY, mtu: None }) };
        assert_eq!(resolver.handle(route), [Action::Write(ID, Some(hop(9)))]);
        assert_eq!(resolver.managed(), []);
        assert_eq!(resolver.handle(Event::Forget { way: WAY }), [Action::Write(ID, None), Action::Free(ID)]);
    }

    #[test]
    fn after_lost_news_what_vanished_meanwhile_is_forgotten_and_what_stayed_is_not_rewritten() {
        let mut resolver = resolved();
        let everything = |neighbours| Event::Everything { devices: HashMap::from([(3, link(1))]), neighbours };
        let same = HashMap::from([(GATEWAY, Entry::Resolved(mac(9)))]);
        assert_eq!(resolver.handle(everything(same)), [Action::Manage(GATEWAY), Action::Lookup(WAY)]);
        let actions = resolver.handle(everything(HashMap::new()));
        assert_eq!(actions, [Action::Manage(GATEWAY), Action::Write(ID, None), Action::Lookup(WAY)]);
    }
}
