//! `dagrun export`: the results of a run as plain files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use dagrun::table::Form;
use dagrun_core::select::Selector;
use dagrun_core::status::RunStatus;
use dagrun_core::table::Kind;
use rusqlite::Connection;

use crate::args::Place;
use crate::chosen::is_run;
use crate::complete;
use crate::exit::{Exit, Failure};
use crate::source::{RunSource, Source};
use crate::table::format::{Sink, create_beside, put_in_place};
use crate::table::rows::Rows;
use crate::table::sqlite::{failed, fill};
use crate::target::RunName;
use crate::terminal;

/// `dagrun export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The run [default: the last], and tasks or some of their instances [default: all tasks]
    #[arg(value_name = "[RUN] [TASK[SELECTOR]]…", add = ArgValueCandidates::new(complete::runs_and_tasks))]
    words: Vec<String>,
    /// The form [default: by the ending of PATH]: sqlite, parquet, csv, tsv, json or jsonl
    #[arg(long, value_name = "FORM")]
    format: Option<String>,
    /// Where to: one database, one file for one task, a directory for several; `-` is standard output
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// What is written.
#[derive(Clone, Copy)]
enum What {
    Sqlite,
    Table(Form),
}

impl What {
    fn of(args: &ExportArgs) -> Result<What, Failure> {
        let ending = args.output.extension().and_then(|ending| ending.to_str());
        let word = args.format.as_deref().or(ending).unwrap_or("");
        if ["sqlite", "sqlite3", "db"].contains(&word.to_ascii_lowercase().as_str()) {
            return Ok(What::Sqlite);
        }
        Form::named(word).map(What::Table).ok_or_else(|| {
            let what = match word {
                "" => format!("{}: its ending names no form", args.output.display()),
                word => format!("`{word}` is no form that is written"),
            };
            Failure::usage(what).help("forms are sqlite, parquet, csv, tsv, json and jsonl")
        })
    }
}

/// Writes the results of tasks.
pub(crate) async fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let what = What::of(args)?;
    let (run, words) = match args.words.split_first() {
        Some((run, rest)) if is_run(run) => (run.parse::<RunName>().map_err(Failure::usage)?, rest),
        _ => (RunName::Last, args.words.as_slice()),
    };
    let run = Source::open(&args.place).await?.run(run).await?;
    let status = run.status().await?;
    let mut selectors =
        words.iter().map(|word| word.parse()).collect::<Result<Vec<Selector>, _>>()?;
    if selectors.is_empty() {
        for task in &status.tasks {
            match task.width_known {
                true => selectors.push(task.name.parse()?),
                false => terminal::print(&format!(
                    "{} is left out: it is not known yet how many instances it has",
                    task.name
                )),
            }
        }
    }
    let mut named = HashSet::new();
    if let Some(twice) = selectors.iter().find(|one| !named.insert(one.task().to_owned())) {
        return Err(Failure::usage(format!("`{}` is named twice", twice.task())));
    }
    match what {
        What::Sqlite => sqlite(&run, &status, &selectors, &args.output).await,
        What::Table(form) => files(&run, &status, &selectors, &args.output, form).await,
    }?;
    Ok(Exit::Success)
}

/// What SQLite calls the type of a column.
fn declared(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer | Kind::Boolean => "INTEGER",
        Kind::Float => "REAL",
        Kind::Text | Kind::Json => "TEXT",
        Kind::Missing => "",
    }
}

async fn sqlite(
    run: &RunSource,
    status: &RunStatus,
    selectors: &[Selector],
    path: &Path,
) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        return Err(Failure::usage("a database cannot be written to standard output"));
    }
    let (temporary, file) = create_beside(path)?;
    drop(file);
    let write = async {
        let database = Connection::open(&temporary).map_err(|error| failed(&error))?;
        let settings = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;";
        database.execute_batch(settings).map_err(|error| failed(&error))?;
        for selector in selectors {
            let mut rows = Rows::of_run(run.clone(), status, selector, None, true).await?;
            rows.see(u64::MAX).await?;
            fill(&database, selector.task(), &mut rows, declared, |_| true).await?;
        }
        database.close().map_err(|(_, error)| failed(&error))
    };
    match write.await {
        Ok(()) => put_in_place(&temporary, path),
        Err(failure) => {
            let _ = std::fs::remove_file(&temporary);
            Err(failure)
        }
    }
}

async fn files(
    run: &RunSource,
    status: &RunStatus,
    selectors: &[Selector],
    path: &Path,
    form: Form,
) -> Result<(), Failure> {
    let to_stdout = path.as_os_str() == "-";
    let directory = path.as_os_str().to_string_lossy().ends_with('/') || selectors.len() != 1;
    if to_stdout && selectors.len() != 1 {
        return Err(Failure::usage("standard output takes one task").help("name it after the run"));
    }
    if directory {
        std::fs::create_dir_all(path).map_err(|error| {
            Failure::usage(format!("{} is no directory: {error}", path.display()))
        })?;
    }
    for selector in selectors {
        let mut rows = Rows::of_run(run.clone(), status, selector, None, false).await?;
        rows.see(u64::MAX).await?;
        let columns = rows.sheet().order(false);
        let file = match (to_stdout, directory) {
            (true, _) => None,
            (false, true) => Some(path.join(format!("{}.{}", selector.task(), form.word()))),
            (false, false) => Some(path.to_owned()),
        };
        let mut sink = Sink::open(form, file.as_deref(), rows.sheet(), columns)?;
        rows.each(&mut |_, row| sink.row(row)).await?;
        sink.finish()?;
    }
    Ok(())
}
