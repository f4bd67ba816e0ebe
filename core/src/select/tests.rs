//! Selectors against a look at each instance.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;
use crate::ids::TaskId;
use crate::parse::{NoFiles, ParseOptions, parse};
use crate::pipeline::{Pattern, Pipeline, Scatter, Split, Task, TaskAction};
use crate::recipe::{Items, Recipe};
use crate::space::{Axis, Ends, Points, Space};
use crate::value::Value;

fn pipeline(text: &str) -> Pipeline {
    parse(text, &ParseOptions::default(), &NoFiles).unwrap().pipeline
}

fn columns(text: &str, task: u32) -> Columns {
    Columns::new(&pipeline(text), TaskId(task)).unwrap()
}

fn indices(columns: &Columns, width: u32, text: &str) -> Vec<u32> {
    let selector = Selector::parse(text).unwrap();
    let selection = columns.select(&selector, width, None).unwrap_or_else(|e| panic!("{e}"));
    let all: Vec<u32> = selection.ranges().flatten().collect();
    assert_eq!(selection.count(), all.len() as u64, "{text}");
    all
}

fn problem(columns: &Columns, width: u32, text: &str) -> String {
    let found = Selector::parse(text).and_then(|found| columns.select(&found, width, None));
    let error = found.expect_err(text);
    let help = error.help.as_ref().map(|help| format!("\n  help: {help}"));
    format!("{error}{}", help.unwrap_or_default())
}

const PRICES: &str = r#"
[task.price]
run = "true"
sweep = { strike = { linspace = [80.0, 120.0], n = 5 }, solver = ["cg", "lu"], sigma = [0.10, 0.25] }
[task.check]
map = "price"
run = "true"
sweep = { k = { range = "0..3" } }
"#;

#[test]
fn terms_of_every_kind() {
    let price = columns(PRICES, 0);
    let at = |text: &str| indices(&price, 20, text);
    assert_eq!(at("price"), (0..20).collect::<Vec<_>>());
    assert_eq!(at("price[7]"), [7]);
    assert_eq!(at("price[3..5]"), [3, 4]);
    assert_eq!(at("price[3..=5]"), [3, 4, 5]);
    assert_eq!(at("price[18..]"), [18, 19]);
    assert_eq!(at("price[..2]"), [0, 1]);
    assert_eq!(at("price[9|1|4..6|5]"), [1, 4, 5, 9]);
    assert_eq!(at("price[strike=90]"), [4, 5, 6, 7]);
    assert_eq!(at("price[strike=9e1, solver=lu]"), [6, 7]);
    assert_eq!(at("price[sigma=.1,solver=cg]"), [0, 4, 8, 12, 16]);
    assert_eq!(at("price[strike=80..100,sigma<0.2,solver!=cg]"), [2, 6]);
    assert_eq!(at("price[strike=80|120,sigma>=0.25]"), [1, 3, 17, 19]);
    assert_eq!(at("price[strike=110..=500]"), (12..20).collect::<Vec<_>>());
    assert_eq!(at("price[strike!=80..=110]"), (16..20).collect::<Vec<_>>());
    assert_eq!(at("price[strike~94,solver='cg',sigma~7]"), [5]);
    assert_eq!(at("price[strike~95,solver=\"cg\",sigma~0]"), [4]);
    assert_eq!(at("price[index>=18]"), [18, 19]);
    assert_eq!(at("price[strike>120]"), [0; 0]);
    let check = columns(PRICES, 1);
    assert_eq!(indices(&check, 60, "check[strike=120,solver=lu,sigma=0.25,k=1]"), [58]);
    assert_eq!(indices(&check, 60, "check[k=2,sigma=0.1,solver=cg,5..30]"), [14, 26]);
}

#[test]
fn states_are_left_to_the_reader() {
    use crate::status::State;
    let price = columns(PRICES, 0);
    let selector = Selector::parse("price[state=failed|skipped,3..]").unwrap();
    let selection = price.select(&selector, 20, None).unwrap();
    assert!(selection.admits(State::Failed) && !selection.admits(State::Succeeded));
    assert_eq!(selection.seek(0), Some(3..20));
    assert!(
        !selection.is_whole()
            && price.select(&"price".parse().unwrap(), 20, None).unwrap().is_whole()
    );
    let named = columns("[task.a]\nrun = \"true\"\nsweep = { state = [1, 2] }\n", 0);
    assert_eq!(indices(&named, 2, "a[state=2]"), [1]);
    let ours = named.select(&"a[.state=failed]".parse().unwrap(), 2, None).unwrap();
    assert!(!ours.admits(State::Ready));
}

