//! Every version of the format, and what is wrong with a file.

use dagrun_example_wfcommons::{ReadError, Workflow, durations_json, pipeline_toml};

fn read(json: &str) -> Workflow {
    Workflow::read(json.as_bytes()).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn fails(json: &str) -> ReadError {
    Workflow::read(json.as_bytes()).unwrap_err()
}

/// Names, parents and runtimes.
fn tasks(workflow: &Workflow) -> Vec<(&str, &[usize], f64)> {
    let tasks = workflow.tasks.iter();
    tasks.map(|task| (task.name.as_str(), &task.parents[..], task.runtime)).collect()
}

const DIAMOND: [(&str, &[usize], f64); 4] =
    [("a", &[], 1.5), ("b", &[0], 2.0), ("c", &[0], 3.0), ("d", &[1, 2], 0.0)];

#[test]
fn version_1_5_has_specification_and_execution() {
    let workflow = read(
        r#"{"name": "diamond", "schemaVersion": "1.5", "workflow": {
            "specification": {"tasks": [
                {"name": "first", "id": "a", "parents": [], "children": ["b", "c"]},
                {"name": "x", "id": "b", "parents": ["a"], "children": ["d"]},
                {"name": "x", "id": "c", "parents": ["a"], "children": ["d"]},
                {"name": "last", "id": "d", "parents": ["b", "c"], "children": []}]},
            "execution": {"makespanInSeconds": 9, "tasks": [
                {"id": "c", "runtimeInSeconds": 3},
                {"id": "a", "runtimeInSeconds": 1.5, "coreCount": 2.0},
                {"id": "b", "runtimeInSeconds": 2.0}]}}}"#,
    );
    assert_eq!(workflow.name, "diamond");
    assert_eq!(tasks(&workflow), DIAMOND);
    assert!((workflow.critical_path() - 4.5).abs() < 1e-9);
    assert!((workflow.work() - 6.5).abs() < 1e-9);
}

#[test]
fn version_1_4_has_tasks_with_runtime_in_seconds() {
    let workflow = read(
        r#"{"name": "diamond", "schemaVersion": "1.4", "workflow": {"makespanInSeconds": 9, "tasks": [
            {"name": "a", "id": "1", "type": "compute", "runtimeInSeconds": 1.5, "children": ["2", "3"]},
            {"name": "b", "id": "2", "runtimeInSeconds": 2, "children": ["4"], "parents": null},
            {"name": "c", "id": "3", "runtimeInSeconds": 3, "children": ["4"]},
            {"name": "d", "id": "4", "parents": ["3", "2", "3"]}]}}"#,
    );
    let names: Vec<&str> = workflow.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["a_1", "b_2", "c_3", "d_4"]);
    let parents: Vec<&[usize]> = workflow.tasks.iter().map(|task| &task.parents[..]).collect();
    assert_eq!(parents, [&[][..], &[0], &[0], &[1, 2]]);
}

#[test]
fn version_1_3_has_tasks_with_runtime_and_names_for_parents() {
    for word in ["tasks", "jobs"] {
        let workflow = read(&format!(
            r#"{{"workflow": {{"makespan": 9, "{word}": [
                {{"name": "a", "type": "compute", "runtime": 1.5, "parents": [], "files": []}},
                {{"name": "b", "runtime": 2, "parents": ["a"]}},
                {{"name": "c", "runtime": 3, "parents": ["a"]}},
                {{"name": "d", "parents": ["b", "c"]}}]}}}}"#
        ));
        assert_eq!(workflow.name, "workflow");
        assert_eq!(tasks(&workflow), DIAMOND);
    }
}

#[test]
fn files_tell_who_waits_for_whom_where_nothing_else_does() {
    let old = r#"{"workflow": {"tasks": [
        {"name": "a", "runtime": 1.5, "files": [{"link": "output", "name": "x", "size": 1}]},
        {"name": "b", "runtime": 2, "files": [{"link": "input", "name": "x"}, {"link": "output", "name": "y"}]},
        {"name": "c", "runtime": 3, "files": [{"link": "input", "name": "x"}, {"link": "output", "id": "z"}]},
        {"name": "d", "files": [{"link": "input", "name": "y"}, {"link": "input", "id": "z"}]}]}}"#;
    assert_eq!(tasks(&read(old)), DIAMOND);
    let new = r#"{"workflow": {"specification": {"tasks": [
        {"id": "a", "parents": [], "children": [], "outputFiles": ["x"]},
        {"id": "b", "inputFiles": ["x"], "outputFiles": ["y", "x"]}]},
        "execution": {"tasks": []}}}"#;
    // b reads and writes x: it waits for a, and not for itself; a reads nothing.
    assert_eq!(tasks(&read(new)), [("a", &[][..], 0.0), ("b", &[0], 0.0)]);
}

