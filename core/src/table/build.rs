//! From what is known of an instance, or a line of a manifest, to a row.

use std::io::Write as _;

use super::{Group, Kind, Row, Sheet};
use crate::payload;
use crate::recipe::Items;
use crate::select::{Columns, Point};
use crate::status::State;
use crate::value::Value;

/// What is done with each row; false is enough.
pub type Each<'a, E> = dyn FnMut(&mut Sheet, &Row) -> Result<bool, E> + 'a;

/// What is known of an instance.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its index.
    pub index: u32,
    /// Its state.
    pub state: State,
    /// Its value, a JSON document.
    pub value: Option<&'a [u8]>,
    /// The absolute paths of its outputs, in the order in which they were declared.
    pub outputs: &'a [Vec<u8>],
    /// What the wide columns show.
    pub attempt: Option<Attempt<'a>>,
}

/// What is known of an instance's attempts.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// How many there were, by the number of the last.
    pub attempts: u32,
    /// Where the last one ran; empty when that is not known.
    pub worker: &'a str,
    /// When it started and ended, in RFC 3339; empty when it has not.
    pub times: [&'a str; 2],
    /// How long it took, in microseconds.
    pub took: Option<u64>,
    /// The exit code of its process.
    pub exit_code: Option<i32>,
    /// Why the instance did not succeed; may be empty.
    pub reason: &'a str,
}

/// Makes rows, one after the other, in a buffer that is used again.
#[derive(Debug)]
pub struct Builder {
    /// The columns, as far as they are known: all of them when all rows were made.
    pub sheet: Sheet,
    /// The parameters, but for manifests, which spell them out.
    columns: Option<Columns>,
    items: Option<Items>,
    at: At,
    /// The array whose elements become rows.
    explode: Option<String>,
    point: Point,
    row: Row,
    base: Vec<u8>,
}

/// The numbers of the columns that are known beforehand.
#[derive(Clone, Debug)]
struct At {
    index: usize,
    params: Vec<usize>,
    item: Option<usize>,
    state: usize,
    outputs: Vec<usize>,
    wide: Vec<usize>,
}

impl At {
    fn of(sheet: &Sheet) -> At {
        let first = |group| sheet.group(group).next();
        At {
            index: first(Group::Index).unwrap_or(0),
            params: sheet.group(Group::Param).collect(),
            item: first(Group::Item),
            state: first(Group::State).unwrap_or(0),
            outputs: sheet.group(Group::Out).collect(),
            wide: sheet.group(Group::Wide).collect(),
        }
    }
}

/// The names that the lines of a manifest have in common, see [`Builder::of_manifest`].
#[derive(Clone, Debug, Default)]
pub struct ManifestNames {
    params: Vec<String>,
    outputs: Vec<String>,
    item: bool,
}

