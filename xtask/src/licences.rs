//! Whether everything that is linked may be: by its licence, and by where it comes from.

use anyhow::{bail, ensure};

use crate::command::{cargo, output};

/// Licences under which code may be linked into a program that is MIT or Apache-2.0.
const ALLOWED: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Zlib",
    "CC0-1.0",
    "Unlicense",
];

/// Fails on a crate whose licence is another, or that comes from elsewhere than the registry and this workspace.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut tree = cargo();
    tree.args([
        "tree",
        "--workspace",
        "--locked",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}|{l}",
    ]);
    let tree = output(&mut tree)?;
    let mut crates: Vec<&str> = tree.lines().filter(|line| line.contains('|')).collect();
    crates.sort_unstable();
    crates.dedup();
    ensure!(crates.len() > 20, "cargo tree tells of {} crates only", crates.len());
    let bad: Vec<&str> = crates.iter().copied().filter(|line| !is_good(line)).collect();
    if !bad.is_empty() {
        bail!("crates that may not be linked (name, source if not the registry, licence): {}", bad.join("; "));
    }
    eprintln!("{} crates, all under licences that permit it, all from the registry or this workspace", crates.len());
    Ok(())
}

/// A line of the tree: name, version, perhaps a source in brackets, and after a bar the licence.
fn is_good(line: &str) -> bool {
    let (name, licence) = line.split_once('|').unwrap_or((line, ""));
    let is_foreign = name.contains("(http") || name.contains("(git") || name.contains("(ssh");
    // Cargo marks what it has shown before.
    !is_foreign && is_allowed(licence.trim_end_matches("(*)").trim())
}

/// Whether one may choose an allowed licence of an SPDX expression: `MIT OR Apache-2.0`, `(MIT OR GPL-2.0) AND ISC`, or the old `MIT/Apache-2.0`.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.trim();
    if ALLOWED.contains(&expression) {
        return true;
    }
    if let Some((one, other)) = split(expression, " OR ").or_else(|| expression.split_once('/')) {
        return is_allowed(one) || is_allowed(other);
    }
    if let Some((one, other)) = split(expression, " AND ") {
        return is_allowed(one) && is_allowed(other);
    }
    expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).is_some_and(is_allowed)
}

/// The sides of an operator that is not in brackets.
fn split<'a>(expression: &'a str, operator: &str) -> Option<(&'a str, &'a str)> {
    expression.match_indices(operator).find_map(|(at, _)| {
        let (before, rest) = expression.split_at_checked(at)?;
        let depth = before.matches('(').count() == before.matches(')').count();
        depth.then_some((before, rest.get(operator.len()..)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_of_which_an_allowed_one_may_be_chosen_is_good() {
        for (expression, is_good) in [
            ("MIT", true),
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-2.0-only OR MIT", true),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("GPL-2.0-only", false),
            ("MIT AND LGPL-2.1", false),
            ("(GPL-2.0 OR LGPL-2.1) AND MIT", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression), is_good, "{expression}");
        }
    }

    #[test]
    fn crates_from_elsewhere_are_not_good() {
        assert!(is_good("anyhow v1.0.1|MIT OR Apache-2.0"));
        assert!(is_good("anyhow v1.0.1|MIT OR Apache-2.0 (*)"));
        assert!(!is_good("anyhow v1.0.1 (https://example.com/anyhow#123)|MIT"));
    }
}
