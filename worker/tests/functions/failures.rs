//! Errors and panics become failures that say why and where.

use super::*;

#[task(crate = dagrun_worker::function)]
fn noting() -> Result<u8, Failure> {
    Ok("300".parse::<u8>()?)
}

#[task(crate = dagrun_worker::function)]
fn plain_error(text: String) -> Result<(), String> {
    Err(text)
}

#[test]
fn an_error_comes_with_what_caused_it() {
    let rig = Rig::new(1);
    let p = OptionParams { strike: -1.0, volatility: 0.5 };
    let report = rig.call("price", listed(vec![value(&p)]));
    let reason = "no price for strike -1: invalid digit found in string";
    assert_eq!(failed(&report), (FailureKind::Function, reason));
    let story = "no price for strike -1\ncaused by:\n  invalid digit found in string";
    assert_eq!(tail(&report), story);
    assert!(report.started.0 > 0 && report.finished >= report.started);
    let report = rig.call("noting", Vec::new());
    assert_eq!(failed(&report).1, "number too large to fit in target type");
    assert!(tail(&report).contains("(at worker/tests/functions/failures.rs:"), "{}", tail(&report));
    let report = rig.call("plain_error", listed(vec![value(&"no\nluck")]));
    assert_eq!(failed(&report), (FailureKind::Function, "no …"));
    assert_eq!(tail(&report), "no\nluck");
}

#[task(crate = dagrun_worker::function)]
fn panics(how: String) -> u32 {
    match how.as_str() {
        "text" => panic!("out of {}", "luck"),
        "index" => Vec::<u32>::new()[how.len()],
        "value" => std::panic::panic_any(7_u32),
        "caught" => {
            let caught = std::panic::catch_unwind(|| panic!("caught"));
            u32::from(caught.is_err())
        }
        "rethrown" => {
            let _ = std::panic::catch_unwind(|| panic!("another"));
            std::panic::resume_unwind(Box::new("rethrown".to_owned()))
        }
        _ => {
            let (one, ()) = rayon::join(|| 1, || assert!(how.is_empty(), "in a part"));
            one
        }
    }
}

#[test]
fn a_panic_is_a_failure_with_its_message_and_place() {
    let rig = Rig::new(2);
    for cpus in [1, 2] {
        let call = |how: &'static str| {
            let calling = Calling { cpus, ..calling("panics") };
            rig.run_with(calling, listed(vec![value(&how)]))
        };
        let reason = |how| {
            let report = call(how);
            let (kind, reason) = failed(&report);
            assert_eq!(kind, FailureKind::Panic);
            let (place, message) = reason.split_once(": ").unwrap();
            (place.to_owned(), message.to_owned())
        };
        let here =
            |place: &str| place.starts_with("panicked at worker/tests/functions/failures.rs:");
        let (place, message) = reason("text");
        assert!(here(&place) && message == "out of luck", "{place}: {message}");
        let (place, message) = reason("index");
        assert!(here(&place) && message.starts_with("index out of bounds"), "{place}: {message}");
        assert_eq!(reason("value").1, "no message");
        assert_eq!(returned::<u32>(&call("caught")), 1);
        assert_eq!(reason("rethrown"), ("panicked".into(), "rethrown".into()));
        let (place, message) = reason("part");
        assert!(here(&place) && message == "in a part", "{place}: {message}");
    }
}

#[test]
fn panics_of_other_threads_go_where_they_went() {
    static SEEN: AtomicBool = AtomicBool::new(false);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() == Some(&"of another thread") {
            SEEN.store(true, Ordering::Release);
        } else {
            before(info);
        }
    }));
    // Whether the hook of functions is in place already or not.
    Rig::new(1).call("panics", listed(vec![value(&"text")]));
    assert!(std::thread::spawn(|| panic!("of another thread")).join().is_err());
    assert!(SEEN.load(Ordering::Acquire));
}
