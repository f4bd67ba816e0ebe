//! Why a function returned no value.

use std::error::Error;
use std::fmt::{self, Display};
use std::panic::Location;

use dagrun_core::status::{Detail, FailureKind};

/// Bytes of the full text that travel with a failure.
const TAIL: usize = 4096;

/// Why a function returned no value: its error with its causes, or its panic.
///
/// Functions may return it as their error: `?` turns any [`std::error::Error`] into it and notes
/// the place.
#[derive(Clone)]
pub struct Failure {
    message: String,
    chain: Vec<String>,
    location: Option<String>,
    kind: FailureKind,
    backtrace: Option<String>,
}

impl Failure {
    /// An error with a message only; its location is the caller's.
    #[must_use]
    #[track_caller]
    pub fn new(message: impl Display) -> Failure {
        let failure = Failure::of_kind(FailureKind::Function, message.to_string());
        failure.at(Location::caller())
    }

    pub(super) fn of_kind(kind: FailureKind, message: String) -> Failure {
        Failure { message, chain: Vec::new(), location: None, kind, backtrace: None }
    }

    /// An error and what caused it.
    pub(super) fn of_error(error: &(dyn Error + 'static)) -> Failure {
        let causes = std::iter::successors(error.source(), |error: &&(dyn Error + 'static)| {
            (*error).source()
        });
        Failure {
            chain: causes.map(ToString::to_string).collect(),
            ..Failure::of_kind(FailureKind::Function, error.to_string())
        }
    }

    pub(super) fn of_panic(
        message: String,
        location: Option<String>,
        backtrace: Option<String>,
    ) -> Failure {
        let failure = Failure::of_kind(FailureKind::Panic, message);
        Failure { location, backtrace, ..failure }
    }

    fn at(mut self, location: &Location<'_>) -> Failure {
        self.location = Some(location.to_string());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What caused it, the nearest first.
    #[must_use]
    pub fn chain(&self) -> &[String] {
        &self.chain
    }

    /// Where, as `FILE:LINE:COLUMN`: of a panic, and of an error that became a [`Failure`] in the
    /// function.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// What kind of failure it is: [`FailureKind::Function`] for errors, [`FailureKind::Panic`].
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// In one line.
    fn reason(&self) -> String {
        let text = self.to_string();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        match lines.next() {
            Some(_) => format!("{first} …"),
            None => first.to_owned(),
        }
    }

    /// The detail to report: the reason in one line and, where there is more, the full text in the
    /// place of a process's standard error.
    pub(super) fn into_detail(self) -> Detail {
        let reason = self.reason();
        let whole = self.whole();
        let mut stderr_tail = if whole == reason { Vec::new() } else { whole.into_bytes() };
        // The beginning is more useful than the end.
        stderr_tail.truncate(TAIL);
        Detail { reason, stderr_tail, ..Detail::default() }
    }

    fn whole(&self) -> String {
        let mut whole = match (&self.location, self.kind) {
            (Some(_), FailureKind::Panic) => self.to_string(),
            (Some(location), _) => format!("{} (at {location})", self.message),
            (None, _) => self.message.clone(),
        };
        if !self.chain.is_empty() {
            whole.push_str("\ncaused by:");
        }
        for cause in &self.chain {
            whole.push_str("\n  ");
            whole.push_str(cause);
        }
        if let Some(backtrace) = &self.backtrace {
            whole.push('\n');
            whole.push_str(backtrace);
        }
        whole
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == FailureKind::Panic {
            f.write_str("panicked")?;
            if let Some(location) = &self.location {
                write!(f, " at {location}")?;
            }
            return write!(f, ": {}", self.message);
        }
        f.write_str(&self.message)?;
        let mut last = &self.message;
        for cause in &self.chain {
            // Many errors have their cause in their own message.
            if !last.ends_with(cause.as_str()) {
                write!(f, ": {cause}")?;
            }
            last = cause;
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whole())
    }
}

impl<E: Error + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Failure {
        Failure::of_error(&error).at(Location::caller())
    }
}

/// An error that a function returned, to be turned into the most detailed failure that its type
/// permits.
#[doc(hidden)]
#[derive(Debug)]
pub struct Raised<'a, E>(pub &'a E);

