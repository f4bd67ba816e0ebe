//! The rules of a task's options and of the keys that belong to its pattern.

use rustc_hash::FxHashSet;

use crate::ids::Micros;
use crate::pipeline::{Conduct, Factor, MinSuccess, Pattern, Retry, RetryOn, Split, Targets, Task};
use crate::problem::{Problem, Syntax};
use crate::status::FailureKind;

/// Most bytes of memory that an attempt can occupy: more is a mistake, and sums must not overflow.
pub const MOST_BYTES: u64 = 1_000_000_000_000_000_000;

/// Checks all options of a task, and the keys that belong to its pattern.
pub fn options(task: &Task, syntax: Syntax, found: &mut dyn FnMut(Problem)) {
    let Conduct { cpus, memory, targets: workers, min_success, .. } = &task.conduct;
    let key = |key: &str| format!("`{}`", syntax.key(key));
    let mut add = |problem: Option<Problem>| problem.into_iter().for_each(&mut *found);
    if *cpus == 0 {
        add(at_least_one(0, &key("cpus")));
    }
    if task.conduct.max_running == Some(0) {
        add(at_least_one(0, &key("max-running")));
    }
    if let Pattern::Scatter(scatter) = &task.pattern {
        match scatter.split {
            Split::Each => {}
            Split::Chunk(count) => add(at_least_one(count, "`chunk`")),
            Split::Parts(count) => add(at_least_one(count, "`parts`")),
        }
    }
    times(&task.conduct, syntax, &mut add);
    add(amount(*memory));
    add(targets(workers));
    if let Targets::Named(names) = workers {
        names.iter().for_each(|name| add(worker(name)));
    }
    if *workers == Targets::Each {
        let pattern = pattern_key(&task.pattern).or(task.sweep.as_ref().map(|_| "sweep"));
        pattern.into_iter().for_each(|pattern| add(Some(each(pattern, syntax))));
    }
    if let Some(least) = min_success {
        add(tolerance(*least, syntax));
        if task.pattern.gathered().is_empty() {
            add(Some(without("min-success", "gather", syntax)));
        }
    }
    if let Pattern::Gather(upstreams) = &task.pattern {
        add(gathers(upstreams.len()));
    }
    resources(&task.conduct.resources, syntax, &mut add);
    let Retry { on, grow_memory, .. } = &task.conduct.retry;
    on.iter().for_each(|kind| add(failure(*kind)));
    add(grow_memory.and_then(factor));
    add(growth(&task.conduct, syntax).or_else(|| grows_in_vain(&task.conduct.retry, syntax)));
    let clauses = task.after.iter().chain(&task.follow);
    clauses.for_each(|clause| add(super::clause(clause.upstreams.len(), syntax)));
}

fn times(conduct: &Conduct, syntax: Syntax, add: &mut dyn FnMut(Option<Problem>)) {
    let limits = [("timeout", conduct.timeout), ("start-within", conduct.start_within)];
    for (key, span) in limits {
        if let Some(span) = span.filter(|span| *span == Micros(0) || *span > Micros::MOST) {
            add(limit(span, &format!("`{}`", syntax.key(key))));
        }
    }
    let Retry { delay, max_delay, .. } = conduct.retry;
    for (key, span) in [("grace", conduct.grace), ("delay", delay), ("max-delay", max_delay)] {
        if span > Micros::MOST {
            add(time(span, &format!("`{}`", syntax.key(key))));
        }
    }
}

fn resources(resources: &[(String, u64)], syntax: Syntax, add: &mut dyn FnMut(Option<Problem>)) {
    let mut seen = FxHashSet::default();
    for (name, _) in resources {
        add(resource(name, syntax));
        if !seen.insert(name) {
            add(Some(Problem::new(format!("resource `{name}` is named twice"))));
        }
    }
}

/// The key of a pattern by which a task's instances depend on those of other tasks.
fn pattern_key(pattern: &Pattern) -> Option<&'static str> {
    match pattern {
        Pattern::Own => None,
        Pattern::Map(_) => Some("map"),
        Pattern::Scatter(_) => Some("scatter"),
        Pattern::Gather(_) | Pattern::GatherBy(..) | Pattern::GatherEvery(..) => Some("gather"),
    }
}

/// A count that cannot be zero; `what` is its key in backticks.
#[must_use]
pub fn at_least_one(count: u32, what: &str) -> Option<Problem> {
    (count == 0).then(|| Problem::new(format!("{what} must be at least 1")))
}

/// A limit of time; `what` is its key in backticks.
#[must_use]
pub fn limit(span: Micros, what: &str) -> Option<Problem> {
    let zero = || Problem::new(format!("{what} must be greater than zero"));
    let problem = time(span, what).or_else(|| (span == Micros(0)).then(zero))?;
    Some(problem.help("leave it out for no limit"))
}

/// A length of time; `what` is its key in backticks.
#[must_use]
pub fn time(span: Micros, what: &str) -> Option<Problem> {
    (span > Micros::MOST).then(|| Problem::new(format!("{what} is longer than 100 years")))
}

