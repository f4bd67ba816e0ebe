//! The writing thread: commands in, group commits to disk, acknowledgements out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use dagrun_core::engine::Record;
use dagrun_core::ids::{Micros, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::status::{RunState, State};
use dagrun_disk::clock::now;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};
use rustc_hash::FxHashMap;
use std::os::unix::ffi::OsStrExt as _;
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::queue::{self, Taker};
use super::{
    Begun, Claim, Command, FIRST_MARK, Line, NewRun, PrepareJob, Prepared, Removal, Reply,
    Resumption, RunEnd, StoreError, forget, give_up, manifest, past, resume,
};
use crate::journal::Note;
use crate::journal::lock::{self, Owner, RunLock};
use crate::journal::rows::{encode_cause, encode_outputs, tolerance};
use crate::journal::standing::Standing;

/// A transaction is committed when it holds this many records.
const GROUP_RECORDS: usize = queue::ENOUGH;

/// Earlier runs of a pipeline that are searched for the durations of its tasks.
const REMEMBERED: u32 = 4;

const INSERT_EVENT: &str = "INSERT INTO events (run, task, first_index, seq, count, state, attempt,
    worker, started, finished, cause, code, root_task, root_index, reason, stderr_tail, value,
    outputs) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

/// An answer, and to whom it goes when the transaction is on disk.
type Later<T> = (oneshot::Sender<Result<T, Arc<StoreError>>>, T);

pub(super) struct Writer {
    database: Connection,
    path: PathBuf,
    standing: Standing,
    /// Who holds the locks of runs, if they have any.
    owner: Option<Owner>,
    locks: FxHashMap<RunId, RunLock>,
    replies: UnboundedSender<Reply>,
    /// The rows of the workers that are present.
    workers: FxHashMap<WorkerId, i64>,
    /// Orders the journal within a run.
    seq: i64,
    /// The number of this start, once it is written.
    epoch: Option<u64>,
    group: Group,
    broken: Option<Arc<StoreError>>,
}

/// Acknowledgements to send when the open transaction is on disk.
#[derive(Default)]
struct Group {
    open: bool,
    records: usize,
    committed: Option<u64>,
    begun: Vec<Later<Begun>>,
    forgotten: Vec<Later<forget::Forgotten>>,
    given_up: Vec<Later<bool>>,
    claims: Vec<Later<Claim>>,
    resumed: Vec<Later<Option<Begun>>>,
    /// Temporary outputs to be removed then.
    removals: Vec<Removal>,
    /// The runs that end with it.
    ended: Vec<RunId>,
}

impl Writer {
    pub(super) fn new(
        database: Connection,
        path: PathBuf,
        owner: Option<Owner>,
        replies: UnboundedSender<Reply>,
    ) -> Writer {
        Writer {
            standing: Standing::new(&path),
            database,
            path,
            owner,
            locks: FxHashMap::default(),
            replies,
            workers: FxHashMap::default(),
            seq: 0,
            epoch: None,
            group: Group::default(),
            broken: None,
        }
    }

    pub(super) fn run(mut self, queue: &Taker) {
        let mut last_commit = None;
        while let Some(commands) = queue.take(last_commit) {
            for command in commands {
                self.take(command);
                if self.group.records >= GROUP_RECORDS {
                    self.commit();
                }
            }
            self.commit();
            last_commit = Some(Instant::now());
        }
    }

    fn take(&mut self, command: Command) {
        if let Some(error) = &self.broken {
            return refuse(command, error, &self.replies);
        }
        if let Command::Prepare(job) = command {
            // It sees the open transaction: only clients wait for the disk, attempts need not.
            return self.prepare(*job);
        }
        if let Err(error) = self.open_transaction() {
            // Whoever waits for the command is answered.
            let error = self.fail(error);
            return refuse(command, &error, &self.replies);
        }
        if let Err(source) = self.apply(command) {
            self.fail(StoreError::writing(&self.path, source));
        }
    }

