use border::Event;

use super::*;
use crate::call::Watched;

#[test]
fn whoever_watches_is_told_once_of_what_is_signalled_falls_silent_and_ends_and_nobody_else_is() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    assert_eq!(rig.calls.take_watched(), Watched::default(), "nobody watches");
    rig.calls.watch(true);
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    let slot = rig.at("192.0.2.1:30000").partner().unwrap();
    let (now, call) = (rig.now, rig.at("192.0.2.1:30000").call);
    for event in [Event::Silent { call, slot }, Event::Poor { call, slot, mos: 20 }, Event::Silent { call: 77, slot }] {
        assert_eq!(rig.calls.hear(event, now), []);
    }
    rig.run(delete(Some("a"), None));
    let name = || b"call".to_vec();
    let told = rig.calls.take_watched();
    assert_eq!(told.fallen, [name(), name()], "the call of another number is none");
    assert!(told.signalled.contains(&name()) && !told.is_incomplete, "{told:?}");
    assert_eq!((told.ended, rig.calls.take_watched()), (vec![name()], Watched::default()));
    rig.calls.hear(Event::Dropped(3), now);
    assert!(rig.calls.take_watched().is_incomplete);
    rig.calls.watch(false);
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    assert_eq!(rig.calls.take_watched(), Watched::default());
}
