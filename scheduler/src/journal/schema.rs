//! The tables, and opening the database for writing or reading.
//!
//! `events` is the journal. It has no rowid: its rows are stored in the order of run, task and
//! index, in which they are read and, nearly, written. The two partial indices hold rows that are
//! rare on the hot path, so an ordinary success costs no index entry. Rows of more than 64
//! instances are found through one of them, which bounds how far before a page its rows can begin.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use dagrun_core::layout;
use dagrun_disk::private;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{StoreError, copy, standing};

/// The version of the tables, in `user_version`.
const VERSION: i64 = 4;

const TABLES: &str = "
CREATE TABLE runs (
    run        INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL,
    pipeline   BLOB NOT NULL,
    base_dir   BLOB NOT NULL,
    seed       INTEGER NOT NULL,
    fail_fast  INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    started    INTEGER NOT NULL,
    finished   INTEGER,
    owner      INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
    run        INTEGER NOT NULL,
    task       INTEGER NOT NULL,
    name       TEXT NOT NULL,
    width      INTEGER NOT NULL,
    succeeded  INTEGER,
    failed     INTEGER,
    skipped    INTEGER,
    cancelled  INTEGER,
    PRIMARY KEY (run, task)
) WITHOUT ROWID, STRICT;

CREATE TABLE workers (
    worker     INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL,
    host       TEXT NOT NULL,
    joined     INTEGER NOT NULL,
    left_at    INTEGER
) STRICT;

CREATE TABLE events (
    run         INTEGER NOT NULL,
    task        INTEGER NOT NULL,
    first_index INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    worker      INTEGER,
    started     INTEGER NOT NULL,
    finished    INTEGER NOT NULL,
    cause       INTEGER,
    code        INTEGER,
    root_task   INTEGER,
    root_index  INTEGER,
    reason      TEXT,
    stderr_tail BLOB,
    value       BLOB,
    outputs     BLOB,
    PRIMARY KEY (run, task, first_index, seq)
) WITHOUT ROWID, STRICT;

CREATE INDEX events_long ON events (run, task, first_index, count) WHERE count > 64;
CREATE INDEX events_failed ON events (run, task, first_index) WHERE state = 5;

";

/// What the second version added: widths that are known late, and how long attempts took.
const SECOND: &str = "
ALTER TABLE tasks ADD COLUMN known INTEGER NOT NULL DEFAULT 1;
ALTER TABLE tasks ADD COLUMN duration INTEGER;
CREATE INDEX runs_by_name ON runs (name) WHERE finished IS NOT NULL;
DROP VIEW IF EXISTS attempts;
CREATE VIEW attempts AS
SELECT e.run, t.name AS task, e.first_index, e.count,
       CASE e.state WHEN 1 THEN 'ready' WHEN 2 THEN 'leased' WHEN 3 THEN 'backoff' WHEN 4 THEN 'succeeded'
                    WHEN 5 THEN 'failed' WHEN 6 THEN 'skipped' WHEN 7 THEN 'cancelled' END AS state,
       e.attempt, w.name AS worker, e.started, e.finished, e.reason, e.value
FROM events e
JOIN tasks t ON t.run = e.run AND t.task = e.task
LEFT JOIN workers w ON w.worker = e.worker;
";

/// What the third version added, so that runs can be resumed: the index below which attempts of a task
/// may have been handed out, where in the journal its width became known, each start of a scheduler, and
/// what happened to runs as a whole. Of runs of earlier versions any attempt may have been handed out.
const THIRD: &str = "
ALTER TABLE tasks ADD COLUMN leased INTEGER NOT NULL DEFAULT 4294967295;
ALTER TABLE tasks ADD COLUMN widened INTEGER NOT NULL DEFAULT 0;
CREATE TABLE starts (
    epoch      INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    process    INTEGER NOT NULL
) STRICT;
CREATE TABLE notes (
    run         INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    task        INTEGER,
    first_index INTEGER,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID, STRICT;
";

/// What the fourth version added, so that workers survive their scheduler: the number by which what a
/// worker keeps is known, what tells it from any other (empty: it lives as long as its line), and a file
/// that it holds locked as long as it lives.
const FOURTH: &str = "
ALTER TABLE workers ADD COLUMN number INTEGER;
ALTER TABLE workers ADD COLUMN uid TEXT;
ALTER TABLE workers ADD COLUMN lock BLOB;
ALTER TABLE workers ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
";

/// Makes a database of the first version, which cannot be changed when opened read-only, look like
/// one of the second.
const FIRST_AS_SECOND: &str = "
PRAGMA temp_store = MEMORY;
CREATE TEMP VIEW tasks AS SELECT *, 1 AS known, NULL AS duration FROM main.tasks;
";

/// Keeps a statement's plan whatever is bound to it. Otherwise each statement whose plan could
/// depend on a bound value is compiled again at each use, which takes longer than the use itself.
fn plan_once(database: &Connection) -> rusqlite::Result<()> {
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Opens the database for writing; creates the directory and the tables where they are missing.
pub(crate) fn open_writer(state_dir: &Path) -> Result<Connection, StoreError> {
    private::create_dir_all(state_dir)
        .map_err(|source| StoreError::CreateDir { path: state_dir.to_owned(), source })?;
    standing::is_there(state_dir)?;
    let path = layout::database(state_dir);
    let open = |source| StoreError::opening(&path, source);
    // SQLite gives its other files the mode of this one. What is wrong with it, SQLite says.
    drop(private::open(&path, OpenOptions::new().write(true).create(true).truncate(false)));
    let mut database = Connection::open(&path).map_err(open)?;
    database.busy_timeout(Duration::from_secs(10)).map_err(open)?;
    check_version(&database, &path, open)?;
    // SQLite opens what may not be written all the same.
    if database.is_readonly("main").map_err(open)? {
        return Err(StoreError::read_only(&path));
    }
    // The answer is a row with the resulting mode.
    database
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))
        .map_err(open)?;
    database.pragma_update(None, "synchronous", "FULL").map_err(open)?;
    create_tables(&mut database).map_err(open)?;
    plan_once(&database).map_err(open)?;
    Ok(database)
}

