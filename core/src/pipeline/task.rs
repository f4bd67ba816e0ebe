//! A task: what it does, how it relates to others, and its inputs and outputs.

use serde::{Deserialize, Deserializer, Serialize};

use super::conduct::is_default;
use super::{Call, Clause, Conduct, Pattern, Targets};
use crate::ids::TaskId;
use crate::space::Space;
use crate::template::{Placeholder, Template};

/// A task and everything that the author specified for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// What an attempt does.
    pub action: TaskAction,
    /// Words that are put before its own, such as those that start a container.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wrap: Vec<Template>,
    /// How its instances relate to those of other tasks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pattern: Pattern,
    /// Its own parameters; for a `map`, crossed with each upstream instance.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sweep: Option<Space>,
    /// Clauses of `after`; all must hold.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: Vec<Clause>,
    /// Clauses of `follow`: like `after`, and they place the task where their upstreams ran.
    #[serde(default, skip_serializing_if = "is_default")]
    pub follow: Vec<Clause>,
    /// Single tasks that its placeholders refer to; each must succeed first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub references: Vec<TaskId>,
    /// What becomes of standard output.
    #[serde(default, skip_serializing_if = "is_default")]
    pub capture: Capture,
    /// Files that an attempt creates: name and path.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outputs: Vec<(String, Template)>,
    /// Those of them that are removed when nobody needs them any more, by position.
    #[serde(default, skip_serializing_if = "is_default")]
    pub temp: Vec<u32>,
    /// The file fed to standard input.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stdin: Option<Template>,
    /// Files that the task reads.
    #[serde(default, skip_serializing_if = "is_default", deserialize_with = "inputs")]
    pub inputs: Vec<Template>,
    /// Those of them that have a name, by position.
    #[serde(default, skip_serializing_if = "is_default")]
    pub named: Vec<(String, u32)>,
    /// Environment to add.
    #[serde(default, skip_serializing_if = "is_default")]
    pub env: Vec<(String, Template)>,
    /// Working directory, relative to the pipeline file's directory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub working_dir: Option<Template>,
    /// How its attempts are made, placed and judged.
    #[serde(flatten)]
    pub conduct: Conduct,
}

impl Task {
    /// A single task without other options: as if every other key were absent.
    #[must_use]
    pub fn new(name: impl Into<String>, action: TaskAction) -> Task {
        Task {
            name: name.into(),
            action,
            wrap: Vec::new(),
            pattern: Pattern::Own,
            sweep: None,
            after: Vec::new(),
            follow: Vec::new(),
            references: Vec::new(),
            capture: Capture::None,
            outputs: Vec::new(),
            temp: Vec::new(),
            stdin: None,
            inputs: Vec::new(),
            named: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            conduct: Conduct::default(),
        }
    }

    /// Whether its number of instances may differ from one: these are named with their index.
    #[must_use]
    pub fn is_array(&self) -> bool {
        self.sweep.is_some()
            || self.conduct.targets == Targets::Each
            || !matches!(self.pattern, Pattern::Own | Pattern::Gather(_))
    }

    /// Whether one of its outputs, by position, is removed when nobody needs it any more.
    #[must_use]
    pub fn is_temp(&self, output: usize) -> bool {
        self.temp.iter().any(|at| *at as usize == output)
    }

    /// Its inputs that have a name, in order.
    pub fn named_inputs(&self) -> impl Iterator<Item = (&str, &Template)> {
        let input = |at: u32| self.inputs.get(at as usize);
        self.named.iter().filter_map(move |(name, at)| Some((name.as_str(), input(*at)?)))
    }

    /// Its inputs that have no name, in order.
    pub fn unnamed_inputs(&self) -> impl Iterator<Item = &Template> {
        let is_named = |position: u32| self.named.iter().any(|(_, at)| *at == position);
        let inputs = (0..).zip(&self.inputs);
        inputs.filter(move |(at, _)| !is_named(*at)).map(|(_, template)| template)
    }

    /// All placeholders, in all its templates.
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        let action: Vec<&Template> = match &self.action {
            TaskAction::Run(argv) => argv.iter().collect(),
            TaskAction::Shell(_) | TaskAction::Script(_) => Vec::new(),
            TaskAction::Call(call) => call.templates(),
        };
        let outputs = self.outputs.iter().map(|(_, template)| template);
        let env = self.env.iter().map(|(_, template)| template);
        action
            .into_iter()
            .chain(&self.wrap)
            .chain(outputs)
            .chain(env)
            .chain(&self.stdin)
            .chain(&self.inputs)
            .chain(&self.working_dir)
            .flat_map(Template::placeholders)
    }

    /// The upstreams whose values it consumes, each once: through a placeholder, or all at once.
    pub(crate) fn consumed(&self) -> Vec<(TaskId, bool)> {
        let mut consumed: Vec<(TaskId, bool)> = self
            .placeholders()
            .filter_map(|placeholder| match placeholder {
                Placeholder::UpstreamValue(upstream, _)
                | Placeholder::UpstreamValueFile(upstream) => Some((*upstream, false)),
                _ => None,
            })
            .collect();
        if let TaskAction::Call(call) = &self.action {
            consumed.extend(call.gathered().into_iter().map(|upstream| (upstream, true)));
        }
        consumed.sort_unstable();
        consumed.dedup();
        consumed
    }
}

/// Inputs as they are stored, and as older versions stored them: as text without placeholders.
fn inputs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Template>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Text(String),
        Template(Template),
    }
    let stored = Vec::<Stored>::deserialize(deserializer)?;
    let template = |stored| match stored {
        Stored::Text(text) => Template::literal(&text),
        Stored::Template(template) => template,
    };
    Ok(stored.into_iter().map(template).collect())
}

/// What an attempt does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskAction {
    /// An argument vector, started without a shell.
    Run(Vec<Template>),
    /// A script for a shell; nothing is substituted in it.
    Shell(String),
    /// A script for the interpreter that its first line names; nothing is substituted in it.
    Script(String),
    /// A function of the worker's own program.
    Call(Box<Call>),
}

impl TaskAction {
    /// The text of a script, for a shell or another interpreter.
    #[must_use]
    pub fn script(&self) -> Option<&str> {
        match self {
            TaskAction::Shell(script) | TaskAction::Script(script) => Some(script),
            TaskAction::Run(_) | TaskAction::Call(_) => None,
        }
    }
}

/// What becomes of standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capture {
    /// It is only logged.
    #[default]
    None,
    /// The instance's value is the text, without its trailing newline.
    Text,
    /// The instance's value is the JSON document.
    Json,
    /// The instance's value is a JSON array of the lines.
    Lines,
    /// The instance's value is a JSON array of the documents, one in each line.
    #[serde(rename = "json-lines")]
    JsonLines,
    /// The instance's value is the bytes.
    Bytes,
}
