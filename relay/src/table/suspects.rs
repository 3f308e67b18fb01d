//! Who was on a port before the call had it: the party of the call before that goes on speaking, or somebody who sprays.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use flow::{Epoch, Knockers};

/// Hosts that were heard on the port before the call had it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Suspects {
    /// The party of the call that had the port before.
    pub(crate) former: Option<IpAddr>,
    /// Who sent while no call had it.
    pub(crate) knockers: Knockers,
    /// When the call got the port.
    pub(crate) epoch: Epoch,
    /// Those who knocked and go on.
    insistent: Vec<Insistent>,
}

/// A host that knocked before the call, and goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Insistent {
    host: IpAddr,
    since: Instant,
    packets: u16,
}

/// So many packets for so long are no spray over all ports, but somebody who has a call here.
const INSISTENCE: (u16, Duration) = (50, Duration::from_secs(5));
/// So many hosts are told apart: two knockers, and those that look like them.
const INSISTENT: usize = 4;

impl Default for Suspects {
    fn default() -> Self {
        Self::new(None, Knockers::default(), Epoch::FIRST)
    }
}

impl Suspects {
    /// The former party, and who knocked until then.
    pub(crate) const fn new(former: Option<IpAddr>, knockers: Knockers, epoch: Epoch) -> Self {
        Self { former, knockers, epoch, insistent: Vec::new() }
    }

    /// Whether a host that has sent a packet just now is one of them. `is_vacant`: the party is there, and nobody else has come.
    pub(crate) fn are(&mut self, host: IpAddr, is_vacant: bool, now: Instant) -> bool {
        self.former == Some(host) || (self.knockers.may_be(host, self.epoch) && !self.insists(host, is_vacant, now))
    }

    /// Whether a host that knocked before the call goes on and on, while nobody else comes, although the party is there: then it is the party, in
    /// whose name a stranger knocked.
    fn insists(&mut self, host: IpAddr, is_vacant: bool, now: Instant) -> bool {
        if !is_vacant {
            self.insistent.clear();
            return false;
        }
        let place = self.insistent.iter().position(|one| one.host == host).unwrap_or_else(|| {
            // Whoever has sent least makes room.
            if self.insistent.len() >= INSISTENT
                && let Some((least, _)) = self.insistent.iter().enumerate().min_by_key(|(_, one)| one.packets)
            {
                self.insistent.swap_remove(least);
            }
            self.insistent.push(Insistent { host, since: now, packets: 0 });
            self.insistent.len() - 1
        });
        let Some(one) = self.insistent.get_mut(place) else { return false };
        one.packets = one.packets.saturating_add(1);
        one.packets >= INSISTENCE.0 && now.saturating_duration_since(one.since) >= INSISTENCE.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn host(last: u8) -> IpAddr {
        [203, 0, 113, last].into()
    }

    /// Everybody has knocked, as far as 12 bits tell.
    fn knocked(hosts: &[u8]) -> Suspects {
        let knockers = hosts.iter().fold(Knockers::default(), |all, last| all.with(host(*last).into(), Epoch::FIRST));
        Suspects::new(None, knockers, Epoch::FIRST)
    }

    /// Packets of a host, ten a second; whether it is a suspect at the end.
    fn send(suspects: &mut Suspects, last: u8, is_vacant: bool, packets: u32, now: &mut Instant) -> bool {
        let mut is_suspect = true;
        for _ in 0..packets {
            *now += SECOND / 10;
            is_suspect = suspects.are(host(last), is_vacant, *now);
        }
        is_suspect
    }

    #[test]
    fn a_knocker_that_goes_on_while_nobody_else_comes_is_the_party() {
        let (mut suspects, mut now) = (knocked(&[7]), Instant::now());
        assert!(send(&mut suspects, 7, true, 50, &mut now));
        assert!(!send(&mut suspects, 7, true, 1, &mut now));
        assert!(!suspects.are(host(8), true, now), "nobody else is one");
    }

    #[test]
    fn a_knocker_that_goes_on_while_the_phone_rings_or_another_speaks_stays_one() {
        let (mut suspects, mut now) = (knocked(&[7]), Instant::now());
        assert!(send(&mut suspects, 7, false, 500, &mut now));
        assert!(send(&mut suspects, 7, true, 50, &mut now), "it begins anew");
    }

    #[test]
    fn the_former_party_stays_one_however_long_it_goes_on() {
        let (mut suspects, mut now) = (Suspects { former: Some(host(7)), ..Suspects::default() }, Instant::now());
        assert!(send(&mut suspects, 7, true, 500, &mut now));
    }

    #[test]
    fn many_who_look_like_a_knocker_do_not_keep_the_party_out() {
        let (mut suspects, mut now) = (knocked(&[7]), Instant::now());
        // What has the same twelve bits.
        let alike = (0..=u16::MAX).map(|low| IpAddr::from([10, 0, (low >> 8) as u8, low as u8]));
        let alike: Vec<IpAddr> = alike.filter(|one| suspects.knockers.may_be(*one, Epoch::FIRST)).take(8).collect();
        assert_eq!(alike.len(), 8);
        for one in alike {
            assert!(suspects.are(one, true, now));
        }
        assert!(!send(&mut suspects, 7, true, 51, &mut now));
    }
}