    fn apply(&mut self, command: Command) -> rusqlite::Result<()> {
        match command {
            Command::Begin(new, reply) => {
                self.begin(&new).map(|begun| self.group.begun.push((reply, begun)))
            }
            Command::GiveUp(run, reply) => {
                self.give_up(run).map(|done| self.group.given_up.push((reply, done)))
            }
            Command::Forget(run, reply) => forget::rows(&self.database, run)
                .map(|forgotten| self.group.forgotten.push((reply, forgotten))),
            Command::Append(number, entries, ends) => {
                self.group.committed = Some(number);
                for entry in &entries {
                    match entry {
                        Line::Record(record) => self.append(record)?,
                        Line::Width { run, task, width } => self.widen(*run, *task, *width)?,
                        Line::Mark { run, task, below } => self.mark(*run, *task, *below)?,
                        Line::Note { run, note } => self.note(*run, *note)?,
                        Line::Remove(_) => {}
                    }
                }
                let removal = |entry| match entry {
                    Line::Remove(removal) => Some(removal),
                    _ => None,
                };
                self.group.removals.extend(entries.into_iter().filter_map(removal));
                ends.iter().try_for_each(|end| self.finish(end))
            }
            Command::Claim(run, reply) => {
                let claim = self.claim(run);
                self.group.claims.push((reply, claim));
                Ok(())
            }
            Command::Release(run) => {
                self.locks.remove(&run);
                Ok(())
            }
            Command::Resume(resumption, reply) => {
                self.resume(&resumption).map(|begun| self.group.resumed.push((reply, begun)))
            }
            Command::Joined { worker, name, host, at } => self.joined(worker, &name, &host, at),
            Command::Left { worker, at } => self.left(worker, at),
            Command::Prepare(_) => Ok(()),
            #[cfg(test)]
            Command::LimitPages => {
                let limit = "PRAGMA max_page_count = 1";
                self.database.query_row(limit, [], |row| row.get::<_, i64>(0)).map(drop)
            }
        }
    }

    fn open_transaction(&mut self) -> Result<(), StoreError> {
        if !self.group.open {
            let begun = self.database.execute_batch("BEGIN IMMEDIATE");
            begun.map_err(|source| StoreError::writing(&self.path, source))?;
            self.group.open = true;
            self.standing.check_version(&self.database)?;
        }
        Ok(())
    }

    fn commit(&mut self) {
        if self.broken.is_some() || !self.group.open {
            return;
        }
        let committed = self.database.execute_batch("COMMIT");
        let committed = committed.map_err(|source| StoreError::writing(&self.path, source));
        if let Err(error) = committed.and_then(|()| self.standing.check()) {
            self.fail(error);
            return;
        }
        let group = std::mem::take(&mut self.group);
        for (reply, begun) in group.begun {
            // The receiver may have been dropped: the run is recorded all the same.
            let _ = reply.send(Ok(begun));
        }
        for (reply, forgotten) in group.forgotten {
            let _ = reply.send(Ok(forgotten));
        }
        for (reply, done) in group.given_up {
            let _ = reply.send(Ok(done));
        }
        for (reply, claim) in group.claims {
            let _ = reply.send(Ok(claim));
        }
        for (reply, begun) in group.resumed {
            let _ = reply.send(Ok(begun));
        }
        // Who learns of a run's end finds them removed.
        group.removals.iter().for_each(|removal| removal.perform(&self.database));
        for run in group.ended {
            self.locks.remove(&run);
        }
        if let Some(number) = group.committed {
            let _ = self.replies.send(Reply::Committed(number));
        }
    }

    /// Gives up the open transaction and everything after it: what was not acknowledged has not
    /// happened.
    fn fail(&mut self, error: StoreError) -> Arc<StoreError> {
        // Fails when SQLite has already rolled back by itself, which is just as good.
        let _ = self.database.execute_batch("ROLLBACK");
        if error.is_about_the_file() {
            // Nothing is written into it at the end either.
            let option = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = self.database.set_db_config(option, true);
        }
        let error = Arc::new(error);
        let group = std::mem::take(&mut self.group);
        for (reply, _) in group.begun {
            let _ = reply.send(Err(Arc::clone(&error)));
        }
        for (reply, _) in group.forgotten {
            let _ = reply.send(Err(Arc::clone(&error)));
        }
        for (reply, _) in group.given_up {
            let _ = reply.send(Err(Arc::clone(&error)));
        }
        for (reply, _) in group.claims {
            let _ = reply.send(Err(Arc::clone(&error)));
        }
        for (reply, _) in group.resumed {
            let _ = reply.send(Err(Arc::clone(&error)));
        }
        let _ = self.replies.send(Reply::Failed(Arc::clone(&error)));
        self.broken = Some(Arc::clone(&error));
        error
    }

