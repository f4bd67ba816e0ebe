//! Outputs that another run, which is running, writes too: named before a run of them begins. Both run; what
//! ends last stands there.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use dagrun::Loaded;
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::RunContext;
use dagrun_core::recipe::Recipe;
use dagrun_core::status::RunState;
use dagrun_scheduler::History;

use crate::exit::Failure;
use crate::recipes::Recipes;
use crate::source::{RunSource, Source, read_pipeline};
use crate::target::RunName;
use crate::terminal;

/// The newest runs are looked at, and of each task so many instances.
const NEWEST: u32 = 20;
const INSTANCES: u32 = 1_000;
/// So many outputs are named.
const NAMED: usize = 3;

/// The runs of a state directory.
pub(crate) fn in_state_dir(state_dir: &Path) -> Option<Source> {
    // What cannot be read is no reason not to run: whoever writes there says what is wrong.
    let history = Rc::new(History::open(state_dir).ok()?);
    Some(Source::Disk { state_dir: state_dir.to_owned(), history, of: None })
}

/// Warns of outputs that runs which are running write too.
pub(crate) async fn warn(loaded: &Loaded, seed: u64, others: &Source) {
    let ours = ours(loaded, seed);
    if ours.is_empty() {
        return;
    }
    let Ok(runs) = others.runs(NEWEST).await else { return };
    for run in runs.iter().filter(|run| run.state == RunState::Running) {
        // One that ends meanwhile writes nothing any more.
        let Ok(run) = others.run(RunName::Id(run.run)).await else { continue };
        let Ok(mut shared) = shared(&run, &ours).await else { continue };
        if shared.is_empty() {
            continue;
        }
        shared.sort_unstable();
        let shown = |path: &PathBuf| {
            path.strip_prefix(&loaded.base_dir).unwrap_or(path).display().to_string()
        };
        let mut names: Vec<String> = shared.iter().take(NAMED).map(shown).collect();
        if shared.len() > NAMED {
            names.push(format!("{} more", shared.len() - NAMED));
        }
        terminal::print(&format!(
            "warning: run {}, which is running, also writes {}",
            run.id(),
            names.join(", ")
        ));
    }
}

/// The outputs of a pipeline that is to run, as far as they are known.
fn ours(loaded: &Loaded, seed: u64) -> HashSet<PathBuf> {
    let context =
        RunContext { run: 0, run_dir: "{run.dir}".into(), base_dir: loaded.base_dir.clone(), seed };
    let tasks = (0..).map(TaskId).zip(&loaded.pipeline.tasks);
    let writing = tasks.filter(|(_, task)| !task.outputs.is_empty());
    let recipes = writing.filter_map(|(id, _)| {
        let width = loaded.graph.width(id)?;
        Some((Recipe::new(&loaded.pipeline, id, &context).ok()?, width))
    });
    recipes.flat_map(|(recipe, width)| paths(&recipe, width)).collect()
}

fn paths(recipe: &Recipe, width: u32) -> Vec<PathBuf> {
    let of = |index| recipe.output_paths(index).ok().flatten().unwrap_or_default();
    (0..width.min(INSTANCES)).flat_map(of).collect()
}

/// Those of them that another run writes.
async fn shared(run: &RunSource, ours: &HashSet<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let (submission, status) = (run.submission().await?, run.status().await?);
    let pipeline = read_pipeline(&submission)?;
    let mut recipes = Recipes::new(run.id(), &submission, pipeline);
    let mut shared = Vec::new();
    for (id, task) in (0..).map(TaskId).zip(&status.tasks) {
        let Some(recipe) = recipes.of(id) else { continue };
        let theirs = paths(recipe, task.counts.total());
        shared.extend(theirs.into_iter().filter(|path| ours.contains(path)));
    }
    Ok(shared)
}
