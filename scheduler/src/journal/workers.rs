//! The rows of workers, as far as a scheduler that goes on needs them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use dagrun_core::ids::WorkerId;
use rusqlite::Connection;

/// A worker of an earlier scheduler, which had not left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormerWorker {
    /// Its row.
    pub(crate) row: i64,
    /// Its number; what it keeps is known by that.
    pub(crate) number: WorkerId,
    pub(crate) name: String,
    pub(crate) host: String,
    /// What tells it from any other worker; empty if it was not written down then.
    pub(crate) uid: String,
    /// A file that it holds locked as long as it lives.
    pub(crate) lock: Option<PathBuf>,
}

/// The workers that had not left, but for those that live and die with their line; and the largest
/// number that any worker has had.
pub(crate) fn former_workers(database: &Connection) -> rusqlite::Result<(Vec<FormerWorker>, u32)> {
    let last = "SELECT max(ifnull(max(number), 0), ifnull(max(worker), 0)) FROM workers";
    let mut last: u32 = database.query_row(last, [], |row| row.get(0))?;
    let sql = "SELECT worker, number, name, host, uid, lock FROM workers
        WHERE left_at IS NULL AND ifnull(uid, '?') <> '' ORDER BY worker";
    let mut statement = database.prepare(sql)?;
    let former = statement.query_map([], |row| {
        let number: Option<u32> = row.get(1)?;
        let number = number.unwrap_or_else(|| {
            // Of an earlier version: nothing is known of it but that its lease may not be over.
            last += 1;
            last
        });
        let lock: Option<Vec<u8>> = row.get(5)?;
        Ok(FormerWorker {
            row: row.get(0)?,
            number: WorkerId(number),
            name: row.get(2)?,
            host: row.get(3)?,
            uid: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            lock: lock.map(|path| OsString::from_vec(path).into()),
        })
    })?;
    let former = former.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok((former, last))
}

/// Workers that are remembered as lost, the last ones.
const LOST: u32 = 64;

/// The uids of workers that were lost without their end being certain: what they had may still run.
pub(crate) fn lost_workers(database: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT uid FROM workers WHERE lost <> 0 AND uid <> '' ORDER BY worker DESC LIMIT ?1";
    let mut statement = database.prepare(sql)?;
    statement.query_map([LOST], |row| row.get(0))?.collect()
}
