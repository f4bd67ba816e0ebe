//! Functions that cannot be tasks, and where the compiler reports it. What tasks do is tested in
//! `dagrun-worker`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};

use crate::options::Options;
use crate::signature::Signature;

/// The error that is reported for a function.
fn refused(function: TokenStream) -> String {
    let function: syn::ItemFn = syn::parse2(function).unwrap();
    Signature::read(&function.sig).err().unwrap().to_string()
}

fn read(function: TokenStream) -> Signature {
    let function: syn::ItemFn = syn::parse2(function).unwrap();
    Signature::read(&function.sig).unwrap()
}

#[test]
fn what_is_no_task_is_refused_with_the_reason() {
    for (function, reason) in [
        (
            quote!(
                fn f(&self) {}
            ),
            "a task is a function, not a method",
        ),
        (
            quote!(
                fn f<T>(t: T) {}
            ),
            "a task is not generic",
        ),
        (
            quote!(
                fn f<'a>(t: Cow<'a, str>) {}
            ),
            "a task is not generic",
        ),
        (
            quote!(
                fn f(t: impl Into<f64>) {}
            ),
            "a task is not generic",
        ),
        (
            quote!(
                async fn f() {}
            ),
            "a task is not async",
        ),
        (
            quote!(
                unsafe fn f() {}
            ),
            "a task is not unsafe",
        ),
        (
            quote!(
                extern "C" fn f() {}
            ),
            "a task is a Rust function",
        ),
        (
            quote!(
                fn f((a, b): (u32, u32)) {}
            ),
            "an input of a task has a name",
        ),
        (
            quote!(
                fn f(_: u32) {}
            ),
            "an input of a task has a name",
        ),
        (
            quote!(
                fn f(text: &str) {}
            ),
            "an input of a task is a value of its own",
        ),
        (
            quote!(
                fn f(context: &mut Context) {}
            ),
            "the context is shared",
        ),
        (
            quote!(
                fn f(x: f64, context: Context) {}
            ),
            "the context is lent to a task: write `&Context`",
        ),
        (
            quote!(
                fn f(context: ::dagrun::Context) {}
            ),
            "the context is lent to a task: write `&Context`",
        ),
        (
            quote!(
                fn f(a: &Context, b: &Context) {}
            ),
            "a task has one context",
        ),
        (
            quote!(
                fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, x: &Context, g: u8) {}
            ),
            "a task has at most 6 inputs",
        ),
        (
            quote!(
                fn f() -> &'static str {}
            ),
            "a task returns a value of its own",
        ),
        (
            quote!(
                fn f() -> impl Sized {}
            ),
            "a task returns a type that has a name",
        ),
        (
            quote!(
                fn f() -> ! {}
            ),
            "a task returns",
        ),
    ] {
        let said = refused(function.clone());
        assert!(said.starts_with(reason), "{function}: {said}");
    }
}

#[test]
fn inputs_and_value_are_seen_in_the_text() {
    let function = quote! {
        fn f(mut a: Vec<u8>, _: &dagrun::Context, r#type: f64) -> std::io::Result<u8> {}
    };
    let signature = read(function);
    let inputs: Vec<_> = signature.inputs().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(inputs, ["a", "type"]);
    assert_eq!(signature.returned.to_token_stream().to_string(), "std :: io :: Result < u8 >");
    let six = quote!(
        fn f(a: u8, b: u8, c: u8, d: u8, x: &Context, e: u8, f: u8) {}
    );
    assert_eq!(read(six).inputs().count(), 6);
    let plain = read(quote!(
        fn f() -> Option<u8> {}
    ));
    assert!(plain.inputs().next().is_none());
}

#[test]
fn options_are_checked() {
    let options: Options = syn::parse_quote!(name = "a/b", handle = Price, crate = a::b);
    assert_eq!(options.handle.unwrap(), "Price");
    assert_eq!(options.name.unwrap().value(), "a/b");
    assert_eq!(options.krate.to_token_stream().to_string(), "a :: b");
    for (options, reason) in [
        (quote!(nmae = "x"), "unknown option `nmae`"),
        (quote!(name = ""), "the name of a task is a word"),
        (quote!(name = "a b"), "the name of a task is a word"),
        (quote!(name = "dagrun::push"), "names that begin with `dagrun::`"),
        (quote!(name = 3), "expected string literal"),
        (quote!(handle = "Price"), "expected identifier"),
    ] {
        let said = syn::parse2::<Options>(options).err().unwrap().to_string();
        assert!(said.starts_with(reason), "{said}");
    }
}
