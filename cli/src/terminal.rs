//! The terminal: whether there is one, whether it may be coloured, and writing that cannot panic.

use std::io::{self, IsTerminal, Write};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// What standard error (or standard output) is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Someone looks at it, and the cursor can be moved.
    pub(crate) interactive: bool,
    /// Colours are welcome.
    pub(crate) color: bool,
}

/// The few colours in use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Paint {
    /// Well.
    Green,
    /// Not well.
    Red,
    /// Neither.
    Yellow,
    /// Less important.
    Dim,
    /// More important.
    Bold,
}

impl Terminal {
    /// Standard error.
    pub(crate) fn stderr() -> Terminal {
        Terminal::of(io::stderr().is_terminal())
    }

    /// Standard output.
    pub(crate) fn stdout() -> Terminal {
        Terminal::of(io::stdout().is_terminal())
    }

    fn of(terminal: bool) -> Terminal {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Terminal { interactive: terminal && !dumb, color: terminal && !dumb && !set("NO_COLOR") }
    }

    /// The text, coloured where colours are welcome.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Green => "32",
            Paint::Red => "31",
            Paint::Yellow => "33",
            Paint::Dim => "2",
            Paint::Bold => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Keeps the terminal from showing `^C`, which would move what is drawn on it by a line. Dropping it
/// undoes that.
#[derive(Debug)]
pub(crate) struct NoEcho {
    before: Termios,
}

impl NoEcho {
    /// Takes effect on the terminal at standard error; `None` for a process in the background, which
    /// may not do that.
    pub(crate) fn new() -> Option<NoEcho> {
        let stderr = io::stderr();
        let foreground = termios::tcgetpgrp(&stderr).ok()?;
        if foreground != rustix::process::getpgrp() {
            return None;
        }
        let before = termios::tcgetattr(&stderr).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHOCTL);
        termios::tcsetattr(&stderr, OptionalActions::Now, &quiet).ok()?;
        Some(NoEcho { before })
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(io::stderr(), OptionalActions::Now, &self.before);
    }
}

/// Writes a line for people to standard error; without a reader it is lost.
pub(crate) fn print(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}

/// Writes bytes as they are to standard error.
pub(crate) fn tell_bytes(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}

/// Standard output, buffered. A reader that has left ends the process quietly, as SIGPIPE would.
pub(crate) struct Output {
    inner: io::BufWriter<io::StdoutLock<'static>>,
}

impl Output {
    /// Locks standard output.
    pub(crate) fn lock() -> Output {
        Output { inner: io::BufWriter::new(io::stdout().lock()) }
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) {
        let result = writeln!(self.inner, "{text}");
        quit_on_error(result);
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let result = self.inner.write_all(bytes);
        quit_on_error(result);
    }

    /// Writes a line of JSON.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) {
        let result = serde_json::to_writer(&mut self.inner, value).map_err(io::Error::from);
        quit_on_error(result);
        self.bytes(b"\n");
    }

    /// Hands everything over to the reader.
    pub(crate) fn flush(&mut self) {
        let result = self.inner.flush();
        quit_on_error(result);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}

fn quit_on_error(result: io::Result<()>) {
    let Err(error) = result else { return };
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    print(&format!("error: standard output: {error}"));
    std::process::exit(1);
}

/// The lines of a table, columns aligned, the first row its head. A last column of words may be as
/// wide as it likes: nothing is aligned with its end.
pub(crate) fn table(rows: &[Vec<String>], numeric: &[bool]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut text = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = || " ".repeat(width - cell.chars().count());
            if numeric.get(column).copied().unwrap_or(false) {
                text.push_str(&padding());
                text.push_str(cell);
            } else {
                text.push_str(cell);
                if column + 1 < columns {
                    text.push_str(&padding());
                }
            }
            text.push_str("  ");
        }
        text.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
