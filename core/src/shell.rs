//! What a shell makes of names and texts: which variables it can read, which it sets itself, and
//! which characters mean something to it.
//!
//! Scripts are not parsed: quotes and comments of a script are not told apart from the rest of it.

use std::borrow::Cow;
use std::ops::Range;

use rustc_hash::FxHashSet;

/// Variables that a shell sets or gives a meaning of its own. `DAGRUN_…` are set for every task.
const SET_BY_SHELLS: &[&str] = &[
    "_",
    "BASH",
    "BASHOPTS",
    "BASHPID",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "MAPFILE",
    "OLDPWD",
    "OPTARG",
    "OPTERR",
    "OPTIND",
    "PIPESTATUS",
    "POSIXLY_CORRECT",
    "PPID",
    "PWD",
    "RANDOM",
    "REPLY",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
];

/// Beginnings of such names.
const SET_BEGINNINGS: &[&str] = &["BASH_", "COMP_", "DAGRUN_"];

/// Variables that programs look for in their environment.
const OF_PROGRAMS: &[&str] = &[
    "CDPATH",
    "ENV",
    "HOME",
    "HOSTNAME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "PERL5LIB",
    "PS4",
    "PYTHONHOME",
    "PYTHONPATH",
    "RUBYLIB",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
];

/// Beginnings of such names.
const PROGRAM_BEGINNINGS: &[&str] = &["DYLD_", "LC_", "LD_"];

/// Whether a shell sets a variable of this name itself, or dagrun does.
pub(crate) fn sets(name: &str) -> bool {
    SET_BY_SHELLS.contains(&name) || SET_BEGINNINGS.iter().any(|start| name.starts_with(start))
}

/// Whether programs look for a variable of this name, so that another value of it may break them.
pub(crate) fn is_for_programs(name: &str) -> bool {
    OF_PROGRAMS.contains(&name) || PROGRAM_BEGINNINGS.iter().any(|start| name.starts_with(start))
}

/// The name by which a shell can read a parameter, a variable or an output.
pub(crate) fn variable(name: &str) -> Cow<'_, str> {
    match name.contains('-') {
        true => Cow::Owned(name.replace('-', "_")),
        false => Cow::Borrowed(name),
    }
}

/// The words of a script that could be names of variables.
pub(crate) fn words(script: &str) -> FxHashSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    script.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect()
}

/// The same, and what they begin with before a `_`: a script reads the field `f.stem` as `f_stem`.
pub(crate) fn mentions(script: &str) -> FxHashSet<&str> {
    let words = words(script);
    let mut all = words.clone();
    for word in words {
        all.extend(word.match_indices('_').filter_map(|(at, _)| word.get(..at)));
    }
    all
}

/// The words that run a script by its first line; none where that names no interpreter. `env` is
/// left out where it only looks for the program, and splits words after `-S`.
pub(crate) fn interpreter(script: &str) -> Vec<String> {
    let line = script.strip_prefix("#!").and_then(|rest| rest.lines().next()).unwrap_or_default();
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let Some((first, rest)) = words.split_first() else { return words };
    if first.rsplit('/').next() != Some("env") {
        return words;
    }
    let split = match rest.first().and_then(|option| option.strip_prefix("-S")) {
        Some(_) => {
            let text = line.split_once("-S").map_or("", |(_, text)| text);
            shell_words::split(text).unwrap_or_default()
        }
        None => rest.to_vec(),
    };
    let plain = split.first().is_some_and(|word| !word.starts_with('-') && !word.contains('='));
    if plain { split } else { words }
}

/// The names that a script expands as `$name` and `${name…}`, as far as they could be names of
/// parameters: with `-`, at which a shell ends a name. Each with its location without `$` and brace.
pub(crate) fn expansions(script: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    script.match_indices('$').filter_map(move |(at, _)| {
        let mut start = at + 1;
        let rest = script.get(start..)?;
        if let Some(inner) = rest.strip_prefix('{') {
            start += 1 + inner.len() - inner.trim_start_matches(['#', '!']).len();
        }
        let rest = script.get(start..)?;
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = rest.get(..length).filter(|name| !name.is_empty())?;
        Some((name, start..start + length))
    })
}

