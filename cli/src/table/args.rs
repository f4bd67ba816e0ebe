//! The options of `dagrun table`.

use std::path::{Path, PathBuf};

use clap::Args;

use dagrun::table::Form;

use super::format::form_of;
use crate::args::Place;
use crate::chosen::What;
use crate::exit::Failure;
use crate::plot::is_picture;

/// `dagrun table`.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Read a manifest instead of a run, as a gathering task gets it
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) manifest: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) form: FormArgs,
    /// Only these columns, in this order
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// Also what is known of attempts: worker, times, exit code, reason
    #[arg(long)]
    pub(crate) wide: bool,
    /// Only rows that meet a condition, as in 'price > 3 and state = succeeded'
    #[arg(long = "where", value_name = "CONDITION")]
    pub(crate) condition: Option<String>,
    /// In the order of a column, or of several; from the largest down with `-`
    #[arg(long, value_name = "[-]NAME,…", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Say what is in each column of numbers, instead of the rows
    #[arg(long)]
    pub(crate) summary: bool,
    /// The same for the rows of each value of a column
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// The elements of an array become rows
    #[arg(long, value_name = "FIELD")]
    pub(crate) explode: Option<String>,
    /// Draw a column over one or two others: a curve, points or a heat map, in the terminal or into FILE
    #[arg(long, value_name = "Y:X[,X]", conflicts_with_all = ["summary", "by", "form"])]
    pub(crate) plot: Option<String>,
    /// With --plot: where to
    #[arg(value_name = "FILE.svg|png")]
    pub(crate) picture: Option<String>,
}

/// The form in which rows are written, and where to.
#[derive(Debug, Args)]
pub(crate) struct FormArgs {
    /// Comma-separated values [default, but for a terminal]
    #[arg(long, group = "form")]
    csv: bool,
    /// Tab-separated values
    #[arg(long, group = "form")]
    tsv: bool,
    /// One JSON array
    #[arg(long, group = "form")]
    json: bool,
    /// A JSON object a line
    #[arg(long, group = "form")]
    jsonl: bool,
    /// A parquet file
    #[arg(long, group = "form")]
    parquet: bool,
    /// Write to this file, in the form that its ending names; it is replaced as a whole
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

impl FormArgs {
    /// The form that is asked for.
    pub(crate) fn form(&self) -> Result<Option<Form>, Failure> {
        let named = [
            (self.csv, Form::Csv),
            (self.tsv, Form::Tsv),
            (self.json, Form::Json),
            (self.jsonl, Form::JsonLines),
            (self.parquet, Form::Parquet),
        ];
        let named = named.into_iter().find(|(given, _)| *given).map(|(_, format)| format);
        match (named, &self.output) {
            (Some(format), _) => Ok(Some(format)),
            (None, Some(path)) => form_of(path).map(Some),
            (None, None) => Ok(None),
        }
    }
}

impl TableArgs {
    /// The words that name the run and the task, and the file of the picture.
    pub(crate) fn words(&self) -> (Vec<&str>, Option<&Path>) {
        let mut words = self.what.words();
        words.extend(self.picture.as_deref());
        let named = words.last().map(|word| Path::new(*word));
        let named = named.filter(|path| self.plot.is_some() && is_picture(path));
        if named.is_some() {
            words.pop();
        }
        (words, named.or(self.form.output.as_deref()))
    }

    /// Whether anything asks about attempts.
    pub(crate) fn is_wide(&self) -> bool {
        // Whether a word is a column shows only later; what is read in vain is not shown.
        let text = [&self.condition, &self.sort, &self.by, &self.plot].map(Option::as_deref);
        let columns = self.columns.iter().map(String::as_str);
        self.wide
            || text
                .into_iter()
                .flatten()
                .chain(columns)
                .any(|text| dagrun_core::table::WIDE.iter().any(|name| text.contains(name)))
    }
}