#[test]
fn errors_are_located_and_say_what_there_is() {
    let price = columns(PRICES, 0);
    let problems = [
        "price[strike=90.1]",
        "price[strike=79]",
        "price[strike=200]",
        "price[strik=90]",
        "price[solver=cq]",
        "price[solver=7]",
        "price[20]",
        "price[7",
        "price7]",
        "price[]",
        "price[strike]",
        "price[strike=]",
        "price[strike 90]",
        "price[solver='cg]",
        "price[5..5]",
        "price[7x]",
        "price[state=faild]",
        "price[state<failed]",
        "price[strike<80|90]",
        "price[strike~x]",
        "[7]",
        "price[strike=90,]",
        "price[item.id=3]",
        "price[sigma=0.1|0.2]",
    ];
    let all: Vec<String> = problems.iter().map(|text| problem(&price, 20, text)).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn a_value_of_four_billion_points_is_found_by_arithmetic() {
    let text = r#"
[task.one]
run = "true"
sweep = { i = { range = "0..4000000000" } }
[task.grid]
run = "true"
sweep = { a = { linspace = [0.0, 1.0], n = 2000 }, b = { range = "0..2000" }, c = { logspace = [-3, 3], n = 1000 } }
[task.real]
run = "true"
sweep = { x = { linspace = [0.0, 1.0], n = 4000000000 } }
"#;
    let width = 4_000_000_000;
    let of = |task| columns(text, task);
    let selection = |columns: &Columns, text: &str| {
        columns.select(&Selector::parse(text).unwrap(), width, None).unwrap()
    };
    assert_eq!(selection(&of(0), "one[i=3999999999]").single(), Some(3_999_999_999));
    let grid = of(1);
    let one = selection(&grid, "grid[a=1,b=1999,c=1000]");
    assert_eq!((one.single(), one.count()), (Some(3_999_999_999), 1));
    assert_eq!(selection(&grid, "grid[c=1000]").count(), 4_000_000);
    assert_eq!(selection(&grid, "grid[c=1000,state=failed,b!=0..=1000]").count(), 1_998_000);
    assert_eq!(selection(&grid, "grid[b=7]").seek(8_001), Some(2_007_000..2_008_000));
    assert_eq!(selection(&of(2), "real[x~0.5]").seek(0).map(|run| run.start), Some(1_999_999_999));
    assert!(problem(&of(2), width, "real[x=0.3]").contains("it lies between 0.2999"));
}

#[test]
fn items_and_their_fields() {
    let text = r#"
[task.make]
run = "true"
capture = "json"
[task.use]
scatter = "make"
run = "true"
sweep = { k = [1, 2] }
[task.then]
map = "use"
run = "true"
"#;
    let mut items = Items::new(Split::Each);
    items.push(br#"[{"id": 3, "kind": "a"}, {"id": 7.0, "kind": "b"}, 5]"#).unwrap();
    for task in [1, 2] {
        let columns = columns(text, task);
        let at = |text: &str| {
            let selector = Selector::parse(text).unwrap();
            assert!(selector.needs_items(&columns));
            let selection = columns.select(&selector, 6, Some(&items)).unwrap();
            selection.ranges().flatten().collect::<Vec<_>>()
        };
        assert_eq!(at("t[item.id=7]"), [2, 3]);
        assert_eq!(at("t[item.kind=a|b,k=2]"), [1, 3]);
        assert_eq!(at("t[item=5,k=1]"), [4]);
        assert_eq!(at("t[item.id>3]"), [2, 3]);
        let selector = Selector::parse("t[item.id=4]").unwrap();
        let error = columns.select(&selector, 6, Some(&items)).unwrap_err();
        assert!(error.message.contains("between 3 and 7.0"), "{error}");
    }
}

// What follows makes spaces and selectors at random and compares with a look at each instance.

fn numbers() -> impl Strategy<Value = Vec<Value>> {
    let spelled = proptest::sample::select(vec![
        "1",
        "1.0",
        "2",
        "0.10",
        "0.1",
        "-3",
        "1e3",
        "1000",
        "7.5",
        "0x10",
        "9007199254740993",
    ]);
    proptest::collection::vec(spelled.prop_map(|text| Value::Number(text.into())), 1..5)
}

fn words() -> impl Strategy<Value = Vec<Value>> {
    let word = proptest::sample::select(vec!["cg", "lu", "a b", "x,y", "12", "it's", "true"]);
    proptest::collection::vec(word.prop_map(|text| Value::String(text.into())), 1..5)
}

fn points() -> impl Strategy<Value = Points> {
    let rows = |values: Vec<Value>| Points::Rows(values.into_iter().map(|v| vec![v]).collect());
    let ends = |from: f64, to: f64, n: u32| Ends { from, to: if n == 1 { from } else { to }, n };
    prop_oneof![
        numbers().prop_map(rows),
        words().prop_map(rows),
        (-3i64..3, prop_oneof![Just(-2i64), Just(1), Just(3)], 1u32..6)
            .prop_map(|(first, step, n)| Points::Range { first, step, n }),
        (-2i32..2, -2i32..4, 1u32..6).prop_map(move |(a, b, n)| Points::Linspace(ends(
            a.into(),
            b.into(),
            n
        ))),
        (-2i32..2, -2i32..4, 1u32..5).prop_map(move |(a, b, n)| Points::Logspace(ends(
            a.into(),
            b.into(),
            n
        ))),
    ]
}

/// A space whose parameters begin with `prefix`.
fn space(prefix: &'static str) -> impl Strategy<Value = Space> {
    let axes = proptest::collection::vec(points(), 1..4);
    let seeds = proptest::collection::vec(any::<u32>(), 8);
    (axes, any::<bool>(), 0usize..3, 0usize..3, seeds).prop_map(
        move |(axes, zip, exclude, include, seeds)| {
            let named = axes.into_iter().enumerate().map(|(at, points)| {
                let name = format!("{prefix}{at}");
                Axis { names: vec![name.clone()], name, points }
            });
            let mut space = Space { axes: named.collect(), ..Space::default() };
            let values = |axis: &Axis| values_of(axis, &[]);
            if zip
                && space.axes.len() > 1
                && values(&space.axes[0]).len() == values(&space.axes[1]).len()
            {
                space.zip = vec![vec![space.axes[0].name.clone(), space.axes[1].name.clone()]];
            }
            let pick = |axis: &Axis, seed: u32| {
                let values = values(axis);
                (axis.name.clone(), values[seed as usize % values.len()].clone())
            };
            space.exclude = (0..exclude)
                .map(|row| {
                    let some = space.axes.iter().skip(row).take(1 + seeds[row] as usize % 2);
                    some.map(|axis| pick(axis, seeds[row + 2])).collect::<Vec<_>>()
                })
                .filter(|row| !row.is_empty())
                .collect();
            space.include = (0..include)
                .map(|row| {
                    let one = |axis: &Axis| match seeds[row + 4] % 3 {
                        0 => (axis.name.clone(), Value::Number("77".into())),
                        _ => pick(axis, seeds[row + 5]),
                    };
                    space.axes.iter().map(one).collect()
                })
                .collect();
            space
        },
    )
}

/// The values of an axis by itself, and of include rows.
fn values_of(axis: &Axis, include: &[Vec<(String, Value)>]) -> Vec<Value> {
    let alone = Space { axes: vec![axis.clone()], ..Space::default() }.compile().unwrap();
    let own = (0..alone.width()).map(|at| alone.params(at)[0].1.clone());
    let rows = include.iter().flatten().filter(|(name, _)| *name == axis.name);
    own.chain(rows.map(|(_, value)| value.clone())).collect()
}

/// The order of a value and a constant, by other means than the product's.
fn order(value: &Value, wanted: &str) -> Option<Ordering> {
    let text = String::from_utf8(value.to_text()).unwrap();
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok().map(|n| n as f64),
        None => text.parse::<f64>().ok(),
    };
    let whole = |text: &str| text.parse::<i128>().ok();
    match (number(&text), number(wanted)) {
        (Some(_), Some(_)) if whole(&text).is_some() && whole(wanted).is_some() => {
            Some(whole(&text).cmp(&whole(wanted)))
        }
        (Some(a), Some(b)) => a.partial_cmp(&b),
        (_, None) if matches!(value, Value::String(_)) && wanted != "true" => {
            Some(text.as_str().cmp(wanted))
        }
        _ => None,
    }
}

fn same(value: &Value, wanted: &str) -> bool {
    order(value, wanted) == Some(Ordering::Equal) || value.to_text() == wanted.as_bytes()
}

fn meets(value: &Value, op: &str, wanted: &[String], axis: &[Value]) -> bool {
    let order = || order(value, &wanted[0]);
    match op {
        "=" => wanted.iter().any(|wanted| same(value, wanted)),
        "!=" => !wanted.iter().any(|wanted| same(value, wanted)),
        "<" => order() == Some(Ordering::Less),
        ">=" => order().is_some_and(Ordering::is_ge),
        "~" => {
            let number = |value: &Value| {
                value.as_number().and_then(|text| match text {
                    "0x10" => Some(16.0),
                    text => text.parse::<f64>().ok(),
                })
            };
            let at: f64 = wanted[0].parse().unwrap();
            let distances = axis.iter().filter_map(number).map(|x| ((x - at).abs(), x));
            let nearest = distances.min_by(|a, b| a.partial_cmp(b).unwrap());
            nearest.is_some_and(|(_, nearest)| number(value) == Some(nearest))
        }
        _ => unreachable!(),
    }
}

fn quoted(text: &str) -> String {
    match text.contains([',', '\'', ' ']) {
        true => format!("'{}'", text.replace('\'', "''")),
        false => text.to_owned(),
    }
}

fn task(name: &str, pattern: Pattern, sweep: Option<Space>) -> Task {
    let shell = TaskAction::Shell("true".into());
    Task { pattern, sweep, ..Task::new(name, shell) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn selections_are_those_of_a_look_at_each_instance(
        outer in space("a"),
        inner in proptest::option::of(space("b")),
        parts in proptest::option::of(1u32..4),
        terms in proptest::collection::vec(
            (any::<u32>(), 0usize..5, proptest::collection::vec(any::<u32>(), 1..3)), 1..4),
        bounds in proptest::option::of((0u32..40, 1u32..60)),
    ) {
        let scatter = Scatter { from: TaskId(0), split: Split::Each, max_items: None };
        let root = parts.map_or(Pattern::Own, |_| Pattern::Scatter(scatter));
        let tasks = vec![
            task("source", Pattern::Own, None),
            task("outer", root, Some(outer.clone())),
            task("inner", Pattern::Map(TaskId(1)), inner.clone()),
        ];
        let pipeline = Pipeline { name: "p".into(), vars: Vec::new(), tasks };
        let columns = Columns::new(&pipeline, TaskId(2)).unwrap();
        let width = columns.inner_width() * parts.unwrap_or(1);
        prop_assume!(width > 0 && width < 5000);
        let context = crate::pipeline::RunContext {
            run: 1, run_dir: "/r".into(), base_dir: "/b".into(), seed: 0,
        };
        let recipe = Recipe::new(&pipeline, TaskId(2), &context).unwrap();

        let spaces: Vec<&Space> = std::iter::once(&outer).chain(&inner).collect();
        let axes: Vec<(&Axis, &Space)> =
            spaces.iter().flat_map(|space| space.axes.iter().map(move |axis| (axis, *space))).collect();
        let mut text = Vec::new();
        let mut wanted = Vec::new();
        let mut absent = false;
        for (axis, op, seeds) in &terms {
            let (axis, space) = axes[*axis as usize % axes.len()];
            let values = values_of(axis, &space.include);
            let op = ["=", "!=", "<", ">=", "~"][*op];
            let constant = |seed: &u32| match seed % 5 {
                0 => ["0.05", "2", "95", "zz"][*seed as usize / 5 % 4].to_owned(),
                _ => String::from_utf8(values[*seed as usize / 5 % values.len()].to_text()).unwrap(),
            };
            let mut constants: Vec<String> = seeds.iter().map(constant).collect();
            match op {
                "=" | "!=" => {
                    absent |= constants.iter().any(|one| !values.iter().any(|v| same(v, one)));
                }
                "~" => {
                    constants = vec!["1.3".to_owned()];
                    absent |= values.iter().all(|value| value.as_number().is_none());
                }
                _ => constants.truncate(1),
            }
            let words: Vec<String> = constants.iter().map(|one| quoted(one)).collect();
            text.push(format!("{}{op}{}", axis.name, words.join("|")));
            wanted.push((axis.name.clone(), op, constants, values));
        }
        let bounds = bounds.map(|(from, count)| (from % width, count));
        text.extend(bounds.map(|(from, count)| format!("{from}..{}", from + count)));
        let text = format!("inner[{}]", text.join(","));
        let selector = Selector::parse(&text).unwrap();
        let found = columns.select(&selector, width, None);
        prop_assert_eq!(found.is_err(), absent, "{}: {:?}", text, found.as_ref().err());
        let Ok(selection) = found else { return Ok(()) };

        let is_wanted = |index: u32| {
            let params = recipe.params(index);
            bounds.is_none_or(|(from, count)| (from..from + count).contains(&index))
                && wanted.iter().all(|(name, op, constants, values)| {
                    let value = &params.iter().find(|(known, _)| known == name).unwrap().1;
                    meets(value, op, constants, values)
                })
        };
        let expected: Vec<u32> = (0..width).filter(|index| is_wanted(*index)).collect();
        let found: Vec<u32> = selection.ranges().flatten().collect();
        prop_assert_eq!(&found, &expected, "{}", text);
        prop_assert_eq!(selection.count(), expected.len() as u64);
        let single = match expected.as_slice() { [one] => Some(*one), _ => None };
        prop_assert_eq!(selection.single(), single);
        for index in 0..width.min(50) {
            let next = expected.iter().copied().find(|at| *at >= index);
            prop_assert_eq!(selection.seek(index).map(|run| run.start), next);
        }
    }

    #[test]
    fn hostile_selectors_never_panic(text in "[a-z0-9\\[\\]=<>~!|.,'\" é-]{0,20}") {
        let columns = columns(PRICES, 0);
        if let Err(error) = Selector::parse(&text).and_then(|found| columns.select(&found, 20, None)) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
