//! The command of one instance, as its last attempt was given it.

use std::ffi::OsString;

use dagrun_core::ids::{InstanceId, RunId};
use dagrun_core::layout;
use dagrun_core::one_line;
use dagrun_core::pipeline::{Pattern, Pipeline, RunContext};
use dagrun_core::recipe::{Input, InputKind, InputSpec, Recipe, Wants, WantsFile};

use super::value::{Reported, read_file};
use super::{History, HistoryError, check_index};
use crate::journal::read;

impl History {
    /// The argument vector of an instance, with the values that its upstreams have by now.
    ///
    /// Takes time in proportion to the values that the instance is given.
    ///
    /// # Errors
    /// When there is no such instance, a value that it needs is missing or no longer kept, or the
    /// database cannot be read.
    pub fn command(&self, run: RunId, instance: InstanceId) -> Result<Vec<OsString>, HistoryError> {
        let submission = self.submission(run)?;
        let pipeline = submission
            .read_pipeline()
            .map_err(|error| HistoryError::Submission { run, source: error.into() })?;
        let name = self.known_instance(run, &pipeline, instance)?;
        let no_command = |error: &dyn std::error::Error| HistoryError::NoCommand {
            instance: format!("{name}[{}]", instance.index),
            why: one_line(error),
        };
        let context = RunContext {
            run: run.0,
            run_dir: layout::run_dir(&self.state_dir, run),
            base_dir: submission.base_dir,
            seed: submission.seed,
        };
        let recipe =
            Recipe::new(&pipeline, instance.task, &context).map_err(|error| no_command(&error))?;
        let wants = recipe.inputs().iter().zip(recipe.wants());
        let inputs = wants.map(|(spec, wants)| self.input(run, &pipeline, *spec, wants, instance));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let last = self.read(read::entry(&self.database, run, instance, false))?.attempt;
        let attempt = last.map_or(1, |event| event.attempt);
        let made = recipe.invocation(instance.index, attempt, &inputs);
        Ok(made.map_err(|error| no_command(&error))?.argv)
    }

    /// The name of an instance's task.
    fn known_instance<'p>(
        &self,
        run: RunId,
        pipeline: &'p Pipeline,
        instance: InstanceId,
    ) -> Result<&'p str, HistoryError> {
        let unknown = || HistoryError::UnknownTask { run, task: instance.task.to_string() };
        let task = pipeline.tasks.get(instance.task.at()).ok_or_else(unknown)?;
        let (_, width) = self.task(run, &task.name)?;
        check_index(&task.name, instance.index, width)?;
        Ok(&task.name)
    }

    /// What an attempt was given as one of its inputs.
    fn input(
        &self,
        run: RunId,
        pipeline: &Pipeline,
        spec: InputSpec,
        wants: Wants,
        of: InstanceId,
    ) -> Result<Input, HistoryError> {
        let given = InstanceId { task: spec.task, index: spec.upstream_index(of.index) };
        let scattered = pipeline.tasks.get(given.task.at()).map(|task| &task.pattern);
        if let (InputKind::Item, Some(Pattern::Scatter(scatter))) = (spec.kind, scattered) {
            let width = self.task_from(run, scatter.from)?.map_or(0, |(_, width)| width);
            let items = self.read(read::items(&self.database, run, scatter, width))?;
            return Ok(Input { value: items.part(given.index), ..Input::default() });
        }
        let payload = self.read(read::payload(&self.database, run, given))?.unwrap_or_default();
        let name = self.known_instance(run, pipeline, given)?;
        let (value, file) = match self.reported_value(run, name, given.index) {
            Ok(Reported::Here(value)) => (Some(value), None),
            Ok(Reported::File(path, _)) if wants.file != WantsFile::Never && !wants.here => {
                (None, Some(path))
            }
            Ok(Reported::File(path, length)) => (Some(read_file(&path, 0, length)?), None),
            Err(HistoryError::NoValue { .. }) => (None, None),
            Err(error) => return Err(error),
        };
        Ok(Input { value, outputs: payload.outputs, file })
    }
}
