//! Observers: each has a task of its own that sends one update at a time. What happens meanwhile is
//! merged into the next.

use std::rc::Rc;
use std::time::Duration;

use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::status::{Failure, RunState};
use dagrun_schema::dagrun_capnp::{observer, subscription};
use dagrun_schema::wire::{Message as _, Update};
use tokio::task::JoinHandle;

use super::load::Watching;
use crate::driver::ObserverState;

/// The time between two updates: people do not read faster.
const PACE: Duration = Duration::from_millis(100);
/// The same for programs that wait for instances, and for everybody when a task has ended or begun
/// to fail.
const HURRY: Duration = Duration::from_millis(10);

/// Ends its observer's task when the last client drops it.
struct SubscriptionServer(JoinHandle<()>, #[expect(dead_code, reason = "held")] Watching);

impl subscription::Server for SubscriptionServer {}

impl Drop for SubscriptionServer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends `client` updates on a live run until its end.
pub(super) fn follow(
    state: Rc<ObserverState>,
    client: observer::Client,
    watching: Watching,
) -> subscription::Client {
    let more = if state.is_detailed() { Duration::ZERO } else { PACE - HURRY };
    subscribe(watching, async move {
        loop {
            state.changed().await;
            let mut update = state.take();
            if let Some(problem) = state.problem() {
                // The run cannot be recorded any further: for this client it has failed.
                update.state = RunState::Failed;
                update.failures.insert(0, unrecorded(problem));
            }
            if send(&client, &update).await.is_err() || is_final(update.state) {
                return;
            }
            pause(&state, HURRY, more).await;
        }
    })
}

/// Waits for `least` and, unless something urgent happens, for `more`. The end of the run cuts both
/// short.
async fn pause(state: &ObserverState, least: Duration, more: Duration) {
    let least = tokio::time::sleep(least);
    tokio::pin!(least);
    let mut urgent = false;
    while !state.is_over() {
        tokio::select! {
            () = &mut least => break,
            () = state.hurry() => urgent = true,
        }
    }
    if !urgent && !more.is_zero() && !state.is_over() {
        let _ = tokio::time::timeout(more, state.hurry()).await;
    }
}

/// Sends `client` the final update on a run that has ended.
pub(super) fn send_once(
    update: Update,
    client: observer::Client,
    watching: Watching,
) -> subscription::Client {
    subscribe(watching, async move {
        // An observer that has disconnected needs no update.
        let _ = send(&client, &update).await;
    })
}

fn subscribe(watching: Watching, task: impl Future<Output = ()> + 'static) -> subscription::Client {
    capnp_rpc::new_client(SubscriptionServer(tokio::task::spawn_local(task), watching))
}

/// Whether nothing follows an update of this state.
pub(super) fn is_final(state: RunState) -> bool {
    state != RunState::Running
}

fn unrecorded(problem: String) -> Failure {
    Failure {
        instance: InstanceId { task: TaskId(0), index: 0 },
        reason: problem,
        stderr_tail: Vec::new(),
    }
}

async fn send(client: &observer::Client, update: &Update) -> Result<(), capnp::Error> {
    let mut request = client.update_request();
    update.write(request.get().init_update());
    request.send().promise.await.map(drop)
}
