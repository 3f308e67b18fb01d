//! What others have named, as it is shown.

/// Bytes that people read: where there is what is no UTF-8, a control character or a backslash, they are escaped, so that no two look the same.
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|letter| letter.is_control() || letter == '\\' || is_unseen(letter)) => {
            text.to_owned()
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

/// Whether a letter changes how others are shown, and is not seen itself: directions, joiners, marks of order.
const fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_do_something_to_a_terminal_is_escaped() {
        for (bytes, expected) in [
            (&b"a84b4c76e66710@pc33"[..], "a84b4c76e66710@pc33"),
            ("Zo\u{eb}".as_bytes(), "Zo\u{eb}"),
            (b"\x1b[2J\n", "\\x1b[2J\\n"),
            (b"\xff", "\\xff"),
            (b"\\xff", "\\\\xff"),
            ("a\u{202e}b".as_bytes(), "a\\xe2\\x80\\xaeb"),
            ("\u{9b}31m".as_bytes(), "\\xc2\\x9b31m"),
        ] {
            assert_eq!(text(bytes), expected);
        }
    }
}
