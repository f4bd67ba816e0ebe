//! What a sound pipeline holds, besides what its names mean ([`crate::resolve`]): the rules of options,
//! texts, names and the whole. The parser, the builder and the scheduler, which trusts neither, ask here.
//!
//! Nothing here knows where something is written. Problems are given back without a place.

use crate::ids::TaskId;
use crate::problem::Problem;
use crate::template::{Part, Template};
use crate::url::{self, Location, UrlError};

/// A path or a URL: a scheme that nobody knows, as far as it can be seen.
#[must_use]
pub fn location(text: &Template) -> Option<Problem> {
    let Some(Part::Literal(start)) = text.parts.first() else { return None };
    match Location::of(start.as_bytes()) {
        // What follows may complete it.
        Err(UrlError::Incomplete(_) | UrlError::Host) if text.parts.len() > 1 => None,
        Err(error) => Some(Problem::new(error.to_string())),
        Ok(_) => None,
    }
}

/// The path of a directory, which is no URL.
#[must_use]
pub fn directory(text: &Template) -> Option<Problem> {
    let Some(Part::Literal(start)) = text.parts.first() else { return None };
    let remote = matches!(url::scheme(start.as_bytes()), Some("s3" | "http" | "https"));
    remote.then(|| Problem::new("`working-dir` is a directory, not a URL"))
}

/// Tasks that wait for each other, as [`crate::graph::find_cycles`] gives them: each with what makes it
/// wait for the one before. Besides the problem, the two tasks whose edge closes the cycle.
pub fn cycle<'n>(
    tasks: &[TaskId],
    name: impl Fn(TaskId) -> &'n str,
    kind: impl Fn(TaskId, TaskId) -> &'n str,
) -> (Problem, (TaskId, TaskId)) {
    const SHOWN: usize = 12;
    let first = tasks.iter().enumerate().min_by_key(|(_, task)| **task);
    let first = first.map_or(0, |(at, _)| at);
    let task = |step: usize| tasks[(first + step) % tasks.len()];
    let mut message = format!("cycle: {}", tasks.get(first).map_or("", |task| name(*task)));
    for step in 0..tasks.len() {
        let (from, to) = (task(step), task(step + 1));
        if step < SHOWN || step + 1 == tasks.len() {
            message.push_str(&format!(" -> {} ({})", name(to), kind(from, to)));
        } else if step == SHOWN {
            message.push_str(&format!(" -> … {} more", tasks.len() - SHOWN - 1));
        }
    }
    let problem = Problem::new(message)
        .label("closes the cycle")
        .help("each task waits for the one before it; drop one of them");
    let closing = match tasks.len() {
        0 => (TaskId(0), TaskId(0)),
        all => (task(all - 1), task(0)),
    };
    (problem, closing)
}
