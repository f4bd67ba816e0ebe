//! What first users met, line by line in their words, and the test that holds what happens instead.

use std::path::Path;

/// What was given, the file, and the test in it; of a page, words of it.
const LINES: &[(&str, &str, &str)] = &[
    // Never lose or spoil a user's file
    (
        "an output that is a device, FIFO, socket, symlink or directory with a slash",
        "worker/src/outputs/tests.rs",
        "given_a_kind_at_the_path_then",
    ),
    (
        "refused by `check` where it can be seen",
        OUTPUTS,
        "check_and_submit_refuse_what_is_never_replaced",
    ),
    ("else before the rename", OUTPUTS, "what_is_known_only_in_the_run_is_refused_there"),
    ("`tar -caf {out.t}`", OUTPUTS, "the_name_keeps_its_ending"),
    (
        "numpy.save, ffmpeg, matplotlib by suffix",
        OUTPUTS,
        "programs_that_add_an_ending_find_it_there",
    ),
    (
        "directory as output, second run",
        OUTPUTS,
        "files_and_directories_are_replaced_run_after_run",
    ),
    (
        "the final path is written instead",
        OUTPUTS,
        "a_path_that_the_task_writes_itself_is_explained",
    ),
    (
        "attempt killed: the stray file",
        OUTPUTS,
        "what_a_killed_process_left_is_removed_at_the_next_start",
    ),
    (
        "output truncated by hand, then retry",
        RETRY,
        "an_instance_whose_files_have_changed_runs_again",
    ),
    // Never charge the machine's fault to the task
    ("EMFILE at start", MACHINE, "few_descriptors_mean_fewer_at_once"),
    ("EAGAIN at start", MACHINE, "few_processes_mean_fewer_at_once"),
    ("ENOSPC at start", MACHINE, "a_full_disk_is_waited_for"),
    ("a worker where programs are missing", MACHINE, "a_worker_without_programs_beside_a_good_one"),
    ("no worker has the program", MACHINE, "what_no_worker_has_fails_at_once"),
    (
        "retries wait for another worker",
        MACHINE,
        "a_retry_waits_for_the_busy_worker_where_it_has_not_failed",
    ),
    ("long arguments name the culprit", LONG, "what_does_not_fit_together_names_the_longest"),
    ("`check` finds what is static", LONG, "check_finds_what_is_static"),
    ("`{item:file}`, `stdin = \"{item}\"`", LONG, "an_item_of_1_mb_is_a_clear_error_or_a_file"),
    ("`{TASK.value:file}`", LONG, "a_value_is_always_the_text_and_its_file_is_asked_for"),
    ("`shell` gets the vars that fit", LONG, "a_shell_gets_only_the_vars_that_fit"),
    (
        "long items as `item_file`",
        LONG,
        "a_hundred_thousand_elements_in_three_parts_are_given_by_file",
    ),
    // Never leave a run in between
    ("second Ctrl-C", INTERRUPT, "the_second_ctrl_c_kills_at_once"),
    ("SIGHUP, terminal closed", INTERRUPT, "a_closed_terminal_interrupts_unless_it_is_ignored"),
    ("dead owner", INTERRUPT, "a_killed_run_can_be_gone_on_with"),
    ("cancel of what was interrupted", INTERRUPT, "cancelling_a_killed_run_gives_it_up"),
    ("a state directory that is full", BARE, "a_full_state_directory_is_named"),
    // Once more, rightly
    (
        "everything whose data came from it",
        RETRY,
        "what_has_its_data_from_a_failure_runs_again_and_what_is_only_ordered_does_not",
    ),
    (
        "`rerun = \"always\"`",
        AGAIN,
        "locks_are_taken_and_given_back_in_every_retry_that_needs_them",
    ),
    ("`--with FILE --set`", AGAIN, "a_run_goes_on_with_its_file_as_it_is_now"),
    (
        "the footer says when the file has changed",
        AGAIN,
        "the_end_of_a_failed_run_says_that_its_file_has_changed",
    ),
    (
        "`retry RUN 'price[7]'`",
        AGAIN,
        "selected_instances_run_again_and_what_has_its_data_from_them",
    ),
    // Tables that are read
    ("unclosed quote", SOURCES, "unclosed_quote_is_an_error_with_file_and_line"),
    ("duplicate JSON keys", SOURCES, "duplicate_json_keys_are_an_error_with_their_row"),
    ("`;` or tab", SOURCES, "csv_with_delimiter_comment_and_columns"),
    ("CRLF in the pipeline file", SOURCES, "crlf_in_the_pipeline_file_is_lf_in_multi_line_strings"),
    ("nothing there", SOURCES, "nothing_there_is_an_error_unless_it_is_allowed"),
    ("blank lines", SOURCES, "blank_lines_are_skipped_alike"),
    ("names from files", SOURCES, "names_from_files_make_parameters"),
    ("`group = \"read\"`", SOURCES, "a_group_gives_one_instance_a_sample_with_a_list"),
    ("`f_stem` in shell", SOURCES, "a_script_reads_fields_as_variables"),
    ("brackets and braces", SOURCES, "brackets_and_braces_are_escaped_by_a_backslash"),
    // `check` warns
    ("what `check` warns of", WARNINGS, "check_warns"),
    ("`--strict`", WARNINGS, "strict_makes_warnings_errors"),
    ("`--set` that changes the type", WARNINGS, "what_is_set_must_be_of_the_type_that_it_was"),
    ("sizes: `price 20000 = strike 40 × …`", WARNINGS, "sizes_are_shown_with_their_factors"),
    ("other words are known", "core/src/parse/keys.rs", "words_of_others_lead_to_keys"),
    // Tasks
    ("`script`", SCRIPTS, "a_script_is_run_by_its_first_line"),
    ("`$DAGRUN_PARAMS`", SCRIPTS, "everything_is_in_one_json_file"),
    ("`wrap`", SCRIPTS, "wrap_is_put_before_the_tasks_own_words"),
    ("`grow = { memory = 2.0 }`", MEMORY, "after_an_end_for_memory_the_next_attempt_asks_for_more"),
    ("`inputs` take placeholders", SOURCES, "inputs_take_placeholders"),
    (
        "`in.NAME` of a URL",
        "cli/tests/cli/urls.rs",
        "an_input_with_a_name_is_brought_once_and_each_attempt_has_a_copy",
    ),
    ("`in.NAME` of a file", "cli/tests/cli/inputs.rs", "a_file_here_is_read_where_it_is"),
    ("NaN and Infinity", SCRIPTS, "nan_and_infinity_in_captured_json_are_named"),
    ("`capture = \"json-lines\"`, `\"bytes\"`", SCRIPTS, "capture_of_json_lines_and_bytes"),
    ("`--max-fail`", SOURCES, "max_fail_bears_so_many_failures"),
    ("`--params`", WARNINGS, "params_come_from_files_and_set_wins"),
    ("`submit -`", SOURCES, "submit_reads_standard_input_with_its_state_in_the_current_directory"),
    ("`submit` without FILE", SOURCES, "submit_without_a_file_takes_pipeline_toml"),
    // On the terminal
    (
        "each bar is one line at every width",
        "cli/tests/terminal.rs",
        "each_bar_is_one_line_at_every_width_and_survives_resizing",
    ),
    (
        "`watch` of an embedded run lives",
        "cli/tests/cli/attach.rs",
        "wait_and_watch_end_with_the_run",
    ),
    (
        "`200 retried`, final outputs and values",
        ENDING,
        "a_run_that_succeeded_says_what_came_out_and_what_was_tried_again",
    ),
    (
        "failures grouped by task, reason and last line; a script as written",
        "cli/tests/cli/reports.rs",
        "several_failures_are_grouped_and_a_script_is_shown_as_written",
    ),
    (
        "`status last 'price[17]'`",
        "cli/tests/cli/select.rs",
        "every_command_takes_the_same_selectors",
    ),
    ("times per task", "cli/tests/cli/times.rs", "status_says_how_long_tasks_took"),
    (
        "local times for people",
        "cli/tests/cli/times.rs",
        "people_see_local_times_and_programs_those_of_greenwich",
    ),
    (
        "`output` on a task with outputs",
        "cli/tests/cli/select.rs",
        "outputs_are_told_by_their_paths",
    ),
    ("`run` = `submit`, `ls` = `runs`", COMMANDS, "commands_have_second_names"),
    ("`init`", COMMANDS, "the_first_pipeline_runs_as_it_is_and_is_never_overwritten"),
    (
        "`help`, man pages with exit codes",
        COMMANDS,
        "help_is_there_for_each_command_with_its_exit_codes",
    ),
    ("`runs --limit --state --name`", COMMANDS, "runs_are_listed_by_state_and_name"),
    ("`--color`, `FORCE_COLOR`", COMMANDS, "colours_are_there_when_they_are_asked_for"),
    ("`fmt`", "cli/tests/cli/fmt.rs", "files_are_formatted_in_place_and_keep_their_permissions"),
    (
        "completions of clusters",
        "cli/tests/cli/complete.rs",
        "clusters_and_their_workers_are_offered",
    ),
    (
        "completions of runs and tasks",
        "cli/tests/cli/complete.rs",
        "runs_and_their_tasks_are_offered",
    ),
    ("`dagrun each`", "cli/tests/cli/each.rs", "a_command_runs_once_for_each_item"),
    ("`graph` svg", "cli/tests/cli/graph.rs", "a_run_is_drawn_in_the_colours_of_its_states"),
    ("other people's or read-only `.dagrun`", BARE, "other_peoples_runs_are_read"),
    ("history of a stopped cluster", BARE, "a_stopped_cluster_has_a_history"),
    ("`cluster start -n N` shares", BARE, "workers_of_a_cluster_share_the_machine"),
    // Found in a second round
    (
        "a diagnostic may never panic or flood",
        "cli/tests/cli/files.rs",
        "a_problem_in_a_very_long_line_is_shown_in_a_window",
    ),
    ("names that a shell cannot read", WARNINGS, "names_that_a_shell_cannot_read"),
    ("names that the shell sets itself", WARNINGS, "names_that_the_shell_sets_itself_are_refused"),
    (
        "a run never fails without its reason",
        "cli/tests/cli/faults.rs",
        "a_run_never_fails_without_its_reason",
    ),
    (
        "`exec` takes no slot and never waits behind work",
        "cli/tests/cli/exec.rs",
        "a_command_runs_at_once_where_every_slot_is_busy",
    ),
    ("`exec` is never `last`", "cli/tests/cli/exec.rs", "a_command_is_never_the_last_run"),
    // Documents
    ("install line", "README.md", "cargo install"),
    ("the rule of `run` and `shell` in a box", "README.md", "The rule of `run` and `shell`"),
    ("cookbook", "docs/cookbook.md", "# Cookbook"),
    ("coming from", "docs/coming-from.md", "Snakemake"),
    ("troubleshooting", "docs/troubleshooting.md", "# Troubleshooting"),
];

const AGAIN: &str = "cli/tests/cli/again.rs";
const BARE: &str = "cli/tests/cli/bare.rs";
const COMMANDS: &str = "cli/tests/cli/commands.rs";
const ENDING: &str = "cli/tests/cli/ending.rs";
const INTERRUPT: &str = "cli/tests/cli/interrupt.rs";
const LONG: &str = "cli/tests/cli/long.rs";
const MACHINE: &str = "cli/tests/cli/machine.rs";
const MEMORY: &str = "cli/tests/cli/memory.rs";
const OUTPUTS: &str = "cli/tests/cli/outputs.rs";
const RETRY: &str = "cli/tests/cli/retry.rs";
const SCRIPTS: &str = "cli/tests/cli/scripts.rs";
const SOURCES: &str = "cli/tests/cli/sources.rs";
const WARNINGS: &str = "cli/tests/cli/warnings.rs";

#[test]
fn each_line_is_held_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut lacking = Vec::new();
    for (line, file, words) in LINES {
        let is_code = file.ends_with(".rs");
        let sought = if is_code { format!("fn {words}()") } else { (*words).to_owned() };
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        if !text.contains(&sought) {
            lacking.push(format!("{line}: {file} has no `{sought}`"));
        }
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}
