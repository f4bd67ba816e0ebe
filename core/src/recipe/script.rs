//! The environment of a script: constants, parameters and their fields, the item, outputs, as a
//! shell can read them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::compile::{CompiledScope, Piece, Place};
use super::given::RenderError;
use super::render::Renderer;
use crate::shell;

/// A field of a parameter that a script reads: `f.stem` as `f_stem`.
#[derive(Clone, Debug)]
pub(super) struct Field {
    place: Place,
    fields: Vec<String>,
    variable: String,
}

/// The fields of parameters that a script may read, by the words in it.
pub(super) fn fields(scope: &CompiledScope, script: &str) -> Vec<Field> {
    let mut words: Vec<&str> = shell::words(script).into_iter().collect();
    words.sort_unstable();
    let mut fields = Vec::new();
    for place in scope.places() {
        let name = shell::variable(scope.name_of(place)).into_owned();
        let of_param = words.iter().filter_map(|word| {
            let rest = word.strip_prefix(name.as_str())?.strip_prefix('_')?;
            let fields: Vec<String> = rest.split('_').map(str::to_owned).collect();
            let sound = fields.iter().all(|field| !field.is_empty());
            sound.then(|| Field { place, fields, variable: (*word).to_owned() })
        });
        fields.extend(of_param);
    }
    fields
}

impl Renderer<'_> {
    /// Appends the variables; a later one of the same name wins.
    pub(super) fn script_env(
        &self,
        env: &mut Vec<(OsString, OsString)>,
    ) -> Result<(), RenderError> {
        let usable = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
        let variable = |name: &str| OsString::from(shell::variable(name).into_owned());
        for (name, value) in &self.data.vars {
            if usable(name) {
                env.push((variable(name), OsString::from_vec(value.to_text())));
            }
        }
        for Field { place, fields, variable } in &self.compiled.fields {
            // What only looks like a field is none.
            if let Ok(value) = self.param(*place, fields) {
                env.push((variable.into(), OsString::from_vec(value.to_text())));
            }
        }
        for (name, value) in self.params() {
            if usable(name) {
                env.push((variable(name), OsString::from_vec(value.to_text())));
            }
        }
        if let Some(item) = self.compiled.item {
            let text = self.text(&[Piece::Value(item, Vec::new(), "item".to_owned())])?;
            env.push(("item".into(), OsString::from_vec(text)));
        }
        for output in &self.outputs {
            let name = format!("out_{}", output.name);
            env.push((variable(&name), output.temporary.clone().into()));
        }
        Ok(())
    }
}
