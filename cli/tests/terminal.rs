//! What people see: the real program in a pseudo-terminal of several widths, read by an emulator.

use std::io::Read as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

const WIDTHS: [u16; 5] = [40, 60, 80, 120, 200];

/// Ten tasks run and wait for a file, one of them has failures; two instances wait to be tried again; it is
/// not known how many elements there will be.
const BUSY: &str = r#"
    name = "busy"
    [task.price]
    run = ["sh", "-c", '[ $1 != 2 ] || exit 3; until [ -e go ]; do sleep 0.05; done', "sh", "{x}"]
    sweep = { x = { range = "0..3" } }
    [task.flaky]
    run = ["sh", "-c", '[ -e go ]', "sh", "{x}"]
    retries = { count = 3, delay = "1h" }
    sweep = { x = [1, 2] }
    [task.a-task-with-a-really-long-name-for-a-bar]
    run = ["sh", "-c", 'until [ -e go ]; do sleep 0.05; done', "sh", "{x}"]
    sweep = { x = { range = "0..3" } }
    [task.list]
    run = ["sh", "-c", 'until [ -e go ]; do sleep 0.05; done; echo "[1, 2, 3]"']
    capture = "json"
    [task.part]
    scatter = "list"
    run = ["true"]
    [task.e]
    run = ["sh", "-c", 'until [ -e go ]; do sleep 0.05; done']
    [task.f]
    run = ["sh", "-c", 'until [ -e go ]; do sleep 0.05; done']
    [task.g]
    run = ["sh", "-c", 'until [ -e go ]; do sleep 0.05; done']
    [task.h]
    run = ["sh", "-c", 'until [ -e go ]; do sleep 0.05; done']
    [task.i]
    run = ["sh", "-c", 'until [ -e go ]; do sleep 0.05; done']
    [task.j]
    run = ["sh", "-c", 'until [ -e go ]; do sleep 0.05; done']
"#;

/// A process on a terminal.
struct Screen {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
}

impl Screen {
    fn start(dir: &Path, words: &[&str], columns: u16) -> Screen {
        let size = PtySize { rows: 24, cols: columns, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_dagrun"));
        command.args(words);
        command.cwd(dir);
        for name in ["NO_COLOR", "FORCE_COLOR", "TMUX", "COLUMNS", "LINES"] {
            command.env_remove(name);
        }
        // The emulator does not break lines anew when it is resized, as xterm does not.
        command.env("TERM", "xterm-256color");
        command.env("XTERM_VERSION", "1");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (to, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if to.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Screen { master: pair.master, child, output, parser: vt100::Parser::new(24, columns, 0) }
    }

    /// Resizes the terminal while the process rests: what it writes is for one width.
    fn resize(&mut self, columns: u16) {
        let id = self.child.process_id().unwrap();
        let signal = |name: &str| {
            let kill = std::process::Command::new("kill").args([name, &id.to_string()]).status();
            assert!(kill.unwrap().success());
        };
        signal("-STOP");
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(300)) {
            self.parser.process(&bytes);
        }
        let size = PtySize { rows: 24, cols: columns, ..PtySize::default() };
        self.master.resize(size).unwrap();
        self.parser.screen_mut().set_size(24, columns);
        signal("-CONT");
    }

    /// What is seen, without empty lines at the end.
    fn seen(&self) -> String {
        let contents = self.parser.screen().contents();
        contents.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// Waits until what is seen is as wished.
    fn until(&mut self, wished: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen();
            if wished(&seen) {
                return seen;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.parser.process(&bytes),
                Err(error) => panic!("{error}: {seen}"),
            }
        }
    }

    /// The picture when all that will start has started.
    fn busy(&mut self) -> String {
        let cells = [
            ("run 1", "1/15+"),
            ("price", "1/3"),
            ("flaky", "0/2"),
            ("list", "0/1"),
            ("+2 more", ""),
        ];
        let width = self.parser.screen().size().1;
        self.until(|seen| {
            let lines: Vec<&str> =
                seen.lines().skip_while(|line| !line.starts_with("run 1")).collect();
            let has = |(name, count): &(&str, &str)| {
                lines.iter().any(|line| line.trim_start().starts_with(name) && line.contains(count))
            };
            // The figures that a narrow line has no space for are awaited in the others.
            lines.len() == 10
                && cells.iter().all(has)
                && lines[0].contains("1 failed")
                && (width < 60 || lines[0].contains("12 running"))
                && lines[2].contains("2 retrying")
                && lines[3].contains("3 running")
                && lines[5..9].iter().all(|line| line.contains("1 running"))
        })
    }
}

fn test() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.toml"), BUSY).unwrap();
    dir
}

