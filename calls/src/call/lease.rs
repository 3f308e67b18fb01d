//! Ports that are not a call's yet.

use std::time::Instant;

use border::{Exhausted, InterfaceId, PortPair, Ports};

/// Port pairs that a command took. They go back when the lease is dropped, unless it is kept.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    ports: &'a mut Ports,
    now: Instant,
    taken: Vec<PortPair>,
}

impl<'a> Lease<'a> {
    pub(super) const fn new(ports: &'a mut Ports, now: Instant) -> Self {
        Self { ports, now, taken: Vec::new() }
    }

    /// One more pair.
    pub(super) fn allocate(&mut self, interface: InterfaceId) -> Result<PortPair, Exhausted> {
        let pair = self.ports.allocate(interface, self.now)?;
        self.taken.push(pair);
        Ok(pair)
    }

    /// The pairs belong to a call now.
    pub(super) fn keep(mut self) {
        self.taken.clear();
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        for pair in self.taken.drain(..) {
            self.ports.cancel(pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_goes_back() {
        let mut ports = Ports::new(&[(30000, 30003)]).unwrap();
        let mut lease = Lease::new(&mut ports, Instant::now());
        assert!(lease.allocate(InterfaceId(0)).is_ok() && lease.allocate(InterfaceId(0)).is_ok());
        assert_eq!(lease.allocate(InterfaceId(0)), Err(Exhausted));
        drop(lease);
        assert_eq!(ports.used(), 0);
    }

    #[test]
    fn what_is_kept_stays_taken() {
        let mut ports = Ports::new(&[(30000, 30003)]).unwrap();
        let mut lease = Lease::new(&mut ports, Instant::now());
        assert!(lease.allocate(InterfaceId(0)).is_ok());
        lease.keep();
        assert_eq!(ports.used(), 1);
    }
}
