//! Parameter values: what a sweep, a variable or a captured output holds.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that came from outside: usually UTF-8, but a file name may be any bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawString(pub Vec<u8>);

impl RawString {
    /// The text, when it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<&str> for RawString {
    fn from(text: &str) -> Self {
        RawString(text.as_bytes().to_vec())
    }
}

impl From<String> for RawString {
    fn from(text: String) -> Self {
        RawString(text.into_bytes())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawStringForm {
    #[serde(rename = "s")]
    Text(String),
    #[serde(rename = "b")]
    Bytes(Vec<u8>),
}

impl Serialize for RawString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_str() {
            Some(text) => RawStringForm::Text(text.to_owned()),
            None => RawStringForm::Bytes(self.0.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match RawStringForm::deserialize(deserializer)? {
            RawStringForm::Text(text) => RawString(text.into_bytes()),
            RawStringForm::Bytes(bytes) => RawString(bytes),
        })
    }
}

/// A value of a parameter, variable or argument.
///
/// Numbers keep the spelling of their author (`1e-9`, `0.10`), without TOML's digit separators.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// JSON's null.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as its author spelled it.
    Number(String),
    /// Text.
    String(RawString),
    /// A list.
    List(Vec<Value>),
    /// A table, in the author's order.
    Table(Vec<(String, Value)>),
}

/// Why a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct JsonError {
    /// Where, in bytes from the beginning.
    pub at: usize,
    /// What is wrong.
    pub problem: &'static str,
}

impl Value {
    /// The value of a JSON document; numbers keep their spelling.
    ///
    /// # Errors
    /// When the text is not one JSON document, or is nested more than 128 deep.
    pub fn from_json(_text: &[u8]) -> Result<Value, JsonError> {
        todo!()
    }

    /// Appends the value as compact JSON.
    pub fn write_json(&self, _out: &mut Vec<u8>) {
        todo!()
    }

    /// The value as it appears in an argument or a file name: text as it is, numbers as spelled,
    /// `true`, nothing for null, JSON for lists and tables.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        todo!()
    }

    /// Whether both are the same, numbers by what they mean: `1e-9` is `1.0e-9`, and `1` is `1.0`.
    #[must_use]
    pub fn same_value(&self, _other: &Value) -> bool {
        todo!()
    }

    /// The value of `{name.field}`: tables by key, lists by index from 0, and of text that is a
    /// path `name` (its last component) and `stem` (that without its last extension).
    #[must_use]
    pub fn field(&self, _field: &str) -> Option<Value> {
        todo!()
    }
}
