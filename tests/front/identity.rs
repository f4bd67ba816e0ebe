//! Functions of one name, handles of other graphs, results under other names.

use std::process::Command;

use dagrun::{Dag, Error, Handle, Pending, State, TaskRef};

use super::cluster;

mod left {
    #[dagrun::task]
    pub(super) fn side() -> String {
        "left".into()
    }
}

mod right {
    #[dagrun::task]
    pub(super) fn side() -> String {
        "right".into()
    }

    pub(super) mod inner {
        #[dagrun::task]
        pub(in super::super) fn side() -> String {
            "inner".into()
        }
    }
}

fn of_function() -> impl dagrun::TaskFn<Args = (), Output = String> {
    #[dagrun::task]
    fn side() -> String {
        "of a function".into()
    }
    side
}

fn of_another_function() -> impl dagrun::TaskFn<Args = (), Output = String> {
    #[dagrun::task]
    fn side() -> String {
        "of another function".into()
    }
    side
}

#[test]
fn functions_of_one_name_and_type_answer_for_themselves() {
    let cluster = cluster();
    let dag = Dag::new("sides");
    let sides = [
        dag.task(left::side, ()),
        dag.task(right::side, ()),
        dag.task(right::inner::side, ()),
        dag.task(of_function(), ()),
        dag.task(of_another_function(), ()),
    ];
    let run = cluster.submit(&dag).wait().unwrap();
    let found = sides.map(|side| run.result(&side).wait().unwrap());
    assert_eq!(found, ["left", "right", "inner", "of a function", "of another function"]);
    assert_eq!(cluster.call(right::side, ()).wait().unwrap(), "right");
}

#[test]
fn a_file_cannot_mean_one_of_several_functions() {
    let both = |text: &str| {
        assert!(text.contains("5 functions of the program are called `side`"), "{text}");
        assert!(text.contains("front::identity::left::side"), "{text}");
        assert!(text.contains("front::identity::right::side"), "{text}");
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.toml");
    std::fs::write(&file, "[task.a]\n  call = 'side'\n").unwrap();
    let dagrun::LoadError::Invalid(problems) = dagrun::load(&file, &[]).unwrap_err() else {
        panic!("it is no problem of the file")
    };
    let [problem] = problems.list.as_slice() else { panic!("{problems}") };
    both(&problem.message);
    assert_eq!((problem.line, problem.column, problem.span.clone()), (2, 11, Some(19..23)));

    let dag = Dag::new("sides");
    dag.task(left::side, ());
    both(&dag.to_toml().unwrap_err().to_string());
}

/// In the environment of the process that calls `init`.
const CALLS_INIT: &str = "DAGRUN_TEST_CALLS_INIT";

#[test]
fn init_refuses_a_program_with_two_functions_of_a_name() {
    if std::env::var_os(CALLS_INIT).is_some() {
        dagrun::init();
        return;
    }
    let name = "identity::init_refuses_a_program_with_two_functions_of_a_name";
    let program = std::env::current_exe().unwrap();
    let mut process = Command::new(program);
    process.args([name, "--exact", "--nocapture"]).env(CALLS_INIT, "1");
    let output = process.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("are called `side`"), "{said}");
    assert!(said.contains("front::identity::left::side, "), "{said}");
    assert!(said.contains("front::identity::right::side"), "{said}");
}

#[dagrun::task]
fn number(n: u64) -> u64 {
    n
}

