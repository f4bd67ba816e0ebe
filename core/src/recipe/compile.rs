//! Templates prepared for rendering: names resolved, constants inserted.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustc_hash::FxHashMap;

use super::given::{InputKind, RecipeData, RecipeError, Root, Scope};
use super::script::Reads;
use crate::ids::TaskId;
use crate::payload::TAG;
use crate::pipeline::{Arg, Args, Call, TaskAction};
use crate::space::Grid;
use crate::template::{Part, Placeholder, Template};
use crate::value::Value;

/// A template to render.
pub(super) type Pieces = Vec<Piece>;

/// A piece of a template to render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text that is the same for all instances.
    Text(Vec<u8>),
    /// A parameter.
    Param(ParamAt, Vec<String>),
    /// The index, with the least number of digits.
    Index(usize),
    Key,
    Seed,
    Attempt,
    /// The temporary path of an own output.
    Out(usize),
    /// The path of an own input that has a name.
    In(usize),
    /// An upstream's path, computed: position in `Compiled::related`, the output, the factor.
    Computed(usize, usize, Option<u32>),
    /// An upstream's path, reported: position in the inputs, the output, the placeholder.
    Reported(usize, usize, String),
    /// An upstream's value, or the item: position in the inputs, fields, the placeholder.
    Value(usize, Vec<String>, String),
    /// The path of a file with an upstream's value, or with the item: position in the inputs, the
    /// placeholder.
    File(usize, String),
    /// A manifest: its path without group and ending, and whether it is that of a group.
    Manifest(Vec<u8>, bool),
    /// Something that cannot have a value: the placeholder, and why.
    Missing(String, &'static str),
}

/// The location of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ParamAt {
    /// Position among the grids of the scope.
    pub(super) grid: usize,
    /// Position among the grid's names.
    pub(super) slot: usize,
}

/// A task's parameters and output paths, ready for rendering.
#[derive(Clone, Debug)]
pub(super) struct CompiledScope {
    pub(super) name: String,
    pub(super) root: Root,
    /// The grids, the outermost first.
    pub(super) grids: Vec<Grid>,
    /// All parameters in the order of their names' bytes.
    pub(super) by_name: Vec<ParamAt>,
    pub(super) outputs: Vec<(String, Pieces)>,
}

/// All templates of a recipe, ready for rendering.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) own: CompiledScope,
    pub(super) related: Vec<CompiledScope>,
    pub(super) wrap: Vec<Pieces>,
    pub(super) argv: Vec<Pieces>,
    pub(super) call: Option<CompiledCall>,
    pub(super) env: Vec<(String, Pieces)>,
    pub(super) stdin: Option<Pieces>,
    pub(super) reads: Vec<Pieces>,
    pub(super) named: Vec<(String, Pieces)>,
    pub(super) working_dir: Option<Pieces>,
    /// The position of the item among the inputs.
    pub(super) item: Option<usize>,
    /// What a script reads.
    pub(super) script: Reads,
}

/// A call, ready for rendering.
#[derive(Clone, Debug)]
pub(super) struct CompiledCall {
    pub(super) args: Vec<(Option<String>, CompiledArg)>,
}

/// An argument, ready for rendering.
#[derive(Clone, Debug)]
pub(super) enum CompiledArg {
    Constant(Vec<u8>),
    /// The value of a placeholder.
    Whole(Piece),
    Text(Pieces),
    List(Vec<CompiledArg>),
    Table(Vec<(String, CompiledArg)>),
    Params,
    /// The file without group and ending, and whether it is that of a group.
    Gathered(PathBuf, bool),
}

impl CompiledScope {
    /// Every parameter, inherited ones first.
    pub(super) fn places(&self) -> impl Iterator<Item = ParamAt> {
        self.grids.iter().enumerate().flat_map(|(grid, found)| {
            (0..found.names().len()).map(move |slot| ParamAt { grid, slot })
        })
    }

    /// The name of a parameter.
    pub(super) fn name_of(&self, place: ParamAt) -> &str {
        let grid = self.grids.get(place.grid);
        grid.and_then(|grid| grid.names().get(place.slot)).map_or("", String::as_str)
    }

    fn find(&self, name: &str) -> Option<ParamAt> {
        self.by_name.iter().copied().find(|&place| self.name_of(place) == name)
    }
}

