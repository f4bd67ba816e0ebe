//! Which words may be names, and corrections for misspelt ones.

/// The names in placeholders that refer to neither a task nor a parameter.
pub(crate) const BUILTINS: &[&str] =
    &["index", "key", "seed", "attempt", "item", "run", "vars", "out"];

/// The characters of names, for messages.
pub(crate) const NAMES: &str =
    "names are made of letters, digits, `_` and `-`, and do not begin with a digit or `-`";

/// Whether a text may name a task, a parameter, a variable or an output.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Whether a placeholder of this name means something other than a parameter.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    BUILTINS.contains(&name) || name == "in"
}

/// The candidate that is most similar to `word`, if one is close.
pub(crate) fn closest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // A very long word is not a typing error, and comparing it would be slow.
    if word.len() > 200 {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 1 + word.len() / 2)
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, candidate)| {
            *likeness > 0.8 || strsim::damerau_levenshtein(word, candidate) <= 1 + word.len() / 4
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A help line for a misspelt word.
#[must_use]
pub fn did_you_mean<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    closest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// `a, b and c`, at most a handful of them.
#[must_use]
pub fn listed<'c>(words: impl IntoIterator<Item = &'c str>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [start @ .., last] if words.len() <= 12 => format!("{} and {last}", start.join(", ")),
        _ => format!("{} and {} more", words[..8].join(", "), words.len() - 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[&str] = &["retries", "sweep", "run", "max-running", "gather", "map"];

    #[test]
    fn names() {
        for name in ["a", "_", "A-1", "mesh_2-x"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "1a", "-a", "a.b", "a b", "ä", "a\n"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn close_words_are_found_and_far_ones_are_not() {
        assert_eq!(closest("retires", KEYS.iter().copied()), Some("retries"));
        assert_eq!(closest("swep", KEYS.iter().copied()), Some("sweep"));
        assert_eq!(closest("max_running", KEYS.iter().copied()), Some("max-running"));
        assert_eq!(closest("colour", KEYS.iter().copied()), None);
        assert_eq!(closest("x", ["y"]), Some("y"));
    }
}