fn refused<T: std::fmt::Debug + Send + 'static>(pending: Pending<T>) -> String {
    match pending.wait().unwrap_err() {
        Error::Foreign { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn a_run_knows_the_handles_of_its_graph() {
    let cluster = cluster();
    let dag = Dag::new("numbers");
    let one = dag.task(number, (1,));
    let other = Dag::new("others");
    let seven = other.task(number, (7,));
    let sevens = other.map(number, [7, 8]);
    let run = cluster.submit(&dag).wait().unwrap();
    let late = dag.task(number, (2,));
    assert_eq!(run.result(&one).wait().unwrap(), 1);
    assert_eq!(run.clone().result(&one).wait().unwrap(), 1);

    let all = |task: &Handle<u64>| {
        let task = TaskRef::from(task);
        [
            refused(run.cancel_task(&task)),
            refused(run.instances(&task)),
            refused(run.logs(&task)),
            refused(run.explain(&task, 0)),
            refused(run.ready(&task)),
            refused(run.wait_all(&task)),
            refused(run.wait_first(&task)),
            refused(run.wait_failed(&task)),
        ]
    };
    let of_other = "it is of the graph `others`, and the run of `numbers`";
    assert_eq!(refused(run.result(&seven)), of_other);
    assert_eq!(refused(run.results(&sevens)), of_other);
    assert_eq!(refused(run.result_at(&sevens, 1)), of_other);
    for reason in all(&seven) {
        assert_eq!(reason, of_other);
    }
    let first = run.iter(&sevens).next().unwrap().unwrap_err();
    assert!(first.to_string().ends_with(of_other), "{first}");
    assert_eq!(run.iter(&sevens).count(), 1);
    let (_, first) = run.iter_completed(&sevens).next().unwrap();
    assert!(matches!(first, Err(Error::Foreign { .. })));

    let recorded_late = "its task was recorded in `numbers` after the run was submitted";
    assert_eq!(refused(run.result(&late)), recorded_late);
    for reason in all(&late) {
        assert_eq!(reason, recorded_late);
    }

    let same_name = Dag::new("numbers").task(number, (3,));
    let expected =
        "it is of the graph `numbers`, another graph of that name, and the run of `numbers`";
    assert_eq!(refused(run.result(&same_name)), expected);

    let again = cluster.run(run.id()).wait().unwrap();
    let expected = "it was taken up without its graph, and knows tasks by name only";
    assert_eq!(refused(again.result(&one)), expected);
    assert_eq!(again.value::<u64>("number", 0).wait().unwrap(), 1);
}

type Outcome<T> = Result<T, String>;
type Short = std::result::Result<u32, String>;

mod own {
    /// Not that of the standard library.
    #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
    pub(super) enum Result<T> {
        Some(T),
    }
}

#[dagrun::task]
fn aliased(x: u32) -> Outcome<u32> {
    if x == 0 { Err("it is zero".into()) } else { Ok(x) }
}

#[dagrun::task]
fn shortened(x: u32) -> Short {
    aliased(x)
}

#[dagrun::task]
fn of_io(x: u32) -> std::io::Result<u32> {
    if x == 0 { Err(std::io::Error::other("it is zero")) } else { Ok(x) }
}

#[dagrun::task]
fn no_result(x: u32) -> own::Result<u32> {
    own::Result::Some(x)
}

#[dagrun::task]
fn within(x: u32) -> Option<Result<u32, String>> {
    Some(aliased(x))
}

#[test]
fn whether_a_function_may_fail_is_decided_by_its_type() {
    let cluster = cluster();
    let fails = |pending: Pending<u32>| match pending.wait().unwrap_err() {
        Error::Failed(failed) => {
            assert_eq!((failed.state, &*failed.reason), (State::Failed, "it is zero"));
        }
        other => panic!("{other}"),
    };
    fails(cluster.call(aliased, (0,)));
    fails(cluster.call(shortened, (0,)));
    fails(cluster.call(of_io, (0,)));
    let one: u32 = cluster.call(aliased, (1,)).wait().unwrap();
    assert_eq!(one, cluster.call(shortened, (1,)).wait().unwrap());
    assert_eq!(cluster.call(no_result, (1,)).wait().unwrap(), own::Result::Some(1));
    assert_eq!(cluster.call(within, (0,)).wait().unwrap(), Some(Err("it is zero".into())));
}
