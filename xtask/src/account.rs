//! What runs of tests came to, and what the failed ones said.

use std::collections::VecDeque;
use std::ops::AddAssign;

use crate::counts::Counts;

/// As many lines of what a program's failed tests said as are told again at the end: the last ones, which name the tests.
const LINES: usize = 80;

/// Counts, and what is to be told again after everything else: a failure scrolls away behind thousands of lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Account {
    pub(crate) counts: Counts,
    pub(crate) failures: Vec<String>,
}

impl Account {
    /// That of what test programs printed.
    pub(crate) fn of_text(text: &str) -> Self {
        let mut account = Self::default();
        let mut said = None;
        for line in text.lines() {
            if let Some(counts) = Counts::of_line(line) {
                account.counts += counts;
                account.failures.extend(said.take().into_iter().flatten());
            } else if line == "failures:" {
                said.get_or_insert_with(VecDeque::new);
            } else if let Some(said) = &mut said {
                said.push_back(line.to_owned());
                if said.len() > LINES {
                    said.pop_front();
                }
            }
        }
        account
    }
}

impl AddAssign for Account {
    fn add_assign(&mut self, more: Self) {
        self.counts += more.counts;
        self.failures.extend(more.failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
    const FAILED: &str = "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";

    #[test]
    fn what_a_failed_test_said_is_kept() {
        let text = format!(
            "test one ... ok\ntest two ... FAILED\n\nfailures:\n\n---- two stdout ----\nno audio\n\nfailures:\n    two\n\n{FAILED}\n{PASSED}\n"
        );
        let account = Account::of_text(&text);
        assert_eq!(account.counts, Counts { passed: 4, failed: 1, ignored: 1 });
        let said: Vec<_> = account.failures.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
        assert_eq!(said, ["---- two stdout ----", "no audio", "    two"]);
    }

    #[test]
    fn of_much_that_was_said_the_end_is_kept() {
        let said: String = (0..1_000).map(|number| format!("{number}\n")).collect();
        let account = Account::of_text(&format!("failures:\n{said}failures:\n    two\n{FAILED}\n"));
        assert_eq!(account.failures.len(), LINES);
        assert_eq!(account.failures.last().map(String::as_str), Some("    two"));
    }
}
