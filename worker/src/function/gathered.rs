//! The values of an upstream's instances, one at a time.

use std::fs::File;
use std::io::{self, BufReader};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dagrun_core::ids::RunId;
use dagrun_core::payload;
use dagrun_core::recipe::values::{Listed, Values};
use dagrun_core::status::State;
use serde::de::DeserializeOwned;

use super::input::{Elements, Source, here};
use super::{Fetch, FromInput, Input};

/// The values that a task gathers, in the order of the instances' indices. Use it as an input in
/// place of `Vec<T>` when the values should not all be in memory: it holds one of them at a time.
///
/// It is an iterator over [`Entry`]s, including those of instances without a value;
/// [`Gathered::values`] leaves these out.
#[derive(Debug)]
pub struct Gathered<T> {
    from: From<T>,
    run: RunId,
    fetch: Arc<dyn Fetch>,
}

#[derive(Debug)]
enum From<T> {
    /// The scheduler's file.
    File(Records, PhantomData<T>),
    /// A value that is a list.
    List(std::iter::Enumerate<std::vec::IntoIter<T>>),
}

/// One of the instances that were gathered.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<T> {
    /// Its index; for a list that is a single value, the position in the list.
    pub index: u32,
    /// How it ended.
    pub state: State,
    /// Its value, where it has one.
    pub value: Option<T>,
}

/// Why a gathered value cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// The file with the values.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// One of the values.
    #[error("the value of instance {index}: {reason}")]
    Value {
        /// Whose.
        index: u32,
        /// Why.
        reason: String,
    },
}

impl<T: DeserializeOwned + 'static> FromInput for Gathered<T> {
    fn from_input(input: Input<'_>) -> Result<Gathered<T>, String> {
        let Input { source, run, fetch } = input;
        let fetch = fetch.clone();
        let from = match source {
            Source::Gathered(path) => {
                let records = Records::open(&path).map_err(|error| error.to_string())?;
                From::File(records, PhantomData)
            }
            source => {
                let list = Vec::<T>::from_input(Input { source, run, fetch: &fetch })?;
                From::List(list.into_iter().enumerate())
            }
        };
        Ok(Gathered { from, run, fetch })
    }

    fn elements(_: Input<'_>) -> Result<Elements<Gathered<T>>, String> {
        Err("lists of lists that are gathered do not exist".to_owned())
    }
}

impl<T: DeserializeOwned + 'static> Gathered<T> {
    /// The values of those instances that have one.
    pub fn values(self) -> impl Iterator<Item = Result<T, GatherError>> {
        self.filter_map(|entry| entry.map(|entry| entry.value).transpose())
    }

    fn entry(&self, record: Listed) -> Result<Entry<T>, GatherError> {
        let Listed { index, state, payload } = record;
        let value = payload.map(|payload| {
            let payload = here(payload.into(), self.run, self.fetch.as_ref())?;
            payload::decode(&payload).map_err(|error| error.reason())
        });
        let value = value.transpose().map_err(|reason| GatherError::Value { index, reason })?;
        Ok(Entry { index, state, value })
    }
}

impl<T: DeserializeOwned + 'static> Iterator for Gathered<T> {
    type Item = Result<Entry<T>, GatherError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.from {
            From::File(records, _) => {
                let record = records.next()?;
                Some(record.and_then(|record| self.entry(record)))
            }
            From::List(list) => {
                let (at, value) = list.next()?;
                let index = u32::try_from(at).unwrap_or(u32::MAX);
                Some(Ok(Entry { index, state: State::Succeeded, value: Some(value) }))
            }
        }
    }
}

/// The records of a file of values. Nothing follows an error.
#[derive(Debug)]
pub(super) struct Records {
    path: PathBuf,
    values: Option<Values<BufReader<File>>>,
}

impl Records {
    pub(super) fn open(path: &Path) -> Result<Records, GatherError> {
        let values = File::open(path).and_then(|file| Values::new(BufReader::new(file)));
        match values {
            Ok(values) => Ok(Records { path: path.to_owned(), values: Some(values) }),
            Err(error) => Err(GatherError::File { path: path.to_owned(), error }),
        }
    }
}

impl Iterator for Records {
    type Item = Result<Listed, GatherError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.values.as_mut()?.next();
        if !matches!(record, Some(Ok(_))) {
            self.values = None;
        }
        let path = &self.path;
        Some(record?.map_err(|error| GatherError::File { path: path.clone(), error }))
    }
}
