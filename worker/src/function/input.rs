//! Turns the arguments of a call into the inputs of a function.

use std::any::{Any, TypeId, type_name};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use dagrun_core::ids::RunId;
use dagrun_core::payload;
use dagrun_core::recipe::values::Listed;
use dagrun_core::recipe::{self, Argument};
use dagrun_core::status::FailureKind;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::gathered::Records;
use super::{Context, Failure, Fetch, Function, GatherError, Gathered, TaskFn};

/// A type that a function can take: every [`DeserializeOwned`] type, and [`Gathered`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an input of a task",
    label = "serde cannot read it",
    note = "an input implements `serde::de::DeserializeOwned`, or is a `Gathered<T>`: for a type of your own add `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait FromInput: Sized + 'static {
    /// Makes it from what the call provides.
    ///
    /// # Errors
    /// Why it cannot be made, in words for people.
    fn from_input(input: Input<'_>) -> Result<Self, String>;

    /// The values of a list, for a fold.
    ///
    /// # Errors
    /// Why there are none.
    #[doc(hidden)]
    fn elements(input: Input<'_>) -> Result<Elements<Self>, String>;
}

/// The values of a list, one after another.
#[doc(hidden)]
pub type Elements<T> = Box<dyn Iterator<Item = Result<T, String>>>;

/// What a call provides for one input.
#[derive(Debug)]
pub struct Input<'a> {
    pub(super) source: Source,
    pub(super) run: RunId,
    pub(super) fetch: &'a Arc<dyn Fetch>,
}

/// Where an input comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// A payload.
    Value(Bytes),
    /// A values file.
    Gathered(PathBuf),
    /// All arguments together form the one input.
    Table(Vec<(String, Source)>),
}

impl Source {
    fn of(argument: Argument, inputs: &[recipe::Input]) -> Result<Source, String> {
        Ok(match argument {
            Argument::Value(payload) => Source::Value(payload.into()),
            Argument::Gathered(path) => Source::Gathered(path),
            Argument::Input(at) => {
                let value = inputs.get(at).and_then(|input| input.value.clone());
                Source::Value(
                    value.ok_or("the value of an upstream did not come with the instance")?.into(),
                )
            }
        })
    }
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + 'static> FromInput for T {
    fn from_input(input: Input<'_>) -> Result<T, String> {
        let payload = input.source.payload(input.run, input.fetch)?;
        payload::decode(&payload).map_err(|error| error.reason())
    }

    fn elements(input: Input<'_>) -> Result<Elements<T>, String> {
        let values = Gathered::<T>::from_input(input)?.values();
        Ok(Box::new(values.map(|value| value.map_err(|error| error.to_string()))))
    }
}

impl Source {
    /// The input as one payload; lists and tables are assembled.
    fn payload(self, run: RunId, fetch: &Arc<dyn Fetch>) -> Result<Bytes, String> {
        match self {
            Source::Value(payload) => here(payload, run, fetch.as_ref()),
            Source::Gathered(path) => {
                let records = Records::open(&path).map_err(|error| error.to_string())?;
                let payload = |record: Result<Listed, GatherError>| {
                    let payload = record.map_err(|error| error.to_string())?.payload;
                    let payload = payload.map(|payload| here(payload.into(), run, fetch.as_ref()));
                    payload.unwrap_or(Ok(Bytes::from_static(b"null")))
                };
                let payloads = records.map(payload).collect::<Result<Vec<_>, String>>()?;
                let list = payload::list(payloads.iter().map(|payload| &**payload));
                list.map(Bytes::from).map_err(|error| error.reason())
            }
            Source::Table(fields) => {
                let payload =
                    |(name, source): (String, Source)| Ok((name, source.payload(run, fetch)?));
                let fields = fields.into_iter().map(payload).collect::<Result<Vec<_>, String>>()?;
                let fields: Vec<_> =
                    fields.iter().map(|(name, field)| (&**name, &**field)).collect();
                payload::table(&fields).map(Bytes::from).map_err(|error| error.reason())
            }
        }
    }
}

