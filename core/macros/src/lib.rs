//! `#[dagrun::task]`: makes a function a task that pipelines call by its name.
//!
//! What a program sees of it is described at the macro's re-export in `dagrun`. Here a function is
//! read (`signature`) and written again (`expand`) as a value that can be called, that says what it takes and
//! gives, and that is registered with the program.

mod expand;
mod options;
mod signature;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Makes a function a task.
///
/// ```ignore
/// /// What an option is worth.
/// #[dagrun::task]
/// fn price(option: OptionParams, context: &Context) -> Result<f64, MyError> { … }
/// ```
///
/// The function has up to six inputs, each of a type that is `DeserializeOwned`, and where it wants
/// to, one `&Context` anywhere among them. It returns a value that is `Serialize + DeserializeOwned`, or
/// a `Result` of one, written as such; errors are [`std::error::Error`]s, `Failure`, or anything that
/// is `Display`.
///
/// The name stands for a value of a type of the same name afterwards: it can be called as before,
/// handed to the builder, and `*price` is a plain function pointer. As with every constant of that kind, a
/// variable cannot have its name where it is in scope.
///
/// Options: `name = "…"`, what pipelines call it, when it is not the function's own name;
/// `crate = path`, where `dagrun` is to be found, when it is not `::dagrun`.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    let item = proc_macro2::TokenStream::from(item);
    let expanded = syn::parse::<options::Options>(options).and_then(|options| {
        let function = syn::parse2::<syn::ItemFn>(item.clone())?;
        let signature = signature::Signature::read(&function.sig)?;
        Ok(expand::expand(&options, &function, &signature))
    });
    // The function itself is kept, so that those who call it do not complain as well.
    expanded
        .unwrap_or_else(|error| {
            let error = error.to_compile_error();
            quote::quote! { #error #item }
        })
        .into()
}
