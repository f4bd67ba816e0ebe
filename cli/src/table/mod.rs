//! `dagrun table`: the results of a task as a table, in the form that a reader wants.

mod args;
pub(crate) mod format;
mod order;
pub(crate) mod rows;
pub(crate) mod sqlite;
mod summary;
pub(crate) mod text;

use std::io::IsTerminal as _;

use dagrun_core::parse::did_you_mean;
use dagrun_core::table::{Filter, FilterError, Row, Sheet};

pub(crate) use args::{FormArgs, TableArgs};
use dagrun::table::Form;
use format::Sink;
use rows::Rows;

use crate::chosen::What;
use crate::exit::{Exit, Failure};
use crate::plot;
use crate::source::Source;
use crate::terminal::{Output, Paint, Terminal};

/// Rows that are shown at a terminal.
const SHOWN: u64 = 20;

/// Prints or writes a table.
pub(crate) async fn table(args: &TableArgs) -> Result<Exit, Failure> {
    if args.plot.is_some() {
        return plotted(args).await;
    }
    let form = args.form.form()?;
    let mut rows = open(args).await?;
    if args.summary || args.by.is_some() {
        return summary::summary(args, &mut rows, form).await;
    }
    let terminal = std::io::stdout().is_terminal() && args.form.output.is_none();
    match form {
        None if terminal => shown(args, &mut rows).await,
        form => written(args, &mut rows, form.unwrap_or(Form::Csv)).await,
    }
}

async fn open(args: &TableArgs) -> Result<Rows, Failure> {
    let explode = args.explode.as_deref();
    let (words, _) = args.words();
    if let Some(manifest) = &args.manifest {
        if !words.is_empty() {
            return Err(Failure::usage(
                "a manifest has no run and no task: name the one or the other",
            ));
        }
        return Rows::of_manifest(manifest, explode);
    }
    let (name, selector) = What::read_task_words(&words)?;
    let run = Source::open(&args.place).await?.run(name).await?;
    let status = run.status().await?;
    Rows::of_run(run, &status, &selector, explode, args.is_wide()).await
}

/// Draws a column over others.
async fn plotted(args: &TableArgs) -> Result<Exit, Failure> {
    let text = args.plot.as_deref().unwrap_or("");
    let mut rows = open(args).await?;
    rows.see(u64::MAX).await?;
    let wanted = plot::Wanted::parse(text, rows.sheet())?;
    let mut gathered = plot::Gathered::new(wanted, rows.sheet());
    each(args, &mut rows, &mut |_, row| {
        gathered.add(row);
        Ok(true)
    })
    .await?;
    plot::draw(&gathered.plot()?, args.words().1)?;
    Ok(Exit::Success)
}

/// The columns that are wanted, in the order in which they are wanted.
fn wanted(args: &TableArgs, sheet: &Sheet) -> Result<Vec<usize>, Failure> {
    if args.columns.is_empty() {
        return Ok(sheet.order(args.wide));
    }
    args.columns.iter().map(|name| column(sheet, name)).collect()
}

/// The column of this name.
pub(crate) fn column(sheet: &Sheet, name: &str) -> Result<usize, Failure> {
    sheet.find(name).ok_or_else(|| {
        let failure = Failure::usage(format!("there is no column `{name}`"));
        let names: Vec<&str> = sheet.names().collect();
        failure.help(did_you_mean(name, names.iter().copied()).unwrap_or_else(|| {
            let some: Vec<String> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
            format!("there are {}", some.join(", "))
        }))
    })
}

impl From<FilterError> for Failure {
    fn from(error: FilterError) -> Failure {
        let failure = Failure::usage(error.to_string());
        match error.help {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

/// Writes all rows.
async fn written(args: &TableArgs, rows: &mut Rows, form: Form) -> Result<Exit, Failure> {
    // What is asked about all rows needs all of them.
    let all = args.condition.is_some() || args.sort.is_some();
    let limit = args.limit.filter(|_| !all).unwrap_or(u64::MAX);
    match form.needs_kinds() {
        true => rows.see(limit).await?,
        false => rows.columns(limit).await?,
    }
    let columns = wanted(args, rows.sheet())?;
    let mut sink = Sink::open(form, args.form.output.as_deref(), rows.sheet(), columns)?;
    each(args, rows, &mut |_, row| sink.row(row)).await?;
    sink.finish()?;
    Ok(Exit::Success)
}

/// Shows the first rows, aligned.
async fn shown(args: &TableArgs, rows: &mut Rows) -> Result<Exit, Failure> {
    let limit = args.limit.unwrap_or(SHOWN);
    // What is asked about all rows needs all of them; else the first ones are there at once.
    let all = args.condition.is_some() || args.sort.is_some();
    if all {
        rows.columns(u64::MAX).await?;
    }
    let mut kept: Vec<Row> = Vec::new();
    let mut total = 0u64;
    let count = if args.limit.is_some() { None } else { rows.count().filter(|_| !all) };
    each(args, rows, &mut |_, row| {
        total += 1;
        if kept.len() as u64 >= limit {
            return Ok(count.is_none() && args.limit.is_none());
        }
        kept.push(row.clone());
        Ok((kept.len() as u64) < limit || (count.is_none() && args.limit.is_none()))
    })
    .await?;
    let columns = wanted(args, rows.sheet())?;
    let mut output = Output::lock();
    for line in text::aligned(rows.sheet(), &columns, &kept) {
        output.line(line);
    }
    let more = count.unwrap_or(total).saturating_sub(kept.len() as u64);
    if more > 0 {
        let more = format!("… {} more", text::grouped(more));
        output.line(Terminal::stdout().paint(Paint::Dim, &more));
    }
    Ok(Exit::Success)
}

/// Hands over the rows that are wanted, in the order that is wanted, and no more than that.
async fn each(args: &TableArgs, rows: &mut Rows, each: &mut rows::Each<'_>) -> Result<(), Failure> {
    let filter = args.condition.as_ref().map(|text| Filter::parse(text, rows.sheet()));
    let filter = filter.transpose()?;
    let admits = |row: &Row| filter.as_ref().is_none_or(|filter| filter.admits(row));
    let mut left = args.limit.unwrap_or(u64::MAX);
    if let Some(sort) = &args.sort {
        let by = order::By::parse(sort, rows.sheet())?;
        let mut sorted = order::Sorted::new(by, args.limit)?;
        rows.each(&mut |_, row| {
            if admits(row) {
                sorted.add(row)?;
            }
            Ok(true)
        })
        .await?;
        return sorted.each(&mut |row| each(rows.sheet_mut(), row));
    }
    if left == 0 {
        return Ok(());
    }
    rows.each(&mut |sheet, row| {
        if !admits(row) {
            return Ok(true);
        }
        left -= 1;
        Ok(each(sheet, row)? && left > 0)
    })
    .await
}
