//! What `dagrun help` and `dagrun man` add to the options of a command: how it ends, which variables it reads,
//! which files it writes.

/// The exit codes of a command, by its words without `dagrun`.
pub(crate) fn exit_codes(command: &[&str]) -> Vec<(&'static str, &'static str)> {
    const OK: (&str, &str) = ("0", "success");
    const INVALID: (&str, &str) = ("2", "invalid pipeline or usage; nothing has run");
    const USAGE: (&str, &str) = ("2", "wrong usage, or there is no such run, task or instance");
    const UNREACHABLE: (&str, &str) =
        ("3", "the scheduler is not reachable, or was lost; the run was interrupted");
    const SIGNALS: (&str, &str) = ("129, 130, 143", "interrupted by SIGHUP, SIGINT, SIGTERM");
    let run = ("1", "a task failed or was cancelled");
    match command {
        ["submit" | "each" | "resume" | "retry", ..] => {
            vec![OK, run, INVALID, UNREACHABLE, SIGNALS]
        }
        ["wait" | "watch", ..] => vec![OK, run, USAGE, UNREACHABLE, SIGNALS],
        ["exec", ..] => {
            vec![OK, ("1", "the command failed on a worker"), USAGE, UNREACHABLE, SIGNALS]
        }
        ["check", ..] => vec![OK, ("2", "the pipeline has problems, or wrong usage")],
        ["graph", ..] => vec![OK, ("2", "the pipeline has problems, or wrong usage"), UNREACHABLE],
        ["fmt", ..] => vec![
            OK,
            ("1", "with --check: a file is not formatted"),
            ("2", "a file is no TOML, cannot be read or written, or wrong usage"),
        ],
        ["init", ..] => vec![OK, ("2", "the file exists, or cannot be written")],
        ["completions" | "man" | "help", ..] => vec![OK, ("2", "wrong usage")],
        ["scheduler" | "worker" | "cluster", ..] => {
            vec![OK, ("1", "it could not start"), ("2", "wrong usage"), UNREACHABLE, SIGNALS]
        }
        [] => vec![OK, run, INVALID, UNREACHABLE, SIGNALS],
        _ => vec![OK, ("1", "what was asked for could not be read"), USAGE, UNREACHABLE],
    }
}

/// The variables that all commands read, beside those that options name.
pub(crate) const ENVIRONMENT: [(&str, &str); 7] = [
    ("DAGRUN_CLUSTER", "the cluster, as --cluster"),
    ("DAGRUN_STATE_DIR", "the state directory, as --state-dir"),
    ("DAGRUN_CLUSTERS_DIR", "where the connection files of clusters are"),
    ("DAGRUN_PAGER, PAGER", "what long answers are shown in on a terminal; `cat` for nothing"),
    ("NO_COLOR", "no colours, when it is set and not empty"),
    ("FORCE_COLOR", "colours also where there is no terminal"),
    ("AWS_…", "credentials for s3:// URLs"),
];

/// The files.
pub(crate) const FILES: [(&str, &str); 3] = [
    (".dagrun/", "the history, values and logs of runs, beside the pipeline file"),
    (
        "$XDG_STATE_HOME/dagrun/clusters/NAME/",
        "the connection files, state and logs of a cluster; ~/.local/state without that variable",
    ),
    ("pipeline.toml", "what `dagrun init` writes"),
];

/// A section for a terminal.
pub(crate) fn section(title: &str, rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{title}:\n");
    for (name, meaning) in rows {
        let padding = " ".repeat(width - name.chars().count());
        text.push_str(&format!("  {name}{padding}  {meaning}\n"));
    }
    text
}

/// A section as roff.
pub(crate) fn roff(title: &str, rows: &[(&str, &str)]) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('-', "\\-");
    let mut text = format!(".SH \"{title}\"\n");
    for (name, meaning) in rows {
        text.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escaped(name), escaped(meaning)));
    }
    text
}
