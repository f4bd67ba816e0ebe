//! What fits into the arguments and the environment of a process.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use super::compile::{Piece, Pieces};
use super::given::RenderError;
use super::render::{Invocation, Renderer};

/// The longest word that Linux gives a process, without the zero at its end: 32 pages of 4 KiB. A
/// variable is a word with its name and `=`.
pub const WORD: usize = (128 << 10) - 1;

impl Renderer<'_> {
    /// Refuses words and variables that no process can be given, and names what is long in them.
    pub(super) fn fits(&self, invocation: &Invocation) -> Result<(), RenderError> {
        for (at, word) in invocation.argv.iter().enumerate() {
            if word.len() > WORD {
                let mut words = self.compiled.wrap.iter().chain(&self.compiled.argv);
                let pieces = words.nth(at);
                return Err(self.too_long(pieces, word.len(), "the script"));
            }
        }
        for (name, pieces) in &self.compiled.env {
            let is_this = |(known, _): &&(OsString, OsString)| known.as_bytes() == name.as_bytes();
            let value = invocation.env.iter().rev().find(is_this).map_or(0, |(_, v)| v.len());
            if name.len() + 1 + value > WORD {
                return Err(self.too_long(Some(pieces), value, &format!("variable `{name}`")));
            }
        }
        Ok(())
    }

    /// The longest part of a text is what is reported.
    fn too_long(&self, pieces: Option<&Pieces>, bytes: usize, whole: &str) -> RenderError {
        let pieces = pieces.into_iter().flatten();
        let sized = pieces.filter_map(|piece| {
            let text = self.text(std::slice::from_ref(piece)).ok()?;
            Some((text.len(), piece))
        });
        let longest = sized.max_by_key(|(length, _)| *length);
        let (bytes, what, help) = match longest {
            Some((length, Piece::Value(_, _, label))) => {
                let whole = match label.split_once('.') {
                    Some((task, _)) if task != "item" => format!("{task}.value"),
                    _ => "item".to_owned(),
                };
                let help = format!("write {{{whole}:file}}, the path of a file with it");
                (length, format!("{{{label}}}"), help)
            }
            Some((length, Piece::Param(place, _))) => {
                let name = self.frame.scope.name_of(*place);
                (length, format!("{{{name}}}"), "put it into a file".to_owned())
            }
            _ => (bytes, whole.to_owned(), "put it into a file".to_owned()),
        };
        RenderError::TooLong { what, bytes, most: WORD, help }
    }
}
