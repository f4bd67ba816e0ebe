//! The rules of a valid pipeline, other than the meaning of its names ([`crate::resolve`]): rules
//! for names, texts and options, for a task and for the whole. Each rule is written here and
//! nowhere else. The parser, the builder and the scheduler, which trusts neither, all apply them.
//!
//! Nothing here knows the location of what it checks. Problems are returned without one.

mod lengths;
mod options;
mod script;
mod whole;

pub use lengths::{Lengths, Long};
pub(crate) use options::{EXIT_CODES, FACTORS, SIGNALS};
pub use options::{
    MOST_BYTES, amount, at_least_one, each, factor, failure, gathers, grows_in_vain, growth, limit,
    options, resource, targets, time, tolerance, without, worker,
};
pub use script::script;
pub use whole::{Concern, cycle, whole};

use crate::pipeline::{Task, TaskAction};
use crate::problem::{Problem, Syntax};
use crate::shell;
use crate::spelling::{NAMES, is_name, is_reserved};
use crate::template::{Part, Template};
use crate::url::{self, Location, UrlError};

/// What may name a task, a parameter, a variable, an output or a resource; `what` is the kind.
#[must_use]
pub fn name(name: &str, what: &str) -> Option<Problem> {
    if is_name(name) {
        return None;
    }
    let message = format!("invalid {what} name `{}`", name.escape_debug());
    Some(Problem::new(message).help(NAMES))
}

/// What may name a parameter.
#[must_use]
pub fn parameter(given: &str) -> Option<Problem> {
    let hidden = name(given, "parameter").or_else(|| {
        let message = format!("parameter `{given}` would hide the placeholder `{{{given}}}`");
        is_reserved(given).then(|| Problem::new(message).help("give the parameter another name"))
    });
    hidden.or_else(|| set_elsewhere(given, "parameter"))
}

/// What may name a constant of the pipeline.
#[must_use]
pub fn constant(given: &str) -> Option<Problem> {
    name(given, "variable").or_else(|| set_elsewhere(given, "variable"))
}

/// A name that a shell or dagrun sets itself, so that a script would not get what is meant.
fn set_elsewhere(given: &str, what: &str) -> Option<Problem> {
    let message = || match given.starts_with("DAGRUN_") {
        true => {
            format!("{what} `{given}`: names that begin with `DAGRUN_` are set by dagrun itself")
        }
        false => format!("{what} `{given}` is a variable that a shell sets itself"),
    };
    let problem = || Problem::new(message()).help(format!("give the {what} another name"));
    shell::sets(given).then(problem)
}

/// A group of this many axes that are paired.
#[must_use]
pub fn paired(axes: usize) -> Option<Problem> {
    (axes < 2).then(|| Problem::new("a zip group pairs at least two axes"))
}

/// What may name an output.
#[must_use]
pub fn output(given: &str, task: &str) -> Option<Problem> {
    name(given, "output").or_else(|| {
        let problem = Problem::new(format!("an output cannot be called `{given}`"))
            .help(format!("`{{{task}.{given}}}` means something else"));
        ["value", "manifest"].contains(&given).then_some(problem)
    })
}

/// What may name an input.
#[must_use]
pub fn input(given: &str) -> Option<Problem> {
    name(given, "input")
}

/// The path of an input, which is not made of that of another one.
#[must_use]
pub fn input_path(path: &Template) -> Option<Problem> {
    path.has_input().then(|| Problem::new("`{in.…}` cannot be part of the path of an input"))
}

/// What may name an environment variable.
#[must_use]
pub fn variable(name: &str) -> Option<Problem> {
    let message = || format!("`{}` cannot name a variable", name.escape_debug());
    (name.is_empty() || name.contains(['=', '\0'])).then(|| Problem::new(message()))
}

/// What may name a pipeline.
#[must_use]
pub fn pipeline_name(name: &str) -> Option<Problem> {
    let control = || name.contains(char::is_control);
    let control = || control().then(|| Problem::new("the name contains a control character"));
    filled(name, "the name").or_else(control)
}

/// A text that is passed to a process.
#[must_use]
pub fn text(text: &str) -> Option<Problem> {
    text.contains('\0').then(|| Problem::new("the text contains a NUL character"))
}

/// A text that must not be empty; `what` names it.
#[must_use]
pub fn filled(text: &str, what: &str) -> Option<Problem> {
    text.trim().is_empty().then(|| Problem::new(format!("{what} is empty")))
}

/// The first line of a script that is no shell's.
#[must_use]
pub fn interpreter(script: &str) -> Option<Problem> {
    let problem = || {
        Problem::new("the script names no interpreter")
            .help("its first line does: #!/usr/bin/env python3")
    };
    shell::interpreter(script).is_empty().then(problem)
}

/// The words before those of a task.
#[must_use]
pub fn wrap(first: Option<&str>) -> Option<Problem> {
    let problem = || Problem::new("`wrap` names no program").help("leave it out, or write []");
    first.is_some_and(str::is_empty).then(problem)
}

