//! Results of a task as rows of a table, a page at a time.

use dagrun_core::ids::{TaskId, Timestamp};
use dagrun_core::payload;
use dagrun_core::recipe::Recipe;
use dagrun_core::select::Selection;
use dagrun_core::status::{InstanceResult, InstanceRow, State};
use dagrun_core::table::{Attempt, Builder, Each, Known};
use dagrun_scheduler::history::rfc3339;

use super::{ClientError, Run};

/// Instances that a scheduler is asked for at once.
const PAGE: u32 = 1_000;

/// Whose rows are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The task.
    pub task: TaskId,
    /// Its name.
    pub name: &'a str,
    /// Which of its instances.
    pub selection: &'a Selection,
    /// Its recipe, which has the paths of outputs that follow from the index.
    pub recipe: &'a Recipe,
    /// Whether what is known of attempts is wanted too.
    pub wide: bool,
}

impl Run {
    /// Hands the rows of instances to `each`, in the order of their indices, until that returns
    /// false. Those of a run that goes on are as they are when they are read.
    ///
    /// # Errors
    /// When the scheduler is lost, or what `each` returns.
    pub async fn rows<E: From<ClientError>>(
        &self,
        wanted: &Wanted<'_>,
        builder: &mut Builder,
        each: &mut Each<'_, E>,
    ) -> Result<(), E> {
        let selection = wanted.selection;
        let mut next = selection.seek(0);
        while let Some(first) = next.map(|range| range.start) {
            let limit = PAGE.min(selection.width() - first);
            let results = self.results(wanted.task, first, limit).await?;
            let Some(last) = results.last().map(|result| result.row.instance.index) else { break };
            for result in results {
                let InstanceRow { instance, state, .. } = result.row;
                if selection.contains(instance.index)
                    && selection.admits(state)
                    && !self.row(wanted, result, builder, each).await?
                {
                    return Ok(());
                }
            }
            next = selection.seek(last.saturating_add(1));
        }
        Ok(())
    }

    async fn row<E: From<ClientError>>(
        &self,
        wanted: &Wanted<'_>,
        result: InstanceResult,
        builder: &mut Builder,
        each: &mut Each<'_, E>,
    ) -> Result<bool, E> {
        let InstanceResult { row, mut value, outputs, .. } = result;
        let index = row.instance.index;
        if value.as_deref().and_then(payload::stored).is_some() {
            // What a worker kept is lost with it.
            value = self.value(wanted.name, index).await.ok();
        }
        let json = value.as_deref().and_then(|value| payload::to_json(value).ok());
        let outputs = match row.state == State::Succeeded && builder.has_outputs() {
            true => wanted.recipe.output_bytes(index, &outputs),
            false => Vec::new(),
        };
        let text = |time: Option<Timestamp>| time.map_or_else(String::new, rfc3339);
        let (started, finished) = match wanted.wide {
            true => (text(row.started), text(row.finished)),
            false => Default::default(),
        };
        let took = row.started.zip(row.finished).map(|(from, to)| to.since(from).0);
        let attempt = wanted.wide.then(|| Attempt {
            attempts: row.attempts,
            worker: row.worker.as_deref().unwrap_or(""),
            times: [&started, &finished],
            took,
            exit_code: row.exit_code,
            reason: &row.reason,
        });
        let value = json.as_deref();
        builder
            .instance(&Known { index, state: row.state, value, outputs: &outputs, attempt }, each)
    }
}