/// The payload itself, fetched where this is a reference to it.
pub(super) fn here(payload: Bytes, run: RunId, fetch: &dyn Fetch) -> Result<Bytes, String> {
    match payload::stored(&payload) {
        Some(stored) => fetch.fetch(run, &stored).map_err(|error| error.reason),
        None => Ok(payload),
    }
}

/// What a call passes to a function.
#[derive(Debug)]
pub struct Inputs {
    function: &'static Function,
    sources: Vec<Option<Source>>,
    run: RunId,
    fetch: Arc<dyn Fetch>,
}

impl Inputs {
    pub(super) fn new(
        function: &'static Function,
        args: Vec<(Option<String>, Argument)>,
        given: &[recipe::Input],
        fold: bool,
        run: RunId,
        fetch: Arc<dyn Fetch>,
    ) -> Result<Inputs, String> {
        let args = args
            .into_iter()
            .map(|(name, argument)| Ok((name, Source::of(argument, given)?)))
            .collect::<Result<Vec<_>, String>>()?;
        let sources = if fold { folded(function, args)? } else { assign(function, args)? };
        Ok(Inputs { function, sources, run, fetch })
    }

    /// Input number `at` of the function, once.
    #[doc(hidden)]
    pub fn take<T: FromInput>(&mut self, at: usize) -> Result<T, Failure> {
        let input = self.input(at)?;
        T::from_input(input).map_err(|reason| self.unusable(at, &reason))
    }

    /// The payload of input number `at`, once, whatever is in it.
    pub(super) fn take_payload(&mut self, at: usize) -> Result<Bytes, Failure> {
        let Input { source, run, fetch } = self.input(at)?;
        let payload = source.payload(run, fetch);
        payload.map_err(|reason| self.unusable(at, &reason))
    }

    fn input(&mut self, at: usize) -> Result<Input<'_>, Failure> {
        let source = self.sources.get_mut(at).and_then(Option::take);
        let source = source.ok_or_else(|| self.unusable(at, "it is missing"))?;
        Ok(Input { source, run: self.run, fetch: &self.fetch })
    }

    fn unusable(&self, at: usize, reason: &str) -> Failure {
        let Function { name, params, .. } = self.function;
        let param = params.get(at).copied().unwrap_or_default();
        Failure::of_kind(FailureKind::Start, format!("input `{param}` of {name}: {reason}"))
    }
}

/// The list that a fold goes over, and the value that it starts from, if there is one.
fn folded(
    function: &Function,
    args: Vec<(Option<String>, Source)>,
) -> Result<Vec<Option<Source>>, String> {
    match args.len() {
        1 | 2 => Ok(args.into_iter().rev().map(|(_, source)| Some(source)).collect()),
        count => Err(format!("a fold with {} takes one list, and is given {count}", function.name)),
    }
}

/// Which argument is which input.
fn assign(
    function: &Function,
    args: Vec<(Option<String>, Source)>,
) -> Result<Vec<Option<Source>>, String> {
    let params = function.params;
    if args.iter().any(|(name, _)| name.is_none()) || args.is_empty() {
        if args.len() != params.len() {
            return Err(takes(function, &format!("is given {}", args.len())));
        }
        return Ok(args.into_iter().map(|(_, source)| Some(source)).collect());
    }
    let position = |name: &str| params.iter().position(|param| *param == name);
    let named = |(name, source): (Option<String>, Source)| (name.unwrap_or_default(), source);
    let args = args.into_iter().map(named);
    let fits = |(name, _): &(String, Source)| position(name).is_some();
    let (given, others): (Vec<_>, Vec<_>) = args.partition(fits);
    if given.len() == params.len() && others.is_empty() {
        let mut sources: Vec<_> = params.iter().map(|_| None).collect();
        for (name, source) in given {
            if let Some(place) = position(&name).and_then(|at| sources.get_mut(at)) {
                *place = Some(source);
            }
        }
        return Ok(sources);
    }
    if params.len() == 1 {
        let fields = given.into_iter().chain(others).collect();
        return Ok(vec![Some(Source::Table(fields))]);
    }
    let unknown = others.first().map(|(name, _)| format!("has no `{name}`"));
    let lacks = || {
        let missing = params.iter().find(|param| given.iter().all(|(name, _)| name != *param));
        format!("is not given `{}`", missing.copied().unwrap_or_default())
    };
    Err(takes(function, &unknown.unwrap_or_else(lacks)))
}

