//! Values in numbers: gathered, folded, kept, and written to files.

use super::*;

/// A file of values: numbers, and one instance that failed.
fn gathered(dir: &std::path::Path, values: &[Option<f64>]) -> Argument {
    let path = dir.join("m.values");
    let mut file = std::fs::File::create(&path).unwrap();
    recipe::values::write_header(&mut file).unwrap();
    for (index, value) in (0..).zip(values) {
        let state = if value.is_some() { State::Succeeded } else { State::Failed };
        let payload = value.map(|value| payload::encode(&value).unwrap());
        recipe::values::write_record(&mut file, index, state, payload.as_deref()).unwrap();
    }
    Argument::Gathered(path)
}

#[task(crate = dagrun_worker::function)]
fn total(all: Vec<f64>) -> f64 {
    all.iter().sum()
}

#[task(crate = dagrun_worker::function)]
fn count_both(all: Vec<Option<f64>>) -> (usize, usize) {
    (all.len(), all.iter().flatten().count())
}

#[task(crate = dagrun_worker::function)]
fn mean(all: Gathered<f64>) -> Result<f64, function::GatherError> {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in all.values() {
        sum += value?;
        count += 1.0;
    }
    Ok(sum / count)
}

#[task(crate = dagrun_worker::function)]
fn failed_ones(all: Gathered<f64>) -> Result<Vec<(u32, State)>, function::GatherError> {
    let entries = all.collect::<Result<Vec<_>, _>>()?;
    let failed = entries.into_iter().filter(|entry| entry.value.is_none());
    Ok(failed.map(|entry| (entry.index, entry.state)).collect())
}

#[test]
fn gathered_values_come_as_a_list_or_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new(1);
    let all = listed(vec![gathered(dir.path(), &[Some(1.0), Some(f64::INFINITY)])]);
    assert_eq!(returned::<f64>(&rig.call("total", all)), f64::INFINITY);
    let some = || listed(vec![gathered(dir.path(), &[Some(1.5), None, Some(2.5)])]);
    assert_eq!(returned::<(usize, usize)>(&rig.call("count_both", some())), (3, 2));
    assert_eq!(returned::<f64>(&rig.call("mean", some())), 2.0);
    let found: Vec<(u32, State)> = returned(&rig.call("failed_ones", some()));
    assert_eq!(found, [(1, State::Failed)]);
    let reason = "input `all` of total: [1]: invalid type: null, expected f64";
    assert_eq!(failed(&rig.call("total", some())), (FailureKind::Start, reason));
    // A value that is a list works as well.
    assert_eq!(returned::<f64>(&rig.call("mean", listed(vec![value(&[1.0, 2.0])]))), 1.5);
    std::fs::write(dir.path().join("m.values"), "DAGRUNV1\x01").unwrap();
    let cut = listed(vec![Argument::Gathered(dir.path().join("m.values"))]);
    let report = rig.call("mean", cut);
    assert!(failed(&report).1.starts_with("cannot read "), "{report:?}");
    let gone = listed(vec![Argument::Gathered(dir.path().join("gone"))]);
    assert!(failed(&rig.call("mean", gone)).1.starts_with("input `all` of mean: cannot read"));
}

#[task(crate = dagrun_worker::function)]
fn add(a: f64, b: f64) -> Result<f64, String> {
    if b < 0.0 { Err(format!("{b} is negative")) } else { Ok(a * 2.0 + b) }
}

#[task(crate = dagrun_worker::function)]
fn concat(context: &Context, a: String, b: String) -> String {
    format!("{a}{b}{}", context.index())
}

#[test]
fn a_list_is_folded_from_the_left() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new(1);
    let fold = |function: &str, list| {
        rig.run_with(Calling { fold: true, ..calling(function) }, listed(vec![list]))
    };
    let list = gathered(dir.path(), &[Some(1.0), Some(2.0), None, Some(3.0)]);
    assert_eq!(returned::<f64>(&fold("add", list)), 11.0);
    assert_eq!(returned::<f64>(&fold("add", value(&[1.0, 2.0, 3.0]))), 11.0);
    assert_eq!(returned::<f64>(&fold("add", value(&[5.0]))), 5.0);
    assert_eq!(returned::<String>(&fold("concat", value(&["a", "b", "c"]))), "ab3c3");
    let report = fold("add", value(&[1.0, -2.0]));
    assert_eq!(failed(&report), (FailureKind::Function, "-2 is negative"));
    for (function, list, reason) in [
        ("add", value::<[f64; 0]>(&[]), "nothing to fold with add: the list is empty"),
        (
            "add",
            value(&"a"),
            "the list to fold with add: invalid type: string \"a\", expected a sequence",
        ),
        ("total", value(&[1.0]), "total cannot fold a list: it has not two inputs"),
    ] {
        assert_eq!(failed(&fold(function, list)), (FailureKind::Start, reason));
    }
    let report = fold("join_all", value(&[1.0]));
    assert!(failed(&report).1.starts_with("join_all cannot fold a list: it takes "), "{report:?}");
}

