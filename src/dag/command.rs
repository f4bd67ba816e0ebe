//! Commands as tasks.
//!
//! Their words hold the placeholders of the file format: `{strike}`, `{index:03}`, `{key}`, `{seed}`,
//! `{attempt}`, `{item}`, `{run.dir}`, `{out.NAME}`, `{TASK.value}`, `{TASK.manifest}`; literal braces are
//! doubled. They are resolved when the pipeline is made, so that they can mention tasks by name that are
//! only recorded later.

use std::fmt;
use std::marker::PhantomData;

use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::Capture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::record::{Recorder, Shape, ShapeKind, What, position};
use super::source::{Head, INPUTS, mapped};
use super::sweep::{Axis, IntoAxis, Sweep};
use super::{ArrayHandle, Dag, Handle, MapSource, Scattered, TaskRef, Upstreams};

/// A program to start, words unresolved.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) words: Vec<Word>,
    pub(super) wrap: Vec<String>,
    pub(super) env: Vec<(String, Word)>,
    pub(super) outputs: Vec<(String, String)>,
    /// The names of those that are temporary.
    pub(super) temp: Vec<String>,
    pub(super) stdin: Option<Word>,
    /// Paths of inputs, with the names of those that have one.
    pub(super) inputs: Vec<(Option<String>, String)>,
    pub(super) working_dir: Option<String>,
    pub(super) capture: Capture,
}

impl Program {
    fn output(&mut self, name: &str, path: String, temp: bool) {
        self.temp.retain(|known| known != name);
        self.temp.extend(temp.then(|| name.to_owned()));
        match self.outputs.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = path,
            None => self.outputs.push((name.to_owned(), path)),
        }
    }

    /// The positions of the outputs that are temporary.
    pub(super) fn temp(&self) -> Vec<u32> {
        let outputs = (0..).zip(&self.outputs);
        outputs.filter(|(_, (name, _))| self.temp.contains(name)).map(|(at, _)| at).collect()
    }
}

/// A word of a command line.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// Text with placeholders.
    Text(String),
    /// The value of a task.
    Value(TaskId),
    /// An output of a task.
    Out(TaskId, String),
    /// What cannot be given, which has been reported.
    Unusable,
}

/// A command that is recorded already: what is set here is added to it.
///
/// [`Command::done`], [`Command::capture`] and its like give its handle.
///
/// ```
/// # use dagrun::Dag;
/// #[dagrun::task]
/// fn strikes() -> Vec<f64> {
///     vec![80.0, 100.0, 120.0]
/// }
///
/// let dag = Dag::new("prices");
/// let listed = dag.task(strikes, ());
/// let table = dag
///     .command(["./price", "--out", "{out.csv}", "--strikes"])
///     .arg(&listed)
///     .output("csv", "results/{run.id}.csv");
/// let best = dag.command(["./best"]).arg(table.out("csv")).capture::<f64>();
/// ```
pub struct Command<K> {
    task: TaskRef,
    kind: PhantomData<fn() -> K>,
}

/// A command with one instance.
#[derive(Clone, Copy, Debug)]
pub struct Single;

/// A command with several instances.
#[derive(Clone, Copy, Debug)]
pub struct Array;

/// [`Single`] or [`Array`].
pub trait Kind {
    /// The handle of such a task.
    type Handle<T>;
    #[doc(hidden)]
    fn handle<T>(task: TaskRef) -> Self::Handle<T>;
}

impl Kind for Single {
    type Handle<T> = Handle<T>;

    fn handle<T>(task: TaskRef) -> Handle<T> {
        Handle::new(task)
    }
}

impl Kind for Array {
    type Handle<T> = ArrayHandle<T>;

    fn handle<T>(task: TaskRef) -> ArrayHandle<T> {
        ArrayHandle::new(task)
    }
}

impl<K> Clone for Command<K> {
    fn clone(&self) -> Command<K> {
        Command { task: self.task.clone(), kind: PhantomData }
    }
}

impl<K> fmt::Debug for Command<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Command").field(&self.task).finish()
    }
}

impl<K> From<&Command<K>> for TaskRef {
    fn from(command: &Command<K>) -> TaskRef {
        command.task.clone()
    }
}

impl<K> AsRef<TaskRef> for Command<K> {
    fn as_ref(&self) -> &TaskRef {
        &self.task
    }
}

