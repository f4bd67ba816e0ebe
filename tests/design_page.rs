//! `docs/design.md` names files and functions to begin with; they must be there.
//!
//! What is checked are backticked paths that end in `.rs`, and the backticked names after a colon
//! behind such a path: each must be defined in that file.

use std::path::Path;

/// Paths of Rust files in a text, each with the names that are said to be defined there.
fn places(text: &str) -> Vec<(&str, Vec<&str>)> {
    // Odd parts are within backticks.
    let parts: Vec<&str> = text.split('`').collect();
    let mut places: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut naming = false;
    for (at, part) in parts.iter().enumerate() {
        if at % 2 == 0 {
            naming = match part.trim() {
                ":" => true,
                "," => naming,
                _ => false,
            };
        } else if part.ends_with(".rs") && part.contains('/') {
            places.push((part, Vec::new()));
        } else if naming && let Some((_, names)) = places.last_mut() {
            names.push(part);
        }
    }
    places
}

fn defines(source: &str, name: &str) -> bool {
    ["fn", "struct", "enum", "trait", "mod", "const", "type"].iter().any(|kind| {
        source.match_indices(&format!("{kind} {name}")).any(|(at, found)| {
            let next = source[at + found.len()..].chars().next();
            next.is_none_or(|next| !next.is_alphanumeric() && next != '_')
        })
    })
}

#[test]
fn files_and_functions_that_the_design_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/design.md")).unwrap();
    // Fenced blocks hold pictures, whose backticks would shift all that follows.
    let prose: Vec<&str> = page.split("```").step_by(2).collect();
    let mut wrong = Vec::new();
    let mut named = 0;
    for (path, names) in prose.iter().flat_map(|text| places(text)) {
        let Ok(source) = std::fs::read_to_string(root.join(path)) else {
            wrong.push(format!("there is no {path}"));
            continue;
        };
        named += names.len();
        let missing = names.iter().filter(|name| !defines(&source, name));
        wrong.extend(missing.map(|name| format!("{path} does not define {name}")));
    }
    assert!(wrong.is_empty(), "docs/design.md: {wrong:#?}");
    assert!(named > 20, "only {named} names were found: has the page another form?");
}