impl Compiled {
    pub(super) fn new(data: &RecipeData) -> Result<Compiled, RecipeError> {
        let own = bare_scope(data, &data.own);
        let argv = match &data.action {
            TaskAction::Run(argv) => argv.as_slice(),
            TaskAction::Shell(_) | TaskAction::Script(_) | TaskAction::Call(_) => &[],
        };
        let related: Vec<CompiledScope> =
            data.related.iter().map(|scope| bare_scope(data, scope)).collect();
        let all = |compiler: &Compiler<'_>, outputs: &[(String, Template)]| {
            let pieces =
                outputs.iter().map(|(name, path)| Ok((name.clone(), compiler.pieces(path)?)));
            pieces.collect::<Result<Vec<_>, RecipeError>>()
        };
        let lookup = &Lookup::new(data);
        let compiler = Compiler { data, lookup, scope: &data.own, compiled: &own };
        let outputs = all(&compiler, &data.own.outputs)?;
        let call = match &data.action {
            TaskAction::Call(call) => Some(CompiledCall::new(call, &compiler)?),
            TaskAction::Run(_) | TaskAction::Shell(_) | TaskAction::Script(_) => None,
        };
        let script = match &data.action {
            TaskAction::Shell(script) => Reads::of_shell(&own, script),
            TaskAction::Script(script) => Reads::of_script(&own, script),
            TaskAction::Run(_) | TaskAction::Call(_) => Reads::default(),
        };
        let mut compiled = Compiled {
            call,
            script,
            wrap: data.wrap.iter().map(|word| compiler.pieces(word)).collect::<Result<_, _>>()?,
            argv: argv.iter().map(|word| compiler.pieces(word)).collect::<Result<_, _>>()?,
            env: all(&compiler, &data.env)?,
            named: all(&compiler, &data.named)?,
            reads: data.reads.iter().map(|path| compiler.pieces(path)).collect::<Result<_, _>>()?,
            stdin: data.stdin.as_ref().map(|path| compiler.pieces(path)).transpose()?,
            working_dir: data.working_dir.as_ref().map(|path| compiler.pieces(path)).transpose()?,
            related: Vec::new(),
            own: CompiledScope { outputs, ..own.clone() },
            item: lookup.item,
        };
        for (scope, bare) in data.related.iter().zip(related) {
            let compiler = Compiler { data, lookup, scope, compiled: &bare };
            let outputs = all(&compiler, &scope.outputs)?;
            // Paths of related tasks are rendered without inputs; malicious data may refer to some.
            let reported = |piece: &Piece| match piece {
                Piece::Reported(..) | Piece::Value(..) | Piece::File(..) | Piece::In(_) => true,
                Piece::Seed => scope.item().is_some(),
                _ => false,
            };
            if outputs.iter().any(|(_, pieces)| pieces.iter().any(reported)) {
                return Err(RecipeError::Incomplete("a computable path"));
            }
            compiled.related.push(CompiledScope { outputs, ..bare });
        }
        Ok(compiled)
    }
}

/// A scope without its outputs.
fn bare_scope(data: &RecipeData, scope: &Scope) -> CompiledScope {
    let grid = |task: TaskId| data.grids.iter().find(|(id, _)| *id == task).map(|(_, grid)| grid);
    let grids = scope.chain.iter().filter_map(|link| grid(link.0)).cloned().collect();
    let mut compiled = CompiledScope {
        name: scope.name.clone(),
        root: scope.root,
        grids,
        by_name: Vec::new(),
        outputs: Vec::new(),
    };
    let mut places: Vec<ParamAt> = compiled.places().collect();
    places.sort_by_key(|&place| compiled.name_of(place).as_bytes().to_vec());
    compiled.by_name = places;
    compiled
}

/// The positions of tasks in the lists of a recipe.
struct Lookup {
    inputs: FxHashMap<TaskId, usize>,
    related: FxHashMap<TaskId, usize>,
    manifests: FxHashMap<TaskId, usize>,
    item: Option<usize>,
}

impl Lookup {
    fn new(data: &RecipeData) -> Lookup {
        let numbered = |tasks: &mut dyn Iterator<Item = TaskId>| {
            tasks.enumerate().map(|(at, task)| (task, at)).collect()
        };
        let inputs = data.inputs.iter().enumerate();
        let instances = inputs.filter(|(_, input)| input.kind == InputKind::Instance);
        Lookup {
            inputs: instances.map(|(at, input)| (input.task, at)).collect(),
            related: numbered(&mut data.related.iter().map(|scope| scope.id)),
            manifests: numbered(&mut data.manifests.iter().map(|manifest| manifest.0)),
            item: data.inputs.iter().position(|input| input.kind == InputKind::Item),
        }
    }
}

