//! Scatter, map, groups and tolerance with real workers and processes.

use dagrun_core::status::{RunState, State};

use crate::rig::Rig;

#[test]
fn a_captured_array_is_scattered_mapped_and_gathered() {
    let ended = Rig::with_worker().run(
        r#"
        [task.list]
        run = ["printf", '[1.50, {{"a": "x y"}}, [2,3]]']
        capture = "json"
        [task.each]
        scatter = "list"
        run = ["printf", "%s", "{item}"]
        capture = "text"
        [task.twice]
        map = "each"
        run = ["printf", "%s=%s", "{item}", "{each.value}"]
        capture = "text"
        [task.all]
        gather = "twice"
        run = ["cat", "{twice.manifest}"]
        capture = "lines"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert_eq!(ended.values("each"), ["1.50", r#"{"a":"x y"}"#, "[2,3]"]);
    let twice = [r#"1.50=1.50"#, r#"{"a":"x y"}={"a":"x y"}"#, "[2,3]=[2,3]"];
    assert_eq!(ended.values("twice"), twice);
    let lines = &ended.values("all")[0];
    let lines: Vec<serde_json::Value> = lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| serde_json::from_str(line.as_str().unwrap()).unwrap())
        .collect();
    let found: Vec<_> = lines.iter().map(|line| line["value"].as_str().unwrap()).collect();
    assert_eq!(found, twice);
    assert_eq!(lines[1]["params"]["item"], serde_json::json!({"a": "x y"}));
}

#[test]
fn chunks_parts_and_sweeps_share_the_elements() {
    let ended = Rig::with_worker().run(
        r#"
        [task.list]
        run = ["echo", "[0,1,2,3,4,5,6]"]
        capture = "json"
        [task.chunks]
        scatter = { from = "list", chunk = 3 }
        run = ["echo", "{item}"]
        capture = "json"
        [task.parts]
        scatter = { from = "list", parts = 2 }
        sweep = { k = [7, 8] }
        run = ["echo", "[{k},{item}]"]
        capture = "json"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    let expected = serde_json::json!([[0, 1, 2], [3, 4, 5], [6]]);
    assert_eq!(serde_json::Value::from(ended.values("chunks")), expected);
    let expected =
        serde_json::json!([[7, [0, 1, 2, 3]], [8, [0, 1, 2, 3]], [7, [4, 5, 6]], [8, [4, 5, 6]]]);
    assert_eq!(serde_json::Value::from(ended.values("parts")), expected);
}

#[test]
fn empty_array() {
    let ended = Rig::with_worker().run(
        r#"
        [task.list]
        run = ["echo", "[]"]
        capture = "json"
        [task.each]
        scatter = "list"
        run = ["echo", "{item}"]
        [task.mapped]
        map = "each"
        run = ["echo", "{item}"]
        [task.all]
        gather = ["each", "mapped"]
        run = ["cat", "{each.manifest}", "{mapped.manifest}"]
        capture = "text"
        [task.then]
        run = ["true"]
        after = [{ all = "each" }, { any = "mapped", on = "failure" }]
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert!(ended.of("each").is_empty() && ended.of("mapped").is_empty());
    assert!(ended.status.tasks.iter().all(|task| task.width_known));
    assert_eq!(ended.values("all"), [""]);
    assert_eq!(ended.states("then"), [State::Succeeded], "nothing to wait for");
}

#[test]
fn what_is_no_array_or_too_long_a_one_is_not_scattered() {
    let ended = Rig::with_worker().run(
        r#"
        [task.list]
        run = ["echo", "{{}}"]
        capture = "json"
        [task.long]
        run = ["seq", "12"]
        capture = "lines"
        [task.each]
        scatter = "list"
        run = ["echo", "{item}"]
        [task.mapped]
        map = "each"
        run = ["true"]
        [task.guarded]
        scatter = { from = "long", max-items = 10 }
        run = ["echo", "{item}"]
        "#,
    );
    assert_eq!(ended.status.state, RunState::Failed);
    let none = "needs list: list captured no JSON array, but {}, an object";
    assert_eq!(ended.reason("each"), (State::Skipped, none));
    let (state, reason) = ended.reason("mapped");
    assert!(state == State::Skipped && reason.starts_with("needs each: list "), "{reason}");
    let many = "needs long: long has 12 elements, max-items is 10";
    assert_eq!(ended.reason("guarded"), (State::Skipped, many));
}

#[test]
fn scatter_of_scatter() {
    let ended = Rig::with_worker().run(
        r#"
        [task.list]
        run = ["echo", "[[1,2],[],[3]]"]
        capture = "json"
        [task.outer]
        scatter = "list"
        run = ["echo", "{item}"]
        capture = "json"
        [task.inner]
        scatter = "outer"
        run = ["echo", "{item}"]
        capture = "json"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert_eq!(ended.values("inner"), [1, 2, 3]);
}

#[test]
fn a_group_is_gathered_from_its_own_instances() {
    let ended = Rig::with_worker().run(
        r#"
        [task.sim]
        run = ["echo", "{h}{k}"]
        sweep = { k = [1, 2, 3], h = [10, 20] }
        capture = "json"
        [task.mean]
        gather = { task = "sim", by = ["h"] }
        run = ["cat", "{sim.manifest}"]
        stdin = "{sim.manifest}"
        capture = "lines"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    let groups: Vec<Vec<u64>> = ended
        .values("mean")
        .iter()
        .map(|lines| {
            let lines = lines.as_array().unwrap().iter();
            let line = |line: &serde_json::Value| -> serde_json::Value {
                serde_json::from_str(line.as_str().unwrap()).unwrap()
            };
            lines.map(|text| line(text)["value"].as_u64().unwrap()).collect()
        })
        .collect();
    assert_eq!(groups, [[101, 102, 103], [201, 202, 203]]);
}

#[test]
fn min_success() {
    let ended = Rig::with_worker().run(
        r#"
        [task.sim]
        shell = "exit $((i / 8))"
        sweep = { i = { range = "0..10" } }
        allow-failure = true
        [task.most]
        gather = "sim"
        min-success = "80%"
        run = ["cat", "{sim.manifest}"]
        capture = "lines"
        [task.nearly]
        gather = "sim"
        min-success = 9
        run = ["true"]
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    let lines = ended.values("most");
    assert_eq!(lines[0].as_array().unwrap().len(), 10);
    let (state, reason) = ended.reason("nearly");
    assert_eq!(state, State::Skipped);
    assert!(reason.starts_with("needs 9 of sim: sim["), "{reason}");
    assert!(reason.ends_with("] failed: exit code 1"), "{reason}");
}

#[test]
fn group_starts_early() {
    let ended = Rig::with_worker().run(
        r#"
        [task.sim]
        shell = 'if [ "$h$k" = 22 ]; then until [ -e go ]; do sleep 0.01; done; fi'
        sweep = { h = [1, 2], k = [1, 2] }
        [task.mean]
        gather = { task = "sim", by = ["h"] }
        run = ["touch", "go"]
        "#,
    );
    // The slow one waits for what the other group's gather does.
    assert_eq!(ended.states("mean"), [State::Succeeded; 2]);
    assert!(ended.of("mean")[0].started < ended.of("sim")[3].finished);
    assert!(ended.of("mean")[1].started >= ended.of("sim")[3].finished);
}

/// Dependents that come to be only when all that they wait for has ended.
#[test]
fn after_outcome_known_before_submit() {
    use State::{Skipped as X, Succeeded as R};
    let rows = [[R, X, R, R, X, R], [X, X, R, R, R, R], [X, R, R, X, R, R]];
    for (failing, row) in (0..).zip(rows) {
        let mut text = format!(
            "[task.up]\nshell = \"test $i -ge {failing}\"\nsweep = {{ i = [0, 1] }}\n\
             allow-failure = true\n\
             [task.list]\nrun = [\"echo\", \"[1, 2, 3]\"]\ncapture = \"json\"\n\
             after = {{ all = \"up\", on = \"finish\" }}\n\
             [task.late]\nscatter = \"list\"\nrun = [\"true\"]\n"
        );
        let clauses = ["all", "any"]
            .iter()
            .flat_map(|quantifier| ["success", "failure", "finish"].map(|on| (*quantifier, on)));
        for (number, (quantifier, on)) in clauses.enumerate() {
            text += &format!(
                "[task.c{number}]\nmap = \"late\"\nrun = [\"true\"]\n\
                 after = {{ {quantifier} = \"up\", on = \"{on}\" }}\n"
            );
        }
        let ended = Rig::with_worker().run(&text);
        for (number, state) in row.into_iter().enumerate() {
            let states = ended.states(&format!("c{number}"));
            assert_eq!(states, [state; 3], "clause {number}, {failing} fail");
        }
    }
}
