//! What a function learns and reports through its context.

use super::*;

#[task(crate = dagrun_worker::function)]
fn situation(context: &Context) -> (u32, u32, u64, String, u64, String) {
    let run = context.run().0;
    let (task, worker) = (context.task().to_owned(), context.worker().to_owned());
    (context.index(), context.attempt(), run, task, context.seed(), worker)
}

#[test]
fn a_function_knows_where_it_is() {
    let rig = Rig::new(1);
    rig.slots.runner().set_worker_name("w7");
    rig.call("odd/name", Vec::new());
    let about: (u32, u32, u64, String, u64, String) = returned(&rig.call("situation", Vec::new()));
    assert_eq!(about, (1, 1, 1, "test".into(), 77, "w7".into()));
}

#[task(crate = dagrun_worker::function)]
fn working(context: &Context) -> Result<(), function::Cancelled> {
    for fraction in [f64::NAN, 2.0, -1.0, 0.25] {
        context.progress(fraction);
    }
    loop {
        context.cancelled()?;
        std::thread::yield_now();
    }
}

#[test]
fn progress_is_told_while_it_is_new() {
    let rig = Rig::new(1);
    let id = rig.push(calling("working"), 1, None, |_| Vec::new());
    until("it has come to a quarter", || {
        let told = rig.slots.progress();
        told.contains(&(id, 0.25)).then_some(())
    });
    assert_eq!(rig.slots.progress(), []);
    rig.slots.stop_all(None, Stop::Cancel);
    rig.next();
    assert_eq!(rig.slots.progress(), []);
}

#[task(crate = dagrun_worker::function)]
fn with_files(fail: bool, context: &Context) -> Result<String, std::io::Error> {
    let dir = context.temp_dir()?;
    std::fs::write(dir.join("a"), "a")?;
    assert_eq!(context.temp_dir()?, dir);
    assert!(!fail, "{}", dir.display());
    Ok(dir.display().to_string())
}

#[test]
fn a_temporary_directory_goes_with_its_attempt() {
    let rig = Rig::new(1);
    let first: String = returned(&rig.call("with_files", listed(vec![value(&false)])));
    let report = rig.call("with_files", listed(vec![value(&true)]));
    let second = failed(&report).1.rsplit_once(": ").unwrap().1;
    assert_ne!(first, second);
    for dir in [&first, second] {
        assert!(dir.starts_with('/') && !std::path::Path::new(dir).exists(), "{dir}");
    }
}

#[task(crate = dagrun_worker::function)]
fn talks(lines: u32, context: &Context) {
    for line in 0..lines {
        context.log(&format!("line {line}"));
    }
}

#[test]
fn lines_go_into_the_log_of_the_attempt_up_to_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(RunLog::new(dir.path().into(), "w"));
    let rig = Rig::new(1);
    for lines in [2_u32, 200_000] {
        rig.push(calling("talks"), 1, Some(log.clone()), move |_| listed(vec![value(&lines)]));
        assert_eq!(rig.next().outcome, Outcome::Succeeded);
    }
    log.flush();
    let mut reader = LogReader::open(dir.path());
    let chunks = reader.read(&mut Cursor::default(), usize::MAX, &mut |_, _| true).unwrap();
    let of = |index, stream| {
        let chunks = chunks.iter().filter(|it| it.instance.index == index && it.stream == stream);
        chunks.flat_map(|chunk| chunk.bytes.clone()).collect::<Vec<u8>>()
    };
    assert_eq!(of(0, Stream::Stdout), b"line 0\nline 1\n");
    assert_eq!(of(0, Stream::Note), b"");
    assert!((1_000_000..=1 << 20).contains(&of(1, Stream::Stdout).len()));
    assert_eq!(of(1, Stream::Note), "… more is not kept …\n".as_bytes());
}

#[task(crate = dagrun_worker::function)]
fn with_checkpoint(fail: bool, context: &Context) -> Result<(String, usize), std::io::Error> {
    let state = context.checkpoint_dir()?.join("state");
    let earlier = std::fs::read(&state).unwrap_or_default();
    std::fs::write(&state, [&earlier[..], b"a"].concat())?;
    assert!(!fail, "{}", state.display());
    Ok((state.display().to_string(), earlier.len()))
}

#[test]
fn a_checkpoint_outlives_attempts_until_one_succeeds() {
    let (rig, dir) = (Rig::new(1), tempfile::tempdir().unwrap());
    let call = |fail: bool| {
        let run_dir = dir.path().join("runs/1");
        // The same instance each time, when the one before is over.
        rig.slots.wait_idle(None);
        rig.next.store(0, Ordering::Relaxed);
        let calling = Calling { run_dir, ..calling("with_checkpoint") };
        rig.run_with(calling, listed(vec![value(&fail)]))
    };
    for _ in 0..2 {
        failed(&call(true));
    }
    let (path, earlier): (String, usize) = returned(&call(false));
    assert_eq!(earlier, 2);
    assert!(!std::path::Path::new(&path).parent().unwrap().exists());
    let (again, earlier): (String, usize) = returned(&call(false));
    assert_eq!((again, earlier), (path, 0));
}
