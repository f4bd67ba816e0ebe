//! The keys of the format.

/// The keys at the top of a file.
pub(super) const TOP: &[&str] = &["dagrun", "name", "vars", "defaults", "task"];

/// The keys of a task.
pub(super) const TASK: &[&str] = &[
    "run",
    "shell",
    "script",
    "wrap",
    "call",
    "args",
    "sweep",
    "combine",
    "allow-empty",
    "map",
    "scatter",
    "max-items",
    "gather",
    "min-success",
    "after",
    "follow",
    "capture",
    "out",
    "stdin",
    "in",
    "inputs",
    "env",
    "working-dir",
    "retries",
    "max-lost",
    "timeout",
    "grace",
    "start-within",
    "allow-failure",
    "always",
    "rerun",
    "priority",
    "cpus",
    "memory",
    "resources",
    "targets",
    "max-running",
];

/// Keys of a task that make no sense as a default for all.
pub(super) const NOT_DEFAULTS: &[&str] =
    &["run", "shell", "script", "call", "sweep", "map", "scatter", "gather", "out"];

/// The kinds of axes that are written as a table.
pub(super) const AXIS_KINDS: &[&str] =
    &["linspace", "geomspace", "logspace", "range", "glob", "csv", "json", "lines"];

/// What other tools call something, and the key for it here.
const WORDS_OF_OTHERS: &[(&str, &str)] = &[
    ("depends_on", "after"),
    ("depends", "after"),
    ("dependencies", "after"),
    ("needs", "after"),
    ("requires", "after"),
    ("upstream", "after"),
    ("foreach", "sweep"),
    ("for_each", "sweep"),
    ("matrix", "sweep"),
    ("params", "sweep"),
    ("parameters", "sweep"),
    ("threads", "cpus"),
    ("cores", "cpus"),
    ("ncpus", "cpus"),
    ("cwd", "working-dir"),
    ("workdir", "working-dir"),
    ("chdir", "working-dir"),
    ("cmd", "run"),
    ("command", "run"),
    ("exec", "run"),
    ("bash", "shell"),
    ("mem", "memory"),
    ("mem_mb", "memory"),
    ("ram", "memory"),
    ("output", "out"),
    ("outputs", "out"),
    ("input", "inputs"),
    ("environment", "env"),
    ("attempts", "retries"),
    ("time_limit", "timeout"),
    ("walltime", "timeout"),
    ("concurrency", "max-running"),
    ("job", "task"),
    ("jobs", "task"),
    ("rule", "task"),
    ("rules", "task"),
    ("process", "task"),
    ("step", "task"),
    ("steps", "task"),
    ("variables", "vars"),
    ("config", "vars"),
];

/// The key, among those known at a place, for a word that other tools use. Case and whether words are
/// joined by `_`, `-` or nothing make no difference.
pub(super) fn word_of_others(word: &str, known: &[&str]) -> Option<&'static str> {
    let plain = |word: &str| {
        word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
    };
    let word: String = plain(word);
    let same = WORDS_OF_OTHERS.iter().find(|(theirs, _)| plain(theirs) == word);
    same.map(|(_, ours)| *ours).filter(|ours| known.contains(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_lead_to_keys() {
        for (theirs, ours) in [
            ("depends_on", "after"),
            ("dependsOn", "after"),
            ("needs", "after"),
            ("foreach", "sweep"),
            ("matrix", "sweep"),
            ("threads", "cpus"),
            ("cwd", "working-dir"),
            ("cmd", "run"),
            ("mem", "memory"),
        ] {
            assert_eq!(word_of_others(theirs, TASK), Some(ours), "{theirs}");
        }
        assert_eq!(word_of_others("threads", TOP), None, "it is no key there");
        for (theirs, ours) in WORDS_OF_OTHERS {
            assert!(TASK.contains(ours) || TOP.contains(ours), "{ours}");
            assert!(!TASK.contains(theirs) && !TOP.contains(theirs), "{theirs}");
        }
    }
}
