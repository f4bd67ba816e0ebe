//! The writing side for the simulator: the same writer over a database in memory. When commands are carried
//! out and committed, and when it is killed in between, the simulator decides.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use rusqlite::Connection;
use tokio::sync::mpsc::UnboundedSender;

use super::writer::Writer;
use super::{Command, Haste, Journal, Reply};
use crate::history::History;

/// Commands on their way to the writer.
#[derive(Clone, Default)]
pub(crate) struct Commands(Rc<RefCell<VecDeque<(Command, Haste)>>>);

impl Journal for Commands {
    fn send(&self, command: Command, haste: Haste) {
        self.0.borrow_mut().push_back((command, haste));
    }
}

/// The writer, and what it has still to do.
pub(crate) struct Disk {
    writer: Writer,
    commands: Commands,
    /// Whether something has been carried out and is not committed.
    is_open: bool,
}

impl Disk {
    pub(crate) fn new(database: Connection, replies: UnboundedSender<Reply>) -> Disk {
        Disk {
            writer: Writer::in_memory(database, replies),
            commands: Commands::default(),
            is_open: false,
        }
    }

    pub(crate) fn commands(&self) -> Commands {
        self.commands.clone()
    }

    /// How many commands wait, and how soon the most urgent is to be on disk.
    pub(crate) fn waiting(&self) -> (usize, Haste) {
        let commands = self.commands.0.borrow();
        (commands.len(), commands.iter().map(|(_, haste)| *haste).max().unwrap_or_default())
    }

    /// Carries out as many commands.
    pub(crate) fn carry_out(&mut self, count: usize) {
        for _ in 0..count {
            let next = self.commands.0.borrow_mut().pop_front();
            let Some((command, _)) = next else { return };
            self.writer.carry_out(command);
            self.is_open = true;
        }
    }

    /// Whether something has been carried out and is not committed.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Reads from the same database.
    pub(crate) fn with_history<T>(&mut self, read: impl FnOnce(&History) -> T) -> T {
        let history = History::over(self.writer.lend());
        let result = read(&history);
        self.writer.give_back(history.into_database());
        result
    }

    pub(crate) fn database(&self) -> &Connection {
        self.writer.database()
    }

    pub(crate) fn commit(&mut self) {
        self.writer.commit_now();
        self.is_open = false;
    }

    /// What is on disk when everything else is lost.
    pub(crate) fn kill(self) -> Connection {
        self.writer.kill()
    }
}
