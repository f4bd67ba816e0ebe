//! Every example runs as its README says, through the real binary, in a copy of its folder.

mod place;
mod real;

use std::fs;

use place::{Example, examples, rows};

#[test]
fn each_example_is_tested_here() {
    let mut found: Vec<String> = fs::read_dir(examples())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("pipeline.toml").exists())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "cleanup",
            "convergence",
            "groups",
            "hello",
            "hyperparameters",
            "monte-carlo",
            "nightly",
            "paired-reads",
            "pi",
            "scatter",
            "sweep"
        ]
    );
    for name in found {
        assert!(examples().join(&name).join("README.md").exists(), "{name} has no README");
    }
}

/// The text between a line and the next fence.
fn block<'a>(text: &'a str, begin: &str) -> &'a str {
    let after = text.split_once(begin).unwrap_or_else(|| panic!("no {begin:?}")).1;
    after.split_once("```").unwrap().0
}

#[test]
fn the_pipeline_of_the_readme_prints_what_the_readme_shows() {
    let readme = fs::read_to_string(examples().join("../README.md")).unwrap();
    let example = Example::empty();
    fs::write(example.path("pipeline.toml"), block(&readme, "# throw.toml\n")).unwrap();
    example.submit(&[], 0);
    assert_eq!(
        example.printed(&["output", "last", "best"]).trim_end(),
        block(&readme, "$ dagrun output last best\n").trim_end()
    );
}

#[test]
fn hello_greets_each_name() {
    let example = Example::copy("hello");
    example.submit(&[], 0);
    for (index, name) in ["Ada", "Emmy", "Lise"].into_iter().enumerate() {
        let value = example.printed(&["output", "last", &format!("greet[{index}]")]);
        assert_eq!(value.trim_end(), format!("Hello, {name}!"));
    }
}

#[test]
fn sweep_finds_the_phase_transition() {
    let example = Example::copy("sweep");
    example.submit(&["--set", "relax=60", "--set", "measure=120"], 0);
    for task in ["mesh", "relax", "simulate", "mean"] {
        assert_eq!(example.states(task), vec!["succeeded"; 18], "{task}");
    }
    let table = example.read("results/curve.csv");
    assert!(table.starts_with("size,temperature,magnetisation\n"), "{table}");
    let rows = rows(&table);
    assert_eq!(rows.len(), 18);
    assert_eq!(rows[4][..2], [8.0, 2.5]);
    assert_eq!(rows[17][..2], [16.0, 3.5]);
    assert!(rows[9][2] > 0.9, "16 × 16 at 1.5 is not magnetised: {}", rows[9][2]);
    assert!(rows[17][2] < 0.4, "16 × 16 at 3.5 is magnetised: {}", rows[17][2]);
    let drawing = example.printed(&["output", "last", "curve"]);
    assert!(drawing.contains("16 × 16"), "{drawing}");
}

#[test]
fn sweep_gives_the_same_numbers_for_the_same_seed() {
    let run = |seed| {
        let example = Example::copy("sweep");
        example.submit(&["--seed", seed, "--set", "relax=2", "--set", "measure=5"], 0);
        example.read("results/curve.csv")
    };
    assert_eq!(run("7"), run("7"));
    assert_ne!(run("7"), run("8"));
}

#[test]
fn cleanup_tidies_up_after_a_failure() {
    let example = Example::copy("cleanup");
    example.submit(&[], 1);
    for (task, state) in [
        ("prepare", "succeeded"),
        ("compute", "failed"),
        ("publish", "skipped"),
        ("cleanup", "succeeded"),
        ("notify", "succeeded"),
    ] {
        assert_eq!(example.states(task), [state], "{task}");
    }
    let instances = example.instances();
    let of = |task| instances.iter().find(|row| row["task"] == task).unwrap();
    assert_eq!((&of("compute")["attempts"], &of("compute")["exit-code"]), (&2.into(), &3.into()));
    assert!(of("publish")["reason"].as_str().unwrap().contains("compute"));
    assert!(!example.path("scratch").exists());
    assert!(!example.path("result.txt").exists());
    assert_eq!(example.read("notice.txt"), "failed, cleaned up\n");
}

