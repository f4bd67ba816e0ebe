//! Whatever message a peer sends is either read or refused; what was read is written and read as the same.
//! A pipeline that is submitted is checked as a scheduler does it.

use std::fmt::Debug;

use capnp::message::{Builder, ReaderOptions};
use capnp::serialize;
use capnp::traits::{FromPointerBuilder, FromPointerReader, OwnedStruct};
use dagrun_core::engine::Report;
use dagrun_core::ids::InstanceId;
use dagrun_core::offer::Offer;
use dagrun_core::recipe::Input;
use dagrun_core::status::{
    Detail, Failure, InstanceResult, InstanceRow, LogChunk, RunStatus, RunSummary, TaskStatus,
    TaskTimes, WorkerStatus,
};
use dagrun_schema::wire::{
    AttemptProgress, Door, Ended, Fenced, Handout, InstancePage, LogPage, Message, Peer,
    Registration, Submission, TaskDelta, TaskRecipe, Update, WireError,
};

/// Reads a message; the first byte says of which type it is to be.
pub fn feed(data: &[u8]) {
    let Some((kind, message)) = data.split_first() else { return };
    if let Some(read) = READ.get(usize::from(*kind) % READ.len()) {
        read(message);
    }
}

/// How a message of each kind is read. Kinds stay what they are: the corpus knows them by number.
const READ: [fn(&[u8]); 28] = [
    submission,
    read::<Handout>,
    read::<Report>,
    read::<Registration>,
    read::<TaskRecipe>,
    read::<Update>,
    read::<InstancePage>,
    read::<LogPage>,
    read::<Detail>,
    read::<WorkerStatus>,
    read::<RunStatus>,
    read::<RunSummary>,
    read::<Peer>,
    read::<Input>,
    read::<Ended>,
    read::<InstanceResult>,
    read::<Failure>,
    read::<LogChunk>,
    read::<Offer>,
    read::<AttemptProgress>,
    read::<Fenced>,
    read::<InstanceId>,
    read::<InstanceRow>,
    read::<TaskStatus>,
    read::<TaskTimes>,
    read::<TaskDelta>,
    read::<Option<Door>>,
    // The pipeline of a submission by itself, as few bytes are a message by chance.
    pipeline,
];

fn read<M: Message + Debug>(message: &[u8])
where
    for<'a> <M::Schema as OwnedStruct>::Builder<'a>: FromPointerBuilder<'a>,
    for<'a> <M::Schema as OwnedStruct>::Reader<'a>: FromPointerReader<'a>,
{
    let _ = read_again::<M>(message);
}

/// Reads a message, writes it and reads it again.
fn read_again<M: Message + Debug>(mut message: &[u8]) -> Option<M>
where
    for<'a> <M::Schema as OwnedStruct>::Builder<'a>: FromPointerBuilder<'a>,
    for<'a> <M::Schema as OwnedStruct>::Reader<'a>: FromPointerReader<'a>,
{
    let mut limits = ReaderOptions::new();
    limits.traversal_limit_in_words(Some(1 << 20));
    let reader = serialize::read_message(&mut message, limits).ok()?;
    let root = reader.get_root::<<M::Schema as OwnedStruct>::Reader<'_>>().ok()?;
    let first = M::read(root).ok()?;
    let mut builder = Builder::new_default();
    first.write(builder.init_root());
    let root = builder.get_root_as_reader();
    let again = root.map_err(WireError::from).and_then(M::read);
    let again = again.unwrap_or_else(|error| panic!("{first:?} was written: {error}"));
    // Not by `==`: numbers that are none differ from themselves.
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
    Some(again)
}

fn submission(message: &[u8]) {
    if let Some(submission) = read_again(message) {
        check(&submission);
    }
}

fn pipeline(json: &[u8]) {
    check(&Submission {
        pipeline: json.to_vec(),
        base_dir: "/simulated".into(),
        seed: 0,
        fail_fast: false,
        max_fail: None,
    });
}

/// What a scheduler does with a submission before anything of it runs.
fn check(submission: &Submission) {
    let start = &submission.pipeline[..submission.pipeline.len().min(Submission::TAGS)];
    let _ = (Submission::may_have_tags(start), Submission::tags_in(start));
    let Ok(pipeline) = submission.read_pipeline() else { return };
    if dagrun_scheduler::simulated::check(submission).is_ok() {
        assert!(!pipeline.tasks.is_empty());
    }
}