fn takes(function: &Function, problem: &str) -> String {
    let params = function.params;
    let listed = params.iter().map(|param| format!("`{param}`")).collect::<Vec<_>>().join(", ");
    match params.len() {
        0 => format!("{} takes no inputs, and {problem}", function.name),
        1 => format!("{} takes 1 input ({listed}), and {problem}", function.name),
        count => format!("{} takes {count} inputs ({listed}), and {problem}", function.name),
    }
}

/// The payload of what a function returned.
#[doc(hidden)]
pub fn encode<F: TaskFn>(value: &F::Output) -> Result<Vec<u8>, Failure> {
    encoded(value)
}

pub(super) fn encoded<T: Serialize + 'static>(value: &T) -> Result<Vec<u8>, Failure> {
    payload::encode(value)
        .map_err(|error| Failure::of_kind(FailureKind::Capture, error.to_string()))
}

/// Applies `f` to all values of the first input, a list, from the left: beginning with the second input,
/// or with the first value where there is none.
#[doc(hidden)]
pub fn fold<F: TaskFn, A: 'static, B: 'static>(
    inputs: &mut Inputs,
    context: &Context,
    f: impl Fn(A, B) -> Result<F::Output, Failure>,
) -> Result<Vec<u8>, Failure> {
    let wrong = |message| Failure::of_kind(FailureKind::Start, message);
    let name = inputs.function.name;
    let of_output = TypeId::of::<F::Output>();
    if TypeId::of::<A>() != of_output || TypeId::of::<B>() != of_output {
        let (a, b, o) = (type_name::<A>(), type_name::<B>(), type_name::<F::Output>());
        return Err(wrong(format!(
            "{name} cannot fold a list: it takes {a} and {b} and gives {o}"
        )));
    }
    let start: Option<F::Output> = match inputs.sources.len() {
        1 => None,
        _ => Some(inputs.take(1)?),
    };
    let input = inputs.input(0)?;
    let values = <F::Output as FromInput>::elements(input);
    let mut values = values.map_err(|reason| inputs.not_a_list(&reason))?;
    let mut next = || values.next().transpose().map_err(|reason| inputs.not_a_list(&reason));
    let empty = || wrong(format!("nothing to fold with {name}: the list is empty"));
    let mut so_far = match start {
        Some(start) => start,
        None => next()?.ok_or_else(empty)?,
    };
    while let Some(value) = next()? {
        if context.is_cancelled() {
            return Err(Failure::from(super::Cancelled));
        }
        so_far = f(same(so_far)?, same(value)?)?;
    }
    encoded(&so_far)
}

impl Inputs {
    fn not_a_list(&self, reason: &str) -> Failure {
        let message = format!("the list to fold with {}: {reason}", self.function.name);
        Failure::of_kind(FailureKind::Start, message)
    }
}

/// The value itself, where `A` and `B` are one type.
fn same<A: 'static, B: 'static>(value: A) -> Result<B, Failure> {
    let mut value = Some(value);
    let value = (&mut value as &mut dyn Any).downcast_mut::<Option<B>>().and_then(Option::take);
    value.ok_or_else(|| Failure::of_kind(FailureKind::Start, "types differ".to_owned()))
}
