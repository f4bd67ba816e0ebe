//! `retries`: a count, or a table that also sets the delay before the next attempt, and the
//! failures that cause one.

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::document::Node;
use super::reader::{Name, Reader};
use crate::check;
use crate::pipeline::{Factor, Retry, RetryOn};
use crate::spelling;

const KEYS: &[&str] = &["count", "delay", "backoff", "max-delay", "jitter", "on", "grow"];

const BACKOFFS: [(&str, bool); 2] = [("constant", false), ("exponential", true)];

/// The kinds of failures that are one word.
const FAILURES: [(&str, RetryOn); 10] = [
    ("exit", RetryOn::AnyExit),
    ("signal", RetryOn::AnySignal),
    ("timeout", RetryOn::Timeout),
    ("lost", RetryOn::Lost),
    ("output", RetryOn::Output),
    ("capture", RetryOn::Capture),
    ("start", RetryOn::Start),
    ("error", RetryOn::Error),
    ("panic", RetryOn::Panic),
    ("memory", RetryOn::Memory),
];

impl Reader<'_> {
    /// `2`, or `{ count = 2, delay = "5s", … }`.
    pub(super) fn retries(&mut self, node: &Node<'_>) -> Retry {
        let mut retry = Retry::default();
        if let DeValue::Table(_) = node.get_ref() {
            self.retries_table(node, &mut retry);
        } else {
            retry.count = self.count(node, "`retries`").unwrap_or_default();
        }
        retry
    }

    fn retries_table(&mut self, node: &Node<'_>, retry: &mut Retry) {
        let mut counted = false;
        for (key, value) in self.table(node, "a table").unwrap_or_default() {
            match &**key.get_ref() {
                "count" => {
                    counted = true;
                    retry.count = self.count(value, "`count`").unwrap_or_default();
                }
                "delay" => retry.delay = self.duration(value, "`delay`").unwrap_or_default(),
                "backoff" => {
                    let word = self.word(value, "backoff", &BACKOFFS);
                    retry.exponential = word.unwrap_or_default();
                }
                "max-delay" => {
                    retry.max_delay = self.duration(value, "`max-delay`").unwrap_or_default();
                }
                "jitter" => retry.jitter = self.boolean(value).unwrap_or_default(),
                "on" => retry.on = self.failures(value),
                "grow" => retry.grow_memory = self.grow(value),
                name => {
                    self.unknown_key(key, "`retries`", KEYS);
                    counted |= spelling::closest(name, KEYS.iter().copied()) == Some("count");
                }
            }
        }
        if !counted {
            let problem = Diagnostic::at(node.span(), "`retries` lacks `count`")
                .help("say how many extra attempts: retries = { count = 2, delay = \"5s\" }");
            self.add(problem);
        }
    }

    /// `{ memory = 2.0 }`
    fn grow(&mut self, node: &Node<'_>) -> Option<Factor> {
        let mut factor = None;
        for (key, value) in self.table(node, "a table such as { memory = 2.0 }")? {
            match &**key.get_ref() {
                "memory" => factor = self.factor(value),
                _ => self.unknown_key(key, "`grow`", &["memory"]),
            }
        }
        factor
    }

    fn factor(&mut self, node: &Node<'_>) -> Option<Factor> {
        let number = match node.get_ref() {
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|whole| whole as f64)
            }
            DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
            _ => {
                let problem = self.mismatch(node, "a factor").help(check::FACTORS);
                self.add(problem);
                return None;
            }
        };
        // What does not fit is as wrong as what is too large.
        let factor = Factor::from(number.unwrap_or(f64::MAX));
        self.report(node.span(), check::factor(factor)).then_some(factor)
    }

    fn failures(&mut self, node: &Node<'_>) -> Vec<RetryOn> {
        let kinds = self.names(node, "a kind of failure or a list of them").unwrap_or_default();
        let kind = |kind: &Name<'_>| match failure(kind.text) {
            Some(found) => self.report(kind.span.clone(), check::failure(found)).then_some(found),
            None => {
                let words = FAILURES.iter().map(|(word, _)| *word);
                let help = match kind.text.split_once(':') {
                    Some(("exit", _)) => check::EXIT_CODES.to_owned(),
                    Some(("signal", _)) => check::SIGNALS.to_owned(),
                    _ => spelling::did_you_mean(kind.text, words.clone()).unwrap_or_else(|| {
                        format!("one of `exit:75`, `signal:9`, {}", spelling::listed(words))
                    }),
                };
                let message = format!("unknown failure `{}`", kind.text.escape_debug());
                self.add(Diagnostic::at(kind.span.clone(), message).help(help));
                None
            }
        };
        kinds.iter().filter_map(kind).collect()
    }
}

/// `exit:75`, `signal:9`, or a word.
fn failure(text: &str) -> Option<RetryOn> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    match text.split_once(':') {
        Some(("exit", code)) => number(code).map(RetryOn::Exit),
        Some(("signal", signal)) => number(signal).map(RetryOn::Signal),
        Some(_) => None,
        None => FAILURES.iter().find(|(word, _)| *word == text).map(|(_, kind)| *kind),
    }
}
