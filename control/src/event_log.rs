//! The log of what the data plane tells, each line with the Call-ID.

use border::Event;
use calls::call::Calls;

/// Writes an event down, for whoever wants to see every one.
pub fn log(event: &Event, calls: &Calls) {
    let name = |call| calls.name_of(call).unwrap_or(b"(ended)").escape_ascii();
    match *event {
        Event::Learned { call, slot, at } => {
            tracing::debug!(call_id = %name(call), port = slot.port(), %at, "a party was learned from its packets");
        }
        Event::Silent { call, slot } => {
            tracing::debug!(call_id = %name(call), port = slot.port(), "a party has fallen silent");
        }
        Event::Poor { call, slot, mos } => {
            let mos = f64::from(mos) / 10.0;
            tracing::debug!(call_id = %name(call), port = slot.port(), mos, "a party reports that it hears worse than before");
        }
        Event::Faulty { call, slot } => tracing::error!(
            call_id = %name(call),
            port = slot.port(),
            "a fault in reading RTCP (please report it): this party's quality is not told any more"
        ),
        Event::Doubted { call, slot, is_doubted: true } => tracing::info!(
            call_id = %name(call),
            port = slot.port(),
            "a party reports that it hears nothing of what the fast path sends it from this port: the slow path takes over, and gives back if it is not \
             heard either"
        ),
        Event::Doubted { call, slot, is_doubted: false } => tracing::info!(
            call_id = %name(call),
            port = slot.port(),
            "a party is sent what comes to this port by the fast path again"
        ),
        Event::Ended { call, slot, .. } => {
            tracing::debug!(call_id = %name(call), port = slot.port(), "an announcement is over");
        }
        Event::Dropped(count) => {
            tracing::warn!(
                count,
                "events were lost, because there were too many at once; which announcements are over was looked up"
            );
        }
    }
}
