//! What newcomers to the library met, line by line in their words, and the test that holds what happens instead.

use std::path::Path;

/// What was given, the file, and the test in it. For a program that must not compile, the file is what the compiler
/// says of it, and the last column words of that.
const LINES: [(&str, &str, &str); 48] = [
    // Wrong results, silently
    (
        "two functions of one name and type",
        FRONT_IDENTITY,
        "functions_of_one_name_and_type_answer_for_themselves",
    ),
    (
        "short names are unique: refused by `check`",
        FRONT_IDENTITY,
        "a_file_cannot_mean_one_of_several_functions",
    ),
    (
        "short names are unique: refused by `init`",
        FRONT_IDENTITY,
        "init_refuses_a_program_with_two_functions_of_a_name",
    ),
    (
        "a handle of another `Dag`, or recorded later",
        FRONT_IDENTITY,
        "a_run_knows_the_handles_of_its_graph",
    ),
    (
        "`type R<T> = Result<T, String>` as return type",
        FRONT_IDENTITY,
        "whether_a_function_may_fail_is_decided_by_its_type",
    ),
    (
        "axes that do not fit the struct",
        FRONT_FIT,
        "axes_that_do_not_fit_are_found_before_anything_runs",
    ),
    (
        "the first failure says which field",
        FRONT_FIT,
        "what_is_found_only_in_the_run_names_its_field",
    ),
    // Work left behind
    (
        "a dropped iterator of `client.map`",
        FRONT_LEFT,
        "a_map_takes_a_few_items_ahead_and_cancels_them_when_it_is_dropped",
    ),
    (
        "its window is a few times the slots",
        FRONT_LEFT,
        "a_map_goes_on_after_a_failure_and_never_exceeds_its_window",
    ),
    ("a dropped `Pending` of a call", FRONT_LEFT, "a_dropped_call_is_cancelled"),
    ("unless `.detach()`ed", FRONT_LEFT, "a_detached_call_goes_on"),
    ("`Pending::cancel()`", FRONT_LEFT, "a_call_is_cancelled_by_its_answer"),
    (
        "workers are killed after `builder().grace`",
        "tests/spawned.rs",
        "workers_that_do_not_listen_are_killed_with_the_cluster",
    ),
    // Async and starting
    ("`start`/`submit` are `Pending`", FRONT_LINES, "submitting_is_awaited"),
    ("`client.map` is a Stream too", FRONT_LEFT, "a_map_is_a_stream"),
    (
        "the first early death of a worker",
        "tests/spawned.rs",
        "a_worker_that_dies_before_it_joins_is_reported_with_its_exit_code",
    ),
    ("works from `cargo test`", "tests/spawned.rs", "a_test_has_workers_that_are_processes"),
    (
        "the missing `use tasklib as _;`",
        "tests/functions.rs",
        "a_call_that_no_worker_has_is_refused",
    ),
    // Saying it well
    ("closures cannot travel", "closure", "closures and plain functions cannot travel to a worker"),
    ("the function comes first", "first", "the function comes first"),
    ("`&Context` not `Context`", "context", "`&Context`"),
    (
        "serde missing on an input",
        "serde_input",
        "add `#[derive(serde::Serialize, serde::Deserialize)]`",
    ),
    ("serde missing on an output", "serde_output", "consider adding `#[derive(serde::Serialize)]`"),
    ("`results` for arrays", "results", "asked for with `run.results(&array)`"),
    ("tuples", "tuple", "tuple"),
    (
        "`dag.map(f2, [(1.0, 2)])` takes tuples, `client.map` too",
        FRONT_WORDS,
        "functions_of_several_inputs_are_mapped_over_tuples",
    ),
    (
        "sweeps of functions of several inputs",
        FRONT_FIT,
        "functions_of_several_inputs_are_mapped_over_tuples",
    ),
    (
        "`IntoArg<Option<T>> for &Handle<T>`",
        FRONT_WORDS,
        "an_input_that_may_be_missing_takes_a_handle",
    ),
    (
        "`Vec<Option<T>>` alone tolerates failures",
        FRONT_WORDS,
        "a_list_of_options_alone_tolerates_failures",
    ),
    (
        "`wait_failed((&a, &b))` of different types",
        FRONT_WORDS,
        "what_is_waited_for_may_be_of_different_types",
    ),
    (
        "`Dependency::all(&a).on_failure()`",
        FRONT_WORDS,
        "what_is_waited_for_may_be_of_different_types",
    ),
    (
        "root exports; `Retry::times(2).delay(…)`",
        FRONT_WORDS,
        "the_words_of_options_are_at_the_root",
    ),
    ("times as `SystemTime`/`Duration`", FRONT_WORDS, "times_are_those_of_the_standard_library"),
    (
        "`#[dagrun::task(handle = Pid)]`",
        FRONT_WORDS,
        "a_task_can_have_a_name_of_its_own_in_the_program",
    ),
    (
        "a reduce with an identity for width 0",
        FRONT_WORDS,
        "a_reduction_with_an_identity_has_a_value_at_width_0",
    ),
    ("resubmit (`client.retry(run)`)", FRONT_WORDS, "a_run_is_submitted_once_more"),
    (
        "purge (`client.forget(run)`)",
        "tests/forget.rs",
        "a_forgotten_run_is_unknown_and_what_a_later_one_took_over_stays",
    ),
    (
        "live views (`cluster.view_all()` that late workers join)",
        "tests/processes.rs",
        "a_late_worker_is_in_a_live_view",
    ),
    ("`builder().workers(0)` means none", FRONT_WORDS, "a_cluster_may_have_no_workers"),
    ("`Error::Value` says what was there", FRONT_WORDS, "a_value_of_another_type_is_shown"),
    ("views do not leak `dagrun__pull[0]`", FRONT_WORDS, "what_views_do_is_called_as_they_call_it"),
    (
        "lost workers say exit status or signal",
        "tests/processes.rs",
        "who_kills_its_worker_harms_nobody_else",
    ),
    ("`Failed.source()`", FRONT_WORDS, "a_failure_has_the_causes_that_the_function_named"),
    // Documents
    ("docs/rust.md: testing", "docs/rust.md", "## Testing"),
    ("docs/rust.md: views", "docs/rust.md", "## Views"),
    ("docs/rust.md: async servers", "docs/rust.md", "### In an async server"),
    ("docs/rust.md: libraries of tasks", "docs/rust.md", "## Libraries of tasks"),
    ("README of the crate with features", "src/README.md", "## Features"),
];

