//! Whether what XDP sends to a party arrives, by what the party reports (RFC 3550 6.4.1): a driver that loses frames tells nobody else.
//!
//! A party that has heard a source, and then reports again and again that nothing more has come although the fast path has sent to it, is served
//! by the slow path on trial. When it hears that, the fast path loses, and the source stays off it. When it does not hear that either, the fault is
//! elsewhere. Nobody but the party itself is concerned: its word is not taken for what others hear.

/// Between two reports so many packets must have been sent to a party that has heard none, for its report to mean anything: two seconds.
const ENOUGH: u64 = 100;
/// So many such reports in a row: one may be of a party that was deaf for a moment.
const REPORTS: u8 = 2;

/// What a party has heard of a source, and what it was sent by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Heard {
    /// The source that the report is about.
    pub(crate) source: u32,
    /// The highest sequence number that came, with its cycles.
    pub(crate) highest: u32,
    /// Packets that the fast path has sent to the party.
    pub(crate) fast: u64,
    /// Packets that the slow path has sent to the party.
    pub(crate) slow: u64,
}

/// What is thought of the fast path to a party.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Verdict {
    /// Nothing bad; so many reports in a row say otherwise.
    #[default]
    Trusted,
    /// The slow path serves the party, to see whether it hears that.
    OnTrial,
    /// It hears the slow path only.
    Loses,
    /// It hears neither.
    Innocent,
}

/// The doubt whether the fast path reaches a party.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Doubt {
    verdict: Verdict,
    last: Option<Heard>,
    /// Reports in a row that nothing came although it was sent.
    deaf: u8,
}

impl Doubt {
    /// Takes a report.
    pub(crate) fn report(&mut self, heard: Heard) {
        let Some(last) = self.last.replace(heard).filter(|last| last.source == heard.source) else {
            self.deaf = 0;
            return;
        };
        let has_come = heard.highest.wrapping_sub(last.highest).cast_signed() > 0;
        let sent = match self.verdict {
            Verdict::Trusted => heard.fast.saturating_sub(last.fast),
            Verdict::OnTrial => heard.slow.saturating_sub(last.slow),
            Verdict::Loses | Verdict::Innocent => return,
        };
        if !has_come && sent < ENOUGH {
            // Says nothing; the next one is compared with this one's predecessor.
            self.last = Some(last);
            return;
        }
        self.deaf = if has_come { 0 } else { self.deaf + 1 };
        let is_deaf = self.deaf >= REPORTS;
        self.verdict = match self.verdict {
            Verdict::Trusted if is_deaf => Verdict::OnTrial,
            Verdict::OnTrial if has_come => Verdict::Loses,
            Verdict::OnTrial if is_deaf => Verdict::Innocent,
            same @ (Verdict::Trusted | Verdict::OnTrial | Verdict::Loses | Verdict::Innocent) => same,
        };
        if is_deaf {
            self.deaf = 0;
        }
    }

    /// Whether the slow path is to serve the party.
    pub(crate) const fn is_doubted(&self) -> bool {
        matches!(self.verdict, Verdict::OnTrial | Verdict::Loses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A party that gets 250 packets between two reports by the path that it is served by, and hears those of the paths that reach it.
    fn reports(hears: [bool; 2], count: u32) -> Vec<bool> {
        let mut heard = Heard { source: 7, highest: 10, fast: 0, slow: 10 };
        let mut doubt = Doubt::default();
        doubt.report(heard);
        let mut doubted = Vec::new();
        for _ in 0..count {
            let hears = hears[usize::from(doubt.is_doubted())];
            let path = if doubt.is_doubted() { &mut heard.slow } else { &mut heard.fast };
            *path += 250;
            heard.highest += if hears { 250 } else { 0 };
            doubt.report(heard);
            doubted.push(doubt.is_doubted());
        }
        doubted
    }

    #[test]
    fn a_party_that_hears_the_slow_path_only_stays_there() {
        assert_eq!(reports([false, true], 6), [false, true, true, true, true, true]);
    }

    #[test]
    fn a_party_that_hears_neither_path_returns_to_the_fast_one_for_good() {
        assert_eq!(reports([false, false], 8), [false, true, true, false, false, false, false, false]);
    }

    #[test]
    fn a_party_that_hears_is_left_alone() {
        assert_eq!(reports([true, true], 4), [false; 4]);
    }

    #[test]
    fn reports_about_a_party_that_was_sent_nothing_or_about_another_source_mean_nothing() {
        let mut doubt = Doubt::default();
        let heard = |source, fast| Heard { source, highest: 10, fast, slow: 10 };
        for _ in 0..5 {
            doubt.report(heard(7, 50));
        }
        for source in 8..20 {
            doubt.report(heard(source, u64::from(source) * 1000));
        }
        assert!(!doubt.is_doubted());
        // Reports that come often add up.
        for fast in (20_000..20_600).step_by(50) {
            doubt.report(heard(19, fast));
        }
        assert!(doubt.is_doubted());
    }
}
