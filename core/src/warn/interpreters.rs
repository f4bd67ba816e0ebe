//! Placeholders within the text of a program, as in `sh -c "echo {x}"`: the value becomes a part of
//! the program, and a quote in it ends what was meant as one word.

use super::At;
use crate::ids::TaskId;
use crate::pipeline::TaskAction;
use crate::problem::Problem;
use crate::resolve::Names;
use crate::template::{Part, Template};

/// Programs, and the options after which the text of a program follows.
const INTERPRETERS: &[(&[&str], &[&str])] = &[
    (&["python", "python2", "python3", "pypy", "pypy3", "ipython"], &["-c"]),
    (&["perl"], &["-e", "-E", "-ne", "-pe", "-nE", "-pE", "-lne", "-lpe", "-ane", "-lane"]),
    (&["ruby"], &["-e", "-ne", "-pe"]),
    (&["node", "deno", "bun"], &["-e", "--eval", "-p", "--print", "eval"]),
    (&["R", "Rscript", "julia", "lua", "guile", "octave"], &["-e", "--eval"]),
    (&["php"], &["-r"]),
];

/// Shells; the text follows after an option that ends in `c`.
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish"];

/// So many words after the program its text is looked for.
const NEAR: usize = 8;

/// Warns of placeholders in the text of a program among the words of a command.
pub(super) fn look(names: &Names<'_>, task: TaskId, found: &mut Vec<(At, Problem)>) {
    let Some(TaskAction::Run(words)) = names.tasks.get(task.at()).map(|task| &task.action) else {
        return;
    };
    for at in 0..words.len() {
        let Some(program) = words.get(at).and_then(literal).map(base_name) else { continue };
        let Some(text) = text_of(program, words, at) else { continue };
        let Some(template) = words.get(text) else { continue };
        for hole in 0..template.placeholders().count() {
            let message = format!("the value becomes a part of the program that `{program}` runs");
            let help = help_for(program);
            found.push((At::Word(task, text, hole), Problem::new(message).help(help)));
        }
    }
}

fn help_for(program: &str) -> String {
    if SHELLS.contains(&program) {
        return "pass it as an argument: [\"sh\", \"-c\", \"echo \\\"$1\\\"\", \"sh\", \"{…}\"], or use \
                `shell`, where parameters are variables"
            .to_owned();
    }
    "pass it as an argument after the program's text, or in `env`".to_owned()
}

/// The position of the text of a program that stands at a position.
fn text_of(program: &str, words: &[Template], at: usize) -> Option<usize> {
    let is_shell = SHELLS.contains(&program);
    let unversioned = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let options = INTERPRETERS
        .iter()
        .find(|(programs, _)| programs.contains(&program) || programs.contains(&unversioned))
        .map(|(_, options)| *options);
    if !is_shell && options.is_none() {
        return None;
    }
    for (position, word) in words.iter().enumerate().skip(at + 1).take(NEAR) {
        let word = literal(word)?;
        let starts_text = match options {
            Some(options) => options.contains(&word),
            None => word.starts_with('-') && !word.starts_with("--") && word.ends_with('c'),
        };
        if starts_text {
            return Some(position + 1);
        }
    }
    None
}

fn literal(word: &Template) -> Option<&str> {
    match word.parts.as_slice() {
        [Part::Literal(text)] => Some(text),
        _ => None,
    }
}

fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}
