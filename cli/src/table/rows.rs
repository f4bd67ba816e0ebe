//! Where the rows of a table come from: the history of a run, a scheduler, or a manifest file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use dagrun::rpc::Wanted;
use dagrun_core::ids::Timestamp;
use dagrun_core::payload;
use dagrun_core::pipeline::{Capture, TaskAction};
use dagrun_core::recipe::Recipe;
use dagrun_core::select::Selector;
use dagrun_core::status::{RunStatus, State};
use dagrun_core::table::{self, Attempt, Builder, Known, ManifestNames, Sheet};
use dagrun_core::value::Value;
use dagrun_scheduler::{Scanned, Wanted as Asked};

use crate::chosen::{self, Chosen};
use crate::exit::{Exit, Failure};
use crate::source::{DiskRun, RunSource};
use crate::time::rfc3339;

/// Gaps of this many instances are read over rather than asked around.
const GAP: u32 = 64;

/// Instances that are read in one stretch at most, so that a selection is never listed.
const STRETCH: u32 = 1 << 16;

/// What is done with each row; false is enough.
pub(crate) type Each<'a> = table::Each<'a, Failure>;

/// The rows of a table, in the order of their indices.
pub(crate) struct Rows {
    builder: Builder,
    origin: Origin,
    /// Whether the columns about attempts are filled.
    wide: bool,
    /// Whether the columns are known without reading all rows.
    is_plain: bool,
}

enum Origin {
    Run(Box<OfRun>),
    Manifest(PathBuf),
}

struct OfRun {
    run: RunSource,
    chosen: Chosen,
    recipe: Recipe,
    workers: HashMap<i64, String>,
}

impl Rows {
    /// Those of a task of a run.
    pub(crate) async fn of_run(
        run: RunSource,
        status: &RunStatus,
        selector: &Selector,
        explode: Option<&str>,
        wide: bool,
    ) -> Result<Rows, Failure> {
        let mut recipes = run.recipes().await?;
        let pipeline = recipes.pipeline();
        let chosen = Chosen::of(&run, status, pipeline, selector).await?;
        let items = match chosen.columns.items() {
            Some(scatter) => Some(chosen::items(&run, status, pipeline, scatter).await?),
            None => None,
        };
        let lacking = || Failure::new(Exit::Failed, "the run's pipeline lacks a task");
        let task = pipeline.tasks.get(chosen.task.at()).ok_or_else(lacking)?;
        let outputs: Vec<String> = task.outputs.iter().map(|(name, _)| name.clone()).collect();
        let is_call = matches!(task.action, TaskAction::Call(_));
        let is_plain = !is_call && !matches!(task.capture, Capture::Json | Capture::JsonLines);
        let has_value = is_plain && task.capture != Capture::None;
        let recipe = recipes.take(chosen.task).ok_or_else(lacking)?;
        let mut builder = Builder::of_task(chosen.columns.clone(), items, &outputs, explode);
        if has_value {
            builder.sheet.field("");
        }
        let origin = Box::new(OfRun { run, chosen, recipe, workers: HashMap::new() });
        Ok(Rows { builder, origin: Origin::Run(origin), wide, is_plain })
    }

    /// Those of a manifest.
    pub(crate) fn of_manifest(path: &Path, explode: Option<&str>) -> Result<Rows, Failure> {
        // The names are those of all lines: there need not be a line that has them all.
        let mut names = ManifestNames::default();
        lines(path, |line| {
            names.add(&line);
            Ok(true)
        })?;
        let builder = Builder::of_manifest(&names, explode);
        let origin = Origin::Manifest(path.to_owned());
        Ok(Rows { builder, origin, wide: false, is_plain: false })
    }

    /// The columns, as far as they are known: all of them after one reading.
    pub(crate) fn sheet(&self) -> &Sheet {
        &self.builder.sheet
    }

    /// How many rows there are, when that is known without reading them.
    pub(crate) fn count(&self) -> Option<u64> {
        match &self.origin {
            Origin::Run(of)
                if of.chosen.selection.states().is_none() && !self.builder.explodes() =>
            {
                Some(of.chosen.selection.count())
            }
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn sheet_mut(&mut self) -> &mut Sheet {
        &mut self.builder.sheet
    }

    /// Makes all columns known, of the first `limit` rows at least. Their kinds are known afterwards
    /// only when rows had to be read.
    pub(crate) async fn columns(&mut self, limit: u64) -> Result<(), Failure> {
        if self.is_plain { Ok(()) } else { self.see(limit).await }
    }

    /// Reads the first `limit` rows and takes notice of what is in them.
    pub(crate) async fn see(&mut self, limit: u64) -> Result<(), Failure> {
        let mut left = limit;
        self.each(&mut |sheet, row| {
            sheet.see(row);
            left = left.saturating_sub(1);
            Ok(left > 0)
        })
        .await
    }

    /// Hands over the rows.
    pub(crate) async fn each(&mut self, each: &mut Each<'_>) -> Result<(), Failure> {
        let Rows { builder, origin, wide, .. } = self;
        let of = match origin {
            Origin::Manifest(path) => {
                return lines(path, |line| {
                    let json = value_of_line(&line)?;
                    builder.line(&line, json.as_deref(), each)
                });
            }
            Origin::Run(of) => of,
        };
        match of.run.clone() {
            RunSource::Disk(disk) => {
                let read = || of.read(&disk, *wide, builder, each);
                disk.history().at_one_moment(read)
            }
            RunSource::Live { run, .. } => {
                let wanted = Wanted {
                    task: of.chosen.task,
                    name: &of.chosen.name,
                    selection: &of.chosen.selection,
                    recipe: &of.recipe,
                    wide: *wide,
                };
                run.rows(&wanted, builder, each).await
            }
        }
    }
}

/// The JSON of the value in a line of a manifest.
fn value_of_line(line: &Value) -> Result<Option<Vec<u8>>, Failure> {
    match (line.field("value"), line.field("value-file")) {
        (_, Some(file)) => {
            let path = PathBuf::from(std::ffi::OsString::from_vec(file.to_text()));
            value_of_file(&path).map(Some)
        }
        (Some(value), None) if *value != Value::Null => {
            let mut json = Vec::new();
            value.write_json(&mut json);
            Ok(Some(json))
        }
        _ => Ok(None),
    }
}

/// The JSON of a long value that is a file.
fn value_of_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("{}: {error}", path.display()))
    };
    let mut bytes = payload::file_head(path).to_vec();
    bytes.extend(std::fs::read(path).map_err(|error| unreadable(&error))?);
    let json = payload::to_json(&bytes).map_err(|error| unreadable(&error))?;
    Ok(json.into_owned())
}