/// A file that a command makes, see [`Command::out`].
#[derive(Clone, Debug)]
pub struct OutputOf {
    task: TaskRef,
    name: String,
}

/// What can be a word of a command line: text with placeholders, a number, the value of a task (text as it
/// is, all else as JSON), or an output of another command.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a word of a command line",
    label = "neither text, a number, a handle nor an output of a command"
)]
pub trait IntoWord {
    #[doc(hidden)]
    fn word(self, recorder: &mut Recorder<'_>) -> WordOf;
}

/// A word, whose kinds are nobody's business.
#[derive(Debug)]
pub struct WordOf(Word);

impl IntoWord for &str {
    fn word(self, _: &mut Recorder<'_>) -> WordOf {
        WordOf(Word::Text(self.to_owned()))
    }
}

impl IntoWord for String {
    fn word(self, _: &mut Recorder<'_>) -> WordOf {
        WordOf(Word::Text(self))
    }
}

impl IntoWord for &String {
    fn word(self, _: &mut Recorder<'_>) -> WordOf {
        WordOf(Word::Text(self.clone()))
    }
}

macro_rules! number_word {
    ($($number:ty),+) => {
        $(impl IntoWord for $number {
            fn word(self, _: &mut Recorder<'_>) -> WordOf {
                WordOf(Word::Text(self.to_string()))
            }
        })+
    };
}

number_word!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64);

fn value(task: &TaskRef, recorder: &mut Recorder<'_>) -> WordOf {
    WordOf(recorder.own(task).map_or(Word::Unusable, Word::Value))
}

impl<T> IntoWord for &Handle<T> {
    fn word(self, recorder: &mut Recorder<'_>) -> WordOf {
        value(&self.task, recorder)
    }
}

/// The value of the instance that is mapped.
impl<T> IntoWord for &ArrayHandle<T> {
    fn word(self, recorder: &mut Recorder<'_>) -> WordOf {
        value(&self.task, recorder)
    }
}

impl IntoWord for OutputOf {
    fn word(self, recorder: &mut Recorder<'_>) -> WordOf {
        let task = recorder.own(&self.task);
        WordOf(task.map_or(Word::Unusable, |task| Word::Out(task, self.name)))
    }
}

impl IntoWord for &OutputOf {
    fn word(self, recorder: &mut Recorder<'_>) -> WordOf {
        self.clone().word(recorder)
    }
}

/// What a command can be mapped over: an array, a sweep, a scattered list, or an iterator over values, of
/// which each instance sees its own as `{input}`.
#[diagnostic::on_unimplemented(
    message = "a command cannot be mapped over `{Self}`",
    label = "neither an array, a sweep, a scattered list nor an iterator"
)]
pub trait CommandSource {
    #[doc(hidden)]
    fn head(self, recorder: &mut Recorder<'_>) -> Head;
}

impl<T> CommandSource for &ArrayHandle<T> {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        MapSource::head(self, recorder)
    }
}

impl CommandSource for &Command<Array> {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        match recorder.own(&self.task) {
            Some(upstream) => mapped(recorder, upstream),
            None => Head::unusable(),
        }
    }
}

impl CommandSource for Sweep {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        // Words of a command take any parameter.
        self.head(recorder, |_, _| Ok(()))
    }
}

impl CommandSource for &Sweep {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        CommandSource::head(self.clone(), recorder)
    }
}

impl CommandSource for Axis {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        MapSource::<(f64,)>::head(self, recorder)
    }
}

impl<T> CommandSource for Scattered<T> {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        MapSource::head(self, recorder)
    }
}

impl<T: Serialize, I: IntoIterator<Item = T>> CommandSource for I {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        let values: Result<Axis, String> = IntoAxis::points(self);
        match values {
            Ok(values) => CommandSource::head(Sweep::new().axis(INPUTS[0], values), recorder),
            Err(error) => {
                let task = recorder.record.next();
                recorder.record.problem(task, format!("a value that it is mapped over: {error}"));
                Head::unusable()
            }
        }
    }
}

impl Dag {
    /// A command: the program and its arguments, one word each, never a shell. See [`Command`].
    pub fn command<W: Into<String>>(&self, words: impl IntoIterator<Item = W>) -> Command<Single> {
        self.program(words, |_| None)
    }

