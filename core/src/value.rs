//! Parameter values: what a sweep, a variable or a captured output holds.

mod json;
mod number;
mod order;

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::url;

pub use json::{JsonError, write_json_string};
pub use order::{compare_numbers, is_number};

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

impl Value {
    /// The value of a JSON document; numbers keep their spelling.
    ///
    /// Lone surrogates `\udc80` to `\udcff` become the bytes that [`Value::write_json`] writes so.
    ///
    /// # Errors
    /// When the text is not one JSON document in UTF-8, is nested more than 128 deep, or holds
    /// another lone surrogate.
    pub fn from_json(text: &[u8]) -> Result<Value, JsonError> {
        json::parse(text)
    }

    /// Appends the value as compact JSON, on one line.
    ///
    /// Numbers keep their spelling where it is valid JSON; other spellings (`0x1F`, `+5`) are
    /// converted, infinities and NaN become strings. Bytes that are not UTF-8 become the lone
    /// surrogates `\udc80` to `\udcff`, as in Python's `surrogateescape`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::Number(spelling) => match number::to_json(spelling) {
                Some(text) => out.extend_from_slice(text.as_bytes()),
                None => write_json_string(spelling.as_bytes(), out),
            },
            Value::String(text) => write_json_string(&text.0, out),
            Value::List(values) => {
                out.push(b'[');
                for (position, value) in values.iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    value.write_json(out);
                }
                out.push(b']');
            }
            Value::Table(entries) => {
                out.push(b'{');
                for (position, (name, value)) in entries.iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    write_json_string(name.as_bytes(), out);
                    out.push(b':');
                    value.write_json(out);
                }
                out.push(b'}');
            }
        }
    }

    /// Appends the value as it appears in an argument or a file name: text unchanged, numbers as
    /// spelled, `true` or `false`, nothing for null, compact JSON for lists and tables.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => {}
            Value::Number(spelling) => out.extend_from_slice(spelling.as_bytes()),
            Value::String(text) => out.extend_from_slice(&text.0),
            Value::Bool(_) | Value::List(_) | Value::Table(_) => self.write_json(out),
        }
    }

    /// What [`Value::write_text`] appends.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_text(&mut out);
        out
    }

    /// Whether both are the same, numbers by what they mean: `1e-9` is `1.0e-9`, and `1` is `1.0`.
    /// A number is never the same as text. The order of a table's entries counts.
    #[must_use]
    pub fn same_value(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Number(one), Value::Number(two)) => {
                one == two || number::canonical(one) == number::canonical(two)
            }
            (Value::List(one), Value::List(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(a, b)| a.same_value(b))
            }
            (Value::Table(one), Value::Table(two)) => {
                one.len() == two.len()
                    && one.iter().zip(two).all(|(a, b)| a.0 == b.0 && a.1.same_value(&b.1))
            }
            _ => self == other,
        }
    }

    /// Whether the value of an axis matches that of an exclude row: as [`Value::same_value`], and
    /// text that spells a number (a cell of a table) counts as a number.
    pub(crate) fn matches(&self, wanted: &Value) -> bool {
        if let (Value::String(text), Value::Number(wanted)) = (self, wanted) {
            return text.as_str().is_some_and(|text| {
                number::is_number(text) && number::canonical(text) == number::canonical(wanted)
            });
        }
        self.same_value(wanted)
    }

    /// The value of `{name.field}`: tables by key, lists by index from 0, and of text that is a
    /// path or a URL `name` (its last component), `stem` (that without its last extension) and `dir`
    /// (the directory that it is in, `.` where it names none).
    #[must_use]
    pub fn field(&self, field: &str) -> Option<Cow<'_, Value>> {
        match self {
            Value::Table(entries) => {
                entries.iter().rev().find(|(name, _)| name == field).map(|(_, v)| Cow::Borrowed(v))
            }
            Value::List(values) => {
                field.parse::<usize>().ok().and_then(|at| values.get(at)).map(Cow::Borrowed)
            }
            Value::String(text) => {
                let path = url::path_part(&text.0);
                let part = match field {
                    "name" => path.file_name(),
                    "stem" => path.file_stem(),
                    "dir" => path.parent().map(|dir| match dir.as_os_str() {
                        here if here.is_empty() => ".".as_ref(),
                        dir => dir,
                    }),
                    _ => None,
                }?;
                Some(Cow::Owned(Value::String(RawString(part.as_bytes().to_vec()))))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }

    /// The value of `{name.field.field}`, see [`Value::field`].
    #[must_use]
    pub fn field_path(&self, fields: &[String]) -> Option<Cow<'_, Value>> {
        let mut value = Cow::Borrowed(self);
        for field in fields {
            value = match value {
                Cow::Borrowed(value) => value.field(field)?,
                Cow::Owned(value) => Cow::Owned(value.field(field)?.into_owned()),
            };
        }
        Some(value)
    }

    /// Appends an encoding that is the same for the same value (in the sense of
    /// [`Value::same_value`]) and different for different ones, in every version of dagrun: seeds
    /// and keys are made of it.
    ///
    /// A letter for the type, then: nothing for null (`z`), true (`t`) and false (`f`); for a
    /// number (`n`) the decimal normal form (`-` if negative, its digits without leading and
    /// trailing zeros, `e`, the exponent of the last digit; `0`, `inf`, `-inf`, `nan`) and a zero
    /// byte; for text (`s`) the length as 8 bytes, little-endian, and the bytes; for lists (`l`)
    /// and tables (`m`) the number of entries in 8 bytes and the entries, those of tables with
    /// their names before them, encoded as text.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.push(b'z'),
            Value::Bool(true) => out.push(b't'),
            Value::Bool(false) => out.push(b'f'),
            Value::Number(spelling) => {
                out.push(b'n');
                out.extend_from_slice(number::canonical(spelling).as_bytes());
                out.push(0);
            }
            Value::String(text) => write_canonical_text(&text.0, out),
            Value::List(values) => {
                out.push(b'l');
                out.extend_from_slice(&(values.len() as u64).to_le_bytes());
                values.iter().for_each(|value| value.write_canonical(out));
            }
            Value::Table(entries) => {
                out.push(b'm');
                out.extend_from_slice(&(entries.len() as u64).to_le_bytes());
                for (name, value) in entries {
                    write_canonical_text(name.as_bytes(), out);
                    value.write_canonical(out);
                }
            }
        }
    }
}

