//! What a run of tests came to.

use std::ops::AddAssign;

/// How many tests passed, failed and were put off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Counts {
    /// Those of a test program's last line, as in `test result: ok. 31 passed; 0 failed; ...`; `None` for any other line.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let result = line.strip_prefix("test result: ")?;
        let [passed, failed, ignored] = ["passed", "failed", "ignored"].map(|word| number(result, word));
        Some(Self { passed, failed, ignored })
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.ignored += more.ignored;
    }
}

/// The number before a word, as in `ok. 31 passed; 0 failed`.
fn number(result: &str, word: &str) -> u64 {
    let before = result.split([';', '.']).find_map(|part| part.trim().strip_suffix(word));
    before.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_read() {
        let line = "test result: ok. 31 passed; 2 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.03s";
        assert_eq!(Counts::of_line(line), Some(Counts { passed: 31, failed: 2, ignored: 4 }));
        assert_eq!(Counts::of_line("test counts::tests::result_lines_are_read ... ok"), None);
    }
}
