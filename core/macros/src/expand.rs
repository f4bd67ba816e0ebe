//! Expands the attribute: the code that is generated for a function.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Ident, ItemFn, LitStr, Type};

use crate::options::Options;
use crate::signature::{Param, Signature, plain};

/// The value that represents the function, the function itself, and its registration.
pub(crate) fn expand(options: &Options, function: &ItemFn, signature: &Signature) -> TokenStream {
    let name = function.sig.ident.clone();
    // What stands for it: of the same name, unless it is to keep that to itself.
    let task = options.handle.as_ref().unwrap_or(&name);
    let krate = &options.krate;
    let private = quote!(#krate::__private);
    let vis = &function.vis;
    let is_shown = |attr: &&Attribute| {
        ["doc", "deprecated", "cfg"].iter().any(|name| attr.path().is_ident(name))
    };
    let shown: Vec<_> = function.attrs.iter().filter(is_shown).collect();
    let cfgs: Vec<_> = function.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect();
    let called = match &options.name {
        Some(name) => name.clone(),
        None => LitStr::new(&plain(&name), name.span()),
    };
    let returned = &signature.returned;
    let implementations = [
        callable(&private, task, function),
        task_fn(&private, task, &called, signature),
        registration(&private, task, &name, signature),
    ];
    let mut own = function.clone();
    // Inputs are passed by value, whether or not the function needs to own them.
    own.attrs.push(syn::parse_quote!(#[allow(clippy::needless_pass_by_value)]));
    // Beside the task where it keeps its name, else in the block where the name refers to it.
    let (beside, inside) = match options.handle {
        Some(_) => (Some(own), None),
        None => {
            own.vis = syn::Visibility::Inherited;
            own.attrs.retain(|attr| !is_shown(&attr));
            (None, Some(own))
        }
    };
    quote! {
        #beside

        #(#shown)*
        #[allow(non_camel_case_types)]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #vis struct #task;

        #(#cfgs)*
        const _: () = {
            // Inside the block below, its name may refer to the function.
            const __DAGRUN_TASK: #task = #task;
            // Decided by the type: a `Result` may be called by any name.
            const __DAGRUN_FALLIBLE: bool = {
                #[allow(unused_imports)]
                use #private::Infallible as _;
                #private::Probe::<#returned>::FALLIBLE
            };
            const _: () = {
            #inside
            #(#implementations)*
            };
        };
    }
}

/// The span at which errors in generated code that uses a type are reported.
fn span(ty: &Type) -> Span {
    ty.span().resolved_at(Span::call_site())
}

/// The same tokens as if they stood at this place.
fn respanned(tokens: &TokenStream, at: Span) -> TokenStream {
    let moved = |mut token: proc_macro2::TokenTree| {
        token.set_span(at);
        token
    };
    tokens.clone().into_iter().map(moved).collect()
}

/// Keeps calls such as `price(…)` working.
fn callable(private: &TokenStream, task: &Ident, function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let output = &function.sig.output;
    let types = function.sig.inputs.iter().map(|input| match input {
        syn::FnArg::Typed(typed) => &*typed.ty,
        // Already refused when the signature was read.
        syn::FnArg::Receiver(receiver) => &*receiver.ty,
    });
    let types: Vec<_> = types.collect();
    quote! {
        #[automatically_derived]
        impl #private::Deref for #task {
            type Target = fn(#(#types),*) #output;

            fn deref(&self) -> &Self::Target {
                const FUNCTION: fn(#(#types),*) #output = #name;
                &FUNCTION
            }
        }
    }
}

fn task_fn(
    private: &TokenStream,
    task: &Ident,
    called: &LitStr,
    signature: &Signature,
) -> TokenStream {
    let (params, types): (Vec<_>, Vec<_>) = signature.inputs().unzip();
    let returned = &signature.returned;
    let output = quote_spanned! {span(returned)=>
        type Output = <#returned as #private::Returned<__DAGRUN_FALLIBLE>>::Value;
    };
    quote! {
        #[automatically_derived]
        impl #private::TaskFn for #task {
            type Args = (#(#types,)*);
            #output
            const NAME: &'static str = #called;
            const PARAMS: &'static [&'static str] = &[#(#params),*];
        }
    }
}

/// The registration by which a worker finds and calls it.
fn registration(
    private: &TokenStream,
    task: &Ident,
    name: &Ident,
    signature: &Signature,
) -> TokenStream {
    let inputs: Vec<_> = signature
        .inputs()
        .enumerate()
        .map(|(at, (_, ty))| {
            let input = format_ident!("input_{at}");
            let take = quote_spanned!(span(ty)=> #private::Inputs::take::<#ty>(inputs, #at)?);
            quote!(let #input = #take;)
        })
        .collect();
    let call = judged(private, name, signature);
    let fold = fold(private, task, name, signature);
    // An output that cannot travel is reported once, where it is written.
    let at = span(&signature.returned);
    let path = respanned(private, at);
    let mut task_there = task.clone();
    task_there.set_span(at.resolved_at(task.span()));
    let encode = quote_spanned!(at=> #path::encode::<#task_there>(&value));
    quote! {
        #private::inventory::submit! {
            #private::Function {
                name: <#task as #private::TaskFn>::NAME,
                params: <#task as #private::TaskFn>::PARAMS,
                path: || #private::TaskFn::path(__DAGRUN_TASK),
                signature: || #private::TaskFn::signature(__DAGRUN_TASK),
                call: |inputs, context| {
                    let _ = (&inputs, context);
                    #(#inputs)*
                    let value = #call;
                    #encode
                },
                fold: #fold,
            }
        }
    }
}

/// An expression for the function's value, which returns early if there is none.
fn judged(private: &TokenStream, name: &Ident, signature: &Signature) -> TokenStream {
    let mut inputs = 0usize..;
    let args = signature.params.iter().map(|param| match param {
        Param::Context => quote!(context),
        Param::Input { .. } => {
            let input = format_ident!("input_{}", inputs.next().unwrap_or(0));
            quote!(#input)
        }
    });
    let call = quote!(#name(#(#args),*));
    let returned = &signature.returned;
    let failure = quote_spanned! {span(returned)=>
        // The first of these traits that the error implements, from the most specific to the least.
        (&&&&&#private::Raised(&error)).failure()
    };
    quote! {
        match <#returned as #private::Returned<__DAGRUN_FALLIBLE>>::split(#call) {
            ::core::result::Result::Ok(value) => value,
            ::core::result::Result::Err(error) => {
                #[allow(unused_imports)]
                use #private::raised::*;
                #[allow(clippy::needless_borrow)]
                return ::core::result::Result::Err(#failure);
            }
        }
    }
}

/// A fold, if there are two inputs. Whether their types are that of the value is checked when the
/// fold runs.
fn fold(private: &TokenStream, task: &Ident, name: &Ident, signature: &Signature) -> TokenStream {
    let types: Vec<_> = signature.inputs().map(|(_, ty)| ty).collect();
    let [first, second] = types[..] else {
        return quote!(::core::option::Option::None);
    };
    let call = judged(private, name, signature);
    quote! {
        ::core::option::Option::Some(|inputs, context| {
            let folded = |input_0: #first, input_1: #second| {
                let value = #call;
                ::core::result::Result::Ok(value)
            };
            #private::fold::<#task, #first, #second>(inputs, context, folded)
        })
    }
}
