//! From the text of a `pipeline.toml` to a checked [`Pipeline`], or to a list of all its problems.
//!
//! The work is done in layers, each of which knows nothing of the next: `document` (TOML), `reader`
//! (values of the expected type), `task`, `sweep`, `axis`, `clauses`, `text` (keys by themselves,
//! which make a `draft`), `link` (what refers to what), `checks` (the whole). The rules of the
//! language are those of [`crate::resolve`] and [`crate::check`]; the parser adds the location of a
//! problem in the file. Files are seen only through [`Files`], so that nothing here does I/O.

mod axis;
mod call;
mod captures;
mod checks;
mod clauses;
mod diagnostic;
mod document;
mod draft;
mod duration;
mod files;
mod glob;
mod keys;
mod link;
mod output;
mod pattern;
mod placement;
mod reader;
mod retries;
mod settings;
mod sweep;
mod tables;
mod task;
mod text;

use toml::de::{DeTable, DeValue};

pub use diagnostic::Diagnostic;
pub use duration::parse as duration;
pub use files::{FileError, Files, NoFiles};
pub use placement::parse_bytes;
pub use settings::Params;

pub use crate::spelling::{did_you_mean, is_name, is_reserved, listed};

use crate::check;
use crate::graph::Graph;
use crate::pipeline::Pipeline;
use crate::problem::Syntax;
use crate::spelling;
use crate::value::Value;
use diagnostic::Problems;
use document::{Node, entries};
use draft::{Draft, Fields};
use link::Linker;
use reader::Reader;
use settings::Settings;

/// What is wrong with the syntax of a text: of TOML, without what the tables mean.
#[must_use]
pub fn syntax_problems(source: &str) -> Vec<Diagnostic> {
    let mut problems = Problems::default();
    document::read(source, &mut problems);
    problems.into_located(source)
}

/// The parser's input other than the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParseOptions<'a> {
    /// The pipeline's name when the file gives none: the file's stem.
    pub file_stem: &'a str,
    /// A file with values of variables (`--params`).
    pub params: Option<Params<'a>>,
    /// Variables to override, also those of `params`: name and text (`--set`). A variable that is
    /// text takes the text as it is; for others it is a TOML value of the same type.
    pub set: &'a [(String, String)],
}

/// A checked pipeline.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its graph: widths, order, edges.
    pub graph: Graph,
    /// What is allowed and hardly meant, in the order of the text.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks a pipeline.
///
/// # Errors
/// All problems of the file, in the order of its text.
pub fn parse(
    source: &str,
    options: &ParseOptions<'_>,
    files: &dyn Files,
) -> Result<Parsed, Vec<Diagnostic>> {
    let mut reader = Reader {
        source,
        files,
        problems: Problems::default(),
        warnings: Problems::default(),
        allow_empty: false,
    };
    let Some(root) = document::read(source, &mut reader.problems) else {
        return Err(reader.problems.into_located(source));
    };
    let parsed = Top::read(&mut reader, &root).and_then(|mut top| {
        top.override_vars(&mut reader, options);
        top.resolve(&mut reader, options.file_stem)
    });
    match parsed {
        Some(parsed) if reader.problems.is_empty() => {
            Ok(Parsed { warnings: reader.warnings.into_located(source), ..parsed })
        }
        _ => Err(reader.problems.into_located(source)),
    }
}

/// The file as it is written.
#[derive(Default)]
struct Top<'t> {
    name: Option<String>,
    vars: Vec<(String, Value)>,
    vars_span: Option<std::ops::Range<usize>>,
    /// Where the name of each variable is written.
    var_spans: Vec<std::ops::Range<usize>>,
    vars_unknown: bool,
    tasks: Vec<Draft<'t>>,
    tasks_unknown: bool,
}

