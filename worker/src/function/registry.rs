//! The functions that the program has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use super::shelf::BUILT_IN;
use super::{Context, Failure, Inputs};

/// How a function is called: takes its inputs, returns the payload of its value.
pub(super) type Callable = fn(&mut Inputs, &Context) -> Result<Vec<u8>, Failure>;

/// A function that can be called by its name.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The names of its inputs.
    pub params: &'static [&'static str],
    /// See [`super::TaskFn::path`].
    pub path: fn() -> &'static str,
    /// See [`super::TaskFn::signature`].
    pub signature: fn() -> u64,
    /// Calls it.
    pub call: Callable,
    /// Applies it to all values of a list, from the left; for functions of two inputs. Fails unless
    /// the inputs and its value have the same type.
    pub fold: Option<Callable>,
}

inventory::collect!(Function);

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

/// All functions of this program, by name. There may be several of one name, with different
/// signatures.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    by_name().values().flatten().copied()
}

fn by_name() -> &'static BTreeMap<&'static str, Vec<&'static Function>> {
    static FUNCTIONS: OnceLock<BTreeMap<&'static str, Vec<&'static Function>>> = OnceLock::new();
    FUNCTIONS.get_or_init(|| {
        let mut functions = BTreeMap::<_, Vec<_>>::new();
        for function in inventory::iter::<Function> {
            functions.entry(function.name).or_default().push(function);
        }
        functions
    })
}

/// Functions of this program that share a name, so that a pipeline file cannot refer to one of
/// them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} functions of the program are called `{name}` ({}): give all but one another name with `#[dagrun::task(name = \"…\")]`",
    paths.len(), paths.join(", ")
)]
pub struct Ambiguous {
    /// Their name.
    pub name: String,
    /// Where they are defined, sorted.
    pub paths: Vec<&'static str>,
}

impl Ambiguous {
    fn new(name: &str, functions: &[&Function]) -> Ambiguous {
        let mut paths: Vec<_> = functions.iter().map(|function| (function.path)()).collect();
        paths.sort_unstable();
        Ambiguous { name: name.to_owned(), paths }
    }
}

/// All names that several functions of this program have.
pub fn ambiguous() -> impl Iterator<Item = Ambiguous> {
    let several = by_name().iter().filter(|(_, functions)| functions.len() > 1);
    several.map(|(name, functions)| Ambiguous::new(name, functions))
}

/// The function of this name, and of this signature where it is given.
pub(super) fn find(name: &str, signature: Option<u64>) -> Result<&'static Function, String> {
    let named = by_name().get(name).ok_or_else(|| unknown(name))?;
    let fits = |function: &&&Function| signature.is_none_or(|it| (function.signature)() == it);
    let fitting: Vec<&'static Function> = named.iter().filter(fits).copied().collect();
    match fitting.as_slice() {
        [function] => Ok(function),
        [] => Err(format!(
            "the function `{name}` of this worker's program has other types or another path ({})",
            Ambiguous::new(name, named).paths.join(", ")
        )),
        several => Err(Ambiguous::new(name, several).to_string()),
    }
}

fn unknown(name: &str) -> String {
    // Functions that every worker has are left out: users do not name them.
    let named = by_name().keys().copied();
    let names: Vec<&str> = named.filter(|name| !name.starts_with(BUILT_IN)).collect();
    let message = format!("no function `{name}` in this worker's program");
    let unlinked =
        "; functions of a library that nothing names are not linked: `use LIBRARY as _;`";
    let close = names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len() / 3 + 1)
        .min();
    let listed =
        |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match (names.as_slice(), close) {
        ([], _) => format!("{message}, which has none{unlinked}"),
        (names, close) => {
            let shown = listed(&names[..names.len().min(SHOWN)]);
            let more = match names.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let meant = close.map(|(_, known)| format!("; did you mean `{known}`?"));
            let meant = meant.as_deref().unwrap_or(unlinked);
            format!("{message} (it has {shown}{more}{meant})")
        }
    }
}

/// Most names in a message.
const SHOWN: usize = 20;
