//! Values, keys and strings as TOML.

use std::fmt::Write as _;

use toml::de::DeValue;

use super::{Written, list, table};
use crate::value::Value;

/// A value as it is.
pub(super) fn value(value: &Value) -> Written<String> {
    write(value, &string)
}

/// A value in which texts are read with placeholders.
pub(super) fn argument(value: &Value) -> Written<String> {
    write(value, &|text| string(&doubled(text)))
}

// As deep as the value, which reading bounds.
fn write(value: &Value, text: &dyn Fn(&str) -> Written<String>) -> Written<String> {
    match value {
        Value::Null => Err("null, which TOML does not have".to_owned()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(spelling) => number(spelling),
        Value::String(raw) => {
            text(raw.as_str().ok_or("text that is not UTF-8, which TOML does not have")?)
        }
        Value::List(values) => {
            let values = values.iter().map(|value| write(value, text));
            Ok(list(values.collect::<Written<Vec<_>>>()?))
        }
        Value::Table(fields) => {
            let field = |(name, value): &(String, Value)| {
                Ok(format!("{} = {}", key(name)?, write(value, text)?))
            };
            Ok(table(fields.iter().map(field).collect::<Written<Vec<_>>>()?))
        }
    }
}

/// A number in its own spelling.
fn number(spelling: &str) -> Written<String> {
    match DeValue::parse(spelling).map(toml::Spanned::into_inner) {
        Ok(DeValue::Integer(_) | DeValue::Float(_)) => Ok(spelling.to_owned()),
        _ => Err(format!("the number {spelling}")),
    }
}

/// A key, in quotes where it needs them.
pub(super) fn key(name: &str) -> Written<String> {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match !name.is_empty() && name.bytes().all(bare) {
        true => Ok(name.to_owned()),
        false => string(name),
    }
}

/// A text with its braces doubled, so that they are not read as placeholders.
pub(super) fn doubled(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// A string on one line.
pub(super) fn string(text: &str) -> Written<String> {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\0' => return Err("a NUL character".to_owned()),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(out)
}

/// A string on as many lines as it has.
pub(super) fn script(text: &str) -> Written<String> {
    let plain = |c: char| c == '\n' || c == '\t' || !c.is_control();
    let fits = text.contains('\n')
        && text.chars().all(plain)
        && !text.contains("'''")
        && !text.ends_with('\'');
    match fits {
        true => Ok(format!("'''\n{text}'''")),
        false => string(text),
    }
}
