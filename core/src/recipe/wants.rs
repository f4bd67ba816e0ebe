//! How the values of inputs are used, so that a worker knows how to provide them.

use super::Recipe;
use super::compile::{Compiled, CompiledCall, Piece};
use super::given::{InputKind, RecipeData};

/// How an attempt uses the value of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Whether a command gets the path of a file with it.
    pub file: WantsFile,
    /// Something is derived from it: its bytes must be present.
    pub here: bool,
}

/// Whether a command gets the path of a file with a value, see [`super::Input::file`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum WantsFile {
    /// It does not.
    #[default]
    Never,
    /// It does if the value is too long for a variable.
    IfLong,
    /// It does.
    Always,
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
    let words = compiled.wrap.iter().chain(&compiled.argv);
    let pieces = words.chain(compiled.env.iter().map(|(_, pieces)| pieces));
    let pieces = pieces
        .chain(&compiled.reads)
        .chain(compiled.named.iter().map(|(_, path)| path))
        .chain(&compiled.stdin)
        .chain(&compiled.working_dir)
        .flatten();
    let outputs = compiled.own.outputs.iter().flat_map(|(_, pieces)| pieces);
    let in_call = compiled.call.iter().flat_map(CompiledCall::parts);
    for piece in pieces.chain(outputs).chain(in_call) {
        match piece {
            Piece::Value(input, ..) => {
                wants.get_mut(*input).into_iter().for_each(|wants| wants.here = true);
            }
            Piece::File(input, _) => {
                let wants = wants.get_mut(*input).into_iter();
                wants.for_each(|wants| wants.file = WantsFile::Always);
            }
            _ => {}
        }
    }
    for (wants, input) in wants.iter_mut().zip(&data.inputs) {
        if input.kind == InputKind::Item {
            // It is always sent with the instance.
            wants.here = true;
            if data.action.script().is_some() {
                wants.file = wants.file.max(compiled.script.item_file());
            }
        }
    }
    wants
}
