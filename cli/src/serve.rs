//! `dagrun scheduler` and `dagrun worker`: one process each, in the foreground, until a signal or
//! the cluster's end.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use dagrun::ClusterError;
use dagrun::program::Staying;
use dagrun::rpc::{Client, ClientError};
use dagrun_core::ids::Micros;
use dagrun_core::one_line;
use dagrun_core::status::{RunState, RunSummary};
use dagrun_scheduler::connection::{ClusterDir, Role, Token};
use dagrun_scheduler::{SchedulerHandle, StartError};
use dagrun_worker::EndReason;

use crate::args::{SchedulerArgs, WorkerArgs};
use crate::exit::{Exit, Failure};
use crate::signals::{Signal, Signals};
use crate::terminal;

fn broken(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{what}: {}", one_line(error)))
}

fn unreachable(cluster: &str, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("cluster {cluster}: {why}"))
}

/// Leaves the terminal's session, so that nothing that ends it ends this process.
fn leave_session(wanted: bool) {
    if wanted {
        // It fails for the leader of a group, which is in a session of its own already or in the
        // foreground of a shell.
        let _ = rustix::process::setsid();
    }
}

/// Runs a scheduler until someone ends it.
pub(crate) fn scheduler(args: &SchedulerArgs) -> Result<Exit, Failure> {
    leave_session(args.new_session);
    let folder = ClusterDir::of(args.cluster.name())?;
    let failed = |error: &dyn std::error::Error| broken("the scheduler cannot start", error);
    let _held = folder.hold().map_err(|error| failed(&error))?;
    folder.claim().map_err(|error| failed(&error))?;
    // Whoever knows the last scheduler of this cluster knows this one.
    let former = folder.read(Role::Client).ok().zip(folder.read(Role::Worker).ok());
    let (client, worker) = match &former {
        Some((client, worker)) => (client.token.clone(), worker.token.clone()),
        None => tokens().map_err(|error| failed(&error))?,
    };
    let state_dir = args.state_dir.clone().unwrap_or_else(|| folder.state_dir());
    let mut config =
        dagrun_scheduler::Config::new(state_dir, client.bytes().to_vec(), worker.bytes().to_vec());
    config.listen = Some(args.listen);
    config.scheme = args.scheme;
    config.lease = args.lease.to_duration();
    config.log = Some(terminal::print);
    (config.shared, config.continues) = (true, true);
    let before = former
        .map(|(client, _)| client.address)
        .filter(|before| args.listen.port() == 0 && before.ip() == args.listen.ip());
    config.listen = before.or(config.listen);
    let scheduler = match dagrun_scheduler::spawn(config.clone()) {
        // Others have its port by now.
        Err(StartError::Listen { .. }) if before.is_some() => {
            config.listen = Some(args.listen);
            dagrun_scheduler::spawn(config)
        }
        started => started,
    };
    let scheduler = scheduler.map_err(|error| failed(&error))?;
    let address = scheduler.address().unwrap_or(args.listen);
    if let Err(error) = folder.publish(address, &client, &worker) {
        scheduler.shutdown();
        scheduler.join();
        return Err(failed(&error));
    }
    announce(args.cluster.name(), address);
    let end = crate::on_local_set(until_the_end(scheduler, client));
    match end {
        // Whoever waits for its runs, and its workers, look for the next one there.
        Ok(End::Left) => Ok(Exit::Success),
        Ok(End::Whole(exit)) => {
            folder.withdraw();
            Ok(exit)
        }
        Err(failure) => {
            folder.withdraw();
            Err(failure)
        }
    }
}

/// How a scheduler has ended.
enum End {
    /// With its workers.
    Whole(Exit),
    /// Alone: runs and workers go on with the next one.
    Left,
}

fn tokens() -> Result<(Token, Token), dagrun_scheduler::connection::ConnectionError> {
    Ok((Token::random()?, Token::random()?))
}

fn announce(cluster: &str, address: SocketAddr) {
    terminal::print(&format!("scheduler of cluster {cluster}: listening on {address}"));
}

