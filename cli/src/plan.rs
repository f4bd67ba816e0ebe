//! `dagrun plan`: how a run would go, without running anything.

use std::path::PathBuf;
use std::rc::Rc;

use dagrun::Loaded;
use dagrun_core::engine::Scheme;
use dagrun_core::ids::{InstanceId, Micros, TaskId};
use dagrun_core::pipeline::Pattern;
use dagrun_core::simulate::{Cluster, Prediction, SimulateError, simulate, with_widths};
use dagrun_scheduler::History;
use serde::Serialize;

use crate::args::{Place, PlanArgs};
use crate::durations::Durations;
use crate::exit::{Exit, Failure};
use crate::file;
use crate::source::Source;
use crate::target::RunName;
use crate::terminal::{self, Output, table};

/// Rows of the critical path that are shown at most.
const ROWS: usize = 20;

/// A makespan this close to the critical path is as good as that.
const AS_GOOD: f64 = 1.01;

/// With more instances than this, other schemes are not simulated unasked.
const COMPARED: u64 = 100_000;

/// Simulates a pipeline.
pub(crate) async fn plan(args: &PlanArgs) -> Result<Exit, Failure> {
    let loaded = file::load(&args.pipeline)?;
    let durations = durations(args, &loaded).await?;
    let plan = loaded.graph.plan(&loaded.pipeline, false);
    let plan = with_widths(&plan, &|task| durations.width(task));
    let cpus = args.cpus.unwrap_or_else(cores);
    let predict = |scheme| {
        let cluster = Cluster { workers: args.workers, cpus, scheme };
        simulate(&plan, cluster, &|instance| durations.of(instance))
            .map_err(|error| failure(&error, &loaded, cluster))
    };
    let prediction = predict(args.scheme.unwrap_or_default())?;
    note_unknown(&durations);
    note_widths(&loaded, &durations);
    if args.json {
        Output::lock().json(&PlanJson::new(&prediction));
        return Ok(Exit::Success);
    }
    let mut all = vec![prediction];
    if args.scheme.is_none() && all[0].instances <= COMPARED {
        for scheme in Scheme::ALL.into_iter().filter(|scheme| *scheme != Scheme::default()) {
            all.push(predict(scheme)?);
        }
    }
    print(&loaded, (args.workers, cpus), &all, &durations);
    Ok(Exit::Success)
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
}

async fn durations(args: &PlanArgs, loaded: &Loaded) -> Result<Durations, Failure> {
    let Some(given) = &args.durations else { return Ok(Durations::seconds(loaded)) };
    match given.parse::<RunName>() {
        Ok(name) => {
            let source = source(&args.place, loaded).await?;
            Durations::recorded(&source.run(name).await?, loaded).await
        }
        Err(_) => Durations::read(&PathBuf::from(given), loaded),
    }
}

/// Where the history is: as for all commands, or beside the pipeline file.
async fn source(place: &Place, loaded: &Loaded) -> Result<Source, Failure> {
    let beside = loaded.base_dir.join(".dagrun");
    match Source::open(place).await {
        Err(_) if place.cluster().is_none() && place.state_dir().is_none() && beside.is_dir() => {
            let history = Rc::new(History::open(&beside)?);
            Ok(Source::Disk { state_dir: beside, history, of: None })
        }
        result => result,
    }
}

fn failure(error: &SimulateError, loaded: &Loaded, cluster: Cluster) -> Failure {
    match error {
        SimulateError::TooLarge { task, needs, .. } => Failure::usage(format!(
            "an instance of `{}` needs {needs} slots, and each worker has {}",
            name(loaded, InstanceId { task: *task, index: 0 }),
            cluster.cpus
        ))
        .help(format!("no worker could ever run it; plan with --cpus {needs} or more")),
        error => Failure::usage(error.to_string()),
    }
}

fn name(loaded: &Loaded, instance: InstanceId) -> &str {
    loaded.pipeline.tasks.get(instance.task.at()).map_or("?", |task| task.name.as_str())
}

/// Says which durations are guesses, where others are given.
fn note_unknown(durations: &Durations) {
    let unknown = &durations.unknown;
    if unknown.is_empty() {
        return;
    }
    let shown = unknown.iter().take(5).map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let more = match unknown.len().saturating_sub(5) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let note = format!("note: no durations of {}{more}: 1 s each", shown.join(", "));
    terminal::print(&note);
}

