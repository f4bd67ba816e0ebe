//! Cancelling while tasks run.

use dagrun::rpc::Scope;
use dagrun_core::status::{Counts, RunState, State};
use dagrun_scheduler::History;

use crate::rig::{Rig, block_on, ended};

#[test]
fn always_on_cancel() {
    let rig = Rig::with_worker();
    block_on(async {
        let (flag, done) = (rig.path("started"), rig.path("notified"));
        let run = rig
            .submit(&format!(
                "[task.work]\nshell = \"touch '{}'; sleep 60\"\n\
                 [task.next]\nrun = [\"true\"]\nafter = \"work\"\n\
                 [task.notify]\nalways = true\nrun = [\"touch\", '{}']\n\
                 after = {{ all = [\"work\", \"next\"], on = \"finish\" }}",
                flag.display(),
                done.display()
            ))
            .await;
        rig.wait_for("started").await;
        run.cancel(Scope::Run).await.unwrap();
        let ended = ended(&run).await;
        assert_eq!(ended.status.state, RunState::Cancelled);
        let states: Vec<State> = ended.rows.iter().map(|row| row.state).collect();
        assert_eq!(states, [State::Cancelled, State::Cancelled, State::Succeeded]);
        assert!(done.exists());
        assert!(ended.only("notify").started >= ended.only("work").finished);
    });
}

#[test]
fn cancel_then_late_success() {
    let rig = Rig::with_worker();
    block_on(async {
        let text = "[task.a]\nshell = \"trap 'exit 0' TERM; touch started; while :; do sleep 0.01; done\"\n\
                    [task.good]\nrun = [\"true\"]\nafter = \"a\"\n\
                    [task.bad]\nrun = [\"true\"]\nafter = { all = \"a\", on = \"failure\" }";
        let run = rig.submit(text).await;
        let (mut one, mut two) = (run.watch().await.unwrap(), run.watch().await.unwrap());
        rig.wait_for("started").await;
        run.cancel(Scope::Task("a")).await.unwrap();
        let ended = ended(&run).await;
        let state = ended.only("a").state;
        assert!(state.is_terminal());
        // Its dependents believe the same.
        let (good, bad) = match state {
            State::Succeeded => (State::Succeeded, State::Skipped),
            _ => (State::Skipped, State::Succeeded),
        };
        assert_eq!((ended.states("good"), ended.states("bad")), (vec![good], vec![bad]));
        for observer in [&mut one, &mut two] {
            let mut seen = Vec::new();
            while let Some(update) = observer.next().await {
                let of_a = update.tasks.iter().filter(|task| task.task.at() == 0);
                seen.extend(of_a.map(|task| task.counts));
                if update.state != RunState::Running {
                    assert_eq!(update.state, ended.status.state);
                    break;
                }
            }
            assert_eq!(seen.iter().map(Counts::terminal).max(), Some(1));
            assert_eq!(seen.last().unwrap().of(state), 1, "the same for every observer");
        }
        let history = History::open(&rig.path("state")).unwrap();
        assert_eq!(history.status(run.id()).unwrap().tasks[0].counts.of(state), 1);
    });
}