pub(super) struct Compiler<'a> {
    data: &'a RecipeData,
    lookup: &'a Lookup,
    scope: &'a Scope,
    compiled: &'a CompiledScope,
}

impl Compiler<'_> {
    pub(super) fn pieces(&self, template: &Template) -> Result<Pieces, RecipeError> {
        let mut pieces: Pieces = Vec::new();
        for part in &template.parts {
            let piece = match part {
                Part::Literal(text) => Piece::Text(text.as_bytes().to_vec()),
                Part::Placeholder(placeholder) => self.piece(placeholder)?,
            };
            match (pieces.last_mut(), piece) {
                (Some(Piece::Text(text)), Piece::Text(more)) => text.extend_from_slice(&more),
                (_, piece) => pieces.push(piece),
            }
        }
        Ok(pieces)
    }

    pub(super) fn piece(&self, placeholder: &Placeholder) -> Result<Piece, RecipeError> {
        let data = self.data;
        Ok(match placeholder {
            Placeholder::Param(name, fields) => match self.compiled.find(name) {
                Some(place) => Piece::Param(place, fields.clone()),
                None => Piece::Missing(dotted(name, "", fields), "no such parameter"),
            },
            Placeholder::Var(name, fields) => match self.var(name, fields) {
                Some(value) => Piece::Text(value.to_text()),
                None => Piece::Missing(dotted("vars", name, fields), "no such value"),
            },
            Placeholder::Index(digits) => Piece::Index(usize::from((*digits).min(64))),
            Placeholder::Key => Piece::Key,
            Placeholder::Seed => Piece::Seed,
            Placeholder::Item(fields) => {
                let item = self.lookup.item.ok_or(RecipeError::Incomplete("an item"))?;
                Piece::Value(item, fields.clone(), dotted("item", "", fields))
            }
            Placeholder::ItemFile => {
                let item = self.lookup.item.ok_or(RecipeError::Incomplete("an item"))?;
                Piece::File(item, "item:file".to_owned())
            }
            Placeholder::UpstreamValueFile(upstream) => {
                let (input, (task, _)) = self.input(*upstream)?;
                Piece::File(input, dotted(task, "value:file", &[]))
            }
            Placeholder::Attempt => Piece::Attempt,
            Placeholder::Out(output) => Piece::Out(*output as usize),
            Placeholder::In(input) => Piece::In(*input as usize),
            Placeholder::UpstreamOut(upstream, output) => self.upstream_out(*upstream, *output)?,
            Placeholder::UpstreamValue(upstream, fields) => {
                let (input, (task, _)) = self.input(*upstream)?;
                Piece::Value(input, fields.clone(), dotted(task, "value", fields))
            }
            Placeholder::Manifest(upstream) => {
                let found = self.lookup.manifests.get(upstream);
                let found = found.and_then(|at| data.manifests.get(*at));
                let (_, name) = found.ok_or(RecipeError::Incomplete("a manifest"))?;
                let stem = data.manifest_stem(name);
                Piece::Manifest(stem.as_os_str().as_bytes().to_vec(), data.grouped)
            }
            Placeholder::RunId => Piece::Text(data.run.to_string().into_bytes()),
            Placeholder::RunDir => Piece::Text(data.run_dir().as_os_str().as_bytes().to_vec()),
        })
    }

    /// A constant, or a field of it.
    pub(super) fn var(&self, name: &str, fields: &[String]) -> Option<Cow<'_, Value>> {
        let var = self.data.vars.iter().find(|(known, _)| known == name);
        var.and_then(|(_, value)| value.field_path(fields))
    }

    /// Where the values of a gathered task will be, and whether each group has its own.
    pub(super) fn values(&self, upstream: TaskId) -> Result<(PathBuf, bool), RecipeError> {
        let found = self.data.gathered.iter().find(|(task, _)| *task == upstream);
        let (_, name) = found.ok_or(RecipeError::Incomplete("gathered values"))?;
        Ok((self.data.manifest_stem(name), self.data.grouped))
    }

    fn upstream_out(&self, upstream: TaskId, output: u32) -> Result<Piece, RecipeError> {
        let output = output as usize;
        if let Some(&related) = self.lookup.related.get(&upstream) {
            return Ok(Piece::Computed(related, output, self.scope.factor(upstream)));
        }
        let (input, (task, outputs)) = self.input(upstream)?;
        let output_name = outputs.get(output).ok_or(RecipeError::Incomplete("an output"))?;
        Ok(Piece::Reported(input, output, dotted(task, output_name, &[])))
    }

    /// The position of an input, the names of its task and of its outputs.
    fn input(&self, upstream: TaskId) -> Result<(usize, &(String, Vec<String>)), RecipeError> {
        let at = self.lookup.inputs.get(&upstream).copied();
        let found = at.and_then(|at| Some((at, self.data.input_names.get(at)?)));
        let (at, names) = found.ok_or(RecipeError::Incomplete("an input"))?;
        Ok((at, names))
    }
}

