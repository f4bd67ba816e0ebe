//! An error and what caused it as text.

use std::error::Error;

/// An error with all its causes, on one line; a cause with which the text already ends is not
/// repeated.
#[must_use]
pub fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn causes_follow_once_each() {
        let below = |error: Layer| Some(Box::new(error));
        let disk = Layer("no space", None);
        let write = Layer("cannot write: no space", below(disk));
        let run = Layer("the run failed", below(write));
        assert_eq!(one_line(&run), "the run failed: cannot write: no space");
    }
}
