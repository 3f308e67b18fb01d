//! Next hops: by which device and to which MAC packets of a route leave, kept true by what the kernel says.
//!
//! ```text
//! in:  routes that slots need (the table), routes, neighbours and links (netlink)
//! out: next-hop cells (shared with the XDP program), numbers of routes
//! ```

mod news;
mod next_hops;
mod resolver;
mod watcher;

pub(crate) use news::{everything, gateways};
pub(crate) use next_hops::{HOPS, NO_PORT, NextHops};
pub(crate) use resolver::{Entry, Event, Neighbour, Port, Ports};
pub(crate) use watcher::Watcher;