    fn begin(&mut self, new: &NewRun) -> rusqlite::Result<Begun> {
        let submission = &new.submission;
        let epoch = self.epoch()?;
        let durations =
            self.durations(&new.name, new.tasks.iter().map(|(task, _)| task.as_str()))?;
        self.database
            .prepare_cached(
                "INSERT INTO runs (name, pipeline, base_dir, seed, fail_fast, state, started, owner)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                new.name,
                submission.pipeline,
                submission.base_dir.as_os_str().as_bytes(),
                submission.seed.cast_signed(),
                tolerance(submission.fail_fast, submission.max_fail),
                RunState::Running as u8,
                new.started.0.cast_signed(),
                std::process::id(),
            ])?;
        let run = self.database.last_insert_rowid();
        self.lock(RunId(run.cast_unsigned()));
        let mut insert = self.database.prepare_cached(
            "INSERT INTO tasks (run, task, name, width, known, leased)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for (task, (name, width)) in (0u32..).zip(&new.tasks) {
            let (known, width) = (width.is_some(), width.unwrap_or(0));
            insert.execute(params![run, task, name, width, known, FIRST_MARK])?;
        }
        self.group.records += new.tasks.len();
        if let Some((from, spans)) = &new.taken {
            self.seq += 1;
            let into = past::Target { run, seq: self.seq, at: new.started };
            self.group.records += past::copy(&self.database, *from, spans, &into)?;
        }
        Ok(Begun { run: RunId(run.cast_unsigned()), durations, epoch })
    }

    /// The number of this start of a scheduler, which no other one has in this state directory.
    fn epoch(&mut self) -> rusqlite::Result<u64> {
        if let Some(epoch) = self.epoch {
            return Ok(epoch);
        }
        let sql = "INSERT INTO starts (at, process) VALUES (?1, ?2)";
        self.database.execute(sql, params![now().0.cast_signed(), std::process::id()])?;
        let epoch = self.database.last_insert_rowid().cast_unsigned();
        self.epoch = Some(epoch);
        Ok(epoch)
    }

    /// Takes the lock of a run that is to be gone on with.
    fn claim(&mut self, run: RunId) -> Claim {
        if self.locks.contains_key(&run) {
            return Claim::Held(Some(Owner::here()));
        }
        let (Some(owner), Some(state_dir)) = (&self.owner, self.path.parent()) else {
            return Claim::Granted;
        };
        match RunLock::take(state_dir, run, owner) {
            Ok(lock) => {
                self.locks.insert(run, lock);
                Claim::Granted
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Claim::Held(lock::owner(state_dir, run))
            }
            // There are no locks on this file system.
            Err(_) => Claim::Granted,
        }
    }

    /// Ends an interrupted run, unless somebody goes on with it.
    fn give_up(&mut self, run: RunId) -> rusqlite::Result<bool> {
        if let Claim::Held(_) = self.claim(run) {
            return Ok(false);
        }
        self.group.ended.push(run);
        give_up::rows(&self.database, run, now())
    }

    fn resume(&mut self, resumption: &Resumption) -> rusqlite::Result<Option<Begun>> {
        let run = resumption.run;
        // Lines of this process must come after those of all others.
        self.seq = self.seq.max(resume::last_seq(&self.database, run)?) + 1;
        let Some(rows) = resume::write(&self.database, resumption, self.seq)? else {
            return Ok(None);
        };
        self.group.records += rows;
        let epoch = self.epoch()?;
        let names = resumption.tasks.iter().map(String::as_str);
        let durations = self.durations(&resumption.name, names)?;
        Ok(Some(Begun { run, durations, epoch }))
    }

    fn mark(&mut self, run: RunId, task: TaskId, below: u32) -> rusqlite::Result<()> {
        self.group.records += 1;
        self.database
            .prepare_cached("UPDATE tasks SET leased = ?3 WHERE run = ?1 AND task = ?2")?
            .execute(params![run.0.cast_signed(), task.0, below])
            .map(drop)
    }

    fn note(&mut self, run: RunId, note: Note) -> rusqlite::Result<()> {
        self.seq += 1;
        self.group.records += 1;
        resume::note(&self.database, run, self.seq, now(), note)
    }

    /// Locks a run before anybody can see it.
    fn lock(&mut self, run: RunId) {
        let (Some(owner), Some(state_dir)) = (&self.owner, self.path.parent()) else { return };
        // On a file system without locks its process says whether it is running.
        if let Ok(lock) = RunLock::take(state_dir, run, owner) {
            self.locks.insert(run, lock);
        }
    }

    /// The durations of the tasks' attempts, each from the newest of the last runs of this pipeline
    /// that has one.
    fn durations<'n>(
        &self,
        name: &str,
        tasks: impl Iterator<Item = &'n str>,
    ) -> rusqlite::Result<Vec<Micros>> {
        let mut statement = self.database.prepare_cached(
            "SELECT name, duration FROM tasks WHERE duration IS NOT NULL AND run IN
                (SELECT run FROM runs WHERE name = ?1 AND finished IS NOT NULL
                 ORDER BY run DESC LIMIT ?2)
             ORDER BY run",
        )?;
        let mut known: FxHashMap<String, i64> = FxHashMap::default();
        let mut rows = statement.query(params![name, REMEMBERED])?;
        while let Some(row) = rows.next()? {
            known.insert(row.get(0)?, row.get(1)?);
        }
        let duration = |name| Micros(known.get(name).copied().unwrap_or(0).cast_unsigned());
        Ok(tasks.map(duration).collect())
    }

    fn widen(&mut self, run: RunId, task: TaskId, width: u32) -> rusqlite::Result<()> {
        self.seq += 1;
        self.group.records += 1;
        self.database
            .prepare_cached(
                "UPDATE tasks SET width = ?3, known = 1, widened = ?4 WHERE run = ?1 AND task = ?2",
            )?
            .execute(params![run.0.cast_signed(), task.0, width, self.seq])
            .map(drop)
    }

    fn append(&mut self, record: &Record) -> rusqlite::Result<()> {
        let (cause, code, root_task, root_index) = encode_cause(record.cause);
        let detail = record.detail.as_deref();
        let worker = record.worker.and_then(|worker| self.workers.get(&worker));
        self.seq += 1;
        self.group.records += 1;
        self.database
            .prepare_cached(INSERT_EVENT)?
            .execute(params![
                record.run.0.cast_signed(),
                record.task.0,
                record.first_index,
                self.seq,
                record.count,
                record.state as u8,
                record.attempt,
                worker,
                record.started.0.cast_signed(),
                record.finished.0.cast_signed(),
                cause,
                code,
                root_task,
                root_index,
                detail.map(|detail| detail.reason.as_str()).filter(|reason| !reason.is_empty()),
                detail.map(|detail| &detail.stderr_tail).filter(|tail| !tail.is_empty()),
                detail.and_then(|detail| detail.value.as_ref()),
                detail.and_then(|detail| encode_outputs(&detail.outputs, &detail.stamps)),
            ])
            .map(drop)
    }

    fn finish(&mut self, end: &RunEnd) -> rusqlite::Result<()> {
        let run = end.run.0.cast_signed();
        let mut update = self.database.prepare_cached(
            "UPDATE tasks SET succeeded = ?3, failed = ?4, skipped = ?5, cancelled = ?6,
                duration = coalesce(?7, duration)
             WHERE run = ?1 AND task = ?2",
        )?;
        let durations = end.durations.iter().copied().chain(std::iter::repeat(None));
        for ((task, counts), duration) in (0u32..).zip(&end.counts).zip(durations) {
            update.execute(params![
                run,
                task,
                counts.of(State::Succeeded),
                counts.of(State::Failed),
                counts.of(State::Skipped),
                counts.of(State::Cancelled),
                duration.map(|duration| duration.0.cast_signed()),
            ])?;
        }
        self.group.records += end.counts.len();
        self.group.ended.push(end.run);
        self.database
            .prepare_cached("UPDATE runs SET state = ?2, finished = ?3 WHERE run = ?1")?
            .execute(params![run, end.state as u8, end.finished.0.cast_signed()])
            .map(drop)
    }

    fn joined(
        &mut self,
        worker: WorkerId,
        name: &str,
        host: &str,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        self.database
            .prepare_cached("INSERT INTO workers (name, host, joined) VALUES (?1, ?2, ?3)")?
            .execute(params![name, host, at.0.cast_signed()])?;
        self.workers.insert(worker, self.database.last_insert_rowid());
        Ok(())
    }

    fn left(&mut self, worker: WorkerId, at: Timestamp) -> rusqlite::Result<()> {
        let Some(row) = self.workers.remove(&worker) else { return Ok(()) };
        self.database
            .prepare_cached("UPDATE workers SET left_at = ?2 WHERE worker = ?1")?
            .execute(params![row, at.0.cast_signed()])
            .map(drop)
    }

    fn prepare(&self, job: PrepareJob) {
        if let Some(error) = &self.broken {
            return refuse(Command::Prepare(Box::new(job)), error, &self.replies);
        }
        let result = manifest::prepare(&self.database, &self.path, &job);
        let _ =
            self.replies.send(Reply::Prepared(Box::new(Prepared { ticket: job.ticket, result })));
    }
}

fn refuse(command: Command, error: &Arc<StoreError>, replies: &UnboundedSender<Reply>) {
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