/// A name that a table has more than once.
pub(crate) fn repeated_name(fields: &[(String, Value)]) -> Option<&str> {
    /// Few enough to compare each with all.
    const FEW: usize = 8;
    if fields.len() <= FEW {
        let mut names = fields.iter().enumerate();
        let repeated = names.find(|(at, (name, _))| fields[..*at].iter().any(|(n, _)| n == name));
        return repeated.map(|(_, (name, _))| name.as_str());
    }
    let mut seen = rustc_hash::FxHashSet::default();
    fields.iter().map(|(name, _)| name.as_str()).find(|name| !seen.insert(*name))
}

/// Appends text as in [`Value::write_canonical`].
pub(crate) fn write_canonical_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b's');
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Value {
        Value::Number(text.to_owned())
    }

    fn json(value: &Value) -> String {
        let mut out = Vec::new();
        value.write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_keep_a_json_spelling_and_lose_others() {
        for same in ["1e-9", "0.10", "-3", "1E+5", "0", "100000"] {
            assert_eq!(json(&number(same)), same);
        }
        for (toml, expected) in [
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0b101", "5"),
            ("+5", "5"),
            ("+0.5e3", "0.5e3"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("1.e5", "1.0e5"),
            ("007", "7"),
            ("inf", "\"inf\""),
            ("-nan", "\"-nan\""),
        ] {
            assert_eq!(json(&number(toml)), expected, "{toml}");
        }
    }

    #[test]
    fn numbers_are_compared_by_meaning() {
        for (one, two) in [
            ("1e-9", "1.0e-9"),
            ("1e-9", "0.000000001"),
            ("1", "1.0"),
            ("0x10", "16"),
            ("-0.0", "0"),
            ("100", "1e2"),
            ("+5", "5"),
            ("inf", "+inf"),
        ] {
            assert!(number(one).same_value(&number(two)), "{one} {two}");
        }
        for (one, two) in [
            ("1e-9", "1e-8"),
            ("9007199254740992", "9007199254740993"),
            ("1", "-1"),
            ("inf", "-inf"),
            ("1", "10"),
            ("1e99999999999999999999", "1e99999999999999999998"),
        ] {
            assert!(!number(one).same_value(&number(two)), "{one} {two}");
        }
        assert!(!number("1").same_value(&Value::String("1".into())));
    }

    #[test]
    fn bytes_that_are_not_utf8_use_surrogateescape() {
        let value = Value::String(RawString(b"caf\xe9 \xc3\xa9".to_vec()));
        assert_eq!(json(&value), "\"caf\\udce9 é\"");
        assert_eq!(Value::from_json(json(&value).as_bytes()).unwrap(), value);
    }

    #[test]
    fn fields_of_tables_lists_and_paths() {
        let value = Value::from_json(br#"{"a":[1,{"file":"data/x.tar.gz"}]}"#).unwrap();
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let text = |fields: &str| value.field_path(&path(fields)).map(|value| value.to_text());
        assert_eq!(text("a.0"), Some(b"1".to_vec()));
        assert_eq!(text("a.1.file.name"), Some(b"x.tar.gz".to_vec()));
        assert_eq!(text("a.1.file.stem"), Some(b"x.tar".to_vec()));
        assert_eq!(text("a.2"), None);
        assert_eq!(text("b"), None);
        assert_eq!(text("a.0.x"), None);
    }

    #[test]
    fn text_of_each_kind() {
        let value = Value::from_json(br#"[null, true, 1e-9, "a b", [1, "x"]]"#).unwrap();
        let Value::List(values) = value else { panic!("a list") };
        let texts: Vec<_> = values.iter().map(Value::to_text).collect();
        assert_eq!(texts, [&b""[..], b"true", b"1e-9", b"a b", b"[1,\"x\"]"]);
    }

    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>().prop_map(RawString::from),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(RawString),
            proptest::sample::select(vec!["; rm -rf ~", "$(x)", "\"\n\\", "{a}", "\u{2028}\0"])
                .prop_map(RawString::from),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|n| Value::Number(n.to_string())),
            (any::<i32>(), 0u32..99999, -99i32..99)
                .prop_map(|(a, b, e)| Value::Number(format!("{a}.{b}e{e}"))),
            text.prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                proptest::collection::vec((any::<String>(), inner), 0..5).prop_map(Value::Table),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_round_trip(value in any_value()) {
            let mut text = Vec::new();
            value.write_json(&mut text);
            prop_assert_eq!(&Value::from_json(&text).unwrap(), &value);
            prop_assert!(!text.contains(&b'\n'));
            serde_json::from_slice::<serde::de::IgnoredAny>(&text).unwrap();
        }

        #[test]
        fn serde_round_trip(value in any_value()) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }

        #[test]
        fn hostile_json_never_panics(text in proptest::collection::vec(
            proptest::sample::select(b"[]{}\",:0123.eE+-truefalsn\\ud8c \xff".to_vec()), 0..30,
        )) {
            let ours = Value::from_json(&text);
            if ours.is_ok() {
                prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok());
            } else if serde_json::from_slice::<serde_json::Value>(&text).is_ok() {
                prop_assert!(false, "rejects valid JSON: {:?}", ours);
            }
        }

        #[test]
        fn canonical_is_the_same_for_the_same(one in any_value(), two in any_value()) {
            let canonical = |value: &Value| {
                let mut out = Vec::new();
                value.write_canonical(&mut out);
                out
            };
            prop_assert_eq!(one.same_value(&two), canonical(&one) == canonical(&two));
            prop_assert!(one.same_value(&one));
        }
    }
}