/// Says where the number of instances is a guess.
fn note_widths(loaded: &Loaded, durations: &Durations) {
    for (id, task) in (0..).map(TaskId).zip(&loaded.pipeline.tasks) {
        if matches!(task.pattern, Pattern::Scatter(_)) && durations.width(id).is_none() {
            terminal::print(&format!(
                "note: how many instances `{}` has is known only when it runs; a list of their \
                 durations would say",
                task.name
            ));
        }
    }
}

/// `plan --json`: times in seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PlanJson {
    makespan: f64,
    critical_path: f64,
    work: f64,
    slots: u64,
    utilisation: f64,
    scheme: &'static str,
}

impl PlanJson {
    fn new(prediction: &Prediction) -> PlanJson {
        PlanJson {
            makespan: seconds(prediction.makespan),
            critical_path: seconds(prediction.critical_path),
            work: seconds(prediction.work),
            slots: prediction.slots,
            utilisation: (prediction.utilisation * 1e4).round() / 1e4,
            scheme: prediction.scheme.word(),
        }
    }
}

fn seconds(micros: Micros) -> f64 {
    micros.0 as f64 / 1e6
}

/// `0.012 s`, `13.500 s`, `3 min 5 s`: plans are compared, so that milliseconds matter.
fn span(micros: Micros) -> String {
    if micros < Micros::from_secs(60) {
        return format!("{:.3} s", seconds(micros));
    }
    micros.rounded()
}

fn print(loaded: &Loaded, (workers, cpus): (u32, u32), all: &[Prediction], durations: &Durations) {
    let Some(prediction) = all.first() else { return };
    let mut output = Output::lock();
    output.line(format_args!(
        "{}: {} instances on {workers} × {cpus} slots, {}",
        loaded.pipeline.name,
        prediction.instances,
        prediction.scheme.word()
    ));
    output.line("");
    let rows = [
        ("makespan", span(prediction.makespan)),
        ("critical path", span(prediction.critical_path)),
        ("work", span(prediction.work)),
        ("utilisation", percent(prediction.utilisation)),
    ];
    let rows = rows.map(|(what, value)| vec![what.to_owned(), value]);
    for line in table(&rows, &[false, true]) {
        output.line(line);
    }
    output.line("");
    output.line("On the critical path:");
    output.line("");
    for line in critical_path(loaded, prediction, durations) {
        output.line(line);
    }
    if all.iter().any(|other| other.makespan != prediction.makespan) {
        output.line("");
        output.line("With other schemes:");
        output.line("");
        for line in schemes(all) {
            output.line(line);
        }
    }
    output.line("");
    output.line(hint(prediction));
}

/// What each scheme makes of it.
fn schemes(all: &[Prediction]) -> Vec<String> {
    let mut rows = vec![["scheme", "makespan", "utilisation"].map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|one| {
        vec![one.scheme.word().to_owned(), span(one.makespan), percent(one.utilisation)]
    }));
    table(&rows, &[false, true, true])
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// The tasks on the critical path, in its order. Of many the middle is left out.
fn critical_path(loaded: &Loaded, prediction: &Prediction, durations: &Durations) -> Vec<String> {
    let whole = prediction.critical_path.0.max(1) as f64;
    let mut rows = vec![["instance", "takes", "share"].map(str::to_owned).to_vec()];
    let path = &prediction.path;
    for (at, instance) in path.iter().enumerate() {
        if path.len() > ROWS && at == ROWS / 2 {
            rows.push(vec![format!("… {} more", path.len() - ROWS)]);
        }
        if at >= ROWS / 2 && path.len() - at > ROWS / 2 && path.len() > ROWS {
            continue;
        }
        let took = durations.of(*instance);
        rows.push(vec![
            format!("{}[{}]", name(loaded, *instance), instance.index),
            span(took),
            format!("{:.1} %", took.0 as f64 / whole * 100.0),
        ]);
    }
    table(&rows, &[false, true, true])
}

/// Whether more slots would help.
fn hint(prediction: &Prediction) -> String {
    let (makespan, path) = (prediction.makespan.0 as f64, prediction.critical_path.0 as f64);
    if makespan <= path * AS_GOOD {
        return "More slots would not help: the critical path takes as long by itself.".to_owned();
    }
    let enough = (prediction.work.0 as f64 / path.max(1.0)).ceil();
    format!(
        "More slots may help: from {enough} slots on, nothing but the critical path is in the way."
    )
}