impl<'t> Top<'t> {
    fn read(reader: &mut Reader<'_>, root: &'t DeTable<'_>) -> Option<Top<'t>> {
        let mut top = Top::default();
        let defaults = root.get("defaults").map(|node| task::defaults(reader, node));
        for (key, node) in entries(root) {
            match &**key.get_ref() {
                "dagrun" => version(reader, node),
                "name" => top.name = pipeline_name(reader, node),
                "vars" => {
                    top.vars_span = Some(key.span());
                    top.vars(reader, node);
                }
                "defaults" => {}
                "task" => top.tasks(reader, node, &defaults.clone().unwrap_or_default()),
                _ => top.other_key(reader, key, node),
            }
        }
        if let Some(problem) = check::tasks(top.tasks.len(), Syntax::Toml)
            && !top.tasks_unknown
        {
            reader.add(Diagnostic::of(0..0, problem));
            return None;
        }
        Some(top)
    }

    fn vars(&mut self, reader: &mut Reader<'_>, node: &Node<'_>) {
        let Some(fields) = reader.table(node, "a table of variables") else {
            self.vars_unknown = true;
            return;
        };
        for (key, value) in fields {
            reader.report(key.span(), check::constant(key.get_ref()));
            let value = reader.value(value);
            self.var_spans.push(key.span());
            self.vars.push((key.get_ref().to_string(), value));
        }
    }

    fn tasks<'i>(
        &mut self,
        reader: &mut Reader<'_>,
        node: &'t Node<'i>,
        defaults: &Fields<'t, 'i>,
    ) {
        let Some(fields) = reader.table(node, "tables of tasks") else {
            self.tasks_unknown = true;
            return;
        };
        for (key, node) in fields {
            self.tasks.push(Draft::read(reader, key, node, defaults));
        }
    }

    fn other_key(&mut self, reader: &mut Reader<'_>, key: &document::Key<'_>, node: &Node<'_>) {
        let name = &**key.get_ref();
        let looks_like_task = match node.get_ref() {
            DeValue::Table(table) => {
                ["run", "shell", "script", "call"].iter().any(|key| table.contains_key(*key))
            }
            _ => false,
        };
        if looks_like_task {
            let problem = Diagnostic::at(key.span(), format!("unknown key `{name}` in the file"))
                .help(format!("a task is written as [task.{name}]"));
            reader.add(problem);
            self.tasks_unknown = true;
            return;
        }
        reader.unknown_key(key, "the file", keys::TOP);
        match spelling::closest(name, keys::TOP.iter().copied()) {
            Some("vars") => self.vars_unknown = true,
            Some("task") => self.tasks_unknown = true,
            _ => {}
        }
    }

    fn override_vars(&mut self, reader: &mut Reader<'_>, options: &ParseOptions<'_>) {
        let mut settings = Settings {
            vars: &mut self.vars,
            span: self.vars_span.clone(),
            unknown: self.vars_unknown,
            problems: &mut reader.problems,
        };
        options.params.iter().for_each(|file| settings.file(file));
        options.set.iter().for_each(|(name, text)| settings.typed(name, text));
    }

    fn resolve(self, reader: &mut Reader<'_>, file_stem: &str) -> Option<Parsed> {
        let mut linker = Linker::new(reader, &self.tasks, &self.vars, &self.var_spans);
        linker.names.tasks_unknown = self.tasks_unknown;
        linker.names.vars_unknown = self.vars_unknown;
        let tasks = linker.tasks();
        let acyclic = linker.no_cycles();
        checks::inputs(reader, &self.tasks);
        let pipeline = Pipeline {
            name: self.name.unwrap_or_else(|| file_stem.to_owned()),
            vars: self.vars,
            tasks: tasks?,
        };
        if !acyclic {
            return None;
        }
        let graph = checks::whole(reader, &pipeline, &self.tasks)?;
        checks::taken(reader, &pipeline, &graph, &self.tasks);
        checks::inputs_of_instances(reader, &pipeline, &graph, &self.tasks);
        Some(Parsed { pipeline, graph, warnings: Vec::new() })
    }
}

/// The version of the format.
fn version(reader: &mut Reader<'_>, node: &Node<'_>) {
    if let DeValue::Integer(_) = node.get_ref() {
        if document::to_value(reader.source, node) != Value::Number("1".to_owned()) {
            let spelling = reader.source.get(node.span()).unwrap_or_default();
            let problem = Diagnostic::at(node.span(), format!("unknown format version {spelling}"))
                .help("this dagrun reads version 1");
            reader.add(problem);
        }
        return;
    }
    let problem = reader.mismatch(node, "an integer").help("write dagrun = 1");
    reader.add(problem);
}

fn pipeline_name(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<String> {
    let name = reader.string(node)?;
    reader.report(node.span(), check::pipeline_name(name));
    Some(name.to_owned())
}
