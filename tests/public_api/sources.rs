//! The items of crates by name, and their public parts as lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, Signature, TraitItem, Visibility};

/// The lines of each item, by crate and name.
#[derive(Default)]
pub(crate) struct Sources(BTreeMap<(String, String), BTreeSet<String>>);

pub(crate) fn parsed(path: &Path) -> Vec<Item> {
    let text = std::fs::read_to_string(path).unwrap();
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())).items
}

impl Sources {
    pub(crate) fn read(crates: &[(&str, &Path)]) -> Sources {
        let mut sources = Sources::default();
        crates.iter().for_each(|(krate, folder)| sources.folder(krate, folder));
        sources
    }

    fn folder(&mut self, krate: &str, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // It has a `Client` and a `Run` of its own.
                let own = krate == "dagrun" && path.ends_with("src/rpc");
                self.folder(if own { "dagrun::rpc" } else { krate }, &path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                parsed(&path).iter().for_each(|item| self.item(krate, item));
            }
        }
    }

    pub(crate) fn lines(&self, krate: &str, name: &str) -> Vec<String> {
        let name = name.split(' ').next().unwrap_or(name);
        let lines = self.0.get(&(krate.to_owned(), name.to_owned()));
        lines.into_iter().flatten().cloned().collect()
    }

    fn item(&mut self, krate: &str, item: &Item) {
        if is_hidden(attributes(item)) {
            return;
        }
        let (name, lines) = match item {
            Item::Impl(it) => (type_name(&it.self_ty), members(it)),
            // Handles, commands and sources have methods that macros write for each of them.
            Item::Macro(it) if it.ident.is_some() => return self.written(krate, &it.mac.tokens),
            Item::Mod(it) => {
                let items = it.content.iter().flat_map(|(_, items)| items);
                return items.for_each(|item| self.item(krate, item));
            }
            item => match name_of(item) {
                Some((true, name)) => (Some(name), declared(item)),
                _ => return,
            },
        };
        if let Some(name) = name {
            let lines = lines.into_iter().map(|line| line.trim_end_matches([':', ' ']).to_owned());
            self.0.entry((krate.to_owned(), name)).or_default().extend(lines);
        }
    }

    /// The methods that a macro writes, under the names of the handles.
    fn written(&mut self, krate: &str, tokens: &TokenStream) {
        let mut lines = BTreeSet::new();
        methods(tokens, &mut lines);
        if krate == "dagrun" && !lines.is_empty() {
            for handle in ["Handle", "ArrayHandle"] {
                let own = lines.iter().map(|line| format!("(by a macro) {line}"));
                self.0.entry((krate.to_owned(), handle.to_owned())).or_default().extend(own);
            }
        }
    }
}

/// `pub fn … ` up to the body, wherever they stand in the tokens.
fn methods(tokens: &TokenStream, lines: &mut BTreeSet<String>) {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (at, tree) in trees.iter().enumerate() {
        let is = |at: usize, word: &str| trees.get(at).is_some_and(|tree| tree.to_string() == word);
        if is(at, "pub") && is(at + 1, "fn") {
            let body = |tree: &&TokenTree| !matches!(tree, TokenTree::Group(g) if g.delimiter() == proc_macro2::Delimiter::Brace);
            let signature: TokenStream = trees[at..].iter().take_while(body).cloned().collect();
            lines.insert(plain(&signature));
        }
        if let TokenTree::Group(group) = tree {
            methods(&group.stream(), lines);
        }
    }
}

fn type_name(ty: &syn::Type) -> Option<String> {
    match ty {
        syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        syn::Type::Reference(reference) => type_name(&reference.elem),
        _ => None,
    }
}

pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Macro(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

pub(crate) fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|it| {
        let tokens = it.meta.to_token_stream().to_string();
        it.path().is_ident("doc") && tokens.contains("hidden") && !tokens.contains('"')
            || it.path().is_ident("cfg") && tokens.contains("test")
    })
}

/// Whether an item is public, and its name.
pub(crate) fn name_of(item: &Item) -> Option<(bool, String)> {
    let (vis, name) = match item {
        Item::Const(it) => (&it.vis, it.ident.to_string()),
        Item::Enum(it) => (&it.vis, it.ident.to_string()),
        Item::Fn(it) => (&it.vis, it.sig.ident.to_string()),
        Item::Mod(it) => (&it.vis, format!("mod {}", it.ident)),
        Item::Struct(it) => (&it.vis, it.ident.to_string()),
        Item::Trait(it) => (&it.vis, it.ident.to_string()),
        Item::Type(it) => (&it.vis, it.ident.to_string()),
        _ => return None,
    };
    Some((matches!(vis, Visibility::Public(_)), name))
}