/// The first word of a command.
#[must_use]
pub fn program(first: Option<&str>, syntax: Syntax) -> Option<Problem> {
    let message = || syntax.say("`run` names no program", "the command names no program");
    let problem = || Problem::new(message()).help("the first word is the program to start");
    first.is_none_or(str::is_empty).then(problem)
}

/// A pipeline with this many tasks.
#[must_use]
pub fn tasks(count: usize, syntax: Syntax) -> Option<Problem> {
    let problem = || match syntax {
        Syntax::Toml => Problem::new("the pipeline has no tasks")
            .help("a task is written as a table: [task.hello]"),
        Syntax::Rust => Problem::new("the graph has no tasks"),
    };
    (count == 0).then(problem)
}

/// A clause of `after` or `follow` that names this many tasks.
#[must_use]
pub fn clause(count: usize, syntax: Syntax) -> Option<Problem> {
    let help = || syntax.say("give it `all = [..]` or `any = [..]`", "give it a handle");
    (count == 0).then(|| Problem::new("the clause names no tasks").help(help()))
}

/// A path or a URL: an unknown scheme, as far as the literal text shows it.
#[must_use]
pub fn location(path: &Template) -> Option<Problem> {
    let Some(Part::Literal(start)) = path.parts.first() else { return None };
    match Location::of(start.as_bytes()) {
        // The parts that follow may complete it.
        Err(UrlError::Incomplete(_) | UrlError::Host) if path.parts.len() > 1 => None,
        Err(error) => Some(Problem::new(error.to_string())),
        Ok(_) => None,
    }
}

/// The path of a temporary output, which is no URL of a server.
#[must_use]
pub fn temporary(path: &Template) -> Option<Problem> {
    let Some(Part::Literal(start)) = path.parts.first() else { return None };
    let remote = matches!(url::scheme(start.as_bytes()), Some("s3" | "http" | "https"));
    let problem = || Problem::new("only files and directories can be temporary, nothing at a URL");
    remote.then(problem)
}

/// The path of a directory, which is no URL of a server.
#[must_use]
pub fn directory(path: &Template, syntax: Syntax) -> Option<Problem> {
    let Some(Part::Literal(start)) = path.parts.first() else { return None };
    let remote = matches!(url::scheme(start.as_bytes()), Some("s3" | "http" | "https"));
    let message = || format!("`{}` is a directory, not a URL", syntax.key("working-dir"));
    location(path).or_else(|| remote.then(|| Problem::new(message())))
}

/// A task of any origin, not necessarily made by the parser or the builder: everything that can be
/// checked without the other tasks. Returns the first problem.
#[must_use]
pub fn task(task: &Task) -> Option<Problem> {
    let mut first = None;
    options(task, Syntax::Toml, &mut |problem| {
        first.get_or_insert(problem);
    });
    first.or_else(|| name(&task.name, "task")).or_else(|| texts(task))
}

fn texts(task: &Task) -> Option<Problem> {
    let argv = match &task.action {
        TaskAction::Run(argv) => argv.as_slice(),
        TaskAction::Shell(script) => return text(script).or_else(|| surroundings(task)),
        TaskAction::Script(script) => {
            return text(script).or_else(|| interpreter(script)).or_else(|| surroundings(task));
        }
        TaskAction::Call(call) => {
            return filled(&call.function, "the name of the function")
                .or_else(|| surroundings(task));
        }
    };
    let first = argv.first().map(|word| match word.parts.as_slice() {
        [] => "",
        [Part::Literal(word), ..] => word,
        [Part::Placeholder(_), ..] => "{}",
    });
    let words = || argv.iter().find_map(template);
    program(first, Syntax::Toml).or_else(words).or_else(|| surroundings(task))
}

/// The first problem with the paths and the environment of a process.
fn surroundings(task: &Task) -> Option<Problem> {
    let paths = task.outputs.iter().map(|(_, path)| path).chain(&task.stdin).chain(&task.inputs);
    let path = |path: &Template| {
        let empty = path.parts.is_empty().then(|| Problem::new("the path is empty"));
        empty.or_else(|| location(path)).or_else(|| template(path))
    };
    let outputs = || task.outputs.iter().find_map(|(name, _)| output(name, &task.name));
    let env =
        || task.env.iter().find_map(|(name, value)| variable(name).or_else(|| template(value)));
    let at = |path: &Template| directory(path, Syntax::Toml).or_else(|| template(path));
    let paths = || paths.into_iter().find_map(path);
    outputs().or_else(paths).or_else(env).or_else(|| task.working_dir.as_ref().and_then(at))
}

fn template(template: &Template) -> Option<Problem> {
    template.parts.iter().find_map(|part| match part {
        Part::Literal(literal) => text(literal),
        Part::Placeholder(_) => None,
    })
}
