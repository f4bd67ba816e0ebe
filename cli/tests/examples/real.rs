//! Whole pipelines as people write them, each embedded and on a cluster, with the same results.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::place::Example;

/// Both ways in which an example runs.
fn both(name: &str, follow: impl Fn(&Example)) {
    follow(&Example::copy(name));
    follow(&Example::on_cluster(name));
}

/// How many instances of a task are in each state.
fn counts(example: &Example, task: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for state in example.states(task) {
        *counts.entry(state).or_default() += 1;
    }
    counts
}

fn all(state: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(state.to_owned(), count)])
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn paired_reads_go_through_a_chain_each_and_meet_in_a_table() {
    both("paired-reads", |example| {
        example.submit(&[], 0);
        for task in ["trim", "align", "count"] {
            assert_eq!(counts(example, task), all("succeeded", 3), "{task}");
        }
        assert_eq!(example.printed(&["output", "report"]), example.shown("dagrun output report"));
        assert_eq!(example.read("results/counts.csv"), example.shown("cat results/counts.csv"));
        // Each pair that was kept is counted once.
        let kept = example.read("results/heart_R2.fastq").lines().count() / 4;
        let heart = example.printed(&["output", "count[sample=heart]"]);
        let counted: u64 =
            json(&heart).as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!((kept, counted), (9, 9), "{heart}");
    });
}

#[test]
fn a_read_without_its_mate_is_found_before_anything_runs() {
    let example = Example::copy("paired-reads");
    fs::remove_file(example.path("fastq/brain_R2.fastq")).unwrap();
    let printed = example.submit(&[], 2);
    assert!(printed.contains("6") && printed.contains("fastq/{sample}_R{read}.fastq"), "{printed}");
    assert!(!example.path("results").exists());
}

#[test]
fn hyperparameters_finds_the_model_by_folds() {
    both("hyperparameters", |example| {
        example.submit(&[], 0);
        assert_eq!(counts(example, "fit"), all("succeeded", 6 * 3 * 5));
        assert_eq!(counts(example, "train"), all("succeeded", 3));
        assert_eq!(example.printed(&["output", "report"]), example.shown("dagrun output report"));
        let model = example.read("results/model-0.txt");
        assert_eq!(model, example.shown("cat results/model-0.txt"));
        let found: Vec<f64> = model.lines().map(|line| line.parse().unwrap()).collect();
        for (found, true_one) in found.iter().zip([1.0, -2.0, 0.0, 3.0]) {
            assert!((found - true_one).abs() < 0.1, "{model}");
        }
        assert!(example.path("results/model-2.txt").exists());
        assert!(!example.path("results/model-3.txt").exists());
    });
}

#[test]
fn convergence_measures_the_order_of_each_method() {
    both("convergence", |example| {
        example.submit(&[], 0);
        assert_eq!(example.printed(&["output", "table"]), example.shown("dagrun output table"));
        let table = example.read("results/slopes.csv");
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let [order, measured] = [1, 2].map(|at: usize| fields[at].parse::<f64>().unwrap());
            assert!((order - measured).abs() < 0.05, "{table}");
        }
        // A check that fails is named, and the table is made all the same.
        let printed = example.submit(&["--set", "tolerance=0.02"], 1);
        assert!(printed.contains("the errors fall with order"), "{printed}");
        assert_eq!(example.states("check"), ["succeeded", "failed", "failed"]);
        assert_eq!(example.states("table"), ["succeeded"]);
        assert_eq!(example.printed(&["output", "table"]), example.shown("dagrun output table"));
    });
}

#[test]
fn nightly_loads_all_or_none_and_tidies_up() {
    both("nightly", |example| {
        let is_tidy =
            || !example.path("staging").exists() && !example.path("nightly.lock").exists();
        example.submit(&[], 0);
        let loaded = example.shown("cat warehouse/2026-11-30.csv");
        assert_eq!(example.read("warehouse/2026-11-30.csv"), loaded);
        assert_eq!(example.read("notices.txt"), example.shown("cat notices.txt"));
        assert_eq!(example.states("alarm"), ["skipped"]);
        assert!(is_tidy());

        // A file that is wrong: nothing of the night is loaded, and somebody is notified.
        let good = example.read("incoming/south.csv");
        fs::write(example.path("incoming/south.csv"), good.clone() + "2026-11-30;nut;much\n")
            .unwrap();
        let printed = example.submit(&[], 1);
        assert!(printed.contains("south.csv:4: no price: much"), "{printed}");
        assert_eq!(example.states("validate"), ["succeeded", "failed", "succeeded"]);
        assert_eq!(example.states("load"), ["skipped"]);
        assert_eq!(example.read("warehouse/2026-11-30.csv"), loaded);
        assert!(example.read("notices.txt").ends_with("2026-11-30: run 2 FAILED\n"));
        assert!(is_tidy());
        fs::write(example.path("incoming/south.csv"), good).unwrap();

        // The night is gone on with, under the lock. What was staged is fetched again.
        example.exits(&["retry", "last", "--failed"], 0);
        assert_eq!(example.read("warehouse/2026-11-30.csv"), loaded);
        for row in example.instances() {
            let ran = ["lock", "cleanup", "load", "report"].iter().any(|task| row["task"] == *task);
            assert!(!ran || row["attempts"] == 1, "{row}");
        }
        assert!(is_tidy());

        // The lock of another run: that one's lock and files stay as they are.
        fs::create_dir(example.path("nightly.lock")).unwrap();
        example.submit(&[], 1);
        for task in ["fetch", "validate"] {
            assert_eq!(example.states(task), ["skipped"; 3], "{task}");
        }
        assert_eq!(example.states("cleanup"), ["skipped"]);
        assert!(example.read("notices.txt").ends_with("2026-11-30: run 4 FAILED\n"));
        assert!(example.path("nightly.lock").exists());
    });
}

#[test]
fn monte_carlo_is_the_same_with_failures_and_without() {
    let attempts = |example: &Example| -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for row in example.instances().iter().filter(|row| row["task"] == "draw") {
            *counts.entry(row["attempts"].as_u64().unwrap()).or_default() += 1;
        }
        counts
    };

    // One in a hundred fails at its first attempt.
    let alone = Example::copy("monte-carlo");
    alone.submit(&[], 0);
    let estimate = alone.printed(&["output", "estimate"]);
    assert_eq!(estimate, alone.shown("dagrun output estimate"));
    assert_eq!(json(&estimate)["draws"], 20_000);
    let tries = attempts(&alone);
    let retried = tries[&2];
    assert!((150..=250).contains(&retried), "{tries:?}");
    assert_eq!(tries, BTreeMap::from([(1, 20_000 - retried), (2, retried)]));

    // The same ones fail for good: the estimate is made of what there is, and completed by a retry.
    let cluster = Example::on_cluster("monte-carlo");
    fs::write(cluster.path("outage"), "").unwrap();
    cluster.submit(&[], 1);
    assert_eq!(attempts(&cluster), BTreeMap::from([(1, 20_000 - retried), (4, retried)]));
    let partial = cluster.printed(&["output", "estimate"]);
    assert_eq!(partial, cluster.shown("dagrun output last estimate"));
    assert_eq!(json(&partial)["draws"], 20_000 - retried);
    fs::remove_file(cluster.path("outage")).unwrap();
    cluster.exits(&["retry", "last", "--failed"], 0);
    assert_eq!(cluster.printed(&["output", "estimate"]), estimate);
    assert_eq!(attempts(&cluster), BTreeMap::from([(0, 20_000 - retried), (2, retried)]));
}