    /// A command for each element of `source`.
    ///
    /// ```
    /// use dagrun::{Dag, Sweep, linspace};
    ///
    /// let dag = Dag::new("options");
    /// let sweep = Sweep::new().axis("strike", linspace(80.0, 120.0, 5));
    /// let prices = dag
    ///     .map_command(sweep, ["./price", "--strike", "{strike}", "--seed", "{seed}"])
    ///     .capture::<f64>();
    /// assert_eq!(prices.width(), Some(5));
    /// ```
    pub fn map_command<W: Into<String>>(
        &self,
        source: impl CommandSource,
        words: impl IntoIterator<Item = W>,
    ) -> Command<Array> {
        self.program(words, |recorder| source.head(recorder).shape)
    }

    /// A command after all instances of these tasks, which reads their values and files in
    /// `{NAME.manifest}`.
    ///
    /// ```
    /// # use dagrun::Dag;
    /// let dag = Dag::new("options");
    /// let prices = dag.map_command(1..=3, ["./price", "{input}"]).capture::<f64>().name("price");
    /// let plot = dag
    ///     .gather_command(&prices, ["./plot", "{price.manifest}", "{out.svg}"])
    ///     .output("svg", "prices.svg");
    /// ```
    pub fn gather_command<W: Into<String>>(
        &self,
        arrays: impl Upstreams,
        words: impl IntoIterator<Item = W>,
    ) -> Command<Single> {
        let arrays = arrays.upstreams();
        self.program(words, |recorder| {
            let given = arrays;
            let mut arrays = recorder.tasks(&given);
            // Where nothing is left of what was given, that has been reported.
            if arrays.is_empty() && !given.is_empty() {
                return None;
            }
            let mut seen = rustc_hash::FxHashSet::default();
            arrays.retain(|array| seen.insert(*array));
            Some(Shape { kind: ShapeKind::Gather(arrays), width: Some(1) })
        })
    }

    fn program<K, W: Into<String>>(
        &self,
        words: impl IntoIterator<Item = W>,
        shape: impl FnOnce(&mut Recorder<'_>) -> Option<Shape>,
    ) -> Command<K> {
        let words = words.into_iter().map(|word| Word::Text(word.into())).collect();
        let task = self.record(|recorder| {
            let shape = shape(recorder);
            let record = &mut *recorder.record;
            record.programs.push(Program { words, ..Program::default() });
            let what = What::Program(position(record.programs.len() - 1));
            let first = position(record.slots.len());
            record.push(what, first, shape)
        });
        Command { task, kind: PhantomData }
    }
}

impl<K: Kind> Command<K> {
    fn change(&self, change: impl FnOnce(&mut Program, &mut Option<Word>), word: Option<WordOf>) {
        let mut record = self.task.dag.record();
        let what = record.entries.get(self.task.task.at()).map(|entry| entry.what);
        if let Some(What::Program(at)) = what
            && let Some(program) = record.programs.get_mut(at as usize)
        {
            change(program, &mut word.map(|word| word.0));
        }
    }

    fn word(&self, word: impl IntoWord) -> WordOf {
        let mut record = self.task.dag.record();
        let known = record.problems.len();
        let word = word.word(&mut Recorder { shared: &self.task.dag, record: &mut record });
        // They are reported of the task that is recorded next.
        record.problems[known..].iter_mut().for_each(|problem| problem.0 = Some(self.task.task));
        word
    }

    /// One more word.
    pub fn arg(self, word: impl IntoWord) -> Self {
        let word = self.word(word);
        self.change(|program, word| program.words.extend(word.take()), Some(word));
        self
    }

    /// More words.
    pub fn args<W: IntoWord>(self, words: impl IntoIterator<Item = W>) -> Self {
        words.into_iter().fold(self, Command::arg)
    }

    /// An environment variable for the command.
    pub fn env(self, name: &str, word: impl IntoWord) -> Self {
        let word = self.word(word);
        let add = |program: &mut Program, word: &mut Option<Word>| {
            let Some(word) = word.take() else { return };
            match program.env.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = word,
                None => program.env.push((name.to_owned(), word)),
            }
        };
        self.change(add, Some(word));
        self
    }

