//! The attribute's arguments.

use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Path, Result, Token};

/// The options of a task.
pub(crate) struct Options {
    /// Its name in pipelines.
    pub(crate) name: Option<LitStr>,
    /// What stands for the task in the program, where the function keeps its name to itself.
    pub(crate) handle: Option<Ident>,
    /// The path of `dagrun`.
    pub(crate) krate: Path,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Options> {
        let mut options = Options { name: None, handle: None, krate: syn::parse_quote!(::dagrun) };
        while !input.is_empty() {
            if input.peek(Token![crate]) {
                input.parse::<Token![crate]>()?;
                input.parse::<Token![=]>()?;
                options.krate = input.call(Path::parse_mod_style)?;
            } else {
                let key: Ident = input.parse()?;
                let is_handle = key == "handle";
                if !is_handle && key != "name" {
                    let message =
                        format!("unknown option `{key}`: there are `name`, `handle` and `crate`");
                    return Err(Error::new(key.span(), message));
                }
                input.parse::<Token![=]>()?;
                match is_handle {
                    true => options.handle = Some(input.parse()?),
                    false => options.name = Some(checked(input.parse()?)?),
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

fn checked(name: LitStr) -> Result<LitStr> {
    let text = name.value();
    match text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err(Error::new(name.span(), "the name of a task is a word")),
        false if text.starts_with("dagrun::") => Err(Error::new(
            name.span(),
            "names that begin with `dagrun::` are those of dagrun itself",
        )),
        false => Ok(name),
    }
}
