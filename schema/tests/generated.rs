//! The committed Rust belongs to the schema, and messages survive a round trip.

use std::path::Path;
use std::process::Command;

use dagrun_core::engine::{Outcome, Refusal, Report};
use dagrun_core::ids::{AttemptId, InstanceId, TaskId, Timestamp};
use dagrun_core::output::Stamp;
use dagrun_core::status::{Detail, FailureKind};
use dagrun_schema::dagrun_capnp;
use dagrun_schema::wire::Message as _;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_fingerprint_is_that_of_the_schema() {
    let schema = std::fs::read(root().join("dagrun.capnp")).unwrap();
    let written = std::fs::read_to_string(root().join("src/dagrun_capnp.hash")).unwrap();
    assert_eq!(
        written.trim(),
        format!("{:016x}", dagrun_schema::fingerprint(&schema)),
        "dagrun.capnp has changed: cargo run -p dagrun-schema --example regenerate"
    );
}

#[test]
#[allow(clippy::print_stderr)]
fn the_committed_code_is_what_the_tool_generates() {
    let version = match Command::new("capnp").arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            eprintln!("SKIPPED: the capnp tool is not installed ({error})");
            return;
        }
    };
    if !version.contains("version 0.9.") {
        eprintln!("SKIPPED: capnp 0.9.x generates the committed code, here is {version}");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    capnpc::CompilerCommand::new()
        .src_prefix(root())
        .file(root().join("dagrun.capnp"))
        .output_path(temp.path())
        .run()
        .unwrap();
    let fresh = std::fs::read_to_string(temp.path().join("dagrun_capnp.rs")).unwrap();
    let committed = std::fs::read_to_string(root().join("src/dagrun_capnp.rs")).unwrap();
    assert!(
        fresh == committed,
        "the committed code is stale: cargo run -p dagrun-schema --example regenerate"
    );
}

#[test]
fn reports_survive_the_wire() {
    for outcome in [
        Outcome::Started,
        Outcome::Succeeded,
        Outcome::Returned,
        Outcome::Failed(FailureKind::Exit(3)),
        Outcome::Failed(FailureKind::Signal(9)),
        Outcome::Failed(FailureKind::Timeout),
        Outcome::Failed(FailureKind::Lost),
        Outcome::Failed(FailureKind::Start),
        Outcome::Failed(FailureKind::MissingOutput),
        Outcome::Failed(FailureKind::Function),
        Outcome::Failed(FailureKind::Panic),
        Outcome::Failed(FailureKind::Capture),
        Outcome::Failed(FailureKind::Cancelled),
        Outcome::Refused(Refusal::Scarce),
        Outcome::Refused(Refusal::Missing),
        Outcome::Refused(Refusal::Value(InstanceId { task: TaskId(3), index: 4 })),
    ] {
        let report = Report {
            first: AttemptId(7),
            count: 1,
            outcome,
            started: Timestamp(5),
            finished: Timestamp(9),
            detail: Some(Box::new(Detail {
                reason: "exit code 3".into(),
                stderr_tail: b"\xff\n".to_vec(),
                value: Some(b"{}".to_vec()),
                outputs: vec![b"a".to_vec(), b"".to_vec()],
                stamps: vec![
                    None,
                    Some(Stamp::Directory),
                    Some(Stamp::File { bytes: u64::MAX, modified: -1 }),
                ],
            })),
            items: None,
        };
        let mut message = capnp::message::Builder::new_default();
        let mut builder = message.init_root::<dagrun_capnp::report::Builder<'_>>();
        report.write(builder.reborrow());
        assert_eq!(Report::read(builder.into_reader()).unwrap(), report);
    }
}
