//! The terminal: whether there is one, whether it may be coloured, and writing that cannot panic.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr};

use crate::args::When;
use crate::exit::Failure;

/// What `--color` says.
static COLOR: OnceLock<When> = OnceLock::new();

/// Notes what `--color` says, once.
pub(crate) fn set_color(when: When) {
    let _ = COLOR.set(when);
}

/// Asks a question on the terminal; anything but yes is no. `option` is what says yes elsewhere.
///
/// # Errors
/// Where nobody can be asked.
pub(crate) fn confirmed(question: &str, option: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let text = format!("{question} There is no terminal on which to ask");
        return Err(Failure::usage(text).help(format!("{option} says yes")));
    }
    let mut to = io::stderr().lock();
    let _ = write!(to, "{question} [y/N] ");
    let _ = to.flush();
    let mut answer = String::new();
    let _ = io::stdin().read_line(&mut answer);
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

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
        let interactive = terminal && !dumb;
        let color = match COLOR.get().copied().unwrap_or_default() {
            When::Always => true,
            When::Never => false,
            When::Auto if set("NO_COLOR") => false,
            When::Auto => interactive || set("FORCE_COLOR"),
        };
        Terminal { interactive, color }
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

/// How many characters a line of standard output has.
pub(crate) fn width() -> usize {
    size_of(&io::stdout()).0
}

/// How many columns and rows standard error has.
pub(crate) fn size() -> (usize, usize) {
    size_of(&io::stderr())
}

fn size_of(terminal: &impl AsFd) -> (usize, usize) {
    let size = termios::tcgetwinsize(terminal).ok();
    let said = |name| std::env::var(name).ok()?.parse().ok();
    let known = |count: u16| Some(usize::from(count)).filter(|count| *count > 0);
    let columns = size.and_then(|size| known(size.ws_col)).or_else(|| said("COLUMNS"));
    let rows = size.and_then(|size| known(size.ws_row)).or_else(|| said("LINES"));
    (columns.unwrap_or(80), rows.unwrap_or(24))
}

/// Whether the terminal breaks lines anew when it gets narrower. Most do.
pub(crate) fn reflows() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let screen = std::env::var("TERM").is_ok_and(|term| term.starts_with("screen"));
    !set("XTERM_VERSION") && (!screen || set("TMUX"))
}

/// Writes a line for people to standard error; without a reader it is lost.
pub(crate) fn print(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}

/// Writes bytes as they are to standard error.
pub(crate) fn print_bytes(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}

/// Standard output, buffered. A reader that has left ends the process quietly, as SIGPIPE would.
pub(crate) struct Output {
    /// Always there, but while it is dropped.
    inner: Option<io::BufWriter<Box<dyn Write>>>,
    pager: Option<Child>,
}

impl Output {
    /// Locks standard output.
    pub(crate) fn lock() -> Output {
        Output::to(Box::new(io::stdout().lock()), None)
    }

    /// The same, through a pager where someone looks at it: `$DAGRUN_PAGER`, `$PAGER` or `less`.
    pub(crate) fn paged() -> Output {
        if !Terminal::stdout().interactive {
            return Output::lock();
        }
        let named = |name| std::env::var(name).ok().filter(|command| !command.is_empty());
        let command = named("DAGRUN_PAGER").or_else(|| named("PAGER"));
        let command = command.unwrap_or_else(|| "less".to_owned());
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).stdin(Stdio::piped());
        // Quit if it fits, keep colours, leave the screen as it is.
        if std::env::var_os("LESS").is_none() {
            shell.env("LESS", "FRX");
        }
        let is_plain = command == "cat" || !is_there(&command);
        let started = if is_plain { None } else { shell.spawn().ok() };
        match started.map(|mut child| (child.stdin.take(), child)) {
            Some((Some(stdin), child)) => Output::to(Box::new(stdin), Some(child)),
            _ => Output::lock(),
        }
    }

    fn to(to: Box<dyn Write>, pager: Option<Child>) -> Output {
        Output { inner: Some(io::BufWriter::new(to)), pager }
    }

    fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        let result = self.inner.as_mut().map_or(Ok(()), |inner| write(inner));
        let Err(error) = result else { return };
        if let Some(mut pager) = self.pager.take() {
            // Its reader has seen enough.
            let _ = pager.wait();
        }
        quit_on_error(Err(error));
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) {
        self.write(|to| writeln!(to, "{text}"));
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.write(|to| to.write_all(bytes));
    }

    /// Writes a line of JSON.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) {
        self.write(|to| serde_json::to_writer(to, value).map_err(io::Error::from));
        self.bytes(b"\n");
    }

    /// Hands everything over to the reader.
    pub(crate) fn flush(&mut self) {
        self.write(|to| to.flush());
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
        self.inner = None;
        if let Some(mut pager) = self.pager.take() {
            let _ = pager.wait();
        }
    }
}

/// Whether the program of a command is found.
fn is_there(command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or("");
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    program.contains('/') || std::env::split_paths(&dirs).any(|dir| dir.join(program).is_file())
}

fn quit_on_error(result: io::Result<()>) {
    let Err(error) = result else { return };
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    print(&format!("error: standard output: {error}"));
    std::process::exit(1);
}

/// How many columns a text takes: colours take none, some letters two.
pub(crate) fn seen(text: &str) -> usize {
    let mut pieces = text.split("\x1b[");
    let first = pieces.next().map_or(0, UnicodeWidthStr::width);
    let rest = pieces.map(|piece| piece.split_once('m').map_or(0, |(_, rest)| rest.width()));
    first + rest.sum::<usize>()
}

/// A line without colours, cut off where it would take more columns.
pub(crate) fn cut(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let mut taken = 0;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken < columns
    };
    let mut cut: String = line.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

/// The lines of a table, columns aligned, the first row its head. A last column of words may be as
/// wide as it likes: nothing is aligned with its end.
pub(crate) fn table(rows: &[Vec<String>], numeric: &[bool]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| seen(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut text = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = || " ".repeat(width.saturating_sub(seen(cell)));
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

/// A text as people read it, with nothing in it that a terminal would obey; quotes are as they are.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => plain.push(c),
            c => plain.extend(c.escape_debug()),
        }
    }
    plain
}
