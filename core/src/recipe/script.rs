//! The environment of a script: constants, parameters and their fields, the item, outputs, as a
//! shell can read them, and as far as a process can be given them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use rustc_hash::FxHashSet;

use super::compile::{CompiledScope, ParamAt, Piece};
use super::given::RenderError;
use super::length;
use super::render::Renderer;
use super::wants::WantsFile;
use crate::shell;

/// What a script may read that it does not name is left out beyond so many bytes.
const UNNAMED: usize = 512 << 10;

/// A field of a parameter that a script reads: `f.stem` as `f_stem`.
#[derive(Clone, Debug)]
struct Field {
    place: ParamAt,
    fields: Vec<String>,
    variable: String,
}

/// What a script reads of its environment, by the words in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    fields: Vec<Field>,
    /// All words that could be names of variables.
    words: FxHashSet<String>,
    /// The variables that it expands and does not set.
    expanded: FxHashSet<String>,
}

impl Reads {
    pub(super) fn new(scope: &CompiledScope, script: &str) -> Reads {
        let words = shell::words(script);
        let mut sorted: Vec<&str> = words.iter().copied().collect();
        sorted.sort_unstable();
        let mut fields = Vec::new();
        for place in scope.places() {
            let name = shell::variable(scope.name_of(place)).into_owned();
            let of_param = sorted.iter().filter_map(|word| {
                let rest = word.strip_prefix(name.as_str())?.strip_prefix('_')?;
                let fields: Vec<String> = rest.split('_').map(str::to_owned).collect();
                let sound = fields.iter().all(|field| !field.is_empty());
                sound.then(|| Field { place, fields, variable: (*word).to_owned() })
            });
            fields.extend(of_param);
        }
        let expanded = shell::expanded(script).into_iter().map(str::to_owned).collect();
        let words = words.into_iter().map(str::to_owned).collect();
        Reads { fields, words, expanded }
    }

    /// Whether a file with the item is wanted.
    pub(super) fn item_file(&self) -> WantsFile {
        match self.words.contains("item_file") {
            true => WantsFile::Always,
            false => WantsFile::IfLong,
        }
    }
}

/// The variables of a script while they are collected.
struct Variables<'v> {
    reads: &'v Reads,
    env: &'v mut Vec<(OsString, OsString)>,
    /// Bytes of those that the script does not name.
    unnamed: usize,
}

impl Variables<'_> {
    /// Adds a variable if it fits; one that the script expands must.
    fn add(&mut self, name: &str, value: Vec<u8>, help: &str) -> Result<(), RenderError> {
        let variable = shell::variable(name);
        if variable.is_empty() || variable.contains(['=', '\0']) {
            return Ok(());
        }
        let bytes = variable.len() + 1 + value.len();
        let named = self.reads.words.contains(&*variable);
        if bytes > length::WORD {
            if self.reads.expanded.contains(&*variable) {
                let (what, bytes) = (format!("variable `{variable}`"), value.len());
                let help = help.to_owned();
                return Err(RenderError::TooLong { what, bytes, most: length::WORD, help });
            }
            return Ok(());
        }
        if !named {
            if self.unnamed + bytes > UNNAMED {
                return Ok(());
            }
            self.unnamed += bytes;
        }
        self.env.push((variable.into_owned().into(), OsString::from_vec(value)));
        Ok(())
    }
}

impl Renderer<'_> {
    /// Appends the variables; a later one of the same name wins.
    pub(super) fn script_env(
        &self,
        env: &mut Vec<(OsString, OsString)>,
    ) -> Result<(), RenderError> {
        const FROM_FILE: &str = "let the script read it from a file";
        let reads = &self.compiled.script;
        let mut variables = Variables { reads, env, unnamed: 0 };
        for (name, value) in &self.data.vars {
            variables.add(name, value.to_text(), FROM_FILE)?;
        }
        for Field { place, fields, variable } in &reads.fields {
            // What only looks like a field is none.
            if let Ok(value) = self.param(*place, fields) {
                variables.add(variable, value.to_text(), FROM_FILE)?;
            }
        }
        for (name, value) in self.params() {
            variables.add(name, value.to_text(), FROM_FILE)?;
        }
        if let Some(item) = self.compiled.item {
            let text = self.text(&[Piece::Value(item, Vec::new(), "item".to_owned())])?;
            variables.add("item", text, "read the file $item_file, which has it as JSON")?;
            let file = self.inputs.and_then(|inputs| inputs.get(item)?.file.clone());
            let file = file.map(|file| file.into_os_string().into_vec());
            file.map_or(Ok(()), |file| variables.add("item_file", file, ""))?;
        }
        for output in &self.outputs {
            let name = shell::variable(&format!("out_{}", output.name)).into_owned();
            env.push((name.into(), output.temporary.clone().into()));
        }
        Ok(())
    }
}
