//! The writing thread: commands in, group commits to disk, acknowledgements out.

#[cfg(feature = "simulation")]
mod in_memory;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dagrun_core::engine::Record;
use dagrun_core::ids::{Micros, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::status::{RunState, State};
use dagrun_disk::clock::now;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};
use rustc_hash::FxHashMap;
use std::os::unix::ffi::OsStrExt as _;
use tokio::sync::mpsc::UnboundedSender;

use super::group::{self, Answer, Group};
use super::queue::{self, Taker};
use super::{
    Begun, Claim, Command, FIRST_MARK, Joined, Line, NewRun, PrepareJob, Prepared, Reply,
    Resumption, RunEnd, StoreError, forget, give_up, manifest, past, resume,
};
use crate::journal::Note;
use crate::journal::error::is_no_space;
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

/// The default of [`Writer::pause`].
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

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
    /// What has been taken from the queue and is not in the open transaction.
    waiting: VecDeque<Command>,
    broken: Option<Arc<StoreError>>,
    /// How long to wait at first, and at most, before a full disk is tried again.
    pub(super) pause: (Duration, Duration),
    /// Has writing fail, as on a full disk.
    #[cfg(test)]
    pub(super) fault: Option<super::tests::Fault>,
}

/// There is no space; nothing is lost by it.
struct Full(Arc<StoreError>);

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
            waiting: VecDeque::new(),
            broken: None,
            pause: PAUSE,
            #[cfg(test)]
            fault: None,
        }
    }

    pub(super) fn run(mut self, queue: &Taker) {
        let mut last_commit = None;
        while let Some(commands) = queue.take(last_commit) {
            self.waiting.extend(commands);
            self.write_in_time(queue);
            last_commit = Some(Instant::now());
        }
    }

    /// Writes what waits, on a full disk as soon as there is space.
    fn write_in_time(&mut self, queue: &Taker) {
        let (mut pause, most) = self.pause;
        let (mut paused, mut closed) = (false, false);
        while let Err(Full(error)) = self.write() {
            if closed {
                // Nobody is left to wait: what is not on disk has not happened.
                self.fail(error);
                return;
            }
            self.refuse_who_ask(&error);
            if !std::mem::replace(&mut paused, true) {
                let dir = self.path.parent().unwrap_or(&self.path).display();
                let why = format!("no space left on the disk of {dir}; waiting for space");
                let _ = self.replies.send(Reply::Paused(why));
            }
            let more;
            (more, closed) = queue.pause(pause);
            self.waiting.extend(more);
            pause = pause.saturating_mul(2).min(most);
        }
        if paused {
            let _ = self.replies.send(Reply::Resumed);
        }
    }

    /// Writes what waits. What is not on disk when there is no space waits on, in its order.
    fn write(&mut self) -> Result<(), Full> {
        while let Some(command) = self.waiting.pop_front() {
            self.take(command)?;
            if self.group.records >= GROUP_RECORDS {
                self.commit()?;
            }
        }
        self.commit()
    }

    /// Clients can decide themselves whether to try again.
    fn refuse_who_ask(&mut self, error: &Arc<StoreError>) {
        let waiting = std::mem::take(&mut self.waiting);
        let (asked, rest): (VecDeque<_>, VecDeque<_>) =
            waiting.into_iter().partition(group::is_asked);
        self.waiting = rest;
        asked.into_iter().for_each(|command| group::refuse(command, error, &self.replies));
    }

    fn take(&mut self, command: Command) -> Result<(), Full> {
        if let Some(error) = &self.broken {
            group::refuse(command, error, &self.replies);
            return Ok(());
        }
        if let Command::Prepare(job) = command {
            // It sees the open transaction: only clients wait for the disk, attempts need not.
            return self.prepare(job);
        }
        let applied = self.open_transaction().and_then(|()| self.apply(&command));
        match applied {
            Ok(answer) => {
                self.group.done.push((command, answer));
                Ok(())
            }
            Err(error) => self.roll_back(error, Some(command)),
        }
    }

    fn apply(&mut self, command: &Command) -> Result<Answer, StoreError> {
        let path = self.path.clone();
        let failed = |source| StoreError::writing(&path, source);
        match command {
            Command::Begin(new, _) => {
                let begun = self.begin(new).map_err(failed)?;
                // Before anybody can see it.
                self.lock(begun.run)?;
                return Ok(Answer::Begun(begun));
            }
            Command::GiveUp(run, _) => return self.give_up(*run).map(Answer::GivenUp),
            Command::Forget(run, _) => {
                return forget::rows(&self.database, *run).map(Answer::Forgotten).map_err(failed);
            }
            Command::Claim(run, _) => return self.claim(*run).map(Answer::Claimed),
            Command::Resume(resumption, _) => {
                return self.resume(resumption).map(Answer::Resumed).map_err(failed);
            }
            Command::Append(_, lines, ends) => self.append_all(lines, ends),
            Command::Release(run) => {
                self.locks.remove(run);
                Ok(())
            }
            Command::Joined(joined) => self.joined(joined),
            Command::Known { worker, row } => {
                self.workers.insert(*worker, *row);
                Ok(())
            }
            Command::Left { worker, at, lost } => self.left(*worker, *at, *lost),
            Command::Prepare(_) => Ok(()),
            #[cfg(test)]
            Command::LimitPages => {
                let limit = "PRAGMA max_page_count = 1";
                self.database.query_row(limit, [], |row| row.get::<_, i64>(0)).map(drop)
            }
        }
        .map(|()| Answer::None)
        .map_err(failed)
    }

    fn append_all(&mut self, lines: &[Line], ends: &[RunEnd]) -> rusqlite::Result<()> {
        for line in lines {
            self.strike()?;
            match line {
                Line::Record(record) => self.append(record)?,
                Line::Width { run, task, width } => self.widen(*run, *task, *width)?,
                Line::Mark { run, task, below } => self.mark(*run, *task, *below)?,
                Line::Note { run, note } => self.note(*run, *note)?,
                Line::Reopen { run, instance } => resume::reopen(&self.database, *run, *instance)?,
                Line::Remove(_) => {}
            }
        }
        ends.iter().try_for_each(|end| self.finish(end))
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

    fn commit(&mut self) -> Result<(), Full> {
        if self.broken.is_some() || !self.group.open {
            return Ok(());
        }
        let committed = self.strike().and_then(|()| self.database.execute_batch("COMMIT"));
        let committed = committed.map_err(|source| StoreError::writing(&self.path, source));
        if let Err(error) = committed.and_then(|()| self.standing.check()) {
            return self.roll_back(error, None);
        }
        let group = std::mem::take(&mut self.group);
        // Who learns of a run's end finds them removed.
        group.removals().for_each(|removal| removal.perform(&self.database));
        for run in &group.ended {
            self.locks.remove(run);
        }
        if let Some(number) = group.committed() {
            let _ = self.replies.send(Reply::Committed(number));
        }
        group.answer();
        Ok(())
    }

    /// Gives up the open transaction, in which a command may have failed. On a full disk it is to be
    /// written once more; after anything else nothing is written any more.
    fn roll_back(&mut self, error: StoreError, failed: Option<Command>) -> Result<(), Full> {
        // Fails when SQLite has already rolled back by itself, which is just as good.
        let _ = self.database.execute_batch("ROLLBACK");
        let group = std::mem::take(&mut self.group);
        for run in &group.locked {
            self.locks.remove(run);
        }
        for (worker, row) in group.rows_before.into_iter().rev() {
            match row {
                Some(row) => self.workers.insert(worker, row),
                None => self.workers.remove(&worker),
            };
        }
        self.epoch = self.epoch.filter(|_| !group.epoch);
        let commands = group.done.into_iter().map(|(command, _)| command).chain(failed);
        let commands: Vec<Command> = commands.collect();
        commands.into_iter().rev().for_each(|command| self.waiting.push_front(command));
        let error = Arc::new(error);
        match error.is_about_space() {
            true => Err(Full(error)),
            false => {
                self.fail(error);
                Ok(())
            }
        }
    }

    /// Writes nothing any more: what was not acknowledged has not happened.
    fn fail(&mut self, error: Arc<StoreError>) {
        if error.is_about_the_file() {
            // Nothing is written into it at the end either.
            let option = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = self.database.set_db_config(option, true);
        }
        for command in std::mem::take(&mut self.waiting) {
            group::refuse(command, &error, &self.replies);
        }
        let _ = self.replies.send(Reply::Failed(Arc::clone(&error)));
        self.broken = Some(error);
    }

    /// Fails where a test wants it to.
    #[cfg(test)]
    fn strike(&mut self) -> rusqlite::Result<()> {
        if self.fault.as_mut().is_none_or(|fault| !fault()) {
            return Ok(());
        }
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        Err(rusqlite::Error::SqliteFailure(full, None))
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as in tests")]
    fn strike(&self) -> rusqlite::Result<()> {
        Ok(())
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
        (self.epoch, self.group.epoch) = (Some(epoch), true);
        Ok(epoch)
    }

    /// Takes the lock of a run that is to be gone on with.
    fn claim(&mut self, run: RunId) -> Result<Claim, StoreError> {
        if self.locks.contains_key(&run) {
            return Ok(Claim::Held(Some(Owner::here())));
        }
        let (Some(owner), Some(state_dir)) = (&self.owner, self.path.parent()) else {
            return Ok(Claim::Granted);
        };
        match RunLock::take(state_dir, run, owner) {
            Ok(lock) => {
                self.locks.insert(run, lock);
                self.group.locked.push(run);
                Ok(Claim::Granted)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Ok(Claim::Held(lock::owner(state_dir, run)))
            }
            Err(error) if is_no_space(&error) => Err(StoreError::full(&self.path)),
            // There are no locks on this file system.
            Err(_) => Ok(Claim::Granted),
        }
    }

    /// Ends an interrupted run, unless somebody goes on with it.
    fn give_up(&mut self, run: RunId) -> Result<bool, StoreError> {
        if let Claim::Held(_) = self.claim(run)? {
            return Ok(false);
        }
        self.group.ended.push(run);
        give_up::rows(&self.database, run, now())
            .map_err(|source| StoreError::writing(&self.path, source))
    }

    fn resume(&mut self, resumption: &Resumption) -> rusqlite::Result<Option<Begun>> {
        let run = resumption.run;
        // Lines of this process must come after those of all others.
        self.seq = self.seq.max(resume::last_seq(&self.database, run)?) + 1;
        #[cfg(feature = "simulation")]
        if crate::planted::is_planted(crate::planted::Planted::SequenceRestarts) {
            self.seq = 0;
        }
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

    /// Locks a run that begins.
    fn lock(&mut self, run: RunId) -> Result<(), StoreError> {
        let (Some(owner), Some(state_dir)) = (&self.owner, self.path.parent()) else {
            return Ok(());
        };
        match RunLock::take(state_dir, run, owner) {
            Ok(lock) => {
                self.locks.insert(run, lock);
                self.group.locked.push(run);
            }
            Err(error) if is_no_space(&error) => return Err(StoreError::full(&self.path)),
            // On a file system without locks its process says whether it is running.
            Err(_) => {}
        }
        Ok(())
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

    fn joined(&mut self, joined: &Joined) -> rusqlite::Result<()> {
        let Joined { worker, name, host, uid, lock, at } = joined;
        let lock = lock.as_ref().map(|path| path.as_os_str().as_bytes());
        self.database
            .prepare_cached(
                "INSERT INTO workers (name, host, joined, number, uid, lock)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![name, host, at.0.cast_signed(), worker.0, uid, lock])?;
        let before = self.workers.insert(*worker, self.database.last_insert_rowid());
        self.group.rows_before.push((*worker, before));
        Ok(())
    }

    fn left(&mut self, worker: WorkerId, at: Timestamp, lost: bool) -> rusqlite::Result<()> {
        let Some(row) = self.workers.remove(&worker) else { return Ok(()) };
        self.group.rows_before.push((worker, Some(row)));
        self.database
            .prepare_cached("UPDATE workers SET left_at = ?2, lost = ?3 WHERE worker = ?1")?
            .execute(params![row, at.0.cast_signed(), lost])
            .map(drop)
    }

    fn prepare(&mut self, job: Box<PrepareJob>) -> Result<(), Full> {
        let result = match manifest::prepare(&self.database, &self.path, &job) {
            Err(error) if error.is_about_space() => {
                self.waiting.push_front(Command::Prepare(job));
                // For what has happened already there may be enough.
                self.commit()?;
                return Err(Full(Arc::new(error)));
            }
            result => result,
        };
        let _ =
            self.replies.send(Reply::Prepared(Box::new(Prepared { ticket: job.ticket, result })));
        Ok(())
    }
}
