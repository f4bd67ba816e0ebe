//! The tables of a state directory: what a row holds, how it is read, what it says. Below those that
//! write them ([`crate::store`]) and those that answer from them ([`crate::history`]).

mod copy;
pub(crate) mod error;
pub(crate) mod lock;
pub(crate) mod read;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod standing;
pub(crate) mod words;
pub(crate) mod workers;

pub use self::error::StoreError;
pub(crate) use self::rows::{Note, TakenSpan};