/// Waits until a client ends the scheduler, or does so as a client when a signal comes. One that is to
/// end by SIGTERM, or when the machine or the terminal closes, leaves unfinished runs to the next one.
async fn until_the_end(scheduler: SchedulerHandle, token: Token) -> Result<End, Failure> {
    let mut signals = Signals::take()?;
    let client = async {
        let (ours, theirs) = UnixStream::pair()?;
        scheduler.attach(theirs);
        ours.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(ours)
    };
    let stream = client.await.map_err(|error| broken("no socket", &error))?;
    let client = Client::attach(stream, token.bytes()).await?;
    continue_runs(&client).await?;
    let leave = scheduler.leaving();
    let mut ended = tokio::task::spawn_blocking(move || scheduler.join());
    let signal = tokio::select! {
        _ = &mut ended => return Ok(End::Whole(Exit::Success)),
        signal = signals.next() => signal,
    };
    // What cannot be read may well be runs that have not ended.
    let leaves = signal != Signal::Interrupt && has_runs(&client).await.unwrap_or(true);
    match leaves {
        true => leave(),
        false => client.shutdown().await?,
    }
    drop(client);
    let end = if leaves { |_| End::Left } else { End::Whole };
    // A scheduler that does not end in time has lost its workers, not its patience: once more ends
    // this process.
    tokio::select! {
        _ = &mut ended => Ok(end(Exit::Success)),
        signal = signals.next() => Ok(end(signal.exit())),
    }
}

/// Whether runs of this scheduler have not ended, or are about to be gone on with.
async fn has_runs(client: &Client) -> Result<bool, ClientError> {
    Ok(client.runs(u32::MAX).await?.iter().any(|run| run.finished.is_none()))
}

/// How long a run that cannot be gone on with for want of space waits before that is tried again.
const SPACE: Duration = Duration::from_secs(1);

/// Goes on with the runs that a scheduler of this cluster left unfinished because it was killed.
async fn continue_runs(client: &Client) -> Result<(), Failure> {
    let unfinished =
        |run: &RunSummary| run.state == RunState::Interrupted && run.finished.is_none();
    let runs = client.runs(u32::MAX).await?;
    for run in runs.into_iter().filter(unfinished).map(|run| run.run) {
        let client = client.clone();
        tokio::task::spawn_local(async move {
            let gone_on = loop {
                match client.resume(run).await {
                    Err(ClientError::NotNow { .. }) => tokio::time::sleep(SPACE).await,
                    gone_on => break gone_on,
                }
            };
            match gone_on {
                Ok(_) => terminal::print(&format!("goes on with run {run}")),
                Err(error) => {
                    terminal::print(&format!("cannot go on with run {run}: {}", one_line(&error)));
                }
            }
        });
    }
    Ok(())
}

/// Runs a worker until someone ends it.
pub(crate) fn worker(args: &WorkerArgs) -> Result<Exit, Failure> {
    leave_session(args.new_session);
    dagrun_worker::orphans::adopt();
    let name = args.cluster.name();
    let staying = Staying {
        drain: args.drain.to_duration(),
        wait: args.wait.map(Micros::to_duration),
        enforce_memory: args.offer.enforce_memory,
    };
    let (own_name, offer) = (args.name.clone(), args.offer.offer());
    let joined = dagrun::program::join_cluster_for(name, own_name, offer, staying);
    let worker = joined.map_err(|error| match error {
        ClusterError::Connection(error) => Failure::from(error),
        ClusterError::Worker(error) => unreachable(name, &one_line(&error)),
        error => unreachable(name, &one_line(&error)),
    })?;
    terminal::print(&format!("worker {} of cluster {name}: joined", worker.name()));
    dagrun::program::stop_on_signals(&worker);
    match worker.join() {
        EndReason::Dismissed | EndReason::ShutDown => Ok(Exit::Success),
        EndReason::ConnectionLost(why) => {
            Err(unreachable(name, &format!("the connection to the scheduler was lost: {why}")))
        }
        EndReason::Broken => Err(Failure::new(Exit::Failed, "the worker's thread has panicked")),
    }
}
