//! What was told once and need not be told again.

use std::collections::HashSet;

/// Names that were met before, so that each word that we do not know is logged once and not once per call.
#[derive(Debug, Default)]
pub struct Noticed(HashSet<String>);

impl Noticed {
    /// How many names are remembered. Names come from peers: after so many, no new one is noticed.
    pub const MAX: usize = 256;

    /// No names yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether this is the first time that the name is met.
    pub fn first_time(&mut self, name: &str) -> bool {
        self.0.len() < Self::MAX && !self.0.contains(name) && self.0.insert(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_new_once() {
        let mut noticed = Noticed::new();
        assert!(noticed.first_time("flag a"));
        assert!(!noticed.first_time("flag a"));
        assert!(noticed.first_time("flag b"));
    }

    #[test]
    fn names_are_not_remembered_without_end() {
        let mut noticed = Noticed::new();
        let new = (0..1000).filter(|number| noticed.first_time(&number.to_string())).count();
        assert_eq!(new, Noticed::MAX);
        assert!(!noticed.first_time("another"));
    }
}
