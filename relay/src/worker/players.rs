//! What a worker plays: packets of its own, every 20 ms for each party that is to hear something.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use border::{Announcement, Event};
use crossbeam::channel::Receiver;
use flow::SlotIndex;
use media::{Head, INTERVAL, Player, Track};

use crate::table::{Events, Order, Outlet};
use crate::worker::carry::Carrier;
use crate::worker::outbox::Outbox;
use crate::worker::wheel::{Tick, Wheel};

/// Samples of G.711 in a millisecond.
const SAMPLES_PER_MS: u32 = 8;

/// So many packets are made up for when a worker was kept from its work; what was to be heard before that is heard later.
const BURST: u64 = 3;

/// What a worker plays to parties.
pub(crate) struct Players {
    orders: Receiver<Order>,
    playing: HashMap<SlotIndex, Playing>,
    /// When the next packet of each is due, by slot and turn.
    wheel: Wheel<(SlotIndex, u64)>,
    /// How many have begun to hear something: tells those of a slot apart.
    turns: u64,
    events: Arc<Events>,
}

/// What a party hears.
struct Playing {
    call: u64,
    turn: u64,
    announcement: Arc<Announcement>,
    /// Where the party is, if that is known: else what it is to hear waits.
    outlet: Option<Outlet>,
    player: Player,
}

impl Players {
    /// Nobody hears anything yet.
    pub(crate) fn new(orders: Receiver<Order>, events: Arc<Events>, now: Instant) -> Self {
        Self { orders, playing: HashMap::new(), wheel: Wheel::new(now), turns: 0, events }
    }

    /// How long until there is a packet to send; `None` while nobody hears anything.
    pub(crate) fn wait(&self) -> Option<Duration> {
        if self.playing.is_empty() { None } else { self.wheel.wait(Instant::now()) }
    }

    /// Takes orders, and sends the packets that are due.
    pub(crate) fn turn(&mut self, carrier: &mut Carrier, outbox: &mut Outbox) {
        if !self.playing.is_empty() || !self.orders.is_empty() {
            self.turn_at(Instant::now(), carrier, outbox);
        }
    }

    fn turn_at(&mut self, now: Instant, carrier: &mut Carrier, outbox: &mut Outbox) {
        let now = self.wheel.tick(now);
        while let Ok(order) = self.orders.try_recv() {
            self.take(order, now);
        }
        for (tick, (slot, turn)) in self.wheel.due(now) {
            self.play(slot, turn, (tick, now), carrier, outbox);
        }
    }

    fn take(&mut self, order: Order, now: Tick) {
        match order {
            Order::Stop(slot) => drop(self.playing.remove(&slot)),
            Order::Play(slot, call, announcement, outlet) => match self.playing.get_mut(&slot) {
                Some(playing) if playing.announcement.id == announcement.id => playing.outlet = outlet,
                // The party has moved when it had heard all.
                Some(_) | None if announcement.is_over() => {
                    self.playing.remove(&slot);
                    self.events.tell(Event::Ended { call, slot, id: announcement.id });
                }
                Some(_) | None => {
                    self.turns += 1;
                    let turn = self.turns;
                    self.wheel.insert(now, (slot, turn));
                    let player = player(&announcement);
                    self.playing.insert(slot, Playing { call, turn, announcement, outlet, player });
                }
            },
        }
    }

    /// Sends a party what is due at a tick.
    fn play(
        &mut self,
        slot: SlotIndex,
        turn: u64,
        (mut due, now): (Tick, Tick),
        carrier: &mut Carrier,
        outbox: &mut Outbox,
    ) {
        let Some(playing) = self.playing.get_mut(&slot).filter(|playing| playing.turn == turn) else { return };
        let late = now.0.saturating_sub(due.0) / INTERVAL.as_millis() as u64;
        // What could not be made up for in time is heard later: the packets keep their beat.
        due = due.after(INTERVAL * late.saturating_sub(BURST) as u32);
        for _ in 0..=late.min(BURST) {
            let at = due;
            due = due.after(INTERVAL);
            let Some(outlet) = &playing.outlet else { continue };
            // The media's clock goes on while nothing is heard.
            let Some(packet) = playing.player.packet(at.0.wrapping_mul(u64::from(SAMPLES_PER_MS)) as u32) else {
                break;
            };
            if let Some((departure, packet)) = carrier.originate(slot, outlet, &packet, outbox) {
                outbox.send(departure, packet);
            }
        }
        playing.announcement.played.set(playing.player.played());
        if playing.announcement.is_over() {
            let (call, id) = (playing.call, playing.announcement.id);
            self.playing.remove(&slot);
            return self.events.tell(Event::Ended { call, slot, id });
        }
        self.wheel.insert(due, (slot, turn));
    }
}

fn player(announcement: &Announcement) -> Player {
    let Announcement { sound, silence, payload_type, ssrc, sequence, timestamp, start, octets, .. } = announcement;
    let track = Track { sound: sound.clone(), silence: *silence, start: *start, octets: *octets };
    Player::new(
        track,
        Head { payload_type: *payload_type, ssrc: *ssrc, sequence: *sequence, timestamp: *timestamp },
        announcement.played.octets(),
    )
}

#[cfg(test)]
mod tests;
