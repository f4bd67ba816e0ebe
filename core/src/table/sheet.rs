//! The columns of a table, as they become known.

use rustc_hash::FxHashMap;

use super::fields::{elements, flatten, flatten_but};
use super::{Kind, Row};

/// What is known of attempts: the columns that `--wide` adds.
pub const WIDE: [&str; 8] =
    ["attempts", "worker", "started", "finished", "seconds", "exit-code", "reason", "taken-over"];

/// Where a column belongs: columns stand in this order, within a group as they became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The index of the instance.
    Index,
    /// A parameter.
    Param,
    /// What a scatter gives it.
    Item,
    /// Its state.
    State,
    /// A field of its value, or the value.
    Value,
    /// The path of an output.
    Out,
    /// What is known of its attempts.
    Wide,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Where it belongs.
    pub group: Group,
    seen: Seen,
}

/// The kinds of what was seen in a column.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    kinds: u8,
    /// An integer beyond 64 bits.
    long: bool,
    /// An integer that is no 64-bit float.
    inexact: bool,
}

impl Column {
    /// What all its cells have in common, as far as they were seen; [`Kind::Missing`] when none was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let only = |kinds: &[Kind]| {
            let mask = kinds.iter().fold(0, |mask, kind| mask | 1 << *kind as u8);
            self.seen.kinds & !mask == 0
        };
        match self.seen {
            seen if seen.kinds == 0 => Kind::Missing,
            seen if only(&[Kind::Integer]) && !seen.long => Kind::Integer,
            _ if only(&[Kind::Float]) => Kind::Float,
            seen if only(&[Kind::Integer, Kind::Float]) && !seen.inexact && !seen.long => {
                Kind::Float
            }
            _ if only(&[Kind::Boolean]) => Kind::Boolean,
            _ if only(&[Kind::Text]) => Kind::Text,
            _ => Kind::Json,
        }
    }
}

/// The columns of a table.
#[derive(Clone, Debug)]
pub struct Sheet {
    columns: Vec<Column>,
    /// The fields of values, by their paths.
    fields: FxHashMap<String, usize>,
    /// The others, by their names.
    fixed: FxHashMap<String, usize>,
}

impl Sheet {
    /// The columns that are known beforehand. The names of fields never hide one of them.
    #[must_use]
    pub fn new(params: &[String], item: bool, outputs: &[String]) -> Sheet {
        let mut sheet = Sheet {
            columns: Vec::new(),
            fields: FxHashMap::default(),
            fixed: FxHashMap::default(),
        };
        let ours = |name: &str| match params.iter().any(|param| param == name) {
            true => format!(".{name}"),
            false => name.to_owned(),
        };
        sheet.add(ours("index"), Group::Index);
        params.iter().for_each(|param| sheet.add(param.clone(), Group::Param));
        if item {
            sheet.add(ours("item"), Group::Item);
        }
        sheet.add(ours("state"), Group::State);
        outputs.iter().for_each(|name| sheet.add(format!("out.{name}"), Group::Out));
        WIDE.iter().for_each(|name| sheet.add(ours(name), Group::Wide));
        sheet
    }

    /// A table of columns that have nothing to do with instances.
    #[must_use]
    pub fn of_names(names: &[String]) -> Sheet {
        let mut sheet = Sheet {
            columns: Vec::new(),
            fields: FxHashMap::default(),
            fixed: FxHashMap::default(),
        };
        names.iter().for_each(|name| sheet.add(name.clone(), Group::Value));
        sheet
    }

    fn add(&mut self, name: String, group: Group) {
        self.fixed.entry(name.clone()).or_insert(self.columns.len());
        self.columns.push(Column { name, group, seen: Seen::default() });
    }

    /// All columns, by number.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The numbers of the columns of a group.
    pub fn group(&self, group: Group) -> impl Iterator<Item = usize> + '_ {
        let columns = self.columns.iter().enumerate();
        columns.filter(move |(_, column)| column.group == group).map(|(at, _)| at)
    }

    /// The numbers of the columns in the order in which they are shown.
    #[must_use]
    pub fn order(&self, wide: bool) -> Vec<usize> {
        let shown = |at: &usize| wide || self.columns[*at].group != Group::Wide;
        let mut order: Vec<usize> = (0..self.columns.len()).filter(shown).collect();
        order.sort_by_key(|at| self.columns[*at].group);
        order
    }

    /// The column that an author means: by its name, `value.FIELD` for any field, `.state` for ours.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        let named = |name: &str| self.fixed.get(name).or_else(|| self.fields.get(name)).copied();
        let value = || match name {
            "value" => self.fields.get("").copied(),
            _ => self.fields.get(name.strip_prefix("value.")?).copied(),
        };
        let ours = || self.fixed.get(name.strip_prefix('.')?).copied();
        named(name).or_else(value).or_else(ours)
    }

    /// The names by which columns are found.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The column of a field of the values, which is made when it is new.
    pub fn field(&mut self, path: &str) -> usize {
        if let Some(column) = self.fields.get(path) {
            return *column;
        }
        let name = match path {
            "" if self.fixed.contains_key("value") => ".value".to_owned(),
            "" => "value".to_owned(),
            taken if self.fixed.contains_key(taken) => format!("value.{taken}"),
            path => path.to_owned(),
        };
        let column = self.columns.len();
        self.columns.push(Column { name, group: Group::Value, seen: Seen::default() });
        self.fields.insert(path.to_owned(), column);
        column
    }

    /// Puts a JSON value into a row, by its fields. With `explode` the array of this path is left
    /// out, and what is returned are its elements, for [`Sheet::put_element`].
    pub fn put_value<'j>(
        &mut self,
        json: &'j [u8],
        explode: Option<&str>,
        row: &mut Row,
    ) -> Option<Vec<&'j [u8]>> {
        let Some(path) = explode else {
            flatten(json, "", self, row);
            return None;
        };
        let array = flatten_but(json, path, self, row)?;
        let array = json.get(array)?;
        Some(elements(array).into_iter().filter_map(|range| array.get(range)).collect())
    }

    /// Puts an element of the array of this path into a row.
    pub fn put_element(&mut self, json: &[u8], path: &str, row: &mut Row) {
        let path = if path == "value" { "" } else { path };
        flatten(json, path, self, row);
    }

    /// Takes notice of the kinds of a row's cells.
    pub fn see(&mut self, row: &Row) {
        for (at, column) in self.columns.iter_mut().enumerate() {
            let (kind, bytes) = row.get(at);
            if kind == Kind::Missing {
                continue;
            }
            column.seen.kinds |= 1 << kind as u8;
            // Up to 15 digits are exact in any form.
            if kind == Kind::Integer && bytes.len() > 15 {
                let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
                let number: Option<i64> = number;
                column.seen.long |= number.is_none();
                column.seen.inexact |= number.is_none_or(|number| number.unsigned_abs() > 1 << 53);
            }
        }
    }
}
