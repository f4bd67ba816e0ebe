//! Writing rows: CSV, TSV, JSON, JSON lines, parquet.

use std::io::{self, Write};
use std::path::Path;

use dagrun_core::table::{Row, Sheet, push_csv, push_json, push_json_name};

/// A form in which tables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Comma-separated values as RFC 4180 has them, lines end in a line feed; numbers as they were
    /// spelled, what is missing is empty.
    Csv,
    /// The same with tabs.
    Tsv,
    /// One JSON array of objects.
    Json,
    /// A JSON object a line.
    JsonLines,
    /// A parquet file, compressed by snappy; only with the feature `parquet`.
    Parquet,
}

impl Form {
    /// Its name, which is the ending of its files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Form::Csv => "csv",
            Form::Tsv => "tsv",
            Form::Json => "json",
            Form::JsonLines => "jsonl",
            Form::Parquet => "parquet",
        }
    }

    /// The form of this name, or of files with this ending.
    #[must_use]
    pub fn named(word: &str) -> Option<Form> {
        match word.to_ascii_lowercase().as_str() {
            "csv" => Some(Form::Csv),
            "tsv" | "tab" => Some(Form::Tsv),
            "json" => Some(Form::Json),
            "jsonl" | "ndjson" => Some(Form::JsonLines),
            "parquet" => Some(Form::Parquet),
            _ => None,
        }
    }

    /// The form that the ending of a path names.
    #[must_use]
    pub fn of(path: &Path) -> Option<Form> {
        Form::named(path.extension()?.to_str()?)
    }

    /// Whether the kinds of all columns must be known before the first row is written.
    #[must_use]
    pub fn needs_kinds(self) -> bool {
        self == Form::Parquet
    }
}

/// Takes rows of a sheet and writes some of their columns.
pub struct RowWriter<W: Write + Send> {
    to: Option<W>,
    columns: Vec<usize>,
    how: How<W>,
    buffer: Vec<u8>,
}

enum How<W: Write + Send> {
    Separated(u8),
    /// The beginning of each cell in an object, and whether the objects stand in an array.
    Json {
        names: Vec<Vec<u8>>,
        array: bool,
        rows: u64,
    },
    #[cfg(feature = "parquet")]
    Parquet(Box<super::parquet::Writer<W>>),
    #[cfg(not(feature = "parquet"))]
    #[expect(dead_code, reason = "the feature is off")]
    Never(std::marker::PhantomData<W>),
}

impl<W: Write + Send> std::fmt::Debug for RowWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowWriter").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl<W: Write + Send> RowWriter<W> {
    /// Begins with the head, if the form has one. The sheet knows its columns already, and for
    /// parquet their kinds.
    ///
    /// # Errors
    /// When it cannot be written, or the form is none of this program.
    pub fn new(form: Form, to: W, sheet: &Sheet, columns: Vec<usize>) -> io::Result<RowWriter<W>> {
        let name = |at: &usize| sheet.columns().get(*at).map_or("", |column| column.name.as_str());
        let mut buffer = Vec::new();
        let how = match form {
            Form::Csv | Form::Tsv => {
                let separator = if form == Form::Csv { b',' } else { b'\t' };
                for (number, at) in columns.iter().enumerate() {
                    if number > 0 {
                        buffer.push(separator);
                    }
                    push_csv(name(at).as_bytes(), separator, &mut buffer);
                }
                buffer.push(b'\n');
                How::Separated(separator)
            }
            Form::Json | Form::JsonLines => {
                let names = columns.iter().enumerate().map(|(number, at)| {
                    let mut key = vec![if number == 0 { b'{' } else { b',' }];
                    push_json_name(name(at), &mut key);
                    key
                });
                How::Json { names: names.collect(), array: form == Form::Json, rows: 0 }
            }
            #[cfg(feature = "parquet")]
            Form::Parquet => {
                let writer = super::parquet::Writer::new(to, sheet, &columns)?;
                let how = How::Parquet(Box::new(writer));
                return Ok(RowWriter { to: None, columns, how, buffer });
            }
            #[cfg(not(feature = "parquet"))]
            Form::Parquet => {
                let text = "this program was built without the feature `parquet`";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
        };
        Ok(RowWriter { to: Some(to), columns, how, buffer })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn row(&mut self, row: &Row) -> io::Result<()> {
        let out = &mut self.buffer;
        match &mut self.how {
            How::Separated(separator) => {
                for (number, at) in self.columns.iter().enumerate() {
                    if number > 0 {
                        out.push(*separator);
                    }
                    push_csv(row.get(*at).1, *separator, out);
                }
                out.push(b'\n');
            }
            How::Json { names, array, rows } => {
                if *array {
                    out.extend_from_slice(if *rows == 0 { b"[\n" } else { b",\n" });
                }
                *rows += 1;
                for (name, at) in names.iter().zip(&self.columns) {
                    out.extend_from_slice(name);
                    let (kind, bytes) = row.get(*at);
                    push_json(kind, bytes, out);
                }
                if names.is_empty() {
                    out.push(b'{');
                }
                out.push(b'}');
                if !*array {
                    out.push(b'\n');
                }
            }
            #[cfg(feature = "parquet")]
            How::Parquet(writer) => return writer.row(row),
            #[cfg(not(feature = "parquet"))]
            How::Never(_) => {}
        }
        if self.buffer.len() > 1 << 15 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(to) = &mut self.to {
            to.write_all(&self.buffer)?;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Writes the end, and returns what was written to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        if let How::Json { array: true, rows, .. } = &self.how {
            self.buffer.extend_from_slice(if *rows == 0 { b"[]\n" } else { b"\n]\n" });
        }
        self.flush()?;
        let mut to = match (self.to, self.how) {
            (Some(to), _) => to,
            #[cfg(feature = "parquet")]
            (None, How::Parquet(writer)) => writer.finish()?,
            (None, _) => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        to.flush()?;
        Ok(to)
    }
}
