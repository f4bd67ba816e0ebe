//! How the values of inputs are used, so that a worker knows how to provide long ones.

use super::Recipe;
use super::compile::{Compiled, CompiledCall, Piece};
use super::given::{InputKind, RecipeData};

/// How an attempt uses the value of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// A command gets all of it: as text, or, if it is long, as the path of a file, see
    /// [`super::Input::file`].
    pub whole: bool,
    /// Something is derived from it: its bytes must be present.
    pub here: bool,
}

impl Recipe {
    /// How attempts use the values of [`RecipeData::inputs`], in the same order. Values that are
    /// whole arguments of a function are neither: these may be references.
    #[must_use]
    pub fn wants(&self) -> Vec<Wants> {
        wants(&self.data, &self.compiled)
    }
}

fn wants(data: &RecipeData, compiled: &Compiled) -> Vec<Wants> {
    let mut wants = vec![Wants::default(); data.inputs.len()];
    let pieces = compiled.argv.iter().chain(compiled.env.iter().map(|(_, pieces)| pieces));
    let pieces = pieces.chain(&compiled.stdin).chain(&compiled.working_dir).flatten();
    let outputs = compiled.own.outputs.iter().flat_map(|(_, pieces)| pieces);
    let in_call = compiled.call.iter().flat_map(CompiledCall::parts);
    let mut note = |piece: &Piece, may_be_file: bool| {
        let Piece::Value(input, fields, _) = piece else { return };
        if let Some(wants) = wants.get_mut(*input) {
            let whole = may_be_file && fields.is_empty();
            wants.whole |= whole;
            wants.here |= !whole;
        }
    };
    pieces.for_each(|piece| note(piece, true));
    // A path is not made of the path of another file.
    outputs.chain(in_call).for_each(|piece| note(piece, false));
    for (wants, input) in wants.iter_mut().zip(&data.inputs) {
        if input.kind == InputKind::Item {
            *wants = Wants::default(); // They are always sent with the instance.
        }
    }
    wants
}