/// A key that only tasks of this pattern have, on another task.
#[must_use]
pub fn without(key: &str, pattern: &str, syntax: Syntax) -> Problem {
    Problem::new(format!("`{}` without `{pattern}`", syntax.key(key)))
        .help(format!("it is for tasks that {pattern}; this one {pattern}s nothing"))
}

/// Bytes of memory.
#[must_use]
pub fn amount(bytes: u64) -> Option<Problem> {
    let message = || format!("`memory` is too large: at most {MOST_BYTES} bytes");
    (bytes > MOST_BYTES).then(|| Problem::new(message()))
}

/// By what the memory of a next attempt is multiplied.
#[must_use]
pub fn factor(factor: Factor) -> Option<Problem> {
    let fits = Factor(1000) < factor && factor <= Factor::MOST;
    let message =
        || format!("`memory` grows by a factor above 1 and up to {}", Factor::MOST.0 / 1000);
    (!fits).then(|| Problem::new(message()).help(FACTORS))
}

pub(crate) const FACTORS: &str =
    "with `grow = { memory = 2.0 }` the next attempt asks for twice the memory";

/// Memory that is to grow, of a task that asks for none.
#[must_use]
pub fn growth(conduct: &Conduct, syntax: Syntax) -> Option<Problem> {
    let grow = syntax.say("`grow`", "`grow_memory`");
    let help =
        syntax.say("say what the first attempt asks for: memory = \"2GiB\"", "use `.memory(…)`");
    let problem = || Problem::new(format!("{grow} without `memory`")).help(help);
    (conduct.retry.grow_memory.is_some() && conduct.memory == 0).then(problem)
}

/// Memory that is to grow after failures that are not tried again.
#[must_use]
pub fn grows_in_vain(retry: &Retry, syntax: Syntax) -> Option<Problem> {
    let in_vain = retry.grow_memory.is_some() && !retry.covers(FailureKind::Memory);
    let grow = syntax.say("`grow`", "`grow_memory`");
    let memory = syntax.say("`\"memory\"`", "`RetryOn::Memory`");
    let message = || format!("{grow} has no effect: `on` does not name {memory}");
    let help = || format!("add {memory} to `on`, or leave out `on` for all failures");
    in_vain.then(|| Problem::new(message()).help(help()))
}

/// The workers that may run a task.
#[must_use]
pub fn targets(targets: &Targets) -> Option<Problem> {
    let problem = || Problem::new("`targets` names no worker").help("leave it out for any worker");
    matches!(targets, Targets::Named(names) if names.is_empty()).then(problem)
}

/// The name or label of a worker.
#[must_use]
pub fn worker(name: &str) -> Option<Problem> {
    super::filled(name, "the worker's name or label")
}

/// A task for each worker that has also this key.
#[must_use]
pub fn each(key: &str, syntax: Syntax) -> Problem {
    let each = syntax.say("`targets = \"each\"`", "`each_worker`");
    let own = "it makes one instance for each worker; ";
    let help = syntax.say("`map` it from a task of its own", "map over it in a task of its own");
    Problem::new(format!("{each} does not go with `{key}`")).help(format!("{own}{help}"))
}

/// How many gathered instances must succeed.
#[must_use]
pub fn tolerance(least: MinSuccess, syntax: Syntax) -> Option<Problem> {
    let message = || format!("`{}` is above 100 %", syntax.key("min-success"));
    matches!(least, MinSuccess::Part(10_001..)).then(|| Problem::new(message()))
}

/// A gather of this many tasks.
#[must_use]
pub fn gathers(count: usize) -> Option<Problem> {
    (count == 0).then(|| Problem::new("`gather` names no task"))
}

/// What may name a resource.
#[must_use]
pub fn resource(name: &str, syntax: Syntax) -> Option<Problem> {
    let own = || {
        let message = syntax.say(
            format!("`{name}` is a key of the task"),
            format!("`{name}` is an option of its own, not a resource"),
        );
        let help = syntax.say(
            format!("write {name} = … beside `resources`, not within"),
            format!("use `.{name}(…)`"),
        );
        Problem::new(message).help(help)
    };
    let reserved = ["cpus", "memory"].contains(&name);
    super::name(name, "resource").or_else(|| reserved.then(own))
}

/// A kind of failure that is tried again.
#[must_use]
pub fn failure(kind: RetryOn) -> Option<Problem> {
    let (what, help) = match kind {
        RetryOn::Exit(code) if !(1..=255).contains(&code) => (format!("exit:{code}"), EXIT_CODES),
        RetryOn::Signal(signal) if !(1..=64).contains(&signal) => {
            (format!("signal:{signal}"), SIGNALS)
        }
        _ => return None,
    };
    Some(Problem::new(format!("unknown failure `{what}`")).help(help))
}

pub(crate) const EXIT_CODES: &str = "exit codes of failures are 1 to 255";
pub(crate) const SIGNALS: &str = "signals are 1 to 64";
