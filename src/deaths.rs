//! How worker processes of this program ended: what is added to the failure of an attempt that lost its worker.
//! When they are started again is [`crate::processes`]'s.

use std::fmt;
use std::io::{self, Read, Write};
use std::process::{ChildStderr, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dagrun_core::ids::Timestamp;
use dagrun_core::status::InstanceRow;

/// Bytes of the end of standard error that are kept.
const TAIL: usize = 4096;
/// Endings that are kept.
const MOST: usize = 1024;
/// How long the rest of standard error may take after the end of the process: others may have it open.
const REST: Duration = Duration::from_millis(200);
/// How long an ending may take to be noticed after the scheduler has lost the worker.
const NOTICED: Duration = Duration::from_secs(1);

/// The endings of the worker processes of a cluster, the latest last.
#[derive(Debug, Default)]
pub(crate) struct Deaths(Mutex<Vec<Death>>);

/// How a worker process ended.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    worker: String,
    at: Timestamp,
    status: ExitStatus,
    stderr: Vec<u8>,
}

impl Deaths {
    pub(crate) fn note(&self, worker: &str, status: ExitStatus, stderr: Vec<u8>) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp(u64::try_from(at.as_micros()).unwrap_or(u64::MAX));
        let mut deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if deaths.len() == MOST {
            deaths.remove(0);
        }
        deaths.push(Death { worker: worker.to_owned(), at, status, stderr });
    }

    fn of(&self, row: &InstanceRow) -> Option<Death> {
        let deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = deaths.iter().filter(|it| Some(&it.worker) == row.worker.as_ref());
        match row.started {
            Some(started) => own.find(|death| death.at >= started).cloned(),
            None => own.next_back().cloned(),
        }
    }

    /// How the worker of a failed instance ended, where that is why it failed. It may be noticed a moment later
    /// than the scheduler loses the worker.
    pub(crate) async fn why(&self, row: &InstanceRow) -> Option<Death> {
        if !row.reason.starts_with("lost its worker") {
            return None;
        }
        let begun = tokio::time::Instant::now();
        loop {
            match self.of(row) {
                None if begun.elapsed() < NOTICED => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                found => return found,
            }
        }
    }
}

impl Death {
    /// In one line: how it ended.
    pub(crate) fn status(&self) -> String {
        format!("worker {} ended with {}", self.worker, self.status)
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.status())?;
        match String::from_utf8_lossy(&self.stderr).trim_end() {
            "" => Ok(()),
            stderr => write!(f, "; its standard error ended with:\n{stderr}"),
        }
    }
}

/// The standard error of a process, which is passed on to that of this program.
#[derive(Debug)]
pub(crate) struct Heard {
    tail: Arc<Mutex<Vec<u8>>>,
    over: Receiver<()>,
}

impl Heard {
    /// Begins to pass it on, on a thread that ends with it.
    pub(crate) fn listen(mut from: ChildStderr) -> io::Result<Heard> {
        let tail = Arc::new(Mutex::new(Vec::new()));
        let ((done, over), kept) = (channel(), Arc::clone(&tail));
        std::thread::Builder::new().name("stderr".into()).spawn(move || {
            let mut part = [0; TAIL];
            while let Ok(count @ 1..) = from.read(&mut part) {
                let Some(part) = part.get(..count) else { break };
                // It is kept even when nobody reads ours.
                let _ = io::stderr().write_all(part);
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(part);
                let surplus = kept.len().saturating_sub(TAIL);
                kept.drain(..surplus);
            }
            drop(done);
        })?;
        Ok(Heard { tail, over })
    }

    /// Its end, once the process has ended.
    pub(crate) fn end(&self) -> Vec<u8> {
        let _ = self.over.recv_timeout(REST);
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
