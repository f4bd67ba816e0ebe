//! `dagrun init`: a pipeline to begin with, which runs as it is.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use crate::args::InitArgs;
use crate::exit::{Exit, Failure};
use crate::quote;
use crate::terminal;

/// A pipeline with comments.
const PIPELINE: &str = r#"# A pipeline: tasks that run commands, in the order that follows from what they need of each other.
# `dagrun check` finds mistakes, `dagrun submit` runs it, `dagrun status last` shows how it went.

[vars]
# Constants, which `--set greeting=hi` overrides.
greeting = "hello"

# One instance for each combination of these parameters: four, as many at once as there are cores.
[task.measure]
sweep   = { size = [10, 20], factor = [1, 2] }
# A list of words: the program and its arguments, without a shell. Parameters and constants go into the words.
run     = ["expr", "{size}", "*", "{factor}"]
# What it prints becomes its value.
capture = "json"

# One instance for each of them, as soon as that has ended.
[task.show]
map     = "measure"
run     = ["echo", "{vars.greeting}, size {size} gives {measure.value}"]
capture = "text"

# One instance after all of them. The manifest lists their parameters, values and files, one a line.
[task.summary]
gather    = "show"
# A script for bash. Nothing is put into it: parameters, constants and outputs are variables of the shell.
shell     = '''
echo "$greeting:" > "$out_table"
sort >> "$out_table"
'''
stdin     = "{show.manifest}"
# A file that it makes. It is put in place as a whole, and only when the task succeeds.
out.table = "summary.txt"
"#;

/// Writes it.
pub(crate) fn init(args: &InitArgs) -> Result<Exit, Failure> {
    let path = &args.file;
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    let written = created.and_then(|mut file| file.write_all(PIPELINE.as_bytes()));
    let shown = path.display();
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::usage(format!("`{shown}` exists already"))
            .help("give another name: `dagrun init NAME.toml`"),
        _ => Failure::usage(format!("cannot write `{shown}`: {error}")),
    })?;
    terminal::print(&format!(
        "{shown} is written; run it with: dagrun submit {}",
        quote::word(path)
    ));
    Ok(Exit::Success)
}
