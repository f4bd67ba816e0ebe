//! What happens when things break, row by row in its words, and the end-to-end test that holds it.

use std::path::Path;

/// A row, what of it, the file, and the test in it.
const ROWS: &[(&str, &str, &str, &str)] = &[
    ("SIGKILL of the scheduler", "its runs go on", PRESENCE, SCHEDULER_KILLED),
    (
        "SIGKILL of the scheduler",
        "running attempts keep their pids, clients go on waiting",
        ADOPTION,
        "what_runs_keeps_its_processes_and_who_waits_goes_on_waiting",
    ),
    (
        "SIGKILL of the scheduler",
        "what ends meanwhile counts once",
        ADOPTION,
        "what_ends_without_a_scheduler_counts_once",
    ),
    ("SIGKILL of the scheduler", "twice", ADOPTION, "two_kills_change_nothing_for_what_runs"),
    (
        "SIGKILL of an embedded run, power cut, closed terminal",
        "`resume` runs only what had not succeeded",
        RESUME,
        "after_kills_only_what_had_not_ended_runs_and_no_attempt_is_made_twice",
    ),
    ("closed terminal", "SIGHUP", INTERRUPT, "a_closed_terminal_interrupts_unless_it_is_ignored"),
    (
        "worker killed",
        "its attempts run elsewhere at once",
        PRESENCE,
        "the_work_of_a_killed_worker_does_not_wait_for_the_end_of_its_lease",
    ),
    (
        "worker killed",
        "only what ran is blamed",
        PRESENCE,
        "a_task_that_kills_its_worker_is_found_and_the_others_are_not_blamed",
    ),
    ("cut off", "nothing is lost", PRESENCE, "a_cut_line_loses_nothing"),
    (
        "cut off",
        "again and again",
        PRESENCE,
        "lines_that_are_cut_again_and_again_lose_nothing_either",
    ),
    (
        "paused",
        "what it still runs may not publish",
        PRESENCE,
        "what_a_paused_worker_ran_is_not_placed_any_more",
    ),
    (
        "scheduler paused or the clock jumps",
        "no worker is lost",
        PRESENCE,
        "a_scheduler_that_was_stopped_for_longer_than_a_lease_loses_nobody",
    ),
    (
        "worker told to stop",
        "finishes what runs, takes nothing new",
        PRESENCE,
        "a_worker_told_to_stop_finishes_what_runs_and_takes_nothing_new",
    ),
    (
        "worker told to stop",
        "blames nobody",
        PRESENCE,
        "graceful_stops_cost_neither_retries_nor_max_lost",
    ),
    (
        "the worker that held a value dies",
        "the value is made again, consumers burn no attempt",
        VALUES,
        "a_value_whose_worker_has_died_is_made_again",
    ),
    (
        "the worker that held a value dies",
        "consumers wait",
        VALUES,
        "who_waits_for_a_value_that_is_made_again_says_so",
    ),
    (
        "the worker that held a value dies",
        "with a run that is resumed",
        RESUME,
        "arrays_parts_and_long_values_are_still_there",
    ),
    ("disk full", "embedded", FULL, "disk_full_embedded"),
    ("disk full", "on a cluster", FULL, "disk_full_on_a_cluster"),
    ("disk full", "killed meanwhile", BARE, "a_full_state_directory_is_named"),
    ("disk full", "where a task writes", MACHINE, "a_full_disk_is_waited_for"),
    (
        "state directory or database removed, truncated, of a newer version, damaged",
        "in the middle of a run",
        VANISH,
        "an_embedded_run_says_what_became_of_its_state_directory",
    ),
    (
        "state directory or database removed, truncated, of a newer version, damaged",
        "on a cluster",
        VANISH,
        "a_scheduler_says_so_to_those_who_wait_and_to_those_who_come",
    ),
    (
        "state directory or database removed, truncated, of a newer version, damaged",
        "at a start",
        TWO,
        "a_state_directory_that_lacks_its_database_or_has_another_is_left_alone",
    ),
    (
        "state directory or database removed, truncated, of a newer version, damaged",
        "`runs/` removed",
        "cli/tests/cli/logs.rs",
        "logs_that_were_removed_are_not_taken_for_empty",
    ),
    ("two schedulers on one state directory", "", TWO, "two_schedulers_on_one_state_directory"),
    ("two of one cluster name", "", TWO, "two_schedulers_of_one_cluster_name"),
    ("two submits of one file", "", TWO, "two_submits_of_one_file"),
    ("a bad worker", "no such program", MACHINE, "a_worker_without_programs_beside_a_good_one"),
    ("a bad worker", "EMFILE", MACHINE, "few_descriptors_mean_fewer_at_once"),
    ("a bad worker", "EAGAIN", MACHINE, "few_processes_mean_fewer_at_once"),
    (
        "a bad worker",
        "`workers` says why",
        MACHINE,
        "status_workers_and_explain_say_what_a_machine_refuses",
    ),
    (
        "a bad worker",
        "`retries` wait for another suitable worker",
        MACHINE,
        "a_retry_waits_for_the_busy_worker_where_it_has_not_failed",
    ),
    ("leftovers", "of killed workers", PRESENCE, "what_killed_workers_left_is_removed"),
    (
        "a task beyond its `memory`",
        "ended with the reason",
        MEMORY,
        "what_uses_more_than_its_memory_is_ended",
    ),
    ("a task beyond its `memory`", "else a note", MEMORY, "elsewhere_it_is_noted"),
    (
        "a task beyond its `memory`",
        "a worker stops taking work before its machine swaps",
        MEMORY,
        "a_worker_with_little_memory_left_takes_nothing_more",
    ),
    (
        "leftovers",
        "children that leave the process group",
        ORPHANS,
        "what_left_its_group_ends_with_its_attempt",
    ),
    (
        "leftovers",
        "of an attempt that is stopped",
        ORPHANS,
        "what_left_its_group_ends_with_an_attempt_that_is_stopped",
    ),
    ("PID 1 in a container", "", BARE, "as_process_1"),
    (
        "PID 1 in a container",
        "orphans are reaped",
        ORPHANS,
        "the_first_process_of_a_container_reaps_what_is_left_to_it",
    ),
    ("all of it at random", "the audit adds up", CHAOS, "the_audit_adds_up_whatever_happens"),
    (
        "a client that never reads",
        "costs at most 64 MiB",
        LIMITS,
        "a_client_that_asks_and_never_reads_costs_at_most_64_mib",
    ),
    ("half-open connections", "", LIMITS, "sockets_without_a_token_lock_nobody_out"),
    ("3,000 sessions on one line", "", LIMITS, "a_line_has_a_limited_number_of_sessions"),
    (
        "logins that fail",
        "",
        LIMITS,
        "failed_logins_end_their_connection_and_are_slowed_counted_and_logged",
    ),
    (
        "garbage",
        "",
        "scheduler/tests/protocol/hostile.rs",
        "garbage_closes_its_connection_and_no_other",
    ),
];