/// Hands over the lines of a manifest.
fn lines(path: &Path, mut each: impl FnMut(Value) -> Result<bool, Failure>) -> Result<(), Failure> {
    let fail = |text: String| Failure::usage(format!("{}: {text}", path.display()));
    let file = File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut reader = BufReader::new(file);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        let read = reader.read_until(b'\n', &mut line);
        if read.map_err(|error| fail(error.to_string()))? == 0 {
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let value =
            Value::from_json(&line).map_err(|error| fail(format!("line {number}: {error}")))?;
        if !matches!(value, Value::Table(_)) || value.field("index").is_none() {
            return Err(fail(format!("line {number} is none of a manifest: it has no `index`")));
        }
        if !each(value)? {
            return Ok(());
        }
    }
}

impl OfRun {
    /// The next ranges of selected indices, read as one where the gaps between them are short.
    fn stretch(&self, from: u32) -> Option<Range<u32>> {
        let mut stretch = self.chosen.selection.seek(from)?;
        while let Some(more) = self.chosen.selection.seek(stretch.end)
            && more.start - stretch.end <= GAP
            && more.start - stretch.start < STRETCH
        {
            stretch.end = more.end;
        }
        Some(stretch)
    }

    /// Reads the history.
    fn read(
        &mut self,
        disk: &DiskRun,
        wide: bool,
        builder: &mut Builder,
        each: &mut Each<'_>,
    ) -> Result<(), Failure> {
        let asked = Asked { value: true, outputs: builder.has_outputs(), attempt: wide };
        let task = self.chosen.task;
        let mut from = 0;
        while let Some(stretch) = self.stretch(from) {
            from = stretch.end;
            let mut failure = None;
            let goes_on = disk.history().scan(disk.id(), task, stretch, asked, &mut |found| {
                self.row(disk, wide, found, builder, each).unwrap_or_else(|error| {
                    failure = Some(error);
                    false
                })
            })?;
            match failure {
                Some(failure) => return Err(failure),
                None if !goes_on => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }

    fn row(
        &mut self,
        disk: &DiskRun,
        wide: bool,
        found: &Scanned<'_>,
        builder: &mut Builder,
        each: &mut Each<'_>,
    ) -> Result<bool, Failure> {
        let (selection, index, state) = (&self.chosen.selection, found.index, found.state);
        if !selection.admits(state) || !(selection.is_whole() || selection.contains(index)) {
            return Ok(true);
        }
        let outputs = match builder.has_outputs() && state == State::Succeeded {
            true => self.recipe.output_bytes(index, &found.outputs()),
            false => Vec::new(),
        };
        let about = if wide { Some(self.attempt(disk, found)?) } else { None };
        let attempt = about.as_ref().map(|about| Attempt {
            attempts: found.attempts,
            worker: &about.worker,
            times: [&about.times[0], &about.times[1]],
            took: about.took,
            exit_code: about.exit_code,
            reason: &about.reason,
        });
        let whole = match found.value.and_then(payload::stored) {
            // What a worker kept is lost with it; what a file had may have been removed.
            Some(_) => disk.history().value(disk.id(), &self.chosen.name, index).ok(),
            None => None,
        };
        let value = whole.as_deref().or(found.value);
        let json = value.and_then(|value| payload::to_json(value).ok());
        let value = json.as_deref();
        builder.instance(&Known { index, state, value, outputs: &outputs, attempt }, each)
    }

    fn attempt(&mut self, disk: &DiskRun, found: &Scanned<'_>) -> Result<About, Failure> {
        let known = |time: Timestamp| if time.0 == 0 { String::new() } else { rfc3339(time) };
        let (mut exit_code, mut reason) =
            ((found.state == State::Succeeded).then_some(0), String::new());
        if found.state != State::Succeeded && found.state != State::Blocked {
            let results = disk.history().results(disk.id(), self.chosen.task, found.index, 1)?;
            if let Some(found) = results.into_iter().next() {
                (exit_code, reason) = (found.row.exit_code, found.row.reason);
            }
        }
        let worker = match found.worker {
            None => String::new(),
            Some(id) => match self.workers.get(&id) {
                Some(name) => name.clone(),
                None => {
                    let name = disk.history().worker_name(id)?;
                    self.workers.insert(id, name.clone());
                    name
                }
            },
        };
        let ran = found.started.0 != 0 && found.finished.0 != 0;
        Ok(About {
            worker,
            times: [known(found.started), known(found.finished)],
            took: ran.then(|| found.finished.since(found.started).0),
            exit_code,
            reason,
        })
    }
}

/// What the history has of an instance's attempts.
struct About {
    worker: String,
    times: [String; 2],
    took: Option<u64>,
    exit_code: Option<i32>,
    reason: String,
}
