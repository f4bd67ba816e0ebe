//! The lines of manifests: an instance and its results, for tasks that gather it.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::Recipe;
use crate::payload::{self, Stored, Whereabouts};
use crate::status::State;
use crate::value::{Value, write_json_string};

impl Recipe {
    /// A line of a manifest that lists this task's instances, with its newline:
    /// `{"index":7,"params":{…},"state":"succeeded","value":…,"out":{"price":"…"}}`.
    ///
    /// `state` is the word of a state. `value` is a payload and becomes JSON, null when there is
    /// none or it is elsewhere; a value in a file then appears as `"value-file"`. `outputs` are the
    /// reported paths, empty when they can be computed. Paths are written absolute, so that they
    /// can be opened from anywhere; an instance that did not succeed has no files, and `out` is
    /// empty.
    #[must_use]
    pub fn manifest_line(
        &self,
        index: u32,
        state: &str,
        value: Option<&[u8]>,
        outputs: &[Vec<u8>],
    ) -> Vec<u8> {
        self.manifest_line_of_item(index, None, state, value, outputs)
    }

    /// The same for an instance with an item, a JSON document, which becomes `"item"` among the
    /// parameters.
    #[must_use]
    pub fn manifest_line_of_item(
        &self,
        index: u32,
        item: Option<&[u8]>,
        state: &str,
        value: Option<&[u8]>,
        outputs: &[Vec<u8>],
    ) -> Vec<u8> {
        let mut line = format!("{{\"index\":{index},\"params\":").into_bytes();
        let mut params = self.params(index);
        let item = item.and_then(|item| Value::from_json(item).ok());
        params.extend(item.map(|item| ("item".to_owned(), item)));
        Value::Table(params).write_json(&mut line);
        line.extend_from_slice(b",\"state\":");
        write_json_string(state.as_bytes(), &mut line);
        line.extend_from_slice(b",\"value\":");
        match value.map(|value| (payload::to_json(value), payload::stored(value))) {
            Some((Ok(json), _)) => push_on_one_line(&json, &mut line),
            Some((_, Some(Stored { place: Whereabouts::File(path), .. }))) => {
                line.extend_from_slice(b"null,\"value-file\":");
                write_json_string(path.as_os_str().as_encoded_bytes(), &mut line);
            }
            _ => line.extend_from_slice(b"null"),
        }
        line.extend_from_slice(b",\"out\":{");
        if state == State::Succeeded.word() {
            self.push_outputs(index, outputs, &mut line);
        }
        line.extend_from_slice(b"}}\n");
        line
    }

    /// The absolute paths of the outputs of an instance that succeeded, as bytes. `reported` are those
    /// that it reported, empty when they can be computed.
    #[must_use]
    pub fn output_bytes(&self, index: u32, reported: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let paths = self.outputs_of(index, reported).into_iter();
        paths.map(|path| path.into_os_string().into_vec()).collect()
    }

    fn outputs_of(&self, index: u32, reported: &[Vec<u8>]) -> Vec<PathBuf> {
        if self.data.report_outputs {
            reported.iter().map(|path| self.data.absolute(path).unwrap_or_default()).collect()
        } else {
            // It succeeded, so it has been rendered before.
            self.renderer(index, 1, None).computed_outputs().unwrap_or_default()
        }
    }

    /// Appends `"name":"path"` for each output of an instance that succeeded.
    fn push_outputs(&self, index: u32, reported: &[Vec<u8>], line: &mut Vec<u8>) {
        let paths = self.outputs_of(index, reported);
        let names = self.compiled.own.outputs.iter().map(|(name, _)| name);
        for (at, (name, path)) in names.zip(&paths).enumerate() {
            if at > 0 {
                line.push(b',');
            }
            write_json_string(name.as_bytes(), line);
            line.push(b':');
            write_json_string(path.as_os_str().as_bytes(), line);
        }
    }
}

/// Appends a JSON document without its line breaks, which JSON has only between tokens.
fn push_on_one_line(value: &[u8], out: &mut Vec<u8>) {
    if value.contains(&b'\n') || value.contains(&b'\r') {
        out.extend(value.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    } else {
        out.extend_from_slice(value);
    }
}
