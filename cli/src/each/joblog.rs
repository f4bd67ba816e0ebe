//! `--joblog`: a line for each instance that was started, in the columns of GNU parallel.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use dagrun_core::ids::Timestamp;
use dagrun_core::recipe::Recipe;
use dagrun_core::status::InstanceRow;

use crate::exit::{Exit, Failure};
use crate::quote;

const COLUMNS: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand";

/// The file, created before anything runs.
#[derive(Debug)]
pub(super) struct JobLog {
    path: PathBuf,
    file: BufWriter<File>,
    recipe: Recipe,
}

impl JobLog {
    pub(super) fn create(path: &Path, recipe: Recipe) -> Result<JobLog, Failure> {
        let failed = |error: io::Error| {
            Failure::usage(format!("cannot write --joblog {}: {error}", path.display()))
        };
        let file = BufWriter::new(File::create(path).map_err(failed)?);
        Ok(JobLog { path: path.to_owned(), file, recipe })
    }

    /// Writes all lines, in the order in which the instances ended. `sizes` are the bytes that each wrote to
    /// standard output.
    pub(super) fn write(
        &mut self,
        mut rows: Vec<InstanceRow>,
        sizes: &HashMap<u32, u64>,
    ) -> Result<(), Failure> {
        rows.sort_by_key(|row| (row.finished, row.instance.index));
        let written = self.lines(&rows, sizes);
        written.map_err(|error| {
            Failure::new(Exit::Failed, format!("--joblog {}: {error}", self.path.display()))
        })
    }

    fn lines(&mut self, rows: &[InstanceRow], sizes: &HashMap<u32, u64>) -> io::Result<()> {
        writeln!(self.file, "{COLUMNS}")?;
        for row in rows {
            let (Some(started), Some(finished)) = (row.started, row.finished) else { continue };
            let index = row.instance.index;
            let argv = self.recipe.preview(index).map(|made| quote::line(made.argv));
            writeln!(
                self.file,
                "{}\t{}\t{:.3}\t{:.3}\t0\t{}\t{}\t{}\t{}",
                index + 1,
                row.worker.as_deref().unwrap_or("-"),
                seconds(started),
                seconds(finished) - seconds(started),
                sizes.get(&index).copied().unwrap_or(0),
                row.exit_code.unwrap_or(if row.state.word() == "succeeded" { 0 } else { -1 }),
                signal(&row.reason),
                argv.unwrap_or_default(),
            )?;
        }
        self.file.flush()
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.0 as f64 / 1e6
}

/// The signal that a reason names; 0 without one.
fn signal(reason: &str) -> u32 {
    let after = reason.strip_prefix("killed by signal ");
    let number = after.map(|after| after.split(' ').next().unwrap_or_default());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_signal_is_read_from_the_reason() {
        assert_eq!(super::signal("killed by signal 9 (SIGKILL)"), 9);
        assert_eq!(super::signal("killed by signal 15"), 15);
        assert_eq!(super::signal("exit code 3"), 0);
    }
}