#[task(crate = dagrun_worker::function)]
fn reversed(bytes: Bytes) -> Bytes {
    bytes.iter().rev().copied().collect::<Vec<_>>().into()
}

#[test]
fn bytes_are_themselves() {
    let rig = Rig::new(1);
    let bytes = Bytes::from_static(b"\xff\x00a");
    let report = rig.call("reversed", listed(vec![value(&bytes)]));
    assert_eq!(returned::<Bytes>(&report), &b"a\x00\xff"[..]);
}

#[test]
fn values_are_kept_and_fetched_by_whoever_does_that() {
    let mut rig = Rig::new(1);
    let dir = tempfile::tempdir().unwrap();
    let values = Arc::new(dagrun_worker::values::Values::new(1 << 30, dir.path().into()));
    values.set_own(dagrun_core::ids::WorkerId(1));
    let (sender, reports) = mpsc::channel();
    let sender = Mutex::new(sender);
    let sink = Box::new(move |report| sender.lock().unwrap().send(report).unwrap());
    let runner = Runner::new(Mark::random(), None, 0).with_values(values.clone());
    (rig.slots, rig.reports) = (Slots::new(1, runner, sink).unwrap(), reports);
    let hold = |function: &str| Calling { keep: Keep::Hold, ..calling(function) };
    let long: Bytes = (0..100_000u32).map(|at| at as u8).collect();
    let report = rig.run_with(hold("reversed"), listed(vec![value(&long)]));
    let reference = report.detail.unwrap().value.unwrap();
    assert!(payload::stored(&reference).is_some());
    // Alone, within a list of gathered values, and as one of the fields of the only input.
    let again = vec![Argument::Value(reference.clone())];
    let report = rig.run_with(calling("reversed"), listed(again));
    assert_eq!(returned::<Bytes>(&report), long);
    let path = dir.path().join("v.values");
    let mut file = Vec::new();
    recipe::values::write_header(&mut file).unwrap();
    recipe::values::write_record(&mut file, 0, State::Succeeded, Some(&reference)).unwrap();
    std::fs::write(&path, file).unwrap();
    for function in ["lengths", "lengths_one_by_one"] {
        let report = rig.call(function, listed(vec![Argument::Gathered(path.clone())]));
        assert_eq!(returned::<Vec<usize>>(&report), [100_000]);
    }
    values.store().forget(RunId(1));
    let report = rig.call("reversed", listed(vec![Argument::Value(reference)]));
    let of = InstanceId { task: TaskId(0), index: 0 };
    assert_eq!(report.outcome, Outcome::Refused(Refusal::Value(of)), "it is to be made again");
    let reason = &report.detail.as_ref().unwrap().reason;
    assert!(reason.starts_with("input `bytes` of reversed: "), "{reason}");
}

#[task(crate = dagrun_worker::function)]
fn lengths(all: Vec<Bytes>) -> Vec<usize> {
    all.iter().map(Bytes::len).collect()
}

#[task(crate = dagrun_worker::function)]
fn lengths_one_by_one(all: Gathered<Bytes>) -> Result<Vec<usize>, function::GatherError> {
    all.values().map(|bytes| Ok(bytes?.len())).collect()
}

#[task(crate = dagrun_worker::function)]
fn writes(path: PathBuf, context: &Context) -> Result<(), std::io::Error> {
    if context.index() == 0 { std::fs::write(path, "out") } else { Ok(()) }
}

#[test]
fn files_that_a_function_writes_appear_when_it_has_succeeded() {
    let rig = Rig::new(1);
    let dir = tempfile::tempdir().unwrap();
    let output = common::output(dir.path(), "o");
    let outputs = vec![output.clone()];
    let call = |report_outputs| {
        let calling = Calling { outputs: outputs.clone(), report_outputs, ..calling("writes") };
        rig.run_with(calling, listed(vec![value(&output.temporary)]))
    };
    let report = call(true);
    assert_eq!(report.outcome, Outcome::Succeeded);
    assert_eq!(report.detail.unwrap().outputs, [b"results/o".to_vec()]);
    assert_eq!(std::fs::read_to_string(&output.target).unwrap(), "out");
    let report = call(false);
    assert_eq!(failed(&report), (FailureKind::MissingOutput, "output o is missing: results/o"));
}
