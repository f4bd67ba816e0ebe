//! A task as it is written: data, made by `task` and similar modules and read by `link`. Names are
//! not resolved.

use std::ops::Range;

use super::document::{Key, Node};
use super::reader::Name;
use super::sweep::Sweep;
use super::text::Text;
use crate::pipeline::{
    Args, Call, Capture, Conduct, MinSuccess, Outcomes, Quantifier, Split, Task, TaskAction,
};
use crate::resolve::Gap;
use crate::template::Template;
use crate::value::Value;

/// The entries of a table.
pub(super) type Fields<'t, 'i> = Vec<(&'t Key<'i>, &'t Node<'i>)>;

/// An argument as it is written, placeholders unresolved.
#[derive(Clone, Debug)]
pub(super) enum DraftArg<'t> {
    Value(Value),
    Text(Text<'t>),
    List(Vec<DraftArg<'t>>),
    Table(Vec<(&'t str, DraftArg<'t>)>),
}

/// What a task does, placeholders unresolved.
#[derive(Clone, Debug)]
pub(super) enum DraftAction<'t> {
    Run(Vec<Text<'t>>),
    Shell(Text<'t>),
    Script(Text<'t>),
    /// The function's name and its arguments.
    Call(&'t str, Vec<(&'t str, DraftArg<'t>)>),
}

/// A task as it is written.
#[derive(Clone, Debug)]
pub(super) struct Draft<'t> {
    pub(super) name: &'t str,
    pub(super) span: Range<usize>,
    pub(super) action: Option<DraftAction<'t>>,
    pub(super) wrap: Vec<Text<'t>>,
    /// Set only until the arguments are moved to the call.
    pub(super) args: Option<Vec<(&'t str, DraftArg<'t>)>>,
    pub(super) pattern: DraftPattern<'t>,
    pub(super) sweep: Option<Sweep>,
    pub(super) after: Vec<DraftClause<'t>>,
    pub(super) follow: Vec<DraftClause<'t>>,
    /// Only with a gather, and where it is written.
    pub(super) min_success: Option<(MinSuccess, Range<usize>)>,
    /// Only with a scatter.
    pub(super) max_items: Option<u32>,
    pub(super) capture: Capture,
    /// Name, place of the name, path.
    pub(super) outputs: Vec<(&'t str, Range<usize>, Option<Text<'t>>)>,
    /// Those of them that are removed when nobody needs them any more, by position.
    pub(super) temp: Vec<u32>,
    pub(super) stdin: Option<Text<'t>>,
    pub(super) inputs: Vec<Text<'t>>,
    /// Those of them that have a name: name, its location, and their position.
    pub(super) named: Vec<(&'t str, Range<usize>, u32)>,
    pub(super) env: Vec<(&'t str, Text<'t>)>,
    pub(super) working_dir: Option<Text<'t>>,
    /// All but `min_success`, whose location is kept as well.
    pub(super) conduct: Conduct,
    /// What is unknown about it because of problems that have been reported.
    pub(super) unknown: Gap,
    /// Whether its action is unknown for the same reason.
    pub(super) unknown_action: bool,
}

impl<'t> Draft<'t> {
    /// A task of which nothing is known but its name.
    pub(super) fn new(name: &'t str, span: Range<usize>) -> Draft<'t> {
        Draft {
            name,
            span,
            action: None,
            wrap: Vec::new(),
            args: None,
            pattern: DraftPattern::Own,
            sweep: None,
            after: Vec::new(),
            follow: Vec::new(),
            min_success: None,
            max_items: None,
            capture: Capture::None,
            outputs: Vec::new(),
            temp: Vec::new(),
            stdin: None,
            inputs: Vec::new(),
            named: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            conduct: Conduct::default(),
            unknown: Gap::default(),
            unknown_action: false,
        }
    }

    /// A task that cannot be read.
    pub(super) fn unreadable(name: &'t str, span: Range<usize>) -> Draft<'t> {
        let unknown = Gap { params: true, outputs: true, capture: true };
        Draft { unknown, unknown_action: true, ..Draft::new(name, span) }
    }

    /// What the task does, as far as its placeholders depend on it.
    fn kind(&self) -> TaskAction {
        let Some(DraftAction::Call(function, _)) = &self.action else {
            return TaskAction::Shell(String::new());
        };
        let (function, args) = ((*function).to_owned(), Args::Named(Vec::new()));
        TaskAction::Call(Box::new(Call { function, signature: None, args, fold: false }))
    }

    /// The part of the task that needs no names: its texts and what it waits for are still missing.
    pub(super) fn task(&self) -> Task {
        let outputs = self.outputs.iter();
        let outputs = outputs.map(|(name, _, _)| ((*name).to_owned(), Template::default()));
        Task {
            sweep: self.sweep.as_ref().map(|sweep| sweep.space.clone()),
            capture: self.capture,
            outputs: outputs.collect(),
            temp: self.temp.clone(),
            named: self.named.iter().map(|(name, _, at)| ((*name).to_owned(), *at)).collect(),
            conduct: self.conduct.clone(),
            ..Task::new(self.name, self.kind())
        }
    }
}

/// How a task's instances relate to those of others.
#[derive(Clone, Debug)]
pub(super) enum DraftPattern<'t> {
    Own,
    Map(Name<'t>),
    Gather(DraftGather<'t>),
    Scatter(DraftScatter<'t>),
}

/// A fan-in.
#[derive(Clone, Debug)]
pub(super) struct DraftGather<'t> {
    pub(super) tasks: Vec<Name<'t>>,
    /// The parameters that form the groups; without any there is one group.
    pub(super) by: Vec<Name<'t>>,
    pub(super) min_success: Option<(MinSuccess, Range<usize>)>,
}

/// A dynamic fan-out.
#[derive(Clone, Debug)]
pub(super) struct DraftScatter<'t> {
    pub(super) from: Name<'t>,
    pub(super) split: Split,
    pub(super) max_items: Option<u32>,
}

/// A clause whose names are not resolved yet.
#[derive(Clone, Debug)]
pub(super) struct DraftClause<'t> {
    pub(super) upstreams: Vec<Name<'t>>,
    pub(super) quantifier: Quantifier,
    pub(super) on: Outcomes,
}

impl<'t> DraftClause<'t> {
    pub(super) fn all(upstreams: Vec<Name<'t>>) -> DraftClause<'t> {
        DraftClause { upstreams, quantifier: Quantifier::All, on: Outcomes::Success }
    }
}
