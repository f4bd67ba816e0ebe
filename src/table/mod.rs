//! Results of a task as a table in memory.

#[cfg(feature = "parquet")]
mod parquet;
mod write;

use std::io;
use std::path::Path;

use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::{Pattern, Pipeline, RunContext};
use dagrun_core::recipe::{Items, Recipe};
use dagrun_core::select::{Columns, SelectError, Selection, Selector};
use dagrun_core::table::{Builder, Row, Sheet, push_json, push_json_name};
use serde::de::DeserializeOwned;

pub use self::write::{Form, RowWriter};
use crate::rpc::{self, Wanted};
use crate::{Error, Pending, Run};
pub use dagrun_core::table::Kind;

/// The results of a task: a row for each instance, also for those that failed.
///
/// The columns are `index`, the parameters in their author's order, `item` (what a scatter gives),
/// `state`, the fields of the values with dots between them (a value that is no object is `value`), and
/// `out.NAME` for the path of each output. A field that is called like one of the others has `value.`
/// before its name. What is known of attempts (`attempts`, `worker`, `started`, `finished`, `seconds`,
/// `exit-code`, `reason`, `taken-over`) is found by its name, but not among [`Table::columns`].
#[derive(Clone, Debug)]
pub struct Table {
    sheet: Sheet,
    /// The columns in their order.
    order: Vec<usize>,
    rows: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
}

/// A row of a [`Table`].
#[derive(Debug)]
pub struct TableRow<'a> {
    table: &'a Table,
    row: Row,
}

impl Run {
    /// The results of a task, or of some of its instances, as a table: `price`, `price[strike=90]`. Of a
    /// run that goes on it has what there is now, and does not wait for more.
    ///
    #[doc = crate::docs::squares!(
        "run.finished().wait()?;",
        r#"let table = run.table("squared[input>=2]").wait()?;"#,
        r#"assert_eq!(table.columns().collect::<Vec<_>>(), ["index", "input", "state", "value"]);"#,
        r#"assert_eq!(table.numbers("value")?, [4.0, 9.0, 16.0]);"#,
    )]
    ///
    /// # Errors
    /// [`Error::Unknown`] when the run has no such task, [`Error::Table`] when the selector means nothing.
    pub fn table(&self, of: &str) -> Pending<Table> {
        let of = of.to_owned();
        self.ask(move |watched| async move { read(&watched.run, &of).await })
    }
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::Table(error.to_string())
}

/// The error that a selector means nothing, with what was perhaps meant.
fn meant(error: SelectError) -> Error {
    match &error.help {
        Some(help) => wrong(format_args!("{error}\n{help}")),
        None => wrong(error),
    }
}

/// Reads the whole table.
async fn read(run: &rpc::Run, of: &str) -> Result<Table, Error> {
    let selector = Selector::parse(of).map_err(meant)?;
    let status = run.status().await?;
    let name = selector.task();
    let found = (0..).map(TaskId).zip(&status.tasks).find(|(_, task)| task.name == name);
    let unknown = || Error::Unknown { run: run.id(), what: format!("task `{name}`") };
    let (task, known) = found.ok_or_else(unknown)?;
    let submission = run.submission().await?;
    let pipeline = submission.read_pipeline().map_err(wrong)?;
    let columns = Columns::new(&pipeline, task).map_err(wrong)?;
    let items = match columns.items() {
        Some(scatter) => Some(items(run, &pipeline, scatter).await?),
        None => None,
    };
    let width = if known.width_known { known.counts.total() } else { 0 };
    let selection = match known.width_known {
        true => columns.select(&selector, width, items.as_ref()).map_err(meant)?,
        false => Selection::all(0),
    };
    let context = RunContext {
        run: run.id().0,
        // Only the scheduler knows where it is.
        run_dir: "{run.dir}".into(),
        base_dir: submission.base_dir.clone(),
        seed: submission.seed,
    };
    let recipe = Recipe::new(&pipeline, task, &context).map_err(wrong)?;
    let outputs = pipeline.tasks.get(task.at()).map_or(&[][..], |task| &task.outputs);
    let outputs: Vec<String> = outputs.iter().map(|(name, _)| name.clone()).collect();
    let mut builder = Builder::of_task(columns, items, &outputs, None);
    let (mut rows, mut ends) = (Vec::new(), Vec::new());
    let wanted = Wanted { task, name, selection: &selection, recipe: &recipe, wide: true };
    run.rows::<Error>(&wanted, &mut builder, &mut |sheet, row| {
        sheet.see(row);
        row.write(&mut rows);
        ends.push(rows.len());
        Ok(true)
    })
    .await?;
    Ok(Table { order: builder.sheet.order(false), sheet: builder.sheet, rows, ends })
}

