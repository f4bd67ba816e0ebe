//! What is allowed in a pipeline and hardly meant: warnings, for pipeline files and the builder
//! alike. What is wrong is a matter of [`crate::check`] and [`crate::resolve`].
//!
//! Nothing here knows the location of what it looks at. What the text of a file alone shows (the
//! quotes of a `run` string) is found by the parser.

mod braces;
mod idle;
mod interpreters;
mod unused;

use std::ops::Range;

use crate::ids::TaskId;
use crate::problem::Problem;
use crate::resolve::Names;

/// The part of a pipeline that a warning is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A variable.
    Var(String),
    /// An axis of a task's sweep, by position.
    Axis(TaskId, usize),
    /// A row of `exclude`, by position.
    Exclude(TaskId, usize),
    /// A row of `include`, by position.
    Include(TaskId, usize),
    /// An output, by position.
    Output(TaskId, usize),
    /// A placeholder in a word of a command: the word and the number of the placeholder in it.
    Word(TaskId, usize, usize),
    /// A part of a script, in bytes.
    Script(TaskId, Range<usize>),
}

impl At {
    /// The task, if it is a part of one.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        match self {
            At::Var(_) => None,
            At::Axis(task, _)
            | At::Exclude(task, _)
            | At::Include(task, _)
            | At::Output(task, _)
            | At::Word(task, ..)
            | At::Script(task, _) => Some(*task),
        }
    }
}

/// All warnings about a pipeline whose names have been resolved and which is free of problems.
#[must_use]
pub fn warnings(names: &Names<'_>) -> Vec<(At, Problem)> {
    let mut found = Vec::new();
    for task in (0..names.tasks.len() as u32).map(TaskId) {
        braces::look(names, task, &mut found);
        interpreters::look(names, task, &mut found);
        idle::look(names, task, &mut found);
    }
    unused::look(names, &mut found);
    found
}
