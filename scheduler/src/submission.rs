//! A client's submission: untrusted until it has been checked here.

use std::path::PathBuf;
use std::sync::Arc;

use dagrun_core::check as rules;
use dagrun_core::engine::RunPlan;
use dagrun_core::graph::{Graph, GraphError};
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::Pipeline;
use dagrun_schema::wire::Submission;

/// Why a submission was refused. Nothing of it has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmissionError {
    /// The pipeline is not JSON, or not the JSON of a pipeline.
    #[error("the pipeline cannot be read")]
    Json(#[from] serde_json::Error),
    /// The graph is broken.
    #[error("the pipeline cannot run")]
    Graph(#[from] GraphError),
    /// The directory is relative.
    #[error("the pipeline's directory is not absolute: {}", .0.display())]
    BaseDir(PathBuf),
    /// There is nothing to run.
    #[error("the pipeline has no tasks")]
    Empty,
    /// A task that a checked pipeline cannot contain.
    #[error("task {task}: {problem}")]
    Task {
        /// The task's name.
        task: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A submission that may run.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) plan: RunPlan,
    /// The number of instances of each task; `None` where it is known only later.
    pub(crate) widths: Vec<Option<u32>>,
}

/// Repeats the checks that our own client makes, and builds the plan.
pub(crate) fn check(submission: &Submission) -> Result<Checked, SubmissionError> {
    if !submission.base_dir.is_absolute() {
        return Err(SubmissionError::BaseDir(submission.base_dir.clone()));
    }
    let pipeline = submission.read_pipeline()?;
    if pipeline.tasks.is_empty() {
        return Err(SubmissionError::Empty);
    }
    for task in &pipeline.tasks {
        // Needs that no worker could meet are not checked: such a task waits.
        if let Some(problem) = rules::task(task) {
            let (task, problem) = (task.name.escape_debug().to_string(), problem.message);
            return Err(SubmissionError::Task { task, problem });
        }
    }
    let graph = Graph::new(&pipeline)?;
    let mut plan = graph.plan(&pipeline, submission.fail_fast);
    plan.max_fail = submission.max_fail;
    plan.seed = submission.seed;
    let tasks = (0..u32::try_from(pipeline.tasks.len()).unwrap_or(u32::MAX)).map(TaskId);
    let widths = tasks.map(|task| graph.width(task)).collect();
    Ok(Checked { pipeline: Arc::new(pipeline), plan, widths })
}

#[cfg(test)]
mod tests {
    use dagrun_core::pipeline::{
        Conduct, MinSuccess, Pattern, Scatter, Split, Targets, Task, TaskAction,
    };
    use dagrun_core::template::Template;

    use super::*;

    #[test]
    fn what_no_parser_makes_is_refused() {
        let task = || Task::new("a", TaskAction::Shell("true".into()));
        let scatter = |split| Pattern::Scatter(Scatter { from: TaskId(0), split, max_items: None });
        let gpu = || ("gpu".to_owned(), 1);
        let with = |conduct| Task { conduct, ..task() };
        let none = Conduct::default;
        let each = with(Conduct { targets: Targets::Each, ..none() });
        let least = Some(MinSuccess::Count(1));
        let out = |name: &str, path| Task {
            outputs: vec![(name.to_owned(), Template::literal(path))],
            ..task()
        };
        let run = |words: &[&str]| {
            let words = words.iter().map(|word| Template::literal(word)).collect();
            Task::new("a", TaskAction::Run(words))
        };
        let bad = [
            (with(Conduct { cpus: 0, ..none() }), "`cpus` must be at least 1"),
            (
                with(Conduct { resources: vec![gpu(), gpu()], ..none() }),
                "resource `gpu` is named twice",
            ),
            (
                with(Conduct { targets: Targets::Named(vec![]), ..none() }),
                "`targets` names no worker",
            ),
            (
                Task { pattern: scatter(Split::Each), ..each },
                "`targets = \"each\"` does not go with `scatter`",
            ),
            (Task { pattern: scatter(Split::Chunk(0)), ..task() }, "`chunk` must be at least 1"),
            (with(Conduct { min_success: least, ..none() }), "`min-success` without `gather`"),
            (
                with(Conduct { memory: u64::MAX, ..none() }),
                "`memory` is too large: at most 1000000000000000000 bytes",
            ),
            (Task { name: "../a".into(), ..task() }, "invalid task name `../a`"),
            (out("value", "x"), "an output cannot be called `value`"),
            (
                out("x", "ftp://h/x"),
                "`ftp://` is not supported: use `file://`, `s3://`, `http://` and `https://`",
            ),
            (run(&[]), "`run` names no program"),
            (run(&["echo", "a\0b"]), "the text contains a NUL character"),
        ];
        for (task, message) in bad {
            assert_eq!(rules::task(&task).map(|problem| problem.message).as_deref(), Some(message));
        }
        let (cpus, memory, resources) = (u32::MAX, rules::MOST_BYTES, vec![gpu()]);
        let large = with(Conduct { cpus, memory, resources, ..none() });
        assert_eq!(rules::task(&large), None);
        let sent = Submission {
            pipeline: serde_json::to_vec(&Pipeline {
                name: "p".into(),
                vars: vec![],
                tasks: vec![with(Conduct { cpus: 0, ..none() })],
            })
            .unwrap(),
            base_dir: "/".into(),
            seed: 0,
            fail_fast: false,
            max_fail: None,
        };
        let error = check(&sent).unwrap_err().to_string();
        assert_eq!(error, "task a: `cpus` must be at least 1");
    }
}