#[test]
fn names_become_valid_and_unique() {
    let workflow = read(
        r#"{"name": "it's \"odd\" \\ \u0007", "workflow": {"tasks": [
            {"id": "a.b"}, {"id": "a b"}, {"id": "a_b"}, {"id": "7up"}, {"id": "ü"}, {"id": 12},
            {"id": "a_b_2"}, {"id": "12x", "name": "s\nt"}]}}"#,
    );
    let names: Vec<&str> = workflow.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["a_b", "a_b_2", "a_b_3", "_7up", "_", "_12", "a_b_2_2", "_12x"]);
    let text = pipeline_toml(&workflow, 1.0);
    assert!(text.contains(r#"name = "it's \"odd\" \\ \u0007""#), "{text}");
}

#[test]
fn the_pipeline_sleeps_as_long_as_the_durations_say() {
    let workflow = read(
        r#"{"name": "w", "workflow": {"tasks": [
            {"name": "a", "runtime": 12.5, "children": ["b"]}, {"name": "b", "runtime": 0.0000001}]}}"#,
    );
    assert_eq!(
        pipeline_toml(&workflow, 0.01),
        "# Made of a recording in WfFormat by dagrun-example-wfcommons --scale 0.01.\n\
         name = \"w\"\n\n[task.a]\npriority = 1\nrun = [\"sleep\", \"0.125000\"]\n\n\
         [task.b]\nafter = [\"a\"]\npriority = 0\nrun = [\"sleep\", \"0.000000\"]\n"
    );
    let json = durations_json(&workflow, 0.01);
    assert_eq!(json, "{\n  \"a\": 0.125000,\n  \"b\": 0.000000\n}\n");
}

#[test]
fn what_is_measured_apart_goes_by_id_or_name() {
    // Executions without a task of their own name, without a runtime, and of a zero runtime.
    let workflow = read(
        r#"{"workflow": {"specification": {"tasks": [
            {"id": "a", "name": "x", "runtimeInSeconds": 9}, {"name": "b", "parents": ["x"]},
            {"id": "c", "parents": ["a", "b"]}, {"id": "d"}]},
            "execution": {"tasks": [{"name": "b", "runtime": 2}, {"id": "c", "runtimeInSeconds": 0},
            {"id": "a", "avgCPU": 97.3, "machines": ["m"]}],
            "machines": [{"nodeName": "m", "cpu": {"coreCount": 48}}]}}}"#,
    );
    let expected: [(&str, &[usize], f64); 4] =
        [("a", &[], 9.0), ("b", &[0], 2.0), ("c", &[0, 1], 0.0), ("d", &[], 0.0)];
    assert_eq!(tasks(&workflow), expected);
}

#[test]
fn equal_names_without_ids_stay_apart() {
    let workflow =
        read(r#"{"workflow": {"tasks": [{"name": "x"}, {"name": "x"}, {"name": "x y"}]}}"#);
    let names: Vec<&str> = workflow.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["x", "x_2", "x_y"]);
}

#[test]
fn what_is_wrong_is_said() {
    assert!(matches!(fails("{"), ReadError::Json(_)));
    assert!(matches!(fails(r#"{"workflow": {"tasks": [{"id": []}]}}"#), ReadError::Json(_)));
    assert!(matches!(fails(r#"{"workflow": {}}"#), ReadError::NoTasks));
    assert!(matches!(fails(r#"{"workflow": {"tasks": [{}]}}"#), ReadError::Nameless(0)));
    let twice = fails(r#"{"workflow": {"tasks": [{"id": "a"}, {"id": "a"}]}}"#);
    assert_eq!(twice.to_string(), "two tasks have the id `a`");
    let unknown = fails(r#"{"workflow": {"tasks": [{"id": "a", "parents": ["b"]}]}}"#);
    assert_eq!(unknown.to_string(), "`a` names `b`, which is no task");
    let ambiguous = fails(
        r#"{"workflow": {"tasks": [{"id": "a", "name": "x"}, {"id": "b", "name": "x"},
            {"id": "c", "parents": ["x"]}]}}"#,
    );
    assert_eq!(ambiguous.to_string(), "`c` names `x`, and several tasks are called so");
    for none in ["[]", "[], \"machines\": [{\"nodeName\": \"m\"}]"] {
        let empty = fails(&format!(r#"{{"workflow": {{"tasks": {none}}}}}"#));
        assert!(empty.to_string().starts_with("no tasks"), "{empty}");
    }
    let itself = fails(r#"{"workflow": {"tasks": [{"id": "a"}, {"id": "b", "parents": ["b"]}]}}"#);
    assert_eq!(itself.to_string(), "`b` waits for itself, or for tasks that do");
    let both = r#"{"workflow": {"tasks": [{"id": "a", "children": ["b"]}, {"id": "b", "children": ["a"]}]}}"#;
    assert!(matches!(fails(both), ReadError::Cycle(_)));
    for wrong in ["[]", "null", "7", r#"{"workflow": null}"#, r#"{"name": "no workflow"}"#] {
        assert!(matches!(fails(wrong), ReadError::Json(_)), "{wrong}");
    }
    let word = fails(r#"{"workflow": {"tasks": [{"id": "a", "runtime": "soon"}]}}"#);
    assert!(matches!(word, ReadError::Json(_)));
    let negative = fails(r#"{"workflow": {"tasks": [{"id": "a", "runtime": -1}]}}"#);
    assert_eq!(negative.to_string(), "`a` has a runtime of -1 s");
}
