//! The picture of the crates in `docs/design.md` is what the manifests say: which crate of this
//! workspace may use which.
//!
//! Dependencies of tests and build scripts do not count: they reach nobody else.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// What each crate may use of the others; those below come first.
const ALLOWED: &[(&str, &[&str])] = &[
    ("dagrun-core", &[]),
    ("dagrun-macros", &[]),
    ("dagrun-schema", &["dagrun-core"]),
    ("dagrun-disk", &["dagrun-core"]),
    ("dagrun-scheduler", &["dagrun-core", "dagrun-schema", "dagrun-disk"]),
    ("dagrun-worker", &["dagrun-core", "dagrun-schema", "dagrun-disk"]),
    (
        "dagrun",
        &[
            "dagrun-core",
            "dagrun-macros",
            "dagrun-schema",
            "dagrun-disk",
            "dagrun-scheduler",
            "dagrun-worker",
        ],
    ),
    (
        "dagrun-cli",
        &[
            "dagrun",
            "dagrun-core",
            "dagrun-schema",
            "dagrun-disk",
            "dagrun-scheduler",
            "dagrun-worker",
        ],
    ),
];

/// Published by nobody, used by nobody: these may use what they like.
const OUTSIDE: &[&str] = &["dagrun-benches", "dagrun-fuzz-inputs", "dagrun-simulator"];
const EXAMPLES: &str = "dagrun-example-";

#[test]
fn crates_use_only_what_they_may() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let is_example = |name: &str| name.starts_with(EXAMPLES);
    let (mut wrong, mut seen) = (Vec::new(), Vec::new());
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let used = package["dependencies"].as_array().unwrap().iter();
        let used = used.filter(|dependency| dependency["kind"].is_null());
        let used = used.map(|dependency| dependency["name"].as_str().unwrap());
        let ours: Vec<&str> =
            used.filter(|name| *name == "dagrun" || name.starts_with("dagrun-")).collect();
        if OUTSIDE.contains(&name) || is_example(name) {
            continue;
        }
        let Some(allowed) = allowed.get(name) else {
            wrong.push(format!("{name} is not in the list: where does it belong?"));
            continue;
        };
        seen.push(name.to_owned());
        let not_allowed = ours.iter().filter(|used| !allowed.contains(used));
        wrong.extend(not_allowed.map(|used| format!("{name} must not use {used}")));
        let unused = allowed.iter().filter(|allowed| !ours.contains(allowed));
        wrong.extend(unused.map(|used| format!("{name} may use {used}, and does not")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen.len(), ALLOWED.len(), "only {seen:?} are there");
}
