//! `submit --tag`: what marks runs, and finds them again.

use serde_json::json;

use crate::harness::{Cluster, Outcome, Test};

const PIPELINE: &str = "name = 'p'\n[task.a]\nshell = '[ -e go ]'";

fn are_shown_found_and_kept(test: &Test, run: impl Fn(&[&str]) -> Outcome) {
    let submit = |tags: &[&str]| {
        let tags: Vec<&str> = tags.iter().flat_map(|tag| ["--tag", *tag]).collect();
        run(&[&["submit", "pipeline.toml", "-q"][..], &tags].concat())
    };
    submit(&["model=large", "nightly", "empty="]).exits(1);
    submit(&["model=small"]).exits(1);
    submit(&[]).exits(1);
    let listed = |tags: &[&str]| -> Vec<String> {
        let tags: Vec<&str> = tags.iter().flat_map(|tag| ["--tag", *tag]).collect();
        let rows = run(&[&["runs", "--json"][..], &tags].concat()).exits(0).json();
        rows.iter().map(|row| row["run"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&[]), ["3", "2", "1"]);
    assert_eq!(listed(&["model"]), ["2", "1"]);
    assert_eq!(listed(&["model=large"]), ["1"]);
    assert_eq!(listed(&["model", "nightly"]), ["1"]);
    assert_eq!(listed(&["model=large", "model=small"]), Vec::<String>::new());
    let all = json!({ "empty": "", "model": "large", "nightly": null });
    assert_eq!(run(&["status", "1", "--json"]).exits(0).json()[0]["tags"], all);
    run(&["status", "1"]).exits(0).out_has("tags model=large, nightly, empty=\n");
    let rows = run(&["runs", "--json"]).exits(0).json();
    assert_eq!((&rows[2]["tags"], rows[0].get("tags")), (&all, None));
    run(&["runs"]).exits(0).out_has("model=large, nightly, empty=");
    // A retry is the same work once more.
    run(&["retry", "2", "--failed", "-q"]).exits(1);
    test.write("pipeline.toml", PIPELINE.replace("go", "pipeline.toml"));
    run(&["retry", "2", "--failed", "--with", "pipeline.toml", "-q"]).exits(0);
    assert_eq!(listed(&["model=small"]), ["5", "4", "2"]);
}

#[test]
fn tags_are_shown_found_and_kept() {
    let test = Test::new(PIPELINE);
    are_shown_found_and_kept(&test, |words| test.run(words));
    let cluster = Cluster::start(Test::new(PIPELINE), "1");
    are_shown_found_and_kept(&cluster.0, |words| cluster.run(words));
}

#[test]
fn what_is_no_tag_is_refused() {
    let test = Test::new(PIPELINE);
    for (tags, problem) in [
        (&["--tag", ""][..], "expected NAME or NAME=VALUE"),
        (&["--tag", "=x"], "expected NAME or NAME=VALUE"),
        (&["--tag", "a\nb"], "a tag has no control characters"),
        (&["--tag", "a=1", "--tag", "a=2"], "`a` is given twice"),
        (&["--tag", &"x".repeat(2000)], "a tag has at most 1000 bytes"),
        (&["--tag=a"; 51], "at most 50 tags"),
    ] {
        test.submit(tags).exits(2).err_has(problem);
    }
}
