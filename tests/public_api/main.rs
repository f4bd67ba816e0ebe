//! The public API of the library, read from its sources, against a snapshot: a change of it is seen, and meant.
//!
//! Listed is what the root and the public modules export, with the signatures of public functions, methods, fields
//! and variants; of what they take from other crates of the workspace too. What `#[doc(hidden)]` hides is left out.

mod sources;

use std::collections::BTreeSet;
use std::path::Path;

use quote::ToTokens;
use syn::{Item, UseTree, Visibility};

use sources::{Sources, is_hidden, plain};

/// Names, with the crates that they come from where these are others.
type Names = BTreeSet<(Option<String>, String)>;

/// What a list is made from.
struct Listed<'a> {
    sources: &'a Sources,
    root: &'a Names,
}

/// The names that a module exports, with the crates that they come from where these are others.
fn exported(items: &[Item], names: &mut Names) {
    for item in items.iter().filter(|item| !is_hidden(sources::attributes(item))) {
        match item {
            Item::Use(it) if matches!(it.vis, Visibility::Public(_)) => {
                leaves(&it.tree, &[], names);
            }
            item => {
                if let Some((true, name)) = sources::name_of(item) {
                    names.insert((None, name));
                }
            }
        }
    }
}

fn leaves(tree: &UseTree, path: &[String], names: &mut Names) {
    let other = path.first().filter(|it| it.starts_with("dagrun_")).cloned();
    let name = match tree {
        UseTree::Path(it) => {
            return leaves(&it.tree, &[path, &[it.ident.to_string()]].concat(), names);
        }
        UseTree::Group(group) => {
            return group.items.iter().for_each(|tree| leaves(tree, path, names));
        }
        UseTree::Name(it) => it.ident.to_string(),
        UseTree::Rename(it) => format!("{} as {}", it.ident, it.rename),
        UseTree::Glob(_) => panic!("a glob export hides what is exported: {path:?}::*"),
    };
    names.insert((other, name));
}

/// Lists a module, without what the root exports too; gives the names that it exports.
fn listed(title: &str, items: &[Item], of: &Listed<'_>, out: &mut String) -> Names {
    let mut names = BTreeSet::new();
    exported(items, &mut names);
    out.push_str(&format!("=== {title}\n"));
    // What speaks the protocol has a `Client` and a `Run` of its own.
    let own = if title == "dagrun::rpc" { title } else { "dagrun" };
    for (krate, name) in names.difference(of.root) {
        let mut lines = of.sources.lines(krate.as_deref().unwrap_or(own), name);
        if krate.is_none() && lines.is_empty() {
            lines = of.sources.lines("dagrun", name);
        }
        let from = krate.as_ref().map(|krate| format!(" (of {krate})")).unwrap_or_default();
        out.push_str(&format!("{name}{from}\n"));
        lines.iter().for_each(|line| out.push_str(&format!("    {line}\n")));
    }
    names
}

#[test]
fn the_public_api_is_the_one_that_was_reviewed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = Sources::read(&[
        ("dagrun", &root.join("src")),
        ("dagrun_core", &root.join("core/src")),
        ("dagrun_worker", &root.join("worker/src")),
        ("dagrun_schema", &root.join("schema/src/wire")),
        ("dagrun_macros", &root.join("core/macros/src")),
    ]);
    let lib = sources::parsed(&root.join("src/lib.rs"));
    let mut out = String::new();
    let all = Listed { sources: &sources, root: &Names::new() };
    let at_root = listed("dagrun", &lib, &all, &mut out);
    for module in lib.iter() {
        let Item::Mod(module) = module else { continue };
        if matches!(module.vis, Visibility::Public(_)) && !is_hidden(&module.attrs) {
            let name = module.ident.to_string();
            let file = root.join("src").join(format!("{name}.rs"));
            let folder = root.join("src").join(&name).join("mod.rs");
            let items = sources::parsed(if file.exists() { &file } else { &folder });
            let rest = match name.as_str() {
                "rpc" => Listed { sources: &sources, root: &Names::new() },
                _ => Listed { sources: &sources, root: &at_root },
            };
            listed(&format!("dagrun::{name}"), &items, &rest, &mut out);
        }
    }
    insta::assert_snapshot!("public_api", out);
}

#[test]
fn the_list_has_signatures_and_leaves_out_what_is_hidden() {
    let text = "impl X { pub fn a<T: Copy>(&self, b: &[T]) -> Option<T> { None } #[doc(hidden)] pub fn c(); }";
    let Ok(Item::Impl(it)) = syn::parse_str::<Item>(&text.replace("c();", "c() {}")) else {
        panic!()
    };
    let lines = sources::members(&it);
    assert_eq!(lines, ["pub fn a<T: Copy>(&self, b: &[T]) -> Option<T>"]);
    assert_eq!(
        plain(&syn::parse_str::<syn::Type>("&'a mut [u8; 4]").unwrap().to_token_stream()),
        "&'a mut [u8; 4]"
    );
}
