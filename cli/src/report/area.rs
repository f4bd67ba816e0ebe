//! Where progress is drawn: standard error, in lines that each end.
//!
//! The drawing library fills each line up to the width of the terminal and has it wrap. A terminal that
//! is resized takes such lines for one long line, and breaks it anew.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;

use crate::terminal;

/// Standard error, for the drawing library.
#[derive(Debug, Default)]
pub(super) struct Area {
    /// Whether a line has been written that has not ended yet.
    unfinished: Mutex<bool>,
}

impl Area {
    fn write(&self, text: &str, unfinished: bool) -> io::Result<()> {
        let mut before = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        *before = unfinished;
        io::stderr().lock().write_all(text.as_bytes())
    }

    fn is_unfinished(&self) -> bool {
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self, count: usize, letter: char) -> io::Result<()> {
        match count {
            0 => self.write("", false),
            _ => self.write(&format!("\x1b[{count}{letter}"), false),
        }
    }
}

impl TermLike for Area {
    fn width(&self) -> u16 {
        u16::try_from(terminal::size().0).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(terminal::size().1).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.moved(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.moved(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.moved(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.moved(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write(&format!("{text}\r\n"), false)
    }

    /// A line, or what fills it up, or a return to its beginning.
    fn write_str(&self, text: &str) -> io::Result<()> {
        match text {
            "\r" => self.write(text, false),
            _ if text.bytes().all(|byte| byte == b' ') && self.is_unfinished() => Ok(()),
            _ if self.is_unfinished() => self.write(&format!("\r\n{text}\x1b[K"), true),
            _ => self.write(&format!("{text}\x1b[K"), true),
        }
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write("\r\x1b[2K", false)
    }

    fn flush(&self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}