#[test]
fn each_bar_is_one_line_at_every_width_and_survives_resizing() {
    let dir = test();
    let mut run = Screen::start(dir.path(), &["submit", "-j", "16"], 80);
    run.busy();
    let mut pictures = String::new();
    for columns in WIDTHS {
        // Another shell looks at it, which finds it live.
        let mut watch = Screen::start(dir.path(), &["watch"], columns);
        let picture = watch.busy();
        watch.child.kill().unwrap();
        assert!(picture.lines().all(|line| line.chars().count() <= columns.into()), "{picture}");
        pictures.push_str(&format!("{columns} columns\n{picture}\n\n"));
        // And the run's own terminal gets the same picture when it is resized.
        run.resize(columns);
        run.until(|seen| seen == picture);
    }
    insta::assert_snapshot!(pictures);
    for columns in [60, 200, 40, 120] {
        run.resize(columns);
        run.busy();
    }
    std::fs::write(dir.path().join("go"), "").unwrap();
    let cancelled = std::process::Command::new(env!("CARGO_BIN_EXE_dagrun"))
        .args(["cancel", "last", "flaky"])
        .current_dir(dir.path())
        .status();
    assert!(cancelled.unwrap().success());
    let end = run.until(|seen| seen.contains("run 1 failed") && seen.contains("retry:"));
    // No bar is left.
    assert!(!end.contains('━'), "{end}");
    assert_eq!(run.child.wait().unwrap().exit_code(), 1);
}

/// Numbers of every kind and size, text with quotes and wide letters, nothing where an instance failed.
const TABLE: &str = r#"
    name = "table"
    [task.price]
    sweep = { strike = { linspace = [80.0, 104.0], n = 13 }, name = ["köln \"a\"", "東京"] }
    run = ["awk", "-f", "price.awk", "{strike}"]
    capture = "json"
    allow-failure = true
"#;

const PRICE: &str = r#"BEGIN {
    x = ARGV[1]
    if (x == 84) exit 3
    printf "{\"price\": %s, \"count\": %d, \"ok\": %s, \"xs\": [1, 2]}", x * x / 7, x * 1000, (x > 90) ? "true" : "false"
}"#;

/// A directory where that has run.
fn table() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.toml"), TABLE).unwrap();
    std::fs::write(dir.path().join("price.awk"), PRICE).unwrap();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_dagrun"))
        .args(["submit", "--quiet", "-j", "2"])
        .current_dir(dir.path())
        .status();
    assert!(run.unwrap().success());
    dir
}

/// All that a command prints on a terminal.
fn printed(dir: &Path, words: &[&str], columns: u16) -> String {
    let mut screen = Screen::start(dir, words, columns);
    while let Ok(bytes) = screen.output.recv_timeout(PATIENCE) {
        screen.parser.process(&bytes);
    }
    assert!(screen.child.wait().unwrap().success());
    screen.seen()
}

/// The cells of a line of CSV.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => {
                cells.last_mut().unwrap().push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

#[test]
fn a_table_on_a_terminal_has_the_cells_of_its_csv() {
    let dir = table();
    let shown = printed(dir.path(), &["table", "price"], 120);
    let csv = std::process::Command::new(env!("CARGO_BIN_EXE_dagrun"))
        .args(["table", "price", "--csv"])
        .current_dir(dir.path())
        .output();
    let csv = String::from_utf8(csv.unwrap().stdout).unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!((lines.len(), lines[21]), (22, "… 6 more"), "{shown}");
    let rows: Vec<Vec<String>> = csv.lines().take(21).map(cells).collect();
    for (line, row) in lines.iter().zip(&rows) {
        let words: Vec<&str> =
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let filled: Vec<&String> = row.iter().filter(|cell| !cell.is_empty()).collect();
        assert_eq!(words, filled, "{line}");
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn summaries_and_plots_on_a_terminal() {
    let dir = table();
    let mut pictures = String::new();
    for words in [
        &["table", "price", "--summary"][..],
        &["table", "price", "--summary", "--by", "name", "--columns", "price"],
        &["table", "price", "--plot", "price:strike"],
        &["table", "price", "--plot", "price:strike,name"],
        &["table", "price", "--plot", "count:name"],
    ] {
        let picture = printed(dir.path(), words, 100);
        assert!(picture.lines().all(|line| line.chars().count() <= 100), "{picture}");
        assert!(!picture.contains('\t'), "{picture}");
        pictures.push_str(&format!("$ dagrun {}\n{picture}\n\n", words.join(" ")));
    }
    insta::assert_snapshot!(pictures);
}
