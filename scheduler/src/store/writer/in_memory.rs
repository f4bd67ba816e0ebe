//! The writer for the simulator, which decides when it carries commands out, commits, and is killed.

use std::path::PathBuf;

use rusqlite::Connection;
use tokio::sync::mpsc::UnboundedSender;

use super::Writer;
use crate::journal::standing::Standing;
use crate::store::{Command, Reply};

impl Writer {
    /// A writer for a database in memory, whose commands and commits somebody else decides on.
    pub(in crate::store) fn in_memory(
        database: Connection,
        replies: UnboundedSender<Reply>,
    ) -> Writer {
        let standing = Standing::in_memory();
        Writer { standing, ..Writer::new(database, PathBuf::new(), None, replies) }
    }

    /// Carries out a command.
    pub(in crate::store) fn carry_out(&mut self, command: Command) {
        assert!(self.take(command).is_ok(), "there is space in memory");
    }

    /// Commits what was carried out.
    pub(in crate::store) fn commit_now(&mut self) {
        assert!(self.commit().is_ok(), "there is space in memory");
    }

    pub(in crate::store) fn database(&self) -> &Connection {
        &self.database
    }

    /// Lends the database for a while.
    pub(in crate::store) fn lend(&mut self) -> Connection {
        let none = Connection::open_in_memory().expect("a database in memory");
        std::mem::replace(&mut self.database, none)
    }

    pub(in crate::store) fn give_back(&mut self, database: Connection) {
        self.database = database;
    }

    /// Ends, and loses what is not committed.
    pub(in crate::store) fn kill(self) -> Connection {
        // Nothing may be open.
        let _ = self.database.execute_batch("ROLLBACK");
        self.database
    }
}
