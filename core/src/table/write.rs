//! Cells as text: CSV as RFC 4180 has it, and JSON.

use super::Kind;
use crate::value::{Value, write_json_string};

/// Appends a cell of a CSV file with this separator; quoted where it must be.
pub fn push_csv(bytes: &[u8], separator: u8, out: &mut Vec<u8>) {
    let special = |byte: &u8| *byte == separator || matches!(byte, b'"' | b'\n' | b'\r');
    if !bytes.iter().any(special) {
        out.extend_from_slice(bytes);
        return;
    }
    out.push(b'"');
    for byte in bytes {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Appends a cell as a JSON document; what is missing is null, and so are numbers that are not finite.
pub fn push_json(kind: Kind, bytes: &[u8], out: &mut Vec<u8>) {
    match kind {
        Kind::Missing => out.extend_from_slice(b"null"),
        Kind::Boolean | Kind::Json => out.extend_from_slice(bytes),
        Kind::Text => write_json_string(bytes, out),
        Kind::Integer | Kind::Float => {
            let start = out.len();
            Value::Number(String::from_utf8_lossy(bytes).into_owned()).write_json(out);
            if out.get(start) == Some(&b'"') {
                out.truncate(start);
                out.extend_from_slice(b"null");
            }
        }
    }
}

/// Appends a name as the key of a JSON object, with its colon.
pub fn push_json_name(name: &str, out: &mut Vec<u8>) {
    write_json_string(name.as_bytes(), out);
    out.push(b':');
}
