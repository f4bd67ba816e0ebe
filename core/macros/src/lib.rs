//! `#[dagrun::task]`: turns a function into a task that pipelines call by name.
//!
//! The macro's re-export in `dagrun` describes its use. This crate parses a function (`signature`)
//! and expands it (`expand`) into a value that can be called, that knows its inputs and its result,
//! and that is registered with the program.

mod expand;
mod options;
mod signature;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Turns a function into a task.
///
/// ```ignore
/// /// What an option is worth.
/// #[dagrun::task]
/// fn price(option: OptionParams, context: &Context) -> Result<f64, MyError> {
///     // …
/// }
/// ```
///
/// The function has up to six inputs, each of a type that is `DeserializeOwned`, and optionally one
/// `&Context` anywhere among them. It returns a value that is `Serialize + DeserializeOwned`, or a
/// `Result` of one, under any name; errors are [`std::error::Error`]s, `Failure`, or anything that
/// is `Display`.
///
/// The name then denotes a value of a type of the same name: it can be called as before and passed
/// to the builder, and `*price` is a plain function pointer. As with every such constant, no
/// variable or parameter can have its name where it is in scope: write
/// `let prices = dag.map(price, …)`, not `let price`, or give the value another name with `handle`.
///
/// Options: `name = "…"`, the task's name in pipelines, if it is not the function's own;
/// `handle = Price`, the name of that value, so that the function keeps its own and stays a plain
/// function; `crate = path`, the path of `dagrun`, if it is not `::dagrun`.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    let item = proc_macro2::TokenStream::from(item);
    let expanded = syn::parse::<options::Options>(options).and_then(|options| {
        let function = syn::parse2::<syn::ItemFn>(item.clone())?;
        let signature = signature::Signature::read(&function.sig)?;
        Ok(expand::expand(&options, &function, &signature))
    });
    // The function itself is kept, so that its callers do not fail to compile as well.
    expanded
        .unwrap_or_else(|error| {
            let error = error.to_compile_error();
            quote::quote! { #error #item }
        })
        .into()
}
