//! Parquet files, written in groups of rows: of the values only those of one group are in memory.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use dagrun_core::table::{Kind, Row, Sheet, push_json};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

/// Rows of a group.
const GROUP: usize = 1 << 16;

/// A file that is being written.
pub(super) struct Writer<W: Write + Send> {
    file: SerializedFileWriter<Watch<W>>,
    error: Arc<Mutex<Option<io::Error>>>,
    columns: Vec<Column>,
    rows: usize,
}

/// A column of the sheet, what a group has of it, and for each row whether it has something.
type Column = (usize, Values, Vec<i16>);

/// The values of a group of one column, without those that are missing.
enum Values {
    Integer(Vec<i64>),
    Float(Vec<f64>),
    Boolean(Vec<bool>),
    Text(Vec<ByteArray>),
    Json(Vec<ByteArray>),
}

/// Remembers why nothing could be written: the crate puts that into words of its own.
struct Watch<W> {
    to: W,
    error: Arc<Mutex<Option<io::Error>>>,
}

impl<W: Write> Write for Watch<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes).map_err(|error| self.keep(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(|error| self.keep(error))
    }
}

impl<W> Watch<W> {
    fn keep(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        if kind != io::ErrorKind::Interrupted
            && let Ok(mut kept) = self.error.lock()
        {
            *kept = Some(error);
        }
        kind.into()
    }
}

impl<W: Write + Send> Writer<W> {
    pub(super) fn new(to: W, sheet: &Sheet, columns: &[usize]) -> io::Result<Writer<W>> {
        let mut fields = Vec::new();
        let mut values = Vec::new();
        for at in columns {
            let Some(column) = sheet.columns().get(*at) else { continue };
            let (physical, logical, empty) = match column.kind() {
                Kind::Integer => (Physical::INT64, None, Values::Integer(Vec::new())),
                Kind::Float => (Physical::DOUBLE, None, Values::Float(Vec::new())),
                Kind::Boolean => (Physical::BOOLEAN, None, Values::Boolean(Vec::new())),
                Kind::Text | Kind::Missing => {
                    (Physical::BYTE_ARRAY, Some(LogicalType::String), Values::Text(Vec::new()))
                }
                Kind::Json => {
                    (Physical::BYTE_ARRAY, Some(LogicalType::Json), Values::Json(Vec::new()))
                }
            };
            let field = Type::primitive_type_builder(&column.name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(logical)
                .build();
            fields.push(Arc::new(field.map_err(io::Error::other)?));
            values.push((*at, empty, Vec::new()));
        }
        let schema = Type::group_type_builder("table").with_fields(fields).build();
        let schema = Arc::new(schema.map_err(io::Error::other)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("dagrun".to_owned())
            .build();
        let error = Arc::new(Mutex::new(None));
        let to = Watch { to, error: Arc::clone(&error) };
        let file = SerializedFileWriter::new(to, schema, Arc::new(properties));
        Ok(Writer { file: file.map_err(io::Error::other)?, error, columns: values, rows: 0 })
    }

    pub(super) fn row(&mut self, row: &Row) -> io::Result<()> {
        for (at, values, levels) in &mut self.columns {
            let (kind, bytes) = row.get(*at);
            levels.push(i16::from(values.push(kind, bytes, || row.number(*at))));
        }
        self.rows += 1;
        if self.rows == GROUP { self.group() } else { Ok(()) }
    }

    /// What the system said, where it is the reason.
    fn reason(error: &Mutex<Option<io::Error>>, found: ParquetError) -> io::Error {
        let kept = error.lock().ok().and_then(|mut kept| kept.take());
        kept.unwrap_or_else(|| io::Error::other(found))
    }

    fn group(&mut self) -> io::Result<()> {
        self.rows = 0;
        let Writer { file, columns, error, .. } = self;
        write_group(file, columns).map_err(|found| Writer::<W>::reason(error, found))
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.rows > 0 {
            self.group()?;
        }
        let Writer { file, error, .. } = self;
        let watch = file.into_inner().map_err(|found| Writer::<W>::reason(&error, found))?;
        Ok(watch.to)
    }
}

fn write_group<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    columns: &mut [Column],
) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    for (_, values, levels) in columns {
        let Some(mut column) = group.next_column()? else { break };
        let at = Some(levels.as_slice());
        match values {
            Values::Integer(v) => column.typed::<Int64Type>().write_batch(v, at, None)?,
            Values::Float(v) => column.typed::<DoubleType>().write_batch(v, at, None)?,
            Values::Boolean(v) => column.typed::<BoolType>().write_batch(v, at, None)?,
            Values::Text(v) | Values::Json(v) => {
                column.typed::<ByteArrayType>().write_batch(v, at, None)?
            }
        };
        column.close()?;
        levels.clear();
        values.clear();
    }
    group.close()?;
    Ok(())
}

impl Values {
    /// Adds a cell; false when it has nothing for this column.
    fn push(&mut self, kind: Kind, bytes: &[u8], number: impl Fn() -> Option<f64>) -> bool {
        if kind == Kind::Missing {
            return false;
        }
        let text = || std::str::from_utf8(bytes).ok();
        match self {
            Values::Integer(values) => {
                let value = text().and_then(|text| text.parse().ok());
                let value = value.or_else(|| number().map(|number| number as i64));
                value.map(|value| values.push(value)).is_some()
            }
            Values::Float(values) => number().map(|number| values.push(number)).is_some(),
            Values::Boolean(values) => {
                values.push(bytes == b"true");
                true
            }
            Values::Text(values) => {
                // Parquet's text is UTF-8.
                let text = String::from_utf8_lossy(bytes).into_owned();
                values.push(text.into_bytes().into());
                true
            }
            Values::Json(values) => {
                let mut json = Vec::new();
                push_json(kind, bytes, &mut json);
                values.push(json.into());
                true
            }
        }
    }

    fn clear(&mut self) {
        match self {
            Values::Integer(values) => values.clear(),
            Values::Float(values) => values.clear(),
            Values::Boolean(values) => values.clear(),
            Values::Text(values) | Values::Json(values) => values.clear(),
        }
    }
}
