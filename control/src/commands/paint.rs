//! Text for people: numbers as they read them, and colours where a terminal shows them.

use std::io::IsTerminal as _;

/// Paints, or does not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    has_colours: bool,
}

impl Paint {
    /// For standard output.
    pub(super) fn of_output() -> Self {
        let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { has_colours: is_wanted && std::io::stdout().is_terminal() }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(super) fn doubtful(self, text: &str) -> String {
        self.with("33", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn head(self, text: &str) -> String {
        self.with("1", text)
    }

    /// The name of a path, as wide as its column.
    pub(super) fn path(self, path: &str, width: usize) -> String {
        let padded = format!("{path:<width$}");
        match path {
            "fast" => self.good(&padded),
            "slow" | "mixed" => self.doubtful(&padded),
            _ => padded,
        }
    }
}

/// Seconds as people say them.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min", whole / 60),
        7200..=172_799 => format!("{} h {:02}", whole / 3600, whole / 60 % 60),
        _ => format!("{} d", whole / 86_400),
    }
}

/// A count with its thousands apart.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut told = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            told.push(' ');
        }
        told.push(digit);
    }
    told
}

/// A part of a whole, in percent.
pub(super) fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1} %", 100.0 * part / whole) } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_people_read_them() {
        let spans = [0.04, 9.96, 59.0, 119.9, 120.0, 7199.0, 7200.0, 90_000.0, 200_000.0].map(span);
        assert_eq!(spans, ["0.0 s", "10.0 s", "59 s", "119 s", "2 min", "119 min", "2 h 00", "25 h 00", "2 d"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1 000", "1 234 567"]);
        assert_eq!([percent(1.0, 3.0), percent(0.0, 0.0)], ["33.3 %", "-"]);
    }

    #[test]
    fn without_a_terminal_there_are_no_colours() {
        assert_eq!(Paint { has_colours: false }.path("fast", 6), "fast  ");
        assert_eq!(Paint { has_colours: true }.path("slow", 5), "\x1b[33mslow \x1b[0m");
    }
}
