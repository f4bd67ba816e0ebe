//! How values are kept that are too long to be sent with reports.

use serde::{Deserialize, Serialize};

use crate::pipeline::{Pattern, Pipeline, TaskAction};
use crate::template::Placeholder;

/// Values of up to this many bytes are sent with the report.
pub const INLINE: usize = 64 << 10;

/// How an instance's value that is longer than [`INLINE`] is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// It is sent with the report all the same.
    #[default]
    Report,
    /// It stays in the store of the worker that made it.
    Hold,
    /// It becomes a file in the run's directory.
    File,
}

impl Keep {
    /// How the long values of each task are kept.
    ///
    /// - A value that is scattered is sent with the report, since the scheduler cuts it into parts.
    /// - A value that a command reads from a manifest is in the manifest if a command captured it,
    ///   and otherwise in a file.
    /// - A value that other tasks consume stays with its worker.
    /// - A value that no task consumes, or that is marked
    ///   [`Conduct::keep`](crate::pipeline::Conduct::keep), is a file, so that it can be read after
    ///   the run.
    #[must_use]
    pub fn of_tasks(pipeline: &Pipeline) -> Vec<Keep> {
        let count = pipeline.tasks.len();
        let (mut scattered, mut listed) = (vec![false; count], vec![false; count]);
        let mut given = vec![false; count];
        let mark = |marks: &mut Vec<bool>, at: usize| {
            if let Some(mark) = marks.get_mut(at) {
                *mark = true;
            }
        };
        for task in &pipeline.tasks {
            if let Pattern::Scatter(scatter) = task.pattern {
                mark(&mut scattered, scatter.from.at());
            }
            for placeholder in task.placeholders() {
                if let Placeholder::Manifest(upstream) = placeholder {
                    mark(&mut listed, upstream.at());
                }
            }
            task.consumed().into_iter().for_each(|(upstream, _)| mark(&mut given, upstream.at()));
        }
        let keep = |(at, task): (usize, &crate::pipeline::Task)| {
            let is_call = matches!(task.action, TaskAction::Call(_));
            match (scattered[at], listed[at], given[at]) {
                (true, ..) => Keep::Report,
                (_, true, _) if is_call => Keep::File,
                (_, true, _) => Keep::Report,
                (_, _, true) if !task.conduct.keep => Keep::Hold,
                _ => Keep::File,
            }
        };
        pipeline.tasks.iter().enumerate().map(keep).collect()
    }
}
