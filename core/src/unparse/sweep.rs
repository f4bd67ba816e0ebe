//! Sweeps as TOML.

use super::value::{self, key, string};
use super::{Written, list, table};
use crate::space::{Axis, Ends, Points, Space};
use crate::value::Value;

/// The contents of `sweep`, and of `combine` if it has any.
pub(super) fn sweep(space: &Space) -> Written<(String, Option<String>)> {
    if space.axes.is_empty() {
        return Err("a sweep without axes".to_owned());
    }
    let axis = |axis: &Axis| Ok(format!("{} = {}", key(&axis.name)?, points(axis)?));
    let axes = table(space.axes.iter().map(axis).collect::<Written<Vec<_>>>()?);
    let mut fields = Vec::new();
    if !space.zip.is_empty() {
        let group = |names: &Vec<String>| {
            Ok(list(names.iter().map(|name| string(name)).collect::<Written<Vec<_>>>()?))
        };
        let groups = space.zip.iter().map(group).collect::<Written<Vec<_>>>()?;
        fields.push(format!("zip = {}", list(groups)));
    }
    for (key, rows) in [("exclude", &space.exclude), ("include", &space.include)] {
        if !rows.is_empty() {
            let rows = rows.iter().map(|row| self::row(row)).collect::<Written<Vec<_>>>()?;
            fields.push(format!("{key} = {}", list(rows)));
        }
    }
    Ok((axes, (!fields.is_empty()).then(|| table(fields))))
}

fn row(row: &[(String, Value)]) -> Written<String> {
    let field =
        |(name, value): &(String, Value)| Ok(format!("{} = {}", key(name)?, value::value(value)?));
    Ok(table(row.iter().map(field).collect::<Written<Vec<_>>>()?))
}

fn points(axis: &Axis) -> Written<String> {
    let numbers = |kind: &str, ends: &Ends| {
        let Ends { from, to, n } = ends;
        Ok(format!("{{ {kind} = [{from:?}, {to:?}], n = {n} }}"))
    };
    match &axis.points {
        Points::Rows(_) if axis.names != [axis.name.as_str()] => {
            Err(format!("the table of axis `{}`, which came from a file", axis.name))
        }
        Points::Rows(rows) => {
            let values = rows.iter().flatten().map(value::value);
            Ok(list(values.collect::<Written<Vec<_>>>()?))
        }
        Points::Linspace(ends) => numbers("linspace", ends),
        Points::Geomspace(ends) => numbers("geomspace", ends),
        Points::Logspace(ends) => numbers("logspace", ends),
        &Points::Range { first, step, n } => range(first, step, n),
    }
}

fn range(first: i64, step: i64, n: u32) -> Written<String> {
    let numbers = match n.checked_sub(1) {
        None => format!("{first}..{first}"),
        Some(steps) => {
            let last = i128::from(first) + i128::from(step) * i128::from(steps);
            format!("{first}..={last}")
        }
    };
    Ok(match step {
        1 => format!("{{ range = \"{numbers}\" }}"),
        step => format!("{{ range = \"{numbers}\", step = {step} }}"),
    })
}