#[test]
fn cleanup_is_skipped_after_success() {
    let example = Example::copy("cleanup");
    example.submit(&["--set", "diverges=false"], 0);
    assert_eq!(example.states("publish"), ["succeeded"]);
    assert_eq!(example.states("cleanup"), ["skipped"]);
    assert_eq!(example.read("result.txt"), "attempt 1\n");
    assert_eq!(example.read("notice.txt"), "published\n");
}

#[test]
fn scatter_finds_the_roots() {
    let example = Example::copy("scatter");
    let readme = example.read("README.md");
    assert_eq!(
        example.printed(&["check", "pipeline.toml"]),
        block(&readme, "$ dagrun check examples/scatter/pipeline.toml\n")
            .split_once("$ dagrun")
            .unwrap()
            .0
    );
    example.submit(&[], 0);
    assert_eq!(
        example.printed(&["output", "last", "table"]),
        block(&readme, "$ dagrun output last table\n")
    );
    assert_eq!(example.states("bisect"), ["succeeded"; 3]);
    example.submit(&["--set", "end=20"], 0);
    assert_eq!(example.states("newton"), vec!["succeeded"; 32]);
    assert_eq!(example.printed(&["output", "last", "table"]).lines().count(), 127);
    example.submit(&["--set", "end=1"], 0);
    assert_eq!(example.states("bisect"), [""; 0]);
    assert_eq!(example.printed(&["output", "last", "table"]), "no roots\n");
}

#[test]
fn groups_tolerates_what_fails() {
    let example = Example::copy("groups");
    let readme = example.read("README.md");
    example.submit(&[], 0);
    assert_eq!(
        example.printed(&["output", "last", "report"]),
        block(&readme, "$ dagrun output last report\n")
    );
    assert_eq!(example.states("mean"), ["succeeded", "succeeded", "succeeded", "skipped"]);
    let instances = example.instances();
    let readings: Vec<_> = instances.iter().filter(|row| row["task"] == "reading").collect();
    // What failed for a moment was tried again, what failed for good was not.
    assert!(readings.iter().any(|row| row["state"] == "succeeded" && row["attempts"] != 1));
    for row in readings.iter().filter(|row| row["exit-code"] == 1) {
        assert_eq!((&row["attempts"], &row["params"]["station"]), (&1.into(), &"west".into()));
    }
    for row in readings.iter().filter(|row| row["exit-code"] == 75) {
        assert_eq!(row["attempts"], 3);
    }
}

#[test]
fn pi_counts_every_pair() {
    let example = Example::copy("pi");
    let manifest = format!("manifest={}", examples().join("pi/Cargo.toml").display());
    example.submit(&["--set", "digits=1_000", "--set", "profile=dev", "--set", &manifest], 0);
    assert_eq!(example.states("count"), vec!["succeeded"; 15]);
    let decimals = example.read("results/decimals.txt");
    assert!(decimals.starts_with("14159265358979") && decimals.ends_with("2164201989\n"));
    let pairs = rows(&example.read("results/pairs.csv"));
    assert_eq!(pairs.iter().flat_map(|row| &row[1..]).sum::<f64>(), 999.0);
    let single: Vec<f64> =
        rows(&example.read("results/single.csv")).iter().map(|row| row[1]).collect();
    assert_eq!(single, [93.0, 116.0, 103.0, 102.0, 93.0, 97.0, 94.0, 95.0, 101.0, 106.0]);
    assert!(example.read("results/pairs.svg").contains("first 1,000 decimals"));
    assert!(fs::read(example.path("results/pairs.png")).unwrap().starts_with(b"\x89PNG"));
}
