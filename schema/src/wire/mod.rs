//! Converts core types to messages and back. Readers check everything: whatever a peer sends is
//! untrusted until it has been read here.

mod attempt;
mod run;
mod update;
mod worker;

use capnp::traits::{IntoInternalStructReader as _, OwnedStruct};
use dagrun_core::ids::{InstanceId, TaskId, Timestamp};
use dagrun_core::status::{RunState, State};

use crate::dagrun_capnp as schema;

pub use attempt::{Fenced, Handout, TaskRecipe};
pub use run::{InstancePage, LogPage, PipelineFile, Scope, Submission};
pub use update::{Ended, TaskDelta, Update};
pub use worker::{AttemptProgress, Door, Peer, Registration};

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The message itself is broken.
    #[error("malformed message: {0}")]
    Malformed(#[from] capnp::Error),
    /// Text that is not UTF-8.
    #[error("malformed message: text is not UTF-8")]
    Text(#[from] std::str::Utf8Error),
    /// An enumerant that this version does not know.
    #[error("malformed message: {0}")]
    Unknown(#[from] capnp::NotInSchema),
    /// A number out of its range.
    #[error("malformed message: {what} is {number}")]
    Range {
        /// What the number is.
        what: &'static str,
        /// The number.
        number: u64,
    },
    /// A worker's uid that is none.
    #[error("malformed message: a worker's uid is malformed")]
    Uid,
    /// An invalid address or secret.
    #[error("malformed message: {0} is malformed")]
    Door(&'static str),
}

impl From<WireError> for capnp::Error {
    fn from(error: WireError) -> Self {
        capnp::Error::failed(error.to_string())
    }
}

type Result<T> = std::result::Result<T, WireError>;

/// A type that travels as a message of its own or as part of one.
pub trait Message: Sized {
    /// The message.
    type Schema: OwnedStruct;

    /// Writes it.
    fn write(&self, to: <Self::Schema as OwnedStruct>::Builder<'_>);

    /// Reads it.
    ///
    /// # Errors
    /// When the message is malformed.
    fn read(from: <Self::Schema as OwnedStruct>::Reader<'_>) -> Result<Self>;
}

/// Writes as many messages as the list is long, see [`length`].
pub fn write_list<M: Message>(messages: &[M], mut to: capnp::struct_list::Builder<'_, M::Schema>) {
    for (at, message) in (0..to.len()).zip(messages) {
        message.write(to.reborrow().get(at));
    }
}

/// Reads a list of messages.
///
/// # Errors
/// When one of them is malformed.
pub fn read_list<M: Message>(from: capnp::struct_list::Reader<'_, M::Schema>) -> Result<Vec<M>> {
    elements(from)?.map(M::read).collect()
}

/// The elements of a list of structures, to be read one by one.
///
/// # Errors
/// When they are several and take no bytes: a message is short that claims to have millions of them. What is
/// written here is never empty.
pub fn elements<S: OwnedStruct>(
    from: capnp::struct_list::Reader<'_, S>,
) -> Result<impl Iterator<Item = S::Reader<'_>>> {
    if from.len() > 1 && from.get(0).into_internal_struct_reader().total_size()?.word_count == 0 {
        let number = from.len().into();
        return Err(WireError::Range { what: "the number of empty elements", number });
    }
    Ok(from.iter())
}

/// Writes as many texts as the list is long, see [`length`].
pub fn write_texts(texts: &[String], mut to: capnp::text_list::Builder<'_>) {
    for (at, text) in (0..to.len()).zip(texts) {
        to.set(at, text);
    }
}

/// Reads a list of texts.
///
/// # Errors
/// When one of them is malformed.
pub fn read_texts(from: capnp::text_list::Reader<'_>) -> Result<Vec<String>> {
    from.iter().map(|text| read_text(text?)).collect()
}

/// The length of a list in a message.
#[must_use]
pub fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn read_text(text: capnp::text::Reader<'_>) -> Result<String> {
    Ok(text.to_str()?.to_owned())
}

/// A uid: ASCII letters and digits, 64 at most, as it becomes part of the names of files.
fn read_uid(text: capnp::text::Reader<'_>) -> Result<String> {
    let uid = read_text(text)?;
    match uid.len() <= 64 && uid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(uid),
        false => Err(WireError::Uid),
    }
}

/// Writes as many byte strings as the list is long, see [`length`].
pub fn write_data(list: &[Vec<u8>], mut to: capnp::data_list::Builder<'_>) {
    for (at, data) in (0..to.len()).zip(list) {
        to.set(at, data);
    }
}

/// Reads a list of byte strings.
///
/// # Errors
/// When one of them is malformed.
pub fn read_data(from: capnp::data_list::Reader<'_>) -> Result<Vec<Vec<u8>>> {
    from.iter().map(|data| Ok(data?.to_vec())).collect()
}

fn some_time(micros: u64) -> Option<Timestamp> {
    (micros != 0).then_some(Timestamp(micros))
}

fn micros(time: Option<Timestamp>) -> u64 {
    time.map_or(0, |time| time.0)
}

fn read_state(number: u8) -> Result<State> {
    State::from_u8(number).ok_or(WireError::Range { what: "a state", number: number.into() })
}

fn read_run_state(number: u8) -> Result<RunState> {
    RunState::from_u8(number)
        .ok_or(WireError::Range { what: "the state of a run", number: number.into() })
}

impl Message for InstanceId {
    type Schema = schema::instance::Owned;

    fn write(&self, mut to: schema::instance::Builder<'_>) {
        to.set_task(self.task.0);
        to.set_index(self.index);
    }

    fn read(from: schema::instance::Reader<'_>) -> Result<InstanceId> {
        Ok(InstanceId { task: TaskId(from.get_task()), index: from.get_index() })
    }
}
