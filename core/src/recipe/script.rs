//! The environment of a script: constants, parameters and their fields, the item, outputs, as a
//! shell can read them, and as far as a process can be given them.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustc_hash::FxHashSet;

use super::compile::{CompiledScope, ParamAt, Piece};
use super::given::RenderError;
use super::length;
use super::render::{Renderer, field_of};
use super::wants::WantsFile;
use crate::layout;
use crate::pipeline::TaskAction;
use crate::shell;
use crate::value::{RawString, Value};

/// The variable with the path of a file with all that a script is given.
const PARAMS: &str = "DAGRUN_PARAMS";

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
    /// What a shell reads.
    pub(super) fn of_shell(scope: &CompiledScope, script: &str) -> Reads {
        let expanded = shell::expanded(script).into_iter().map(str::to_owned).collect();
        Reads { expanded, ..Reads::of_script(scope, script) }
    }

    /// What another interpreter may read.
    pub(super) fn of_script(scope: &CompiledScope, script: &str) -> Reads {
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
        let words = words.into_iter().map(str::to_owned).collect();
        Reads { fields, words, expanded: FxHashSet::default() }
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
    /// The file of a script that is not the argument of a shell.
    pub(super) fn script_file(&self) -> PathBuf {
        self.scratch().join("script")
    }

    /// The directory of the attempt's own for files that are made before it starts.
    pub(super) fn scratch(&self) -> PathBuf {
        layout::scratch(self.data.run_dir()).join(self.attempt_dir(""))
    }

    /// The file with all that a script is given; none where it does not read it.
    fn params_file(&self) -> Option<PathBuf> {
        let reads = &self.compiled.script;
        let wanted = match &self.data.action {
            TaskAction::Script(_) => true,
            _ => reads.words.contains(PARAMS),
        };
        wanted.then(|| self.scratch().join("params.json"))
    }

    /// The files of a script with their contents.
    pub(super) fn script_files(&self) -> Result<Vec<(PathBuf, Vec<u8>)>, RenderError> {
        let mut files = Vec::new();
        // Before the run nothing is made.
        if self.inputs.is_none() {
            return Ok(files);
        }
        if let TaskAction::Script(script) = &self.data.action {
            files.push((self.script_file(), script.clone().into_bytes()));
        }
        if let Some(path) = self.params_file() {
            files.push((path, self.everything()?));
        }
        Ok(files)
    }

    /// All that a script is given, as JSON.
    fn everything(&self) -> Result<Vec<u8>, RenderError> {
        let data = self.data;
        let number = |number: u64| Value::Number(number.to_string());
        let params = self.params().map(|(name, value)| (name.to_owned(), value)).collect();
        let path = |path: &Path| Value::String(RawString(path.as_os_str().as_bytes().to_vec()));
        let mut inputs = Vec::new();
        for (at, (name, _)) in self.compiled.named.iter().enumerate() {
            inputs.push((name.clone(), path(&self.named_input(at)?.0)));
        }
        let outputs = self.outputs.iter();
        let outputs = outputs.map(|output| (output.name.clone(), path(&output.temporary)));
        let run = [("id", number(data.run)), ("dir", path(data.run_dir()))];
        let run = run.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let fields = [
            ("params", Value::Table(params)),
            ("vars", Value::Table(data.vars.clone())),
            ("in", Value::Table(inputs)),
            ("out", Value::Table(outputs.collect())),
            ("index", number(self.index().into())),
            ("attempt", number(self.attempt.into())),
            ("seed", number(self.seed()?)),
            ("run", Value::Table(run)),
        ];
        let mut json = b"{\"item\":".to_vec();
        match self.compiled.item {
            Some(item) => {
                let input = self.inputs.and_then(|inputs| inputs.get(item));
                let value = input.and_then(|input| input.value.as_deref());
                field_of(value, &[], "item")?.write_json(&mut json);
            }
            None => json.extend_from_slice(b"null"),
        }
        for (name, value) in fields {
            json.extend_from_slice(format!(",\"{name}\":").as_bytes());
            value.write_json(&mut json);
        }
        json.extend_from_slice(b"}\n");
        Ok(json)
    }

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
        if let Some(path) = self.params_file() {
            env.push((PARAMS.into(), path.into()));
        }
        for (at, (name, _)) in self.compiled.named.iter().enumerate() {
            let name = shell::variable(&format!("in_{name}")).into_owned();
            env.push((name.into(), self.named_input(at)?.0.into()));
        }
        for output in &self.outputs {
            let name = shell::variable(&format!("out_{}", output.name)).into_owned();
            env.push((name.into(), output.temporary.clone().into()));
        }
        Ok(())
    }
}
