//! Strangers who come before the party, with the slot as the fast path sees it.

use flow::rtp;
use proptest::prelude::*;

use super::*;
use crate::table::flow_table::tests::rtp as packet;

const PARTY: &str = "192.0.2.10:4000";
const STRANGERS: [&str; 3] = ["203.0.113.66:9", "203.0.113.67:9", "192.0.2.10:9"];
/// RTCP of 12 bytes.
const RTCP: [u8; 12] = [0x80, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 1];

/// A call whose parties are where their signalling comes from.
fn direct(learning: Learning, successor: Successor) -> FlowTable {
    let table = table();
    let with = |local, at: &str, other| {
        let mut spec = spec(local, Some(at), other);
        (spec.party.learning, spec.party.successor) = (learning, successor);
        (spec.party.signaller, spec.party.is_direct) = (Some(addr(at).ip()), true);
        spec
    };
    let a = with("192.0.2.1:30000", PARTY, B);
    let b = with("198.51.100.1:30002", "198.51.100.10:6000", A);
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], Instant::now());
    table
}

/// Whether a packet that arrives is sent on: by its slot, or else as the table says.
fn is_carried(table: &FlowTable, source: &str, payload: &[u8]) -> bool {
    let rule = programmed(table, A);
    let has_source = rtp::parse(payload).is_none_or(|fields| fields.ssrc == rule.ssrc);
    let is_known = rule.is_active() && peer_of(table, A) == addr(source);
    let is_forwarded = is_known && (has_source || rule.flags.has(Flags::ANY_SSRC));
    is_forwarded || learn(table, A, source, payload).is_ok()
}

proptest! {
    #[test]
    fn whatever_came_before_one_packet_of_the_party_ends_all_others(
        before in prop::collection::vec((0..3_usize, 0..6_u32, any::<bool>()), 0..12),
        learning in prop::sample::select(vec![Learning::Heuristic, Learning::Immediate, Learning::Delayed, Learning::Off]),
        successor in prop::sample::select(vec![Successor::Signalled, Successor::Nobody]),
        swept in any::<bool>(),
    ) {
        let table = direct(learning, successor);
        for (number, (stranger, ssrc, is_rtcp)) in before.iter().enumerate() {
            let rtp = packet(number as u16, *ssrc);
            is_carried(&table, STRANGERS[*stranger], if *is_rtcp { &RTCP } else { &rtp });
        }
        if swept {
            table.sweep(Instant::now() + Duration::from_secs(4), 0, 1);
        }
        for sequence in 100..103 {
            prop_assert!(is_carried(&table, PARTY, &packet(sequence, 3)));
            for stranger in STRANGERS {
                prop_assert!(!is_carried(&table, stranger, &packet(200, 3)), "{}", stranger);
                prop_assert!(!is_carried(&table, stranger, &RTCP), "{}", stranger);
            }
        }
    }
}
