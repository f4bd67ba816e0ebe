//! `dagrun table --summary`: what is in each column of numbers.

use std::collections::HashMap;
use std::io::IsTerminal as _;

use dagrun::table::Form;
use dagrun_core::table::{Group, Kind, Line, Row, Sheet, Summary};

use super::args::TableArgs;
use super::format::Sink;
use super::rows::Rows;
use super::{column, each, text, wanted};
use crate::exit::{Exit, Failure};
use crate::terminal::Output;

/// The columns of a summary.
const HEAD: [&str; 11] =
    ["column", "n", "missing", "mean", "sd", "min", "q1", "median", "q3", "max", "histogram"];

/// Prints or writes the summary.
pub(crate) async fn summary(
    args: &TableArgs,
    rows: &mut Rows,
    format: Option<Form>,
) -> Result<Exit, Failure> {
    let known = args.by.as_deref().map(|name| rows.sheet().find(name));
    let at_once = args.columns.is_empty() && args.condition.is_none() && args.sort.is_none();
    let (by, columns, groups) = match known {
        None if at_once => at_one_reading(args, rows, None).await?,
        Some(Some(by)) if at_once => at_one_reading(args, rows, Some(by)).await?,
        _ => at_two_readings(args, rows).await?,
    };
    let names: Vec<String> =
        columns.iter().map(|at| rows.sheet().columns()[*at].name.clone()).collect();
    let group = by.map(|by| rows.sheet().columns()[by].name.clone());
    write(args, format, group, &names, groups)
}

/// The rows with one value of the column that groups are made by: its bytes, its kind, and the summary of
/// each column.
type Groups = Vec<(Vec<u8>, Kind, Vec<Summary>)>;

/// The groups, and where each is.
#[derive(Default)]
struct Grouped {
    groups: Groups,
    rows: Vec<u64>,
    known: HashMap<Vec<u8>, usize>,
}

impl Grouped {
    /// The group of a row, with the number of rows that came before in it.
    fn of(&mut self, row: &Row, by: Option<usize>) -> (u64, &mut Vec<Summary>) {
        let (kind, key) = by.map_or((Kind::Missing, &[][..]), |by| row.get(by));
        let at = match self.known.get(key) {
            Some(at) => *at,
            None => {
                self.known.insert(key.to_vec(), self.groups.len());
                self.groups.push((key.to_vec(), kind, Vec::new()));
                self.rows.push(0);
                self.groups.len() - 1
            }
        };
        let before = self.rows[at];
        self.rows[at] += 1;
        (before, &mut self.groups[at].2)
    }
}

/// Summarises whatever may be a column of numbers, and sees at the end which are.
async fn at_one_reading(
    args: &TableArgs,
    rows: &mut Rows,
    by: Option<usize>,
) -> Result<(Option<usize>, Vec<usize>, Groups), Failure> {
    let mut grouped = Grouped::default();
    each(args, rows, &mut |sheet, row| {
        sheet.see(row);
        let (before, summaries) = grouped.of(row, by);
        for (at, column) in sheet.columns().iter().enumerate() {
            if at == summaries.len() {
                summaries.push(Summary::after(before));
            }
            let may_hold_numbers = match column.group {
                Group::Param | Group::Item | Group::Value => true,
                Group::Wide => args.wide,
                Group::Index | Group::State | Group::Out => false,
            };
            if may_hold_numbers && let Some(summary) = summaries.get_mut(at) {
                summary.add(row.number(at));
            }
        }
        Ok(true)
    })
    .await?;
    let columns = numeric(args, rows, by)?;
    let mut groups = grouped.groups;
    for ((_, _, summaries), rows) in groups.iter_mut().zip(grouped.rows) {
        let mut all: Vec<Option<Summary>> =
            std::mem::take(summaries).into_iter().map(Some).collect();
        let mut taken = |at: &usize| all.get_mut(*at).and_then(Option::take);
        summaries
            .extend(columns.iter().map(|at| taken(at).unwrap_or_else(|| Summary::after(rows))));
    }
    Ok((by, columns, groups))
}