/// An empty database in memory.
#[cfg(feature = "simulation")]
pub(crate) fn in_memory() -> rusqlite::Result<Connection> {
    let mut database = Connection::open_in_memory()?;
    create_tables(&mut database)?;
    plan_once(&database)?;
    Ok(database)
}

/// A database opened for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) database: Connection,
    /// Whether it is a copy, as the original cannot be read in place.
    pub(crate) is_copy: bool,
}

/// Opens the database for reading; `None` when there is none yet.
pub(crate) fn open_reader(state_dir: &Path) -> Result<Option<Reader>, StoreError> {
    if !standing::is_there(state_dir)? {
        return Ok(None);
    }
    let path = layout::database(state_dir);
    let open = |source| StoreError::reading(&path, source);
    let opened = match open_in_place(&path) {
        Err(error) if copy::may_help(&error) => {
            let database = copy::open(&path)?;
            Reader { database, is_copy: true }
        }
        opened => Reader { database: opened.map_err(open)?, is_copy: false },
    };
    let database = &opened.database;
    plan_once(database).map_err(open)?;
    database.busy_timeout(Duration::from_secs(10)).map_err(open)?;
    match check_version(database, &path, open)? {
        // A database whose writer was killed before its first commit has no tables yet.
        0 => return Ok(None),
        1 => database.execute_batch(FIRST_AS_SECOND).map_err(open)?,
        _ => {}
    }
    Ok(Some(opened))
}

/// Opens a database where it is. Whether its WAL can be read shows with the first question.
fn open_in_place(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    version(&database)?;
    Ok(database)
}

pub(super) fn check_version(
    database: &Connection,
    path: &Path,
    error: impl Fn(rusqlite::Error) -> StoreError,
) -> Result<i64, StoreError> {
    let found = version(database).map_err(error)?;
    if found > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    Ok(found)
}

fn version(database: &Connection) -> rusqlite::Result<i64> {
    database.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn create_tables(database: &mut Connection) -> rusqlite::Result<()> {
    // Two processes may open a new directory at once: the second one checks again within the
    // transaction.
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    if found < VERSION {
        if found == 0 {
            transaction.execute_batch(TABLES)?;
        }
        if found < 2 {
            transaction.execute_batch(SECOND)?;
        }
        if found < 3 {
            transaction.execute_batch(THIRD)?;
        }
        transaction.execute_batch(FOURTH)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_the_first_version_is_read_and_extended() {
        let dir = tempfile::tempdir().unwrap();
        let database = Connection::open(layout::database(dir.path())).unwrap();
        database.execute_batch(TABLES).unwrap();
        database.pragma_update(None, "user_version", 1).unwrap();
        database
            .execute("INSERT INTO tasks (run, task, name, width) VALUES (1, 0, 'a', 7)", [])
            .unwrap();
        drop(database);
        let width = "SELECT width FROM tasks WHERE known = 1 AND duration IS NULL";
        let read =
            |database: &Connection| database.query_row(width, [], |row| row.get::<_, u32>(0));
        assert_eq!(read(&open_reader(dir.path()).unwrap().unwrap().database), Ok(7));
        let database = open_writer(dir.path()).unwrap();
        assert_eq!((read(&database), version(&database)), (Ok(7), Ok(VERSION)));
        assert_eq!(read(&open_reader(dir.path()).unwrap().unwrap().database), Ok(7));
    }

    #[test]
    fn a_newer_database_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(open_writer(dir.path()).unwrap());
        let database = Connection::open(layout::database(dir.path())).unwrap();
        database.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(database);
        let error = open_writer(dir.path()).unwrap_err().to_string();
        assert!(error.contains("written by a newer dagrun"), "{error}");
        assert!(matches!(open_reader(dir.path()), Err(StoreError::Newer { .. })));
    }
}
