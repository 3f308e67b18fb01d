//! What runs of tests came to, and what the failed ones said.

use std::ops::AddAssign;

use crate::counts::Counts;

/// As many lines of what a failed test said are told again at the end: the first ones, which name it and say what is wrong.
const LINES: usize = 40;

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
        // Lines that may still be told.
        let mut left = 0;
        for line in text.lines() {
            if let Some(counts) = Counts::of_line(line) {
                account.counts += counts;
                left = 0;
                continue;
            }
            if line == "failures:" || (line.starts_with("---- ") && line.ends_with(" stdout ----")) {
                left = LINES;
            }
            if left > 0 {
                account.failures.push(line.to_owned());
                left -= 1;
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
        assert_eq!(said, ["failures:", "---- two stdout ----", "no audio", "failures:", "    two"]);
    }

    #[test]
    fn of_much_that_was_said_the_beginning_is_kept_for_each_test() {
        let said: String = (0..1_000).map(|number| format!("{number}\n")).collect();
        let told = ["one", "two"].map(|name| format!("---- {name} stdout ----\n{said}\n")).concat();
        let account = Account::of_text(&format!("failures:\n\n{told}failures:\n    one\n    two\n{FAILED}\n"));
        for line in ["---- one stdout ----", "---- two stdout ----", "38", "    one", "    two"] {
            assert!(account.failures.iter().any(|told| told == line), "{line}: {:?}", account.failures);
        }
        assert!(account.failures.len() < 3 * LINES);
    }
}
