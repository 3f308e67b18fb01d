//! Whether the relay can read what parties send each other: to play to them, to copy what they say, and to say how it is protected.

use super::dialogue::Call;
use super::leg::LegId;
use super::security;

impl Call {
    /// Whether the relay can read, and write, the packets between it and a media's party: they are not protected, or by keys that it has.
    pub(super) fn is_readable(&self, id: LegId, number: usize) -> bool {
        let media_of = |id: LegId| self.leg(id).and_then(|leg| leg.medias.get(number));
        let Some(media) = media_of(id) else { return false };
        if let Some(security) = media.security_in_force() {
            return !security.is_awaited();
        }
        let said = media.in_force();
        let partner = self.partner(id).and_then(media_of);
        match partner {
            // That one has keys of its own: what this one has is plain.
            Some(partner) if partner.security_in_force().is_some() => true,
            Some(partner) => !security::passes_by(said, partner.in_force()),
            None => !said.secured,
        }
    }
}
