//! The options of `dagrun each`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::halt::Halt;
use crate::args::{HowArgs, Place};

/// `dagrun each`.
#[derive(Debug, Args)]
#[command(after_help = "\
In the command {} is the item, {.} the item without its ending, {/} without its directory, {//} its directory, {/.} its
name without ending, {#} its number; {2}, {2.} … of the second input, {column} of a CSV file. Without any of these the
item is put at the end. A command of one word with blanks is a script for a shell, whose $1 is the item.

Examples:
  dagrun each gzip -k {} ::: *.txt
  dagrun each -j 4 ./simulate --seed {1} --size {2} ::: 1 2 3 ::: small large
  find . -name '*.wav' | dagrun each 'ffmpeg -i {} {.}.flac 2>&1 | tail -1'
  dagrun each --csv runs.csv ./price --strike {strike} --sigma {sigma}")]
pub(crate) struct EachArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// The rows of this CSV file are items, and `{column}` is a value of a row
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,
    /// The lines of standard input are items; so they are where no others are named
    #[arg(long)]
    pub(super) lines: bool,
    /// Items in files and in standard input end with a NUL character, not with a newline
    #[arg(short = '0', long)]
    pub(super) null: bool,
    /// Print outputs in the order of the items, not as they come
    #[arg(short, long)]
    pub(super) keep_order: bool,
    /// How often a failed item is tried again
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) retries: u32,
    /// Stop early: never, or now or soon, after so many that fail, success or are done, as in
    /// now,fail=1 or soon,fail=10%
    #[arg(long, value_name = "WHEN", default_value = "never", hide_default_value = true)]
    pub(super) halt: Halt,
    /// Write the output of each item to DIR/1/ITEM/stdout and stderr
    #[arg(long, value_name = "DIR")]
    pub(super) results: Option<PathBuf>,
    /// Write when and how each item ran to a file, in the columns of GNU parallel
    #[arg(long, value_name = "FILE")]
    pub(super) joblog: Option<PathBuf>,
    /// Print the commands that would be run, run nothing
    #[arg(long, conflicts_with_all = ["detach", "json"])]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) how: HowArgs,
    /// The command, then `:::` and items, `::::` and files of items; `:::+` and `::::+` pair them with those before,
    /// others are crossed
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub(super) words: Vec<OsString>,
}
