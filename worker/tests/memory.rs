//! Attempts that use memory, with real processes.

mod common;

use common::{LIMIT, Place, pid_in, reason, sh, until};
use dagrun_core::engine::Outcome;
use dagrun_core::recipe::Invocation;
use dagrun_core::status::{FailureKind, Stream};
use dagrun_worker::groups::Mark;
use dagrun_worker::runner::Runner;

const OUT_OF_MEMORY: Outcome = Outcome::Failed(FailureKind::Memory);

/// `tail` keeps what it may have to print, here 200 MiB, until it is ended.
const HOG: &str = "(head -c 200M /dev/zero; sleep 1000) | tail -c 200M > /dev/null";

fn place(enforce: bool) -> Place {
    let place = Place::new();
    let runner = Runner::new(Mark::random(), None, LIMIT).enforcing_memory(enforce);
    Place { runner, ..place }
}

fn asking(place: &Place, script: &str, memory: u64) -> Invocation {
    Invocation { memory, ..sh(place.path(), script) }
}

#[test]
fn what_uses_more_than_it_asked_for_is_ended_and_says_how_much() {
    let place = place(true);
    let ended = place.run(&asking(&place, HOG, 100 << 20));
    assert_eq!(ended.outcome, OUT_OF_MEMORY);
    let reason = reason(&ended);
    let used =
        reason.strip_prefix("used ").and_then(|rest| rest.strip_suffix(", asked for 100 MiB"));
    let used: f64 =
        used.and_then(|used| used.strip_suffix(" MiB")).unwrap_or(reason).parse().unwrap();
    assert!(used > 100.0 && used < 220.0, "{reason}");
}

#[test]
fn children_count_that_left_the_group() {
    let place = place(true);
    let ended = place.run(&asking(&place, &format!("setsid -w sh -c '{HOG}'"), 100 << 20));
    assert_eq!(ended.outcome, OUT_OF_MEMORY);
}

#[test]
fn what_asked_for_enough_or_for_nothing_goes_on() {
    let place = place(true);
    let script = "(head -c 50M /dev/zero; sleep 1) | tail -c 50M > /dev/null";
    for memory in [0, 400 << 20] {
        let ended = place.run(&asking(&place, script, memory));
        assert_eq!((ended.outcome, ended.detail), (Outcome::Succeeded, None));
    }
}

/// A shell with 64 MiB forks ten times: all share these.
#[test]
fn what_processes_share_counts_once() {
    let place = place(true);
    let run = |seconds: u32, memory: u64| {
        let script = format!(
            "x=$(head -c 64M /dev/zero | tr '\\0' x)\n\
             for i in 1 2 3 4 5 6 7 8 9 10; do (sleep {seconds}; : ${{#x}}) & done; wait"
        );
        let mut invocation = asking(&place, &script, memory);
        invocation.argv[0] = "bash".into();
        place.run(&invocation)
    };
    let ended = run(2, 400 << 20);
    assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
    assert_eq!(run(1_000, 48 << 20).outcome, OUT_OF_MEMORY);
}

#[test]
fn where_it_is_not_enforced_it_is_noted_once_for_the_task() {
    let place = place(false);
    let script = "echo $$ > pid; (head -c 200M /dev/zero; until [ -e go ]; do sleep 0.02; done) | \
                  tail -c 200M > /dev/null";
    let noted = || String::from_utf8(place.logged(Stream::Note)).unwrap();
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| place.run(&asking(&place, script, 100 << 20)));
        pid_in(&place.path().join("pid"));
        until("it is noted", || {
            place.log.flush();
            noted().contains(", asked for 100 MiB").then_some(())
        });
        std::fs::write(place.path().join("go"), "").unwrap();
        let ended = ended.join().unwrap();
        assert_eq!(ended.outcome, Outcome::Succeeded);
        assert!(reason(&ended).ends_with(", asked for 100 MiB"), "{ended:?}");
    });
    let ended = place.run(&asking(&place, script, 100 << 20));
    assert_eq!((ended.outcome, ended.detail), (Outcome::Succeeded, None));
    assert_eq!(noted().matches("asked for").count(), 1);
}

#[test]
fn a_kill_while_memory_is_left_is_a_signal() {
    let place = place(true);
    let ended = place.run(&asking(&place, "kill -9 $$", 1 << 30));
    assert_eq!(ended.outcome, Outcome::Failed(FailureKind::Signal(9)));
}
