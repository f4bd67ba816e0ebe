//! A function's inputs and result, as far as its source text shows them.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, Pat, PatType, Result, ReturnType, Type};

/// The maximum number of inputs of a task.
const MAX_INPUTS: usize = 6;

/// A function that can be a task.
pub(crate) struct Signature {
    /// Its parameters, in order.
    pub(crate) params: Vec<Param>,
    /// The type that it returns.
    pub(crate) returned: Type,
}

/// One of its parameters.
pub(crate) enum Param {
    /// A value.
    Input {
        /// Its name in pipelines.
        name: String,
        /// Its type.
        ty: Box<Type>,
    },
    /// The context.
    Context,
}

impl Signature {
    /// Reads it, and reports what prevents the function from being a task.
    pub(crate) fn read(sig: &syn::Signature) -> Result<Signature> {
        refuse_qualifiers(sig)?;
        let params = sig.inputs.iter().map(param).collect::<Result<Vec<_>>>()?;
        let contexts = params.iter().zip(&sig.inputs).filter(|(p, _)| matches!(p, Param::Context));
        if let Some((_, second)) = contexts.into_iter().nth(1) {
            return Err(Error::new(second.span(), "a task has one context"));
        }
        let inputs = params.iter().zip(&sig.inputs).filter(|(p, _)| !matches!(p, Param::Context));
        if let Some((_, surplus)) = inputs.into_iter().nth(MAX_INPUTS) {
            let message = "a task has at most 6 inputs: put some of them into a struct";
            return Err(Error::new(surplus.span(), message));
        }
        Ok(Signature { params, returned: returned(sig)? })
    }

    /// The inputs: names and types.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = (&str, &Type)> {
        self.params.iter().filter_map(|param| match param {
            Param::Input { name, ty } => Some((name.as_str(), &**ty)),
            Param::Context => None,
        })
    }
}

fn refuse_qualifiers(sig: &syn::Signature) -> Result<()> {
    let refuse = |span: Span, message| Err(Error::new(span, message));
    if let Some(keyword) = &sig.asyncness {
        return refuse(keyword.span, "a task is not async: each runs on a thread of its own");
    }
    if let Some(keyword) = &sig.unsafety {
        return refuse(
            keyword.span,
            "a task is not unsafe: a pipeline could not keep its promises",
        );
    }
    if let Some(abi) = &sig.abi {
        return refuse(abi.span(), "a task is a Rust function, without `extern`");
    }
    if let Some(FnArg::Receiver(receiver)) = sig.inputs.first() {
        let message = "a task is a function, not a method: there is no `self` to call it on";
        return refuse(receiver.span(), message);
    }
    if let Some(variadic) = &sig.variadic {
        return refuse(variadic.span(), "a task has a fixed number of inputs");
    }
    if !sig.generics.params.is_empty() {
        let message = "a task is not generic: workers must know its types";
        return refuse(sig.generics.span(), message);
    }
    match &sig.generics.where_clause {
        Some(clause) => refuse(clause.span(), "a task is not generic: it has no `where`"),
        None => Ok(()),
    }
}

fn param(arg: &FnArg) -> Result<Param> {
    let FnArg::Typed(PatType { pat, ty, .. }) = arg else {
        return Err(Error::new(arg.span(), "a task is a function, not a method"));
    };
    if let Type::Reference(reference) = &**ty {
        if !is_context(&reference.elem) {
            let message = "an input of a task is a value of its own, not borrowed (only `&Context` is): \
                           write `String` for `&str`, `Vec<T>` for `&[T]`";
            return Err(Error::new(ty.span(), message));
        }
        return match reference.mutability {
            Some(_) => Err(Error::new(ty.span(), "the context is shared: `&Context`")),
            None => Ok(Param::Context),
        };
    }
    if is_own_context(ty) {
        let message = "the context is lent to a task: write `&Context`";
        return Err(Error::new(ty.span(), message));
    }
    if let Type::ImplTrait(_) = &**ty {
        return Err(Error::new(ty.span(), "a task is not generic: workers must know its types"));
    }
    match &**pat {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => {
            let name = name.ident.unraw().to_string();
            Ok(Param::Input { name, ty: ty.clone() })
        }
        _ => {
            let message = "an input of a task has a name, by which pipelines give it its value";
            Err(Error::new(pat.span(), message))
        }
    }
}

fn is_context(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Context"),
        _ => false,
    }
}

/// Whether it is `Context` or `dagrun::Context` by value; a type of the user's has another path.
fn is_own_context(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let names: Vec<String> = path.path.segments.iter().map(|it| it.ident.to_string()).collect();
    let is_bare = path.path.segments.iter().all(|segment| segment.arguments.is_none());
    is_bare && (names == ["Context"] || names == ["dagrun", "Context"])
}

fn returned(sig: &syn::Signature) -> Result<Type> {
    let ty = match &sig.output {
        ReturnType::Default => return Ok(syn::parse_quote!(())),
        ReturnType::Type(_, ty) => ty,
    };
    match &**ty {
        Type::Reference(_) => {
            Err(Error::new(ty.span(), "a task returns a value of its own, not a borrowed one"))
        }
        Type::ImplTrait(_) => Err(Error::new(ty.span(), "a task returns a type that has a name")),
        Type::Never(_) => Err(Error::new(ty.span(), "a task returns")),
        ty => Ok(ty.clone()),
    }
}

/// The name of a function without the `r#` of a keyword.
pub(crate) fn plain(name: &Ident) -> String {
    name.unraw().to_string()
}
