//! What all paths of an output have in common, derived from its template.

use super::compile::Piece;
use super::{Recipe, RenderError};

/// What all paths of an output have in common, although no two of them are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathShape {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
}

impl PathShape {
    /// Whether `path` may be one of the paths.
    pub(crate) fn may_be(&self, path: &[u8]) -> bool {
        path.starts_with(&self.prefix) && path.ends_with(&self.suffix)
    }

    /// Whether no path can have both shapes.
    pub(crate) fn is_apart(&self, other: &PathShape) -> bool {
        let (one, two) = (&self.prefix, &other.prefix);
        let prefixes_agree = one.starts_with(two) || two.starts_with(one);
        let (one, two) = (&self.suffix, &other.suffix);
        let suffixes_agree = one.ends_with(two) || two.ends_with(one);
        !(prefixes_agree && suffixes_agree)
    }
}

impl Recipe {
    /// The path of an output as rendered, before the run.
    pub(crate) fn output_text(&self, index: u32, output: usize) -> Result<Vec<u8>, RenderError> {
        self.renderer(index, 1, None).output_text(output)
    }

    /// The shape of an output's paths if it proves that no two instances share one: the template
    /// contains an index or a key that can be recovered from the path.
    pub(crate) fn output_shape(&self, output: usize) -> Option<PathShape> {
        let (_, pieces) = self.compiled.own.outputs.get(output)?;
        let plain = |piece: &Piece| {
            matches!(piece, Piece::Text(_) | Piece::Index(_) | Piece::Key | Piece::Seed)
        };
        if !pieces.iter().all(plain) || !(0..pieces.len()).any(|at| is_readable(pieces, at)) {
            return None;
        }
        let text = |piece: Option<&Piece>| match piece {
            Some(Piece::Text(text)) => text.clone(),
            _ => Vec::new(),
        };
        Some(PathShape { prefix: text(pieces.first()), suffix: text(pieces.last()) })
    }
}

/// Whether piece `at` is an index or a key that can be recovered from every path.
fn is_readable(pieces: &[Piece], at: usize) -> bool {
    let part_of: fn(u8) -> bool = match &pieces[at] {
        Piece::Index(_) => |byte| byte.is_ascii_digit(),
        // A key may contain any other character that is usual in file names.
        Piece::Key => |byte| byte != b'/',
        _ => return false,
    };
    let fixed = |pieces: &[Piece]| pieces.iter().all(|piece| matches!(piece, Piece::Text(_)));
    let (before, after) = (&pieces[..at], &pieces[at + 1..]);
    let ends = match before.last() {
        Some(Piece::Text(text)) => text.last().is_some_and(|&byte| !part_of(byte)),
        Some(_) => false,
        None => true,
    };
    let begins = match after.first() {
        Some(Piece::Text(text)) => text.first().is_some_and(|&byte| !part_of(byte)),
        Some(_) => false,
        None => true,
    };
    // Read from the fixed end up to the first byte that cannot belong to it.
    match (fixed(before), fixed(after)) {
        (true, true) => true,
        (false, true) => ends,
        (true, false) => begins,
        (false, false) => false,
    }
}
