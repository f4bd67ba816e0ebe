//! The mathematical functions of SQLite, which a build of it has only when it was asked for them: with
//! its names and its answers, NULL where an argument is no number or has no answer.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Result};

/// A function of one number, and its name.
type One = (&'static str, fn(f64) -> f64);

/// The same of two numbers.
type Two = (&'static str, fn(f64, f64) -> f64);

const ONE: &[One] = &[
    ("acos", f64::acos),
    ("acosh", f64::acosh),
    ("asin", f64::asin),
    ("asinh", f64::asinh),
    ("atan", f64::atan),
    ("atanh", f64::atanh),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("degrees", f64::to_degrees),
    ("exp", f64::exp),
    ("ln", |x| of_positive(x, f64::ln)),
    ("log", |x| of_positive(x, f64::log10)),
    ("log10", |x| of_positive(x, f64::log10)),
    ("log2", |x| of_positive(x, f64::log2)),
    ("radians", f64::to_radians),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
];

/// Those that leave whole numbers as they are.
const ROUND: &[One] =
    &[("ceil", f64::ceil), ("ceiling", f64::ceil), ("floor", f64::floor), ("trunc", f64::trunc)];

const TWO: &[Two] = &[
    ("atan2", f64::atan2),
    ("log", |base, x| match of_positive(base, f64::ln) {
        base if base > 0.0 => of_positive(x, f64::ln) / base,
        _ => f64::NAN,
    }),
    ("mod", |x, y| x % y),
    ("pow", f64::powf),
    ("power", f64::powf),
];

/// Gives a database all of them.
pub(super) fn add(database: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    for &(name, function) in ONE {
        database.create_scalar_function(name, 1, flags, move |context| {
            Ok(number(context, 0).map(function).and_then(answer))
        })?;
    }
    for &(name, function) in ROUND {
        database.create_scalar_function(name, 1, flags, move |context| {
            Ok(match context.get_raw(0) {
                ValueRef::Integer(whole) => Value::Integer(whole),
                _ => {
                    let answer = number(context, 0).map(function).and_then(answer);
                    answer.map_or(Value::Null, Value::Real)
                }
            })
        })?;
    }
    for &(name, function) in TWO {
        database.create_scalar_function(name, 2, flags, move |context| {
            let numbers = number(context, 0).zip(number(context, 1));
            Ok(numbers.map(|(one, other)| function(one, other)).and_then(answer))
        })?;
    }
    database.create_scalar_function("pi", 0, flags, |_| Ok(std::f64::consts::PI))
}

/// An argument as a number, also when it is the text of one.
fn number(context: &Context<'_>, at: usize) -> Option<f64> {
    match context.get_raw(at) {
        ValueRef::Integer(number) => Some(number as f64),
        ValueRef::Real(number) => Some(number),
        ValueRef::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

/// A function that has no answer for other numbers.
fn of_positive(x: f64, function: fn(f64) -> f64) -> f64 {
    if x > 0.0 { function(x) } else { f64::NAN }
}

/// `None` where there is no answer, as for the root of a negative number.
fn answer(number: f64) -> Option<f64> {
    (!number.is_nan()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_of_sqlite() {
        let database = Connection::open_in_memory().unwrap();
        add(&database).unwrap();
        for (question, answer) in [
            ("sqrt(16)", "4.0"),
            ("sqrt(-1)", "null"),
            ("pow(2, 10)", "1024.0"),
            ("power(2, 0.5) = sqrt(2)", "1"),
            ("log(1000)", "3.0"),
            ("log(2, 8)", "3.0"),
            ("ln(exp(1))", "1.0"),
            ("log2(8)", "3.0"),
            ("log10(100)", "2.0"),
            ("ln(0)", "null"),
            ("mod(7.5, 2)", "1.5"),
            ("mod(7, 0)", "null"),
            ("floor(-2.5)", "-3.0"),
            ("ceil(2.1)", "3.0"),
            ("trunc(-2.5)", "-2.0"),
            (
                "typeof(floor(9007199254740993)) || floor(9007199254740993)",
                "integer9007199254740993",
            ),
            ("round(degrees(pi()))", "180.0"),
            ("sin(0)", "0.0"),
            ("atan2(0, 1)", "0.0"),
            ("sqrt('16')", "4.0"),
            ("sqrt('x')", "null"),
            ("log(1, 8)", "null"),
            ("exp(1000) > 1e308", "1"),
            ("sqrt(NULL)", "null"),
        ] {
            let sql = format!("SELECT coalesce({question}, 'null')");
            let found = database.query_row(&sql, [], |row| row.get::<_, Value>(0)).unwrap();
            let found = match found {
                Value::Real(number) => format!("{number:?}"),
                Value::Integer(number) => number.to_string(),
                Value::Text(text) => text,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, answer, "{question}");
        }
    }
}
