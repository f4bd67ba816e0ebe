//! Reading a database whose directory may not be written, as it is somebody else's or on a read-only
//! file system. SQLite needs to write beside a database in WAL mode even for reading, unless its
//! writer is alive. So what is read is the file alone, where it has no WAL, or a copy of both.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StoreError;

/// How often it is tried to copy both while nobody writes.
const TRIES: usize = 20;

/// Whether a database that could not be opened in place may be read in another way.
pub(super) fn may_help(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
    let code = error.sqlite_error_code();
    code.is_some_and(|code| {
        [CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure].contains(&code)
    })
}

/// Opens a database, or a copy, that nothing is written beside.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let wal = wal_of(path);
    let opened = |source| StoreError::Open { path: path.to_owned(), source };
    if wal.metadata().map_or(0, |wal| wal.len()) == 0 {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        return Connection::open_with_flags(immutable(path), flags).map_err(opened);
    }
    let failed = |source| StoreError::Copy { path: path.to_owned(), source };
    let dir = tempfile::Builder::new().prefix("dagrun-read-").tempdir().map_err(failed)?;
    let copy = dir.path().join("dagrun.db");
    copy_both(path, &wal, &copy).map_err(failed)?;
    let database = Connection::open(&copy).map_err(opened)?;
    // Moves the WAL into the file, which can be read when it has no name any more.
    let mode =
        database.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0));
    mode.map_err(opened)?;
    database.pragma_update(None, "query_only", true).map_err(opened)?;
    database.pragma_update(None, "temp_store", "MEMORY").map_err(opened)?;
    Ok(database)
}

/// Copies both files as of one moment: again when somebody has written meanwhile.
fn copy_both(path: &Path, wal: &Path, copy: &Path) -> io::Result<()> {
    for _ in 0..TRIES {
        let before = (stamp(path), stamp(wal));
        fs::copy(path, copy)?;
        let copied = wal_of(copy);
        match fs::copy(wal, &copied) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let _ = fs::remove_file(&copied);
            }
            result => drop(result?),
        }
        if before == (stamp(path), stamp(wal)) {
            return Ok(());
        }
    }
    Err(io::Error::other("it is written all the time"))
}

fn stamp(path: &Path) -> Option<(u64, i64, i64)> {
    let found = path.metadata().ok()?;
    Some((found.len(), found.mtime(), found.mtime_nsec()))
}

fn wal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// The URI of a file that nobody changes while it is read.
fn immutable(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_wal_is_read_too_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a ?%.db");
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)").unwrap();
        writer.execute_batch("INSERT INTO t VALUES (1), (2)").unwrap();
        let count = |database: &Connection| {
            database.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, u32>(0))
        };
        assert!(wal_of(&path).metadata().unwrap().len() > 0);
        let copy = open(&path).unwrap();
        assert_eq!(count(&copy), Ok(2));
        assert!(copy.execute_batch("DELETE FROM t").is_err());
        writer.execute_batch("INSERT INTO t VALUES (3)").unwrap();
        assert_eq!(count(&copy), Ok(2), "it is a copy");
        drop(writer);
        assert!(!wal_of(&path).exists());
        let alone = open(&path).unwrap();
        assert_eq!(count(&alone), Ok(3));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