    /// Words that are put before its own, with placeholders: those that start a container, `nice`,
    /// `srun`.
    ///
    /// ```
    /// # use dagrun::Dag;
    /// let dag = Dag::new("boxed");
    /// dag.var("image", &"tools.sif");
    /// dag.command(["./solve", "a.dat"]).wrap(["apptainer", "exec", "{vars.image}"]);
    /// assert!(dag.to_toml()?.contains(r#"wrap = ["apptainer", "exec", "{vars.image}"]"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wrap<W: Into<String>>(self, words: impl IntoIterator<Item = W>) -> Self {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        self.change(|program, _| program.wrap = words, None);
        self
    }

    /// The directory that it runs in, with placeholders; relative to that of the run's submission.
    pub fn working_dir(self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.change(|program, _| program.working_dir = Some(path), None);
        self
    }

    /// The file that is fed to its standard input.
    pub fn stdin(self, path: impl IntoWord) -> Self {
        let path = self.word(path);
        self.change(|program, word| program.stdin = word.take(), Some(path));
        self
    }

    /// A file that it reads, at a path with placeholders; the run is refused when it is missing, as far as
    /// its path is known before.
    pub fn input(self, path: impl Into<String>) -> Self {
        let path = path.into();
        let add = |program: &mut Program, _: &mut Option<Word>| {
            // Before those that have a name, as in a file.
            let named = program.inputs.iter().position(|(name, _)| name.is_some());
            program.inputs.insert(named.unwrap_or(program.inputs.len()), (None, path));
        };
        self.change(add, None);
        self
    }

    /// The same for a file with a name, at a path or a URL. Its words call it `{in.NAME}`: the file
    /// itself, or a copy of the attempt's own of what is at the URL.
    ///
    /// ```
    /// # use dagrun::Dag;
    /// let dag = Dag::new("counted");
    /// dag.command(["wc", "-l", "{in.data}"]).input_as("data", "https://example.org/data.csv");
    /// assert!(dag.to_toml()?.contains(r#"in = { data = "https://example.org/data.csv" }"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn input_as(self, name: &str, path: impl Into<String>) -> Self {
        let (name, path) = (Some(name.to_owned()), path.into());
        let add = |program: &mut Program, _: &mut Option<Word>| match program
            .inputs
            .iter_mut()
            .find(|(known, _)| *known == name)
        {
            Some((_, known)) => *known = path,
            None => program.inputs.push((name, path)),
        };
        self.change(add, None);
        self
    }

    /// A file that it makes, at a path with placeholders. Its words call it `{out.NAME}`.
    pub fn output(self, name: &str, path: impl Into<String>) -> Self {
        let path = path.into();
        self.change(|program, _| program.output(name, path, false), None);
        self
    }

    /// The same for one that is removed when nobody needs it any more: all that are given it have
    /// succeeded, and all that are ordered after this have ended.
    ///
    /// ```
    /// # use dagrun::Dag;
    /// let dag = Dag::new("sorted");
    /// let made = dag.command(["./align", "{out.bam}"]).temp_output("bam", "all.bam");
    /// dag.command(["./sort"]).arg(made.out("bam"));
    /// assert!(dag.to_toml()?.contains(r#"out = { bam = { path = "all.bam", temp = true } }"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn temp_output(self, name: &str, path: impl Into<String>) -> Self {
        let path = path.into();
        self.change(|program, _| program.output(name, path, true), None);
        self
    }

    /// One of the files that it makes, as a word for another command.
    #[must_use]
    pub fn out(&self, name: &str) -> OutputOf {
        OutputOf { task: self.task.clone(), name: name.to_owned() }
    }

    /// Its handle; it makes no value.
    pub fn done(&self) -> K::Handle<()> {
        K::handle(self.task.clone())
    }

    /// Its value is the JSON document that it writes to standard output.
    pub fn capture<T: DeserializeOwned>(self) -> K::Handle<T> {
        self.captured(Capture::Json)
    }

    /// Its value is the text that it writes to standard output, without the newline at the end.
    pub fn capture_text(self) -> K::Handle<String> {
        self.captured(Capture::Text)
    }

    /// Its value is the lines that it writes to standard output.
    pub fn capture_lines(self) -> K::Handle<Vec<String>> {
        self.captured(Capture::Lines)
    }

    /// Its value is the JSON documents that it writes to standard output, one in each line.
    pub fn capture_json_lines<T: DeserializeOwned>(self) -> K::Handle<Vec<T>> {
        self.captured(Capture::JsonLines)
    }

    /// Its value is the bytes that it writes to standard output.
    pub fn capture_bytes(self) -> K::Handle<bytes::Bytes> {
        self.captured(Capture::Bytes)
    }

    fn captured<T>(self, capture: Capture) -> K::Handle<T> {
        self.change(|program, _| program.capture = capture, None);
        K::handle(self.task)
    }
}
