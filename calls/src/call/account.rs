//! What a call came to, told once when it ends.

use border::{Component, Meter, Quality};

use super::sources::Sources;

/// Sums over all streams of a call, as they are logged.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(super) struct Account {
    fast_packets: u64,
    slow_packets: u64,
    bytes: u64,
    errors: u64,
    lost: i64,
    /// RTP streams without a packet.
    silent: u64,
    /// RTP streams with some.
    heard: u64,
    /// What parties have reported.
    quality: Vec<Quality>,
}

impl Account {
    pub(super) fn of(installed: &Sources, meter: &dyn Meter) -> Self {
        let mut account = Self::default();
        // Who gets copies is no party.
        for (slot, spec) in installed.iter().filter(|(_, spec)| !spec.sinks.is_empty()) {
            let Some(totals) = meter.totals(*slot) else { continue };
            account.fast_packets += totals.fast_packets;
            account.slow_packets += totals.slow_packets;
            account.bytes += totals.bytes;
            account.errors += totals.errors;
            account.quality.extend(totals.quality.iter().cloned());
            if spec.component == Component::Rtp {
                account.lost += totals.lost;
                if totals.packets() == 0 {
                    account.silent += 1;
                } else {
                    account.heard += 1;
                }
            }
        }
        account
    }

    /// What parties have reported.
    pub(super) fn quality(&self) -> &[Quality] {
        &self.quality
    }

    /// RTP packets that never arrived.
    pub(super) const fn lost(&self) -> i64 {
        self.lost
    }

    /// RTP streams without a packet, of a call that had none at all.
    pub(super) const fn silent_streams(&self) -> u64 {
        if self.heard == 0 { self.silent } else { 0 }
    }

    /// RTP streams without a packet, of a call that had some.
    pub(super) const fn one_way_streams(&self) -> u64 {
        if self.heard == 0 { 0 } else { self.silent }
    }

    /// One line for each call, for the operator's own records; the proxy has the details in the reply.
    pub(super) fn log(&self, call_id: &[u8], why: &str) {
        tracing::info!(
            call_id = %call_id.escape_ascii(),
            why,
            fast_packets = self.fast_packets,
            slow_packets = self.slow_packets,
            bytes = self.bytes,
            errors = self.errors,
            lost = self.lost,
            "call ended"
        );
    }
}
