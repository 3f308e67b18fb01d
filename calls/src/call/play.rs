//! What parties hear although nobody says it: announcements, music on hold.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use border::{Announcement, Event, FlowOp, Played};
use media::{Law, Recording, octets_of, time_of};

use super::calls::{Calls, Done, Entry};
use super::dialogue::Call;
use super::leg::LegId;
use super::media::Media;
use super::plan::desired;
use super::playing::Playing;
use crate::intent::{Party, Play, Sound, StopPlaying};
use crate::outcome::{Outcome, Refusal};

/// So many recordings of one call may wait to be read.
const MAX_AWAITED: usize = 16;

impl Calls {
    /// Notes that somebody reads a recording for parties of a call; the number under which it comes. What is played to them, or stopped, meanwhile
    /// comes later, and so takes its place.
    pub(crate) fn await_recording(&mut self, play: &Play) -> Result<u64, Refusal> {
        let entry = self.calls.get_mut(&play.call_id).ok_or(Refusal::UnknownCallId)?;
        let legs = entry.call.participants(&play.party)?;
        if legs.iter().all(|leg| entry.call.playable(*leg).is_none()) {
            return Err(Refusal::NotPlayable);
        }
        entry.overtake(&legs);
        self.announcements += 1;
        if entry.awaited.len() >= MAX_AWAITED {
            entry.awaited.remove(0);
        }
        entry.awaited.push((self.announcements, legs));
        Ok(self.announcements)
    }

    pub(super) fn play(&mut self, play: &Play, now: Instant) -> Done {
        let entry = self.calls.get_mut(&play.call_id).ok_or(Refusal::UnknownCallId)?;
        let legs = match play.ticket {
            // Of another call of this name it is none.
            Some(ticket) => entry.awaited_by(ticket).ok_or(Refusal::Overtaken)?,
            None => entry.call.participants(&play.party)?,
        };
        let mut draft = entry.call.clone();
        let able: Vec<_> = legs.into_iter().filter_map(|leg| Some((leg, draft.playable(leg)?))).collect();
        if able.is_empty() {
            return Err(Refusal::NotPlayable);
        }
        let recording = match &play.sound {
            Sound::Recording(recording) => recording,
            Sound::Unreadable(why) => return Err(Refusal::Unplayable(why.clone())),
            Sound::File(_) => return Err(Refusal::Unplayable("nobody has read it".to_owned())),
        };
        if play.start >= recording.duration() {
            return Err(Refusal::Unplayable("start-pos is beyond its end".to_owned()));
        }
        let legs: Vec<LegId> = able.iter().map(|(leg, _)| *leg).collect();
        let first = self.announcements;
        for (leg, (media, payload_type, law)) in able {
            self.announcements += 1;
            let announcement = self.announcement(play, recording, payload_type, law);
            draft.playing.retain(|playing| playing.leg != leg);
            draft.playing.push(Playing {
                leg,
                media,
                law,
                recording: Arc::clone(recording),
                announcement: Arc::new(announcement),
            });
        }
        // The parties of a fork share ports, and only one of them is there.
        let is_new = |announcement: &Arc<Announcement>| announcement.id > first;
        let is_heard =
            desired(&draft, &self.interfaces).values().any(|spec| spec.announcement.as_ref().is_some_and(is_new));
        if !is_heard {
            return Err(Refusal::NotPlayable);
        }
        if let Some(entry) = self.calls.get_mut(&play.call_id) {
            entry.overtake(&legs);
        }
        let ops = self.replace(&play.call_id, draft, now);
        Ok((Outcome::Playing(recording.duration()), ops))
    }

    fn announcement(&self, play: &Play, recording: &Recording, payload_type: u8, law: Law) -> Announcement {
        let len = recording.len();
        let start = usize::try_from(octets_of(play.start)).unwrap_or(usize::MAX).min(len.saturating_sub(1));
        let rounds = match (play.times, play.longest) {
            (Some(times), _) => u64::from(times.max(1)),
            (None, Some(_)) => u64::MAX,
            (None, None) => 1,
        };
        let whole = rounds.saturating_mul(len as u64).saturating_sub(start as u64);
        let octets = play.longest.map_or(u64::MAX, octets_of).min(whole);
        // Nobody can foresee them, as RFC 3550 5.1 wants.
        let random = |what: &str| {
            let mut hasher = DefaultHasher::new();
            (&self.mark, self.announcements, what).hash(&mut hasher);
            hasher.finish()
        };
        let numbers = random("numbers");
        Announcement {
            id: self.announcements,
            sound: recording.octets(law),
            silence: law.silence(),
            payload_type,
            ssrc: random("source") as u32,
            sequence: numbers as u16,
            timestamp: (numbers >> 32) as u32,
            start,
            octets,
            played: Played::default(),
        }
    }

    pub(super) fn stop_playing(&mut self, stop: &StopPlaying, now: Instant) -> Done {
        let entry = self.calls.get_mut(&stop.call_id).ok_or(Refusal::UnknownCallId)?;
        let legs = entry.call.participants(&stop.party)?;
        entry.overtake(&legs);
        let mut draft = entry.call.clone();
        let (stopped, left) = draft.playing.into_iter().partition(|playing| legs.contains(&playing.leg));
        draft.playing = left;
        let ops = self.replace(&stop.call_id, draft, now);
        let stopped: Vec<Playing> = stopped;
        let position = stopped.first().map_or(Duration::ZERO, |playing| time_of(playing.announcement.position()));
        Ok((Outcome::StoppedPlaying(position), ops))
    }

