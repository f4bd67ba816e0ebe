//! Values in files: the extension of the name shows the kind of a payload, so that people and
//! programs can open the file as it is.

use std::path::Path;

use super::{BYTES, Kind, MESSAGE_PACK, PayloadError, TAG, kind};

/// The extension of a file's name for a payload, without a dot, and the part of the payload that is
/// written to the file.
///
/// # Errors
/// When it is malformed, or a reference.
pub fn file_form(payload: &[u8]) -> Result<(&'static str, &[u8]), PayloadError> {
    match kind(payload)? {
        Kind::Json(json) => Ok(("json", json)),
        Kind::Bytes(bytes) => Ok(("bin", bytes)),
        Kind::MessagePack(packed) => Ok(("msgpack", packed)),
        Kind::Stored(_) => Err(PayloadError::Elsewhere),
    }
}

/// The prefix that makes the content of a file a payload.
#[must_use]
pub fn file_head(path: &Path) -> &'static [u8] {
    match path.extension().map(std::ffi::OsStr::as_encoded_bytes) {
        Some(b"bin") => &[TAG, BYTES],
        Some(b"msgpack") => &[TAG, MESSAGE_PACK],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_payload_again() {
        let payloads = [b"[1,2]".to_vec(), super::super::of_bytes(b"\xff"), vec![TAG, b'm', 1]];
        for payload in payloads {
            let (ending, content) = file_form(&payload).unwrap();
            let path = Path::new("/values").join(format!("a.b-7.{ending}"));
            assert_eq!([file_head(&path), content].concat(), payload);
        }
    }
}