const FRONT_FIT: &str = "tests/front/fit.rs";
const FRONT_IDENTITY: &str = "tests/front/identity.rs";
const FRONT_LEFT: &str = "tests/front/left_behind.rs";
const FRONT_LINES: &str = "tests/front/lines.rs";
const FRONT_WORDS: &str = "tests/front/words.rs";

#[test]
fn each_line_is_held_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (line, file, words) in LINES {
        let (path, sought) = match file.rsplit_once('.') {
            Some((_, "rs")) => (root.join(file), format!("\nfn {words}()")),
            Some(_) => (root.join(file), format!("\n{words}\n")),
            None => {
                let folder = root.join("core/macros/tests/compile");
                (folder.join(format!("{file}.stderr")), words.to_owned())
            }
        };
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text.contains(&sought), "{line}: {} has no {sought:?}", path.display());
    }
}

#[dagrun::task]
fn doubled(x: u64) -> u64 {
    2 * x
}

#[test]
fn submitting_is_awaited() {
    let cluster = super::cluster();
    let dag = dagrun::Dag::new("awaited");
    let four = dag.task(doubled, (2,));
    let value =
        futures::executor::block_on(async { cluster.submit(&dag).await?.result(&four).await });
    assert_eq!(value.unwrap(), 4);
}