/// A placeholder as its author wrote it.
pub(super) fn dotted(name: &str, then: &str, fields: &[String]) -> String {
    let mut text = name.to_owned();
    for part in std::iter::once(then)
        .filter(|then| !then.is_empty())
        .chain(fields.iter().map(String::as_str))
    {
        text.push('.');
        text.push_str(part);
    }
    text
}

impl CompiledCall {
    /// The parts of arguments, other than values that are whole arguments.
    pub(super) fn parts(&self) -> Vec<&Piece> {
        let whole = |arg: &&CompiledArg| match arg {
            CompiledArg::Whole(Piece::Value(_, fields, _)) => fields.is_empty(),
            _ => false,
        };
        let args = self.args.iter().map(|(_, arg)| arg);
        let mut open: Vec<&CompiledArg> = args.filter(|arg| !whole(arg)).collect();
        let mut parts = Vec::new();
        while let Some(arg) = open.pop() {
            match arg {
                CompiledArg::Whole(piece) => parts.push(piece),
                CompiledArg::Text(pieces) => parts.extend(pieces),
                CompiledArg::List(args) => open.extend(args),
                CompiledArg::Table(args) => open.extend(args.iter().map(|(_, arg)| arg)),
                CompiledArg::Constant(_) | CompiledArg::Params | CompiledArg::Gathered(..) => {}
            }
        }
        parts
    }

    pub(super) fn new(call: &Call, compiler: &Compiler<'_>) -> Result<CompiledCall, RecipeError> {
        let args = match &call.args {
            Args::Named(args) => args
                .iter()
                .map(|(name, arg)| Ok((Some(name.clone()), compile(arg, compiler)?)))
                .collect::<Result<_, RecipeError>>()?,
            Args::Listed(args) => args
                .iter()
                .map(|arg| Ok((None, compile(arg, compiler)?)))
                .collect::<Result<_, RecipeError>>()?,
        };
        Ok(CompiledCall { args })
    }
}

// As deep as the arguments are written, which the parser bounds.
fn compile(arg: &Arg, compiler: &Compiler<'_>) -> Result<CompiledArg, RecipeError> {
    Ok(match arg {
        Arg::Value(value) => CompiledArg::Constant(payload_of(value)),
        Arg::Payload(payload) => CompiledArg::Constant(payload.0.clone()),
        Arg::Text(template) => match template.parts.as_slice() {
            [Part::Placeholder(Placeholder::Var(name, fields))] => {
                let value = compiler.var(name, fields);
                let value = value.ok_or(RecipeError::Incomplete("a constant"))?;
                CompiledArg::Constant(payload_of(&value))
            }
            [Part::Placeholder(placeholder)] => CompiledArg::Whole(compiler.piece(placeholder)?),
            _ => CompiledArg::Text(compiler.pieces(template)?),
        },
        Arg::List(args) => CompiledArg::List(
            args.iter().map(|arg| compile(arg, compiler)).collect::<Result<_, _>>()?,
        ),
        Arg::Table(args) => CompiledArg::Table(
            args.iter()
                .map(|(name, arg)| Ok((name.clone(), compile(arg, compiler)?)))
                .collect::<Result<_, RecipeError>>()?,
        ),
        Arg::Params => CompiledArg::Params,
        Arg::Gathered(upstream) => {
            let (stem, grouped) = compiler.values(*upstream)?;
            CompiledArg::Gathered(stem, grouped)
        }
    })
}

/// The payload of a value; a text that is a payload is returned as it is.
pub(super) fn payload_of(value: &Value) -> Vec<u8> {
    if let Value::String(text) = value
        && text.0.first() == Some(&TAG)
    {
        return text.0.clone();
    }
    let mut json = Vec::new();
    value.write_json(&mut json);
    json
}