fn declared(item: &Item) -> Vec<String> {
    let derives = |attributes: &[Attribute]| {
        let shown =
            |it: &&Attribute| it.path().is_ident("derive") || it.path().is_ident("non_exhaustive");
        attributes
            .iter()
            .filter(shown)
            .map(|it| plain(&it.meta.to_token_stream()))
            .collect::<Vec<_>>()
    };
    match item {
        Item::Fn(it) => vec![format!("pub {}", signature(&it.sig))],
        Item::Const(it) => vec![format!("pub const: {}", plain(&it.ty.to_token_stream()))],
        Item::Type(it) => vec![plain(&it.to_token_stream())],
        Item::Struct(it) => {
            let mut lines = derives(&it.attrs);
            lines.push(format!("struct{}", plain(&it.generics.to_token_stream())));
            lines.extend(fields(&it.fields));
            lines
        }
        Item::Enum(it) => {
            let mut lines = derives(&it.attrs);
            lines.push(format!("enum{}", plain(&it.generics.to_token_stream())));
            lines.extend(it.variants.iter().map(|variant| {
                let mut variant = variant.clone();
                variant.attrs.clear();
                variant.fields.iter_mut().for_each(|field| field.attrs.clear());
                format!("| {}", plain(&variant.to_token_stream()))
            }));
            lines
        }
        Item::Trait(it) => {
            let supertraits = plain(&it.supertraits.to_token_stream());
            let mut lines =
                vec![format!("trait{}: {supertraits}", plain(&it.generics.to_token_stream()))];
            for item in &it.items {
                match item {
                    TraitItem::Fn(it) if !is_hidden(&it.attrs) => lines.push(signature(&it.sig)),
                    TraitItem::Const(it) if !is_hidden(&it.attrs) => {
                        lines.push(format!(
                            "const {}: {}",
                            it.ident,
                            plain(&it.ty.to_token_stream())
                        ));
                    }
                    TraitItem::Type(it) if !is_hidden(&it.attrs) => {
                        lines.push(format!(
                            "type {}: {}",
                            it.ident,
                            plain(&it.bounds.to_token_stream())
                        ));
                    }
                    _ => {}
                }
            }
            lines
        }
        _ => Vec::new(),
    }
}

fn fields(fields: &Fields) -> Vec<String> {
    let public =
        fields.iter().enumerate().filter(|(_, it)| matches!(it.vis, Visibility::Public(_)));
    let line = |(at, field): (usize, &syn::Field)| {
        let name = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
        format!(".{name}: {}", plain(&field.ty.to_token_stream()))
    };
    public.map(line).collect()
}

/// The public members of an inherent `impl`, or the trait of another one.
pub(crate) fn members(it: &ItemImpl) -> Vec<String> {
    if let Some((_, of, _)) = &it.trait_ {
        let (of, ty) = (plain(&of.to_token_stream()), plain(&it.self_ty.to_token_stream()));
        return vec![format!("impl {of} for {ty}")];
    }
    let member = |item: &ImplItem| match item {
        ImplItem::Fn(it) if matches!(it.vis, Visibility::Public(_)) && !is_hidden(&it.attrs) => {
            Some(format!("pub {}", signature(&it.sig)))
        }
        ImplItem::Const(it) if matches!(it.vis, Visibility::Public(_)) => {
            Some(format!("pub const {}: {}", it.ident, plain(&it.ty.to_token_stream())))
        }
        _ => None,
    };
    it.items.iter().filter_map(member).collect()
}

fn signature(it: &Signature) -> String {
    plain(&it.to_token_stream())
}

/// Tokens as a person would write them, on one line.
pub(crate) fn plain(tokens: &TokenStream) -> String {
    let mut text = tokens.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" <", "<"),
        (" >", ">"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("[ ", "["),
        (" ]", "]"),
        ("& ", "&"),
        (" ,", ","),
        (" ;", ";"),
        (" :", ":"),
        (",)", ")"),
        (", )", ")"),
        (",>", ">"),
        ("impl<", "impl <"),
    ] {
        text = text.replace(from, to);
    }
    text.replace("-&gt;", "->").replace(")->", ") ->")
}
