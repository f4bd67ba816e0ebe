//! The commands whose rows are in the open transaction. Whoever waits for them is answered when it is on
//! disk; on a full disk they are handed back, to be written once there is space.

use std::sync::Arc;

use dagrun_core::ids::{RunId, WorkerId};
use tokio::sync::mpsc::UnboundedSender;

use super::{Begun, Claim, Command, Line, Prepared, Removal, Reply, StoreError, forget};

/// What has come of a command, for whoever sent it.
pub(super) enum Answer {
    /// Nobody waits for one.
    None,
    Begun(Begun),
    Forgotten(forget::Forgotten),
    GivenUp(bool),
    Claimed(Claim),
    Resumed(Option<Begun>),
}

/// What belongs to the open transaction.
#[derive(Default)]
pub(super) struct Group {
    pub(super) open: bool,
    pub(super) records: usize,
    pub(super) done: Vec<(Command, Answer)>,
    /// The runs that end with it.
    pub(super) ended: Vec<RunId>,
    /// The runs whose locks were taken in it.
    pub(super) locked: Vec<RunId>,
    /// The rows of workers that joined or left in it, as they were before.
    pub(super) rows_before: Vec<(WorkerId, Option<i64>)>,
    /// Whether the number of this start was written in it.
    pub(super) epoch: bool,
}

impl Group {
    /// The last batch in it.
    pub(super) fn committed(&self) -> Option<u64> {
        self.done.iter().rev().find_map(|(command, _)| match command {
            Command::Append(number, ..) => Some(*number),
            _ => None,
        })
    }

    /// The temporary outputs that nobody needs once it is on disk.
    pub(super) fn removals(&self) -> impl Iterator<Item = &Removal> {
        let lines = self.done.iter().filter_map(|(command, _)| match command {
            Command::Append(_, lines, _) => Some(lines),
            _ => None,
        });
        lines.flatten().filter_map(|line| match line {
            Line::Remove(removal) => Some(removal),
            _ => None,
        })
    }

    /// Answers those who wait for it. One that has left meanwhile is none the worse: it is done.
    pub(super) fn answer(self) {
        for done in self.done {
            match done {
                (Command::Begin(_, reply), Answer::Begun(begun)) => {
                    let _ = reply.send(Ok(begun));
                }
                (Command::Forget(_, reply), Answer::Forgotten(forgotten)) => {
                    let _ = reply.send(Ok(forgotten));
                }
                (Command::GiveUp(_, reply), Answer::GivenUp(done)) => {
                    let _ = reply.send(Ok(done));
                }
                (Command::Claim(_, reply), Answer::Claimed(claim)) => {
                    let _ = reply.send(Ok(claim));
                }
                (Command::Resume(_, reply), Answer::Resumed(begun)) => {
                    let _ = reply.send(Ok(begun));
                }
                _ => {}
            }
        }
    }
}

/// Whether a client waits for a command, who can be answered that there is no space. Everything else has
/// happened already, and must be written.
pub(super) fn is_asked(command: &Command) -> bool {
    use Command::{Begin, Claim, Forget, GiveUp, Resume};
    matches!(command, Begin(..) | Forget(..) | GiveUp(..) | Claim(..) | Resume(..))
}

/// Answers that a command has not been carried out.
pub(super) fn refuse(command: Command, error: &Arc<StoreError>, replies: &UnboundedSender<Reply>) {
    match command {
        Command::Begin(_, reply) => {
            let _ = reply.send(Err(Arc::clone(error)));
        }
        Command::Forget(_, reply) => {
            let _ = reply.send(Err(Arc::clone(error)));
        }
        Command::GiveUp(_, reply) => {
            let _ = reply.send(Err(Arc::clone(error)));
        }
        Command::Claim(_, reply) => {
            let _ = reply.send(Err(Arc::clone(error)));
        }
        Command::Resume(_, reply) => {
            let _ = reply.send(Err(Arc::clone(error)));
        }
        Command::Prepare(job) => {
            let result = Err(StoreError::Stopped(dagrun_core::one_line(error.as_ref())));
            let _ =
                replies.send(Reply::Prepared(Box::new(Prepared { ticket: job.ticket, result })));
        }
        _ => {}
    }
}