/// The variables that a script expands, other than those that it seems to set itself.
pub(crate) fn expanded(script: &str) -> FxHashSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let cut = |name: &str| name.find(|c| !is_part(c)).unwrap_or(name.len());
    let names = expansions(script).map(|(name, _)| name.get(..cut(name)).unwrap_or_default());
    let words: Vec<&str> = script.split_whitespace().collect();
    let sets = |name: &str| {
        words.iter().enumerate().any(|(at, word)| {
            let before = at.checked_sub(1).and_then(|at| words.get(at)).copied();
            let named = word.strip_suffix(';').unwrap_or(word) == name;
            word.strip_prefix(name).is_some_and(|rest| rest.starts_with(['=', '+']))
                || named && matches!(before, Some("for" | "read" | "-r" | "local" | "declare"))
        })
    };
    let names: FxHashSet<&str> = names.filter(|name| !name.is_empty()).collect();
    names.into_iter().filter(|name| !sets(name)).collect()
}

/// Texts between single braces in a script, not after `$`, each with its location, braces included.
/// Those of a shell (`{ a; }`, `{a,b}`, `{1..9}`) are among them.
pub(crate) fn braced(script: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    script.match_indices('{').filter_map(move |(at, _)| {
        if script.get(..at)?.ends_with(['$', '{']) {
            return None;
        }
        let rest = script.get(at + 1..)?;
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-.:".contains(c)))?;
        let text = rest.get(..length).filter(|text| !text.is_empty())?;
        rest.get(length..)?.starts_with('}').then_some((text, at..at + length + 2))
    })
}

/// The characters of a command line that mean something to a shell, and nothing without one: the
/// first of each kind, with its location. Quoted ones are not among them.
pub(crate) fn specials(text: &str) -> Vec<(&str, Range<usize>)> {
    let mut found: Vec<(&str, Range<usize>)> = Vec::new();
    let mut quote = None;
    let mut word_start = true;
    let mut skip = 0;
    for (at, c) in text.char_indices() {
        if at < skip {
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        let first_of_word = std::mem::replace(&mut word_start, false);
        let length = match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => {
                quote = None;
                0
            }
            (Some('\''), _) => 0,
            (_, '\\') => {
                skip = at + 1 + rest.chars().nth(1).map_or(0, char::len_utf8);
                0
            }
            (_, '$') => dollar(rest),
            (_, '`') => 1,
            (Some(_), _) => 0,
            (None, '\'' | '"') => {
                quote = Some(c);
                0
            }
            (None, ' ' | '\t' | '\n') => {
                word_start = true;
                0
            }
            (None, '|' | '&' | ';' | '<' | '>') => {
                rest.chars().take_while(|next| "|&;<>".contains(*next)).count()
            }
            (None, '*') => 1,
            (None, '~') if first_of_word => 1,
            _ => 0,
        };
        if length > 0 {
            skip = at + length;
            let special = text.get(at..skip).unwrap_or_default();
            if !found.iter().any(|(known, _)| *known == special) {
                found.push((special, at..skip));
            }
        }
    }
    found
}