/// Summarises the columns that are asked for, once all are known.
async fn at_two_readings(
    args: &TableArgs,
    rows: &mut Rows,
) -> Result<(Option<usize>, Vec<usize>, Groups), Failure> {
    rows.see(u64::MAX).await?;
    let by = args.by.as_deref().map(|name| column(rows.sheet(), name)).transpose()?;
    let columns = numeric(args, rows, by)?;
    let mut grouped = Grouped::default();
    each(args, rows, &mut |_, row| {
        let (_, summaries) = grouped.of(row, by);
        summaries.resize_with(columns.len(), Summary::default);
        for (column, summary) in columns.iter().zip(summaries) {
            summary.add(row.number(*column));
        }
        Ok(true)
    })
    .await?;
    Ok((by, columns, grouped.groups))
}

/// The columns that hold numbers.
fn numeric(args: &TableArgs, rows: &Rows, by: Option<usize>) -> Result<Vec<usize>, Failure> {
    let sheet = rows.sheet();
    let is_numeric = |at: &usize| {
        let column = &sheet.columns()[*at];
        let kind = column.kind();
        let text = kind == Kind::Text && matches!(column.group, Group::Value | Group::Param);
        (kind.is_number() || text) && column.group != Group::Index && Some(*at) != by
    };
    let named = !args.columns.is_empty();
    Ok(wanted(args, sheet)?.into_iter().filter(|at| named || is_numeric(at)).collect())
}

fn write(
    args: &TableArgs,
    format: Option<Form>,
    group: Option<String>,
    names: &[String],
    groups: Groups,
) -> Result<Exit, Failure> {
    let mut head: Vec<String> = group.into_iter().collect();
    let first = head.len();
    head.extend(HEAD.map(str::to_owned));
    let to_stdout = format.is_none() && args.form.output.is_none();
    let at_terminal = to_stdout && std::io::stdout().is_terminal();
    let mut sheet = Sheet::of_names(&head);
    let mut lines = Vec::new();
    for (key, kind, summaries) in groups {
        for (name, summary) in names.iter().zip(summaries) {
            let line = summary.line();
            if line.n == 0 && first == 0 && args.columns.is_empty() {
                continue;
            }
            let mut row = Row::default();
            if first > 0 {
                row.put(0, kind, |out| out.extend_from_slice(&key));
            }
            put(&mut row, first, name, &line, if at_terminal { 6 } else { 9 });
            sheet.see(&row);
            lines.push(row);
        }
    }
    let columns: Vec<usize> = (0..head.len()).collect();
    if at_terminal {
        let mut output = Output::lock();
        for line in text::aligned(&sheet, &columns, &lines) {
            output.line(line);
        }
        return Ok(Exit::Success);
    }
    let format = format.unwrap_or(Form::Csv);
    let mut sink = Sink::open(format, args.form.output.as_deref(), &sheet, columns)?;
    for row in &lines {
        sink.row(row)?;
    }
    sink.finish()?;
    Ok(Exit::Success)
}

fn put(row: &mut Row, first: usize, name: &str, line: &Line, digits: usize) {
    let text = |row: &mut Row, at: usize, kind: Kind, text: &str| {
        row.put(first + at, kind, |out| out.extend_from_slice(text.as_bytes()));
    };
    text(row, 0, Kind::Text, name);
    text(row, 1, Kind::Integer, &line.n.to_string());
    text(row, 2, Kind::Integer, &line.missing.to_string());
    let quantiles = line.quantiles.map_or([None; 5], |found| found.map(Some));
    let numbers = [line.mean, line.sd].into_iter().chain(quantiles);
    for (at, number) in (3..).zip(numbers) {
        if let Some(number) = number {
            text(row, at, Kind::Float, &short(number, digits));
        }
    }
    text(row, 10, Kind::Text, &line.histogram);
}

/// A number with up to so many digits that count.
fn short(number: f64, digits: usize) -> String {
    if number == number.trunc() && number.abs() < 1e15 {
        return format!("{number}");
    }
    let rounded: f64 = format!("{number:.*e}", digits - 1).parse().unwrap_or(number);
    format!("{rounded:?}")
}
