//! Whether the parameters of a sweep fit the input of a function: its own `Deserialize` is asked, before anything
//! runs.

use std::fmt;

use bytes::Bytes;
use dagrun_core::payload;
use dagrun_core::value::Value;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

/// What is wrong with a point as the input of a function; the flag says whether its only parameter is
/// the input itself.
pub(super) type Fit = fn(&[(String, Value)], bool) -> Result<(), String>;

/// Whether a `T` can be made of these parameters.
pub(super) fn fits<T: DeserializeOwned + 'static>(
    point: &[(String, Value)],
    whole: bool,
) -> Result<(), String> {
    let payloads: Vec<Vec<u8>> = point.iter().map(|(_, value)| payload_of(value)).collect();
    let payload = match (whole, payloads.as_slice()) {
        (true, [payload]) => payload.clone(),
        _ => {
            known_fields::<T>(point)?;
            let names = point.iter().map(|(name, _)| name.as_str());
            let fields: Vec<_> = names.zip(payloads.iter().map(Vec::as_slice)).collect();
            payload::table(&fields).map_err(|error| error.reason())?
        }
    };
    match payload::decode::<T>(&Bytes::from(payload)) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(format!("a point does not make the function's input: {}", error.reason()))
        }
    }
}

fn payload_of(value: &Value) -> Vec<u8> {
    let mut payload = Vec::new();
    value.write_json(&mut payload);
    payload
}

/// Whether each parameter is a field of `T`, where `T` is a structure that names its fields.
fn known_fields<T: DeserializeOwned>(point: &[(String, Value)]) -> Result<(), String> {
    let Err(Asked(Some((of, fields)))) = T::deserialize(Ask).map(drop) else { return Ok(()) };
    match point.iter().find(|(name, _)| !fields.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let listed = fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>();
            Err(format!("`{name}` is no field of `{of}`, which has {}", listed.join(", ")))
        }
    }
}

/// A deserialiser without a value: it only learns the fields that are asked for.
struct Ask;

/// The name and the fields of a structure that was asked for.
#[derive(Debug)]
struct Asked(Option<(&'static str, &'static [&'static str])>);

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no value")
    }
}

impl std::error::Error for Asked {}

impl de::Error for Asked {
    fn custom<M: fmt::Display>(_: M) -> Asked {
        Asked(None)
    }
}

impl<'de> Deserializer<'de> for Ask {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked(None))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Asked> {
        Err(Asked(Some((name, fields))))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Asked> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Asked> {
        visitor.visit_some(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
