//! Variables that are given besides the file: `--params FILE`, then `--set NAME=VALUE`. What is given
//! must be of the type that the file gives the variable.

use std::ops::Range;

use super::diagnostic::{Diagnostic, Problems};
use super::document::{self, entries};
use crate::spelling;
use crate::value::{RawString, Value};

/// A file with values of variables, JSON if its name ends so, else TOML.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a> {
    /// Its path, for messages.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// The variables of a pipeline, to be changed.
pub(super) struct Settings<'v> {
    pub(super) vars: &'v mut [(String, Value)],
    /// Where they are declared in the file.
    pub(super) span: Option<Range<usize>>,
    /// Whether there may be some whose names are unknown.
    pub(super) unknown: bool,
    pub(super) problems: &'v mut Problems,
}

impl Settings<'_> {
    /// Takes the values of a file.
    pub(super) fn file(&mut self, file: &Params<'_>) {
        let path = file.path;
        let values = match path.ends_with(".json") {
            true => json(file.text),
            false => toml(file.text),
        };
        match values {
            Ok(values) => {
                for (name, value) in values {
                    self.set(&format!("{path}: {}", name.escape_debug()), &name, |old| {
                        fitting(old, value)
                    });
                }
            }
            Err(reason) => self.problems.add(Diagnostic::new(format!("{path}: {reason}"))),
        }
    }

    /// Takes a value as it was typed.
    pub(super) fn typed(&mut self, name: &str, text: &str) {
        let option = format!("--set {}", name.escape_debug());
        self.set(&option, name, |old| {
            if let Value::String(_) = old {
                return Ok(Value::String(RawString::from(text)));
            }
            fitting(old, document::read_loose(text)?)
        });
    }

    fn set(
        &mut self,
        given: &str,
        name: &str,
        value: impl FnOnce(&Value) -> Result<Value, String>,
    ) {
        if let Some((_, known)) = self.vars.iter_mut().find(|(var, _)| var == name) {
            match value(known) {
                Ok(value) => *known = value,
                Err(reason) => {
                    let problem = Diagnostic::new(format!("{given}: {reason}"));
                    let declared = document_text(known);
                    let help = format!("in the file it is {}: {declared}", kind(known));
                    self.problems.add(problem.help(help));
                }
            }
            return;
        }
        if self.unknown {
            return;
        }
        let vars = || self.vars.iter().map(|(var, _)| var.as_str());
        let help = spelling::did_you_mean(name, vars()).unwrap_or_else(|| match vars().next() {
            None => "the file has no variables: declare them in [vars]".to_owned(),
            Some(_) => format!("the variables are {}", spelling::listed(vars())),
        });
        let mut problem = Diagnostic::new(format!("{given}: no such variable")).help(help);
        problem.span.clone_from(&self.span);
        self.problems.add(problem);
    }
}

/// A value for a variable that has another one of this type.
fn fitting(old: &Value, new: Value) -> Result<Value, String> {
    let fits = match (old, &new) {
        (Value::Number(old), Value::Number(new)) => !is_integer(old) || is_integer(new),
        (old, new) => std::mem::discriminant(old) == std::mem::discriminant(new),
    };
    if fits {
        return Ok(new);
    }
    Err(format!("the value is {}, not {}", kind(&new), kind(old)))
}

/// Whether a number is spelled as an integer.
fn is_integer(spelling: &str) -> bool {
    let digits = spelling.trim_start_matches(['+', '-']);
    let prefixed = ["0x", "0o", "0b"].iter().any(|prefix| digits.starts_with(prefix));
    prefixed || !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(spelling) if is_integer(spelling) => "an integer",
        Value::Number(_) => "a float",
        Value::String(_) => "text",
        Value::List(_) => "a list",
        Value::Table(_) => "a table",
    }
}

fn document_text(value: &Value) -> String {
    String::from_utf8_lossy(&value.to_text()).escape_debug().to_string()
}

fn json(text: &str) -> Result<Vec<(String, Value)>, String> {
    match Value::from_json(text.trim_start_matches('\u{feff}').as_bytes()) {
        Ok(Value::Table(fields)) => match crate::value::repeated_name(&fields) {
            Some(name) => Err(format!("`{}` is given twice", name.escape_debug())),
            None => Ok(fields),
        },
        Ok(other) => Err(format!("it holds {}, not an object with variables", kind(&other))),
        Err(error) => Err(format!("invalid JSON: {error}")),
    }
}

fn toml(text: &str) -> Result<Vec<(String, Value)>, String> {
    let mut problems = Problems::default();
    let table = document::read(text, &mut problems);
    if let Some(problem) = problems.into_located(text).first() {
        return Err(format!("line {}: {}", problem.line, problem.message));
    }
    let table = table.unwrap_or_default();
    let value = |(key, node): (&document::Key<'_>, &document::Node<'_>)| {
        (key.get_ref().to_string(), document::to_value(text, node))
    };
    Ok(entries(&table).into_iter().map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(spelling: &str) -> Value {
        Value::Number(spelling.to_owned())
    }

    #[test]
    fn integers_fit_floats_and_not_the_other_way_round() {
        assert_eq!(fitting(&number("0.5"), number("2")), Ok(number("2")));
        assert_eq!(fitting(&number("1_0"), number("0x1F")), Ok(number("0x1F")));
        let reason = fitting(&number("10"), number("1.5")).unwrap_err();
        assert_eq!(reason, "the value is a float, not an integer");
        let reason = fitting(&number("10"), Value::String("ten".into())).unwrap_err();
        assert_eq!(reason, "the value is text, not an integer");
        assert!(fitting(&Value::Bool(true), number("1")).is_err());
        assert!(fitting(&Value::List(Vec::new()), Value::List(vec![number("1")])).is_ok());
    }
}