const ADOPTION: &str = "cli/tests/cli/adoption.rs";
const BARE: &str = "cli/tests/cli/bare.rs";
const CHAOS: &str = "cli/tests/cli/chaos.rs";
const FULL: &str = "cli/tests/cli/full.rs";
const INTERRUPT: &str = "cli/tests/cli/interrupt.rs";
const LIMITS: &str = "scheduler/tests/protocol/limits.rs";
const MACHINE: &str = "cli/tests/cli/machine.rs";
const MEMORY: &str = "cli/tests/cli/memory.rs";
const ORPHANS: &str = "cli/tests/cli/orphans.rs";
const PRESENCE: &str = "cli/tests/cli/presence.rs";
const VALUES: &str = "cli/tests/cli/values.rs";
const RESUME: &str = "cli/tests/cli/resume.rs";
const TWO: &str = "cli/tests/cli/two.rs";
const VANISH: &str = "cli/tests/cli/vanish.rs";

const SCHEDULER_KILLED: &str =
    "a_scheduler_that_was_killed_goes_on_with_its_runs_when_it_is_there_again";

#[test]
fn each_row_is_held_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut lacking = Vec::new();
    for (row, what, file, test) in ROWS {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        if !text.contains(&format!("#[test]\nfn {test}()")) {
            lacking.push(format!("{row} ({what}): {file} has no test `{test}`"));
        }
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}