/// The length of `$name`, `${name}`, `$(` or `$1` at the beginning of a text; 0 when it is none.
fn dollar(text: &str) -> usize {
    let rest = text.get(1..).unwrap_or_default();
    let name = |text: &str| {
        text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
    };
    match rest.chars().next() {
        Some('(') => 2,
        Some('{') => {
            let end = rest.find('}').map_or(0, |end| end + 2);
            // `${{x}}` is a literal `$` before what the braces become.
            if rest.starts_with("{{") { 0 } else { end }
        }
        Some('?' | '@' | '#' | '!' | '*' | '$') => 2,
        _ => match name(rest) {
            0 => 0,
            length => 1 + length,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn special(text: &str) -> Vec<&str> {
        specials(text).into_iter().map(|(special, _)| special).collect()
    }

    #[test]
    fn what_a_shell_would_act_on_is_found_unless_it_is_quoted() {
        for (text, found) in [
            ("echo a", vec![]),
            ("cat a | wc -l > n", vec!["|", ">"]),
            ("make && ./x || exit; done &", vec!["&&", "||", ";", "&"]),
            ("echo $HOME ${x} $(id) `id` $1", vec!["$HOME", "${x}", "$(", "`", "$1"]),
            ("ls *.txt ~/x", vec!["*", "~"]),
            ("ls '*.txt' '$x' '|' '~'", vec![]),
            ("ls \"*.txt\" \"|\" a~", vec![]),
            ("echo \"$x\"", vec!["$x"]),
            ("echo \\$x \\* \\|", vec![]),
            ("echo {x} 5$ {{a}} ${{a}}", vec![]),
            ("a > b > c", vec![">"]),
            ("a 2>&1", vec![">&"]),
            ("ü | ü", vec!["|"]),
            ("a\\", vec![]),
        ] {
            assert_eq!(special(text), found, "{text}");
        }
    }

    #[test]
    fn names_that_a_script_expands_are_found_with_their_dashes() {
        let script = "echo ${a-b} $c-d ${#e} ${f:-1} \"$g\" $ $( $1 ${";
        let names: Vec<_> = expansions(script).map(|(name, _)| name).collect();
        assert_eq!(names, ["a-b", "c-d", "e", "f", "g", "1"]);
        for (name, span) in expansions(script) {
            assert_eq!(script.get(span), Some(name));
        }
    }

    #[test]
    fn a_script_names_its_interpreter() {
        for (line, words) in [
            ("#!/bin/sh", vec!["/bin/sh"]),
            ("#! /bin/sh -e ", vec!["/bin/sh", "-e"]),
            ("#!/usr/bin/env python3", vec!["python3"]),
            ("#!/usr/bin/env -S python3 -u 'a b'", vec!["python3", "-u", "a b"]),
            ("#!/usr/bin/env -S A=1 python3", vec!["/usr/bin/env", "-S", "A=1", "python3"]),
            ("#!", vec![]),
            ("print(1)", vec![]),
            (" #!/bin/sh", vec![]),
        ] {
            assert_eq!(interpreter(&format!("{line}\necho 1\n")), words, "{line}");
        }
    }

    #[test]
    fn variables_that_a_script_sets_are_its_own() {
        let script = "a=1; for b in $c; do read -r d; echo $a $b $d ${e-x} $f-; done";
        let mut names: Vec<_> = expanded(script).into_iter().collect();
        names.sort_unstable();
        assert_eq!(names, ["c", "e", "f"]);
    }

    #[test]
    fn braces_of_placeholders_are_found_among_those_of_the_shell() {
        let script = "f() { echo {x} ${y} {{z}} {out.a} {a,b} {1..3} {index:03} { }; }";
        let texts: Vec<_> = braced(script).map(|(text, _)| text).collect();
        assert_eq!(texts, ["x", "out.a", "1..3", "index:03"]);
    }

    #[test]
    fn names_of_shells_and_programs() {
        for name in ["IFS", "PWD", "RANDOM", "PPID", "LINENO", "SHLVL", "DAGRUN_INDEX", "BASH_ENV"]
        {
            assert!(sets(name), "{name}");
        }
        for name in ["PATH", "HOME", "LD_LIBRARY_PATH", "LC_ALL"] {
            assert!(is_for_programs(name) && !sets(name), "{name}");
        }
        assert!(!sets("path") && !is_for_programs("path"));
        assert_eq!((variable("n-x"), variable("n")), ("n_x".into(), "n".into()));
        assert!(words("echo \"$a_b\" -c").contains("a_b"));
    }
}