impl ManifestNames {
    /// Adds those of a line.
    pub fn add(&mut self, line: &Value) {
        let names = |key: &str| match line.field(key).as_deref() {
            Some(Value::Table(entries)) => {
                entries.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        for name in names("params") {
            if name == "item" {
                self.item = true;
            } else if !self.params.contains(&name) {
                self.params.push(name);
            }
        }
        for name in names("out") {
            if !self.outputs.contains(&name) {
                self.outputs.push(name);
            }
        }
    }
}

impl Builder {
    /// Of a task's instances: its parameters, what a scatter gives them, the names of its outputs.
    /// With `explode` the elements of the array of this name become rows.
    #[must_use]
    pub fn of_task(
        columns: Columns,
        items: Option<Items>,
        outputs: &[String],
        explode: Option<&str>,
    ) -> Builder {
        let names: Vec<String> = columns.params().iter().map(|param| param.name.clone()).collect();
        let sheet = Sheet::new(&names, items.is_some(), outputs);
        Builder { columns: Some(columns), items, ..Builder::new(sheet, explode) }
    }

    /// Of the lines of a manifest.
    #[must_use]
    pub fn of_manifest(names: &ManifestNames, explode: Option<&str>) -> Builder {
        Builder::new(Sheet::new(&names.params, names.item, &names.outputs), explode)
    }

    fn new(sheet: Sheet, explode: Option<&str>) -> Builder {
        let explode = explode.map(|name| name.strip_prefix("value.").unwrap_or(name).to_owned());
        Builder {
            at: At::of(&sheet),
            sheet,
            columns: None,
            items: None,
            explode,
            point: Point::default(),
            row: Row::default(),
            base: Vec::new(),
        }
    }

    /// Whether a row may become several.
    #[must_use]
    pub fn explodes(&self) -> bool {
        self.explode.is_some()
    }

    /// Whether the task declares outputs.
    #[must_use]
    pub fn has_outputs(&self) -> bool {
        !self.at.outputs.is_empty()
    }

    /// Makes the row of an instance, or its rows, and hands them over.
    ///
    /// # Errors
    /// What `each` returns.
    pub fn instance<E>(&mut self, known: &Known<'_>, each: &mut Each<'_, E>) -> Result<bool, E> {
        self.row.clear();
        self.row.put(self.at.index, Kind::Integer, |out| {
            let _ = write!(out, "{}", known.index);
        });
        if let Some(columns) = &self.columns {
            columns.seek(known.index, &mut self.point);
            for (param, column) in columns.params().iter().zip(&self.at.params) {
                self.row.put_value(*column, &columns.value(&self.point, param));
            }
        }
        if let (Some(column), Some(items)) = (self.at.item, &self.items) {
            let part = items.part(self.point.part());
            let json = part.as_deref().and_then(|part| payload::to_json(part).ok());
            if let Some(value) = json.and_then(|json| Value::from_json(&json).ok()) {
                self.row.put_value(column, &value);
            }
        }
        put_text(&mut self.row, self.at.state, known.state.word().as_bytes());
        for (path, column) in known.outputs.iter().zip(&self.at.outputs) {
            put_text(&mut self.row, *column, path);
        }
        if let Some(attempt) = &known.attempt {
            self.attempt(attempt, known.state);
        }
        self.finish(known.value, each)
    }

    fn attempt(&mut self, attempt: &Attempt<'_>, state: State) {
        let &[attempts, worker, started, finished, seconds, exit, reason, taken] =
            self.at.wide.as_slice()
        else {
            return;
        };
        let row = &mut self.row;
        let number = |row: &mut Row, column, kind, text: &str| {
            row.put(column, kind, |out| out.extend_from_slice(text.as_bytes()));
        };
        number(row, attempts, Kind::Integer, &attempt.attempts.to_string());
        let [began, ended] = attempt.times;
        for (column, text) in [
            (worker, attempt.worker),
            (started, began),
            (finished, ended),
            (reason, attempt.reason),
        ] {
            if !text.is_empty() {
                put_text(row, column, text.as_bytes());
            }
        }
        if let Some(took) = attempt.took {
            let text = format!("{}.{:06}", took / 1_000_000, took % 1_000_000);
            number(row, seconds, Kind::Float, &text);
        }
        if let Some(code) = attempt.exit_code {
            number(row, exit, Kind::Integer, &code.to_string());
        }
        let was_taken = state == State::Succeeded && attempt.attempts == 0;
        number(row, taken, Kind::Boolean, if was_taken { "true" } else { "false" });
    }

    /// Makes the row of a line of a manifest; `value` is what it has as a value, a JSON document.
    ///
    /// # Errors
    /// What `each` returns.
    pub fn line<E>(
        &mut self,
        line: &Value,
        value: Option<&[u8]>,
        each: &mut Each<'_, E>,
    ) -> Result<bool, E> {
        self.row.clear();
        for (key, column) in [("index", self.at.index), ("state", self.at.state)] {
            if let Some(value) = line.field(key) {
                self.row.put_value(column, &value);
            }
        }
        if let Some(Value::Table(params)) = line.field("params").as_deref() {
            for (name, value) in params {
                let item = self.at.item.filter(|_| name == "item");
                let params = self.at.params.iter().copied();
                let named = |at: &usize| self.sheet.columns()[*at].name == *name;
                if let Some(column) = item.or_else(|| params.clone().find(named)) {
                    self.row.put_value(column, value);
                }
            }
        }
        if let Some(Value::Table(outputs)) = line.field("out").as_deref() {
            for (name, path) in outputs {
                if let Some(column) = self.sheet.find(&format!("out.{name}")) {
                    self.row.put_value(column, path);
                }
            }
        }
        self.finish(value, each)
    }

    /// Puts the value into the row, which is finished with it, and hands it over, or several rows.
    fn finish<E>(&mut self, json: Option<&[u8]>, each: &mut Each<'_, E>) -> Result<bool, E> {
        let Some(json) = json else { return each(&mut self.sheet, &self.row) };
        let elements = self.sheet.put_value(json, self.explode.as_deref(), &mut self.row);
        let (Some(path), Some(elements)) = (&self.explode, elements) else {
            return each(&mut self.sheet, &self.row);
        };
        if elements.is_empty() {
            return each(&mut self.sheet, &self.row);
        }
        self.base.clear();
        self.row.write(&mut self.base);
        for element in elements {
            self.row.read(&self.base);
            self.sheet.put_element(element, path, &mut self.row);
            if !each(&mut self.sheet, &self.row)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn put_text(row: &mut Row, column: usize, text: &[u8]) {
    row.put(column, Kind::Text, |out| out.extend_from_slice(text));
}
