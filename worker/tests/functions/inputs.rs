//! Inputs: named or by position, decoded, refused when they do not fit.

use super::*;

#[derive(Debug, thiserror::Error)]
enum PriceError {
    #[error("no price for strike {0}")]
    Strike(f64, #[source] std::num::ParseIntError),
}

/// The price of an option.
#[task(crate = dagrun_worker::function)]
fn price(p: OptionParams) -> Result<f64, PriceError> {
    match p.strike < 0.0 {
        true => Err(PriceError::Strike(p.strike, "x".parse::<u8>().unwrap_err())),
        false => Ok(p.strike * p.volatility),
    }
}

#[task(crate = dagrun_worker::function)]
fn join(left: String, context: &Context, right: Option<String>) -> String {
    format!("{left}{}@{}", right.unwrap_or_default(), context.index())
}

#[test]
fn a_function_gets_its_inputs_and_gives_its_value() {
    let rig = Rig::new(2);
    let p = OptionParams { strike: 100.0, volatility: 0.5 };
    assert_eq!(returned::<f64>(&rig.call("price", listed(vec![value(&p)]))), 50.0);
    assert_eq!(returned::<f64>(&rig.call("price", named(vec![("p", value(&p))]))), 50.0);
    // The fields of the only input.
    let fields = vec![("strike", value(&2.0)), ("volatility", value(&f64::INFINITY))];
    assert_eq!(returned::<f64>(&rig.call("price", named(fields))), f64::INFINITY);
    let args = vec![("right", value(&"b")), ("left", value(&"a"))];
    assert_eq!(returned::<String>(&rig.call("join", named(args))), "ab@3");
    let args = vec![value(&"a"), Argument::Value(b"null".to_vec())];
    assert_eq!(returned::<String>(&rig.call("join", listed(args))), "a@4");
}

#[test]
fn a_task_is_still_a_function() {
    let p = OptionParams { strike: 4.0, volatility: 0.5 };
    assert_eq!(price(p.clone()).unwrap(), 2.0);
    assert_eq!(join("a".into(), &Context::detached(), None), "a@0");
    let doubled: Vec<_> = [p.clone(), p].into_iter().map(*price).map(Result::unwrap).collect();
    assert_eq!(doubled, [2.0, 2.0]);
    assert_eq!(<price as TaskFn>::PARAMS, ["p"]);
    assert_eq!(<join as TaskFn>::PARAMS, ["left", "right"]);
}

#[task(crate = dagrun_worker::function)]
fn twice(left: String, right: String) -> String {
    left + &right
}

#[task(crate = dagrun_worker::function, name = "odd/name")]
fn nothing() {}

mod elsewhere {
    use super::{Context, task};

    /// Another function of the same name, with other types.
    #[task(crate = dagrun_worker::function)]
    pub fn twice(r#type: u32, _: &Context) -> u32 {
        r#type
    }
}

#[test]
fn functions_of_one_name_are_told_apart_by_their_signatures() {
    let names: Vec<_> = function::functions().map(|function| function.name).collect();
    assert!(names.is_sorted() && names.contains(&"odd/name"), "{names:?}");
    let rig = Rig::new(1);
    assert_eq!(rig.call("odd/name", Vec::new()).outcome, Outcome::Succeeded);
    let call = |signature| {
        let calling = Calling { signature, ..calling("twice") };
        rig.run_with(calling, named(vec![("type", value(&5))]))
    };
    assert_eq!(returned::<u32>(&call(Some(elsewhere::twice.signature()))), 5);
    let reason = "twice takes 2 inputs (`left`, `right`), and has no `type`";
    assert_eq!(failed(&call(Some(twice.signature()))), (FailureKind::Start, reason));
    let reason = "the function `twice` of this worker's program has other types or another path \
                  (functions::inputs::elsewhere::twice, functions::inputs::twice)";
    assert_eq!(failed(&call(Some(1))), (FailureKind::Start, reason));
    let reason = "2 functions of the program are called `twice` (functions::inputs::elsewhere::twice, \
                  functions::inputs::twice): give all but one another name with \
                  `#[dagrun::task(name = \"…\")]`";
    assert_eq!(failed(&call(None)), (FailureKind::Start, reason));
}

#[test]
fn what_does_not_fit_is_said_with_the_name_of_the_input() {
    let rig = Rig::new(1);
    let reason = |report: Report| {
        let (kind, reason) = failed(&report);
        assert_eq!((kind, report.started.0), (FailureKind::Start, report.started.0));
        reason.to_owned()
    };
    let call = |function, args| reason(rig.call(function, args));
    assert_eq!(
        call("price", named(vec![("volatility", value(&1.0))])),
        "input `p` of price: missing field `strike`"
    );
    assert_eq!(
        call("price", listed(vec![value(&"a")])),
        "input `p` of price: invalid type: string \"a\", expected struct OptionParams"
    );
    assert_eq!(call("price", Vec::new()), "price takes 1 input (`p`), and is given 0");
    let names = "join_all takes 2 inputs (`first`, `second`), and ";
    assert_eq!(call("join_all", listed(vec![value(&1)])), format!("{names}is given 1"));
    assert_eq!(
        call("join_all", named(vec![("first", value(&1))])),
        format!("{names}is not given `second`")
    );
    assert_eq!(
        call("join_all", named(vec![("first", value(&1)), ("third", value(&1))])),
        format!("{names}has no `third`")
    );
    let stored = payload::Stored {
        place: payload::Whereabouts::Worker(
            dagrun_core::ids::WorkerId(3),
            InstanceId { task: TaskId(0), index: 0 },
        ),
        bytes: 1 << 20,
        checksum: 0,
    };
    assert_eq!(
        call("add", listed(vec![Argument::Value(stored.to_payload()), value(&1.0)])),
        "input `a` of add: the value is kept by worker 3"
    );
    let missing = call("prices", Vec::new());
    assert!(missing.starts_with("no function `prices` in this worker's program (it has "));
    assert!(missing.ends_with("; did you mean `price`?)"), "{missing}");
}

#[task(crate = dagrun_worker::function)]
fn join_all(first: Vec<u32>, second: Bytes) -> usize {
    first.len() + second.len()
}
