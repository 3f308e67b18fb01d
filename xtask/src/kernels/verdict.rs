//! What a guest said of a check.

use std::fmt;

use crate::counts::Counts;

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// All its tests passed, and there were some.
    Passed(Counts),
    /// Some did not.
    Failed(Counts),
    /// The guest began and said no more: it crashed or hung. Or there was no such test, or it did not even begin.
    Silent,
}

impl Verdict {
    /// The verdict on a check by its name, from all that a guest said.
    pub(super) fn of(check: &str, said: &[String]) -> Self {
        let (begin, end) = (format!("== begin {check}"), format!("== end {check} "));
        let mut lines = said.iter().skip_while(|line| **line != begin);
        let mut counts = Counts::default();
        let status = lines.find_map(|line| {
            counts += Counts::of_line(line).unwrap_or_default();
            line.strip_prefix(&end)
        });
        match status {
            Some("0") if counts.passed > 0 && counts.failed == 0 => Self::Passed(counts),
            Some(_) if counts.failed > 0 => Self::Failed(counts),
            Some(_) | None => Self::Silent,
        }
    }

    /// Whether it is what it shall be.
    pub(super) const fn is_good(self) -> bool {
        matches!(self, Self::Passed(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Passed(counts) => format!("ok ({})", counts.passed),
            Self::Failed(counts) => format!("{} of {} failed", counts.failed, counts.passed + counts.failed),
            Self::Silent => "no verdict".to_owned(),
        };
        formatter.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(said: &str) -> Verdict {
        Verdict::of("vectors", &said.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    const PASSED: &str = "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out";

    #[test]
    fn a_check_that_ended_well_has_passed() {
        let said = format!("== begin vectors\ntest a ... ok\n{PASSED}\n== end vectors 0\n== begin forwarding");
        assert_eq!(verdict(&said).to_string(), "ok (4)");
        assert!(verdict(&said).is_good());
    }

    #[test]
    fn failures_are_counted() {
        let said = "== begin vectors\ntest result: FAILED. 3 passed; 1 failed; 0 ignored\n== end vectors 101";
        assert_eq!(verdict(said).to_string(), "1 of 4 failed");
    }

    #[test]
    fn whatever_does_not_end_well_is_no_verdict() {
        let other = format!("== begin loaded\n{PASSED}\n== end loaded 0");
        let no_end = format!("== begin vectors\n{PASSED}");
        let none = format!("== begin vectors\n{}\n== end vectors 0", PASSED.replace('4', "0"));
        let crashed = "== begin vectors\ntest a ... ok\n== end vectors 139";
        let contradiction = format!("== begin vectors\n{PASSED}\n== end vectors 101");
        for said in ["", &other, &no_end, &none, crashed, &contradiction] {
            assert_eq!(verdict(said), Verdict::Silent, "{said}");
        }
    }
}
