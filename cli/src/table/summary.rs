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
    rows.see(u64::MAX).await?;
    let by = args.by.as_deref().map(|name| column(rows.sheet(), name)).transpose()?;
    let columns = numeric(args, rows, by)?;
    let mut groups: Vec<(Vec<u8>, Kind, Vec<Summary>)> = Vec::new();
    let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
    each(args, rows, &mut |_, row| {
        let (kind, key) = by.map_or((Kind::Missing, &[][..]), |by| row.get(by));
        let at = match known.get(key) {
            Some(at) => *at,
            None => {
                known.insert(key.to_vec(), groups.len());
                groups.push((key.to_vec(), kind, vec![Summary::default(); columns.len()]));
                groups.len() - 1
            }
        };
        if let Some((_, _, summaries)) = groups.get_mut(at) {
            for (column, summary) in columns.iter().zip(summaries) {
                summary.add(row.number(*column));
            }
        }
        Ok(true)
    })
    .await?;
    let names: Vec<String> =
        columns.iter().map(|at| rows.sheet().columns()[*at].name.clone()).collect();
    let group = by.map(|by| rows.sheet().columns()[by].name.clone());
    write(args, format, group, &names, groups)
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
    groups: Vec<(Vec<u8>, Kind, Vec<Summary>)>,
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
