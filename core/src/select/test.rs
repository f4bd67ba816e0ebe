//! What a value is compared with, and how.

use std::cmp::Ordering;
use std::ops::Range;

use crate::value::{Value, compare_numbers, is_number};

/// A condition on a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) op: Op,
    /// One, or several for `=` and `!=`.
    pub(super) choices: Vec<Choice>,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Nearest,
}

/// What it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Value(Constant),
    /// Only for `=` and `!=`.
    Range {
        from: Option<Constant>,
        to: Option<Constant>,
        inclusive: bool,
    },
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Constant {
    pub(super) text: String,
    /// Beside text it is text, whatever it looks like.
    pub(super) quoted: bool,
    pub(super) span: Range<usize>,
    value: Value,
}

impl Constant {
    pub(super) fn new(text: String, quoted: bool, span: Range<usize>) -> Constant {
        let value = match text.as_str() {
            _ if quoted => Value::String(text.as_str().into()),
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            number if is_number(number) => Value::Number(number.to_owned()),
            other => Value::String(other.into()),
        };
        Constant { text, quoted, span, value }
    }

    /// Its spelling, when it is a number.
    pub(super) fn number(&self) -> Option<&str> {
        if self.quoted { None } else { self.value.as_number() }
    }

    /// Where a value stands beside it.
    pub(super) fn order(&self, value: &Value) -> Option<Ordering> {
        match (value, &self.value) {
            // A number is none of text, quoted or not, unless that spells one.
            (Value::Number(spelling), Value::String(_)) => {
                compare_numbers(spelling, self.value.as_number()?)
            }
            (value, wanted) => value.order(wanted),
        }
    }

    /// Whether a value is the same.
    pub(super) fn is(&self, value: &Value) -> bool {
        match (value, &self.value) {
            (Value::Null, Value::Null) => true,
            (Value::Number(_), _) => self.order(value) == Some(Ordering::Equal),
            (Value::String(_), Value::Number(_)) => {
                self.order(value) == Some(Ordering::Equal)
                    || value.to_text() == self.text.as_bytes()
            }
            (Value::Null, _) => false,
            (value, _) => value.to_text() == self.text.as_bytes(),
        }
    }
}

impl Choice {
    pub(super) fn span(&self) -> &Range<usize> {
        match self {
            Choice::Value(constant)
            | Choice::Range { from: Some(constant), .. }
            | Choice::Range { to: Some(constant), .. } => &constant.span,
            Choice::Range { .. } => &(0..0),
        }
    }

    /// Whether a value is the same, or in the range.
    pub(super) fn meets(&self, value: &Value) -> bool {
        match self {
            Choice::Value(constant) => constant.is(value),
            Choice::Range { from, to, inclusive } => {
                let above =
                    from.as_ref().is_none_or(|from| from.order(value).is_some_and(Ordering::is_ge));
                let below = to.as_ref().is_none_or(|to| match to.order(value) {
                    Some(Ordering::Equal) => *inclusive,
                    order => order == Some(Ordering::Less),
                });
                above && below
            }
        }
    }
}

impl Test {
    /// Whether a value passes; never for `~`, which is about all values.
    pub(super) fn meets(&self, value: &Value) -> bool {
        let order = || match self.choices.first() {
            Some(Choice::Value(constant)) => constant.order(value),
            _ => None,
        };
        match self.op {
            Op::Equal => self.choices.iter().any(|choice| choice.meets(value)),
            Op::NotEqual => !self.choices.iter().any(|choice| choice.meets(value)),
            Op::Less => order().is_some_and(Ordering::is_lt),
            Op::LessEqual => order().is_some_and(Ordering::is_le),
            Op::Greater => order().is_some_and(Ordering::is_gt),
            Op::GreaterEqual => order().is_some_and(Ordering::is_ge),
            Op::Nearest => false,
        }
    }
}