    /// Takes notice of what the data plane tells; what it has to do for that.
    pub fn hear(&mut self, event: Event, now: Instant) -> Vec<FlowOp> {
        if let Some(watched) = &mut self.watched {
            let call_id = match event {
                Event::Silent { call, .. } | Event::Poor { call, .. } | Event::Doubted { call, .. } => {
                    self.names.get(&call).map(Vec::as_slice)
                }
                Event::Learned { .. } | Event::Faulty { .. } | Event::Ended { .. } | Event::Dropped(_) => None,
            };
            watched.note_event(&event, call_id);
        }
        match event {
            Event::Ended { id, .. } => self.end_announcement(id, now),
            // Whichever of them it was about.
            Event::Dropped(_) => {
                let ids: Vec<u64> = self.announced.keys().copied().collect();
                ids.into_iter().flat_map(|id| self.end_announcement(id, now)).collect()
            }
            Event::Learned { .. }
            | Event::Silent { .. }
            | Event::Doubted { .. }
            | Event::Poor { .. }
            | Event::Faulty { .. } => Vec::new(),
        }
    }

    /// An announcement is over, if it is.
    fn end_announcement(&mut self, id: u64, now: Instant) -> Vec<FlowOp> {
        let Some(call_id) = self.announced.get(&id).cloned() else { return Vec::new() };
        let Some(entry) = self.calls.get(&call_id) else { return Vec::new() };
        let is_over = |playing: &Playing| playing.announcement.id == id && playing.announcement.is_over();
        if !entry.call.playing.iter().any(is_over) {
            return Vec::new();
        }
        let mut draft = entry.call.clone();
        draft.playing.retain(|playing| !is_over(playing));
        self.replace(&call_id, draft, now)
    }

    /// Notes in which call each announcement is.
    pub(super) fn note_announcements(&mut self, call_id: &[u8], before: &[Playing], now: &[Playing]) {
        for gone in before {
            self.announced.remove(&gone.announcement.id);
        }
        for playing in now {
            self.announced.insert(playing.announcement.id, call_id.to_vec());
        }
    }
}

impl Entry {
    /// These parties are to hear something else, or nothing: whatever waits to be read is not for them any more.
    fn overtake(&mut self, legs: &[LegId]) {
        for (_, awaiting) in &mut self.awaited {
            awaiting.retain(|leg| !legs.contains(leg));
        }
        self.awaited.retain(|(_, awaiting)| !awaiting.is_empty());
    }

    /// Who is still to hear what has been read; `None` when nobody is.
    fn awaited_by(&mut self, ticket: u64) -> Option<Vec<LegId>> {
        let place = self.awaited.iter().position(|(number, _)| *number == ticket)?;
        let (_, legs) = self.awaited.remove(place);
        let left: Vec<LegId> = legs.into_iter().filter(|leg| self.call.leg(*leg).is_some()).collect();
        (!left.is_empty()).then_some(left)
    }
}

impl Call {
    /// The legs of those who are to hear something.
    fn participants(&self, party: &Party) -> Result<Vec<LegId>, Refusal> {
        Ok(self.parties(party)?.unwrap_or_else(|| self.legs.keys().copied().collect()))
    }

    /// The first media of a party that something can be played on: its number, payload type and law.
    fn playable(&self, id: LegId) -> Option<(usize, u8, Law)> {
        let medias = (0..).zip(&self.leg(id)?.medias);
        medias.into_iter().find_map(|(number, media)| {
            let (payload_type, law) = self.g711_of(id, number, media).into_iter().next()?;
            Some((number, payload_type, law))
        })
    }

    /// Under which payload types a party takes G.711 on a media, and by which law: what both parties have named, where both have spoken.
    fn g711_of(&self, id: LegId, number: usize, media: &Media) -> Vec<(u8, Law)> {
        let said = media.in_force();
        if !said.open || !said.has_rtcp || !self.is_readable(id, number) || media.pair.is_none() {
            return Vec::new();
        }
        let partner = self.partner(id).and_then(|partner| self.leg(partner)).filter(|partner| partner.has_spoken);
        let partners =
            partner.and_then(|partner| partner.medias.get(number)).map(|media| media.formats_in_force().g711());
        let mut own = media.formats_in_force().g711();
        if let Some(partners) = partners.filter(|partners| !partners.is_empty()) {
            // An answer has fewer than its offer, and the preferred one first.
            let rank = |law: Law| partners.iter().position(|(_, other)| *other == law);
            own.retain(|(_, law)| rank(*law).is_some());
            own.sort_by_key(|(_, law)| rank(*law));
        }
        own
    }

    /// What is played to parties that can take it now.
    pub(super) fn audible(&self) -> impl Iterator<Item = &Playing> {
        self.playing.iter().filter(|playing| {
            // Who has hung up hears nothing more, however long its packets may still arrive.
            let leg = self.leg(playing.leg).filter(|leg| leg.ends.is_none());
            let media = leg.and_then(|leg| leg.medias.get(playing.media));
            let wanted = (playing.announcement.payload_type, playing.law);
            media.is_some_and(|media| self.g711_of(playing.leg, playing.media, media).contains(&wanted))
        })
    }
}
