//! Pipelines as journals hold them: what any version has stored must remain readable.

use dagrun_core::ids::Micros;
use dagrun_core::pipeline::{
    Arg, Args, Conduct, MinSuccess, Retry, RetryOn, Targets, Task, TaskAction,
};
use dagrun_core::template::Template;
use dagrun_core::value::{RawString, Value};

/// Every option, in the order in which they have always been written.
const OPTIONS: &str = concat!(
    r#"{"name":"a","action":{"shell":"true"},"retry":{"count":2,"delay":1000000,"exponential":true,"#,
    r#""max_delay":8000000,"jitter":true,"on":[{"exit":75},"timeout"]},"timeout":60000000,"#,
    r#""grace":500000,"allow_failure":true,"cpus":4,"max_running":3,"max_lost":0,"#,
    r#""start_within":7,"always":true,"priority":-5,"memory":1073741824,"resources":[["gpu",2]],"#,
    r#""targets":{"named":["w1","big"]},"min_success":{"part":9000},"keep":true}"#,
);

fn shell() -> Task {
    Task::new("a", TaskAction::Shell("true".to_owned()))
}

#[test]
fn the_options_of_a_task_are_stored_among_its_keys() {
    let conduct = Conduct {
        retry: Retry {
            grow_memory: None,
            count: 2,
            delay: Micros::from_secs(1),
            exponential: true,
            max_delay: Micros::from_secs(8),
            jitter: true,
            on: vec![RetryOn::Exit(75), RetryOn::Timeout],
        },
        timeout: Some(Micros::from_secs(60)),
        grace: Micros(500_000),
        allow_failure: true,
        cpus: 4,
        beside: false,
        max_running: Some(3),
        max_lost: 0,
        start_within: Some(Micros(7)),
        always: true,
        rerun: false,
        priority: -5,
        memory: 1 << 30,
        resources: vec![("gpu".to_owned(), 2)],
        targets: Targets::Named(vec!["w1".to_owned(), "big".to_owned()]),
        min_success: Some(MinSuccess::Part(9000)),
        keep: true,
    };
    let task = Task { conduct, ..shell() };
    assert_eq!(serde_json::from_str::<Task>(OPTIONS).unwrap(), task);
    assert_eq!(serde_json::to_string(&task).unwrap(), OPTIONS);
}

#[test]
fn what_is_left_at_its_default_is_not_stored() {
    let plain = r#"{"name":"a","action":{"shell":"true"}}"#;
    assert_eq!(serde_json::to_string(&shell()).unwrap(), plain);
    assert_eq!(serde_json::from_str::<Task>(plain).unwrap(), shell());
}

#[test]
fn payloads_are_read_as_every_version_has_stored_them() {
    let task = |args: &str| {
        let call = format!(r#"{{"function":"f","args":{{"listed":[{args}]}}}}"#);
        format!(r#"{{"name":"a","action":{{"call":{call}}},"capture":"json"}}"#)
    };
    let args = |json: &str| {
        let task: Task = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&task).unwrap(), json);
        let TaskAction::Call(call) = task.action else { panic!("{json}") };
        call.args
    };
    let payload = || RawString(vec![0xc1, b'b', 0xff]);
    let earlier = args(&task(r#"{"value":{"string":{"b":[193,98,255]}}}"#));
    assert_eq!(earlier, Args::Listed(vec![Arg::Value(Value::String(payload()))]));
    let now = args(&task(r#"{"payload":{"b":[193,98,255]}}"#));
    assert_eq!(now, Args::Listed(vec![Arg::Payload(payload())]));
}

#[test]
fn inputs_are_read_as_text_and_as_templates() {
    let stored = r#"{"name":"a","action":{"shell":"true"},"inputs":["x.txt",[{"literal":"y"}]]}"#;
    let task: Task = serde_json::from_str(stored).unwrap();
    assert_eq!(task.inputs, [Template::literal("x.txt"), Template::literal("y")]);
}
