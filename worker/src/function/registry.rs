//! The functions that the program has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use super::shelf::BUILT_IN;
use super::{Context, Failure, Inputs};

/// How a function is called: takes its inputs, gives the payload of its value.
pub(super) type Callable = fn(&mut Inputs, &Context) -> Result<Vec<u8>, Failure>;

/// A function that can be called by its name.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The names of its inputs.
    pub params: &'static [&'static str],
    /// See [`super::TaskFn::signature`].
    pub signature: fn() -> u64,
    /// Calls it.
    pub call: Callable,
    /// Applies it to all values of a list, from the left; for functions of two inputs. Fails unless these and
    /// its value are of one type.
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

/// All functions of this program, by name. There may be several of one name, with different signatures.
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

/// The function of this name, and of this signature where it is given.
pub(super) fn find(name: &str, signature: Option<u64>) -> Result<&'static Function, String> {
    let named = by_name().get(name).ok_or_else(|| unknown(name))?;
    match (signature, named.as_slice()) {
        (None, [function]) => Ok(function),
        (None, several) => Err(format!(
            "{} functions in this worker's program are called `{name}`: give them names with \
             `#[dagrun::task(name = \"…\")]`",
            several.len()
        )),
        (Some(signature), named) => {
            let fitting = named.iter().find(|function| (function.signature)() == signature);
            fitting.copied().ok_or_else(|| {
                format!("the function `{name}` of this worker's program has other types")
            })
        }
    }
}

fn unknown(name: &str) -> String {
    // Those that every worker has are not what anybody meant.
    let named = by_name().keys().copied();
    let names: Vec<&str> = named.filter(|name| !name.starts_with(BUILT_IN)).collect();
    let message = format!("no function `{name}` in this worker's program");
    let close = names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len() / 3 + 1)
        .min();
    let listed =
        |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match (names.as_slice(), close) {
        ([], _) => format!("{message}, which has none"),
        (names, close) => {
            let shown = listed(&names[..names.len().min(SHOWN)]);
            let more = match names.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let meant = close.map(|(_, known)| format!("; did you mean `{known}`?"));
            format!("{message} (it has {shown}{more}{})", meant.unwrap_or_default())
        }
    }
}

/// Names in a message.
const SHOWN: usize = 20;
