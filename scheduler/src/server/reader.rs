//! Reads the history for clients, away from the RPC thread: a large page must not hold up workers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use capnp::Error;

use super::exception;
use crate::history::{History, HistoryError};

pub(super) struct Reader {
    pub(super) state_dir: PathBuf,
    history: Arc<Mutex<Option<History>>>,
    /// Held by the query that is carried out: those of callers who have left do not queue.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Reader {
    pub(super) fn new(state_dir: PathBuf) -> Reader {
        Reader { state_dir, history: Arc::default(), turn: Arc::default() }
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&History) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, Error> {
        let (history, state_dir) = (Arc::clone(&self.history), self.state_dir.clone());
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // A panic in an earlier query leaves nothing half-done: it only reads.
            let mut slot = history.lock().unwrap_or_else(PoisonError::into_inner);
            match &*slot {
                Some(history) => query(history),
                None => query(slot.insert(History::open(&state_dir)?)),
            }
        });
        read.await
            .map_err(|_| Error::failed("the history could not be read".into()))?
            .map_err(|error| exception(&error))
    }
}