/// What the instances of a scatter are given.
async fn items(run: &rpc::Run, pipeline: &Pipeline, scatter: TaskId) -> Result<Items, Error> {
    let lacking = || wrong("the pipeline lacks a task");
    let pattern = pipeline.tasks.get(scatter.at()).map(|task| &task.pattern);
    let Some(Pattern::Scatter(how)) = pattern else {
        return Err(lacking());
    };
    let from = &pipeline.tasks.get(how.from.at()).ok_or_else(lacking)?.name;
    let mut items = Items::new(how.split);
    let mut first = 0;
    loop {
        let results = run.results(how.from, first, 100).await?;
        let Some(last) = results.last() else { return Ok(items) };
        first = last.row.instance.index.saturating_add(1);
        for result in results {
            let Some(mut value) = result.value else { continue };
            if dagrun_core::payload::stored(&value).is_some() {
                value = run.value(from, result.row.instance.index).await?;
            }
            items.push(&value);
        }
    }
}

impl Table {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The names of the columns, in their order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(|at| self.sheet.columns()[*at].name.as_str())
    }

    /// What all cells of a column have in common; `None` when there is no such column.
    #[must_use]
    pub fn kind(&self, column: &str) -> Option<Kind> {
        self.sheet.find(column).map(|at| self.sheet.columns()[at].kind())
    }

    /// The rows, in the order of their instances.
    pub fn rows(&self) -> impl Iterator<Item = TableRow<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| {
            let mut row = Row::default();
            row.read(&self.rows[start..*end]);
            TableRow { table: self, row }
        })
    }

    fn find(&self, column: &str) -> Result<usize, Error> {
        let names = || dagrun_core::parse::listed(self.sheet.names());
        self.sheet.find(column).ok_or_else(|| {
            wrong(format_args!("there is no column `{column}`; there are {}", names()))
        })
    }

    /// A column of numbers, a NaN where one is missing.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn numbers(&self, column: &str) -> Result<Vec<f64>, Error> {
        let at = self.find(column)?;
        Ok(self.rows().map(|row| row.row.number(at).unwrap_or(f64::NAN)).collect())
    }

    /// Each row as a value of a type: by the names of columns, also those that are not among
    /// [`Table::columns`]. What is missing is null.
    ///
    /// # Errors
    /// When a row is not of that type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        self.rows().map(|row| row.read()).collect()
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write<W: io::Write + Send>(&self, form: Form, to: W) -> io::Result<W> {
        let mut writer = RowWriter::new(form, to, &self.sheet, self.order.clone())?;
        self.rows().try_for_each(|row| writer.row(&row.row))?;
        writer.finish()
    }

    /// Writes it to a file, in the form that the file's ending names.
    ///
    /// # Errors
    /// When the ending names none, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let form = Form::of(path).ok_or_else(|| {
            let text = format!("{}: its ending names no form of a table", path.display());
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{}-{name}", std::process::id()));
        let file = std::fs::File::create(&temporary)?;
        let written = self
            .write(form, io::BufWriter::new(file))
            .and_then(|_| std::fs::rename(&temporary, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }
}

impl TableRow<'_> {
    /// What is in a cell: numbers as they were spelled, JSON where it is no text or number. `None`
    /// when it is missing, or there is no such column.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<String> {
        let (kind, bytes) = self.row.get(self.table.sheet.find(column)?);
        (kind != Kind::Missing).then(|| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The number in a cell, or the one that its text spells.
    #[must_use]
    pub fn number(&self, column: &str) -> Option<f64> {
        self.row.number(self.table.sheet.find(column)?)
    }

    /// The row as a value of a type, see [`Table::read`].
    ///
    /// # Errors
    /// When it is not of that type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut json = Vec::new();
        for (at, name) in self.table.sheet.names().enumerate() {
            json.push(if at == 0 { b'{' } else { b',' });
            push_json_name(name, &mut json);
            let (kind, bytes) = self.row.get(at);
            push_json(kind, bytes, &mut json);
        }
        json.push(b'}');
        serde_json::from_slice(&json).map_err(wrong)
    }
}
