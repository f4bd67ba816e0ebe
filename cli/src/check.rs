//! `dagrun check`: is the pipeline valid, and how large is it?

use dagrun::LoadError;
use dagrun_core::graph::Graph;
use dagrun_core::ids::TaskId;
use dagrun_core::one_line;
use dagrun_core::parse::Diagnostic;
use dagrun_core::pipeline::{Pattern, Pipeline, Targets, Task};
use serde::Serialize;

use crate::args::CheckArgs;
use crate::diagnostics;
use crate::exit::{Exit, Failure};
use crate::file;
use crate::terminal::{Output, Terminal, table};

/// Validates a pipeline file.
pub(crate) fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    if args.json {
        return check_json(args);
    }
    let loaded = file::load(&args.pipeline)?;
    let warnings = &loaded.warnings;
    if args.strict && !warnings.list.is_empty() {
        diagnostics::report(warnings, Terminal::stderr());
        return Err(Failure::reported(Exit::Invalid));
    }
    diagnostics::warn(warnings, Terminal::stderr());
    print(&loaded.pipeline, &loaded.graph);
    Ok(Exit::Success)
}

fn check_json(args: &CheckArgs) -> Result<Exit, Failure> {
    let shown = |list: Vec<Diagnostic>| list.into_iter().map(Problem::from).collect();
    let errors = match file::read(&args.pipeline) {
        Ok(loaded) if !args.strict || loaded.warnings.list.is_empty() => {
            Output::lock().json(&Valid {
                valid: true,
                name: &loaded.pipeline.name,
                tasks: loaded.pipeline.tasks.len(),
                instances: loaded.graph.instances(),
                edges: loaded.graph.edges(),
                warnings: shown(loaded.warnings.list),
            });
            return Ok(Exit::Success);
        }
        Ok(loaded) => shown(loaded.warnings.list),
        Err(LoadError::Invalid(problems)) => shown(problems.list),
        Err(other) => vec![Problem { message: one_line(&other), line: 1, column: 1, help: None }],
    };
    Output::lock().json(&Invalid { valid: false, errors });
    Err(Failure::reported(Exit::Invalid))
}

#[derive(Serialize)]
struct Valid<'a> {
    valid: bool,
    name: &'a str,
    tasks: usize,
    instances: u64,
    edges: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Problem>,
}

#[derive(Serialize)]
struct Invalid {
    valid: bool,
    errors: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    message: String,
    line: u32,
    column: u32,
    help: Option<String>,
}

impl From<Diagnostic> for Problem {
    fn from(problem: Diagnostic) -> Self {
        Problem {
            message: problem.message,
            line: problem.line,
            column: problem.column,
            help: problem.help,
        }
    }
}

fn print(pipeline: &Pipeline, graph: &Graph) {
    let mut output = Output::lock();
    output.line(format_args!("{} is valid", pipeline.name));
    output.line("");
    let mut rows = vec![["task", "instances", "upstreams"].map(str::to_owned).to_vec()];
    for (id, task) in (0..).zip(&pipeline.tasks) {
        let width = graph.width(TaskId(id)).map_or("?".to_owned(), |width| width.to_string());
        rows.push(vec![task.name.clone(), width, upstreams(pipeline, task)]);
    }
    for line in table(&rows, &[false, true]) {
        output.line(line);
    }
    output.line("");
    let sizes: Vec<String> = sizes(pipeline, graph).collect();
    for line in &sizes {
        output.line(line);
    }
    if !sizes.is_empty() {
        output.line("");
    }
    let tasks = pipeline.tasks.len();
    let dynamic = (0..).zip(&pipeline.tasks).any(|(id, _)| graph.is_dynamic(TaskId(id)));
    let count = |count: u64, word| match dynamic {
        true => format!("{count}+ {word}s"),
        false => format!("{count} {}", plural(count, word)),
    };
    output.line(format_args!(
        "{tasks} {}, {}, {}",
        plural(tasks as u64, "task"),
        count(graph.instances(), "instance"),
        count(graph.edges(), "edge"),
    ));
    if dynamic {
        output.line("? is known only while the pipeline runs");
    }
}

/// How the sizes of tasks come about that have several factors: `price 200 = strike 40 × sigma 5`.
fn sizes<'p>(pipeline: &'p Pipeline, graph: &'p Graph) -> impl Iterator<Item = String> + 'p {
    let name = |id: TaskId| pipeline.tasks.get(id.at()).map_or("?", |task| task.name.as_str());
    let width = move |id| graph.width(id).map_or("?".to_owned(), |width: u32| width.to_string());
    (0..).map(TaskId).zip(&pipeline.tasks).filter_map(move |(id, task)| {
        let sweep = task.sweep.as_ref()?.size()?;
        let mut factors = match &task.pattern {
            Pattern::Map(upstream) => vec![format!("{} {}", name(*upstream), width(*upstream))],
            Pattern::Scatter(scatter) => vec![format!("{} ?", name(scatter.from))],
            _ => Vec::new(),
        };
        let several = !factors.is_empty() && (sweep.excluded > 0 || sweep.included > 0);
        let mut points = sweep.factors.join(" × ");
        if sweep.excluded > 0 {
            points.push_str(&format!(" − {} excluded", sweep.excluded));
        }
        if sweep.included > 0 {
            points.push_str(&format!(" + {} included", sweep.included));
        }
        let alone = factors.is_empty() && sweep.factors.len() < 2;
        if alone && sweep.excluded == 0 && sweep.included == 0 {
            return None;
        }
        factors.push(if several { format!("({points})") } else { points });
        Some(format!("{} {} = {}", task.name, width(id), factors.join(" × ")))
    })
}

/// A word, in the plural unless there is one of it.
pub(crate) fn plural(count: u64, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// So many upstreams of one kind are named.
const NAMED: usize = 8;

/// `map mesh; after setup`.
fn upstreams(pipeline: &Pipeline, task: &Task) -> String {
    let name = |id: &TaskId| pipeline.tasks.get(id.at()).map_or("?", |task| task.name.as_str());
    let names = |ids: &[TaskId]| {
        let named = ids.iter().take(NAMED).map(name).collect::<Vec<_>>().join(", ");
        match ids.len().saturating_sub(NAMED) {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    };
    let mut parts = Vec::new();
    match &task.pattern {
        Pattern::Own => {}
        Pattern::Map(upstream) => parts.push(format!("map {}", name(upstream))),
        Pattern::Gather(upstreams) => parts.push(format!("gather {}", names(upstreams))),
        Pattern::GatherBy(upstream, by) => {
            parts.push(format!("gather {} by {}", name(upstream), by.join(", ")));
        }
        Pattern::GatherEvery(upstream, every) => {
            parts.push(format!("gather {} every {every}", name(upstream)));
        }
        Pattern::Scatter(scatter) => parts.push(format!("scatter {}", name(&scatter.from))),
    }
    if task.conduct.targets == Targets::Each {
        parts.push("each worker".to_owned());
    }
    if !task.references.is_empty() {
        parts.push(format!("uses {}", names(&task.references)));
    }
    for clause in &task.after {
        parts.push(format!("after {}", names(&clause.upstreams)));
    }
    for clause in &task.follow {
        parts.push(format!("follow {}", names(&clause.upstreams)));
    }
    parts.join("; ")
}