/// How errors become failures, the most detailed way first: `(&&&&&Raised(&error)).failure()` finds
/// the first of these traits that the error's type has, since each needs one borrow less than the
/// one before.
#[doc(hidden)]
pub mod raised {
    use super::{Display, Error, Failure, FailureKind, Raised};

    pub trait OfFailure {
        fn failure(&self) -> Failure;
    }

    impl OfFailure for &&&&Raised<'_, Failure> {
        fn failure(&self) -> Failure {
            self.0.clone()
        }
    }

    pub trait OfError {
        fn failure(&self) -> Failure;
    }

    impl<E: Error + 'static> OfError for &&&Raised<'_, E> {
        fn failure(&self) -> Failure {
            Failure::of_error(self.0)
        }
    }

    /// Boxed errors that can cross threads, and those of `anyhow` and `eyre`.
    pub trait OfSendError {
        fn failure(&self) -> Failure;
    }

    impl<E: AsRef<dyn Error + Send + Sync + 'static>> OfSendError for &&Raised<'_, E> {
        fn failure(&self) -> Failure {
            Failure::of_error(self.0.as_ref())
        }
    }

    pub trait OfBoxedError {
        fn failure(&self) -> Failure;
    }

    impl<E: AsRef<dyn Error + 'static>> OfBoxedError for &Raised<'_, E> {
        fn failure(&self) -> Failure {
            Failure::of_error(self.0.as_ref())
        }
    }

    pub trait OfDisplay {
        type Error;

        // The bound is here so that the compiler names an error type that lacks it.
        fn failure(&self) -> Failure
        where
            Self::Error: Display;
    }

    impl<E> OfDisplay for Raised<'_, E> {
        type Error = E;

        fn failure(&self) -> Failure
        where
            E: Display,
        {
            Failure::of_kind(FailureKind::Function, self.0.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::raised::*;
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the prices")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("line 3: no number")]
    struct Inner(#[from] std::num::ParseFloatError);

    fn outer() -> Outer {
        Outer(Inner("x".parse::<f64>().unwrap_err()))
    }

    #[test]
    #[allow(clippy::needless_borrow)]
    fn errors_tell_all_that_they_can() {
        let story = "cannot read the prices: line 3: no number: invalid float literal";
        let error = outer();
        assert_eq!((&&&&&Raised(&error)).failure().to_string(), story);
        let error: Box<dyn Error + Send + Sync> = outer().into();
        assert_eq!((&&&&&Raised(&error)).failure().to_string(), story);
        let error: Box<dyn Error> = outer().into();
        assert_eq!((&&&&&Raised(&error)).failure().to_string(), story);
        let error = Failure::from(outer());
        let failure = (&&&&&Raised(&error)).failure();
        assert_eq!(failure.to_string(), story);
        assert!(failure.location().unwrap().contains("failure.rs:"), "{failure:?}");
        assert_eq!((&&&&&Raised(&"text")).failure().to_string(), "text");
        assert_eq!((&&&&&Raised(&7)).failure().to_string(), "7");
    }

    #[test]
    fn the_reason_is_one_line_and_the_rest_is_kept() {
        let detail = Failure::from(outer()).into_detail();
        assert!(!detail.reason.contains('\n'));
        let tail = String::from_utf8(detail.stderr_tail).unwrap();
        assert!(
            tail.ends_with("caused by:\n  line 3: no number\n  invalid float literal"),
            "{tail}"
        );
        let detail = Failure::of_kind(FailureKind::Function, "two\nlines".into()).into_detail();
        assert_eq!((detail.reason.as_str(), &*detail.stderr_tail), ("two …", &b"two\nlines"[..]));
        let detail = Failure::of_kind(FailureKind::Function, "short".into()).into_detail();
        assert!(detail.stderr_tail.is_empty());
    }

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("no price: {0}")]
        struct Both(#[source] Inner);
        let failure = Failure::of_error(&Both(Inner("x".parse::<f64>().unwrap_err())));
        assert_eq!(failure.to_string(), "no price: line 3: no number: invalid float literal");
    }
}
