//! Selectors: the same words at every command that takes a task.

use crate::harness::Test;

const PRICES: &str = r#"
[task.price]
sweep = { strike = { linspace = [80.0, 120.0], n = 5 }, solver = ["cg", "lu"] }
run = ["sh", "-c", "echo $0 $1; test $0$1 != 90.0lu", "{strike}", "{solver}"]
capture = "text"
allow-failure = true

[task.list]
run = ["echo", '[{{"id": 3, "name": "a"}}, {{"id": 7, "name": "b"}}]']
capture = "json"

[task.each]
scatter = "list"
run = ["echo", "{item.name}"]
out.o = "{item.name}.txt"
"#;

fn prices() -> Test {
    let pipeline = PRICES.replace(
        "run = [\"echo\", \"{item.name}\"]",
        "run = [\"sh\", \"-c\", \"echo $0 | tee $1\", \"{item.name}\", \"{out.o}\"]",
    );
    let test = Test::new(&pipeline);
    test.submit(&["-j", "2", "--quiet"]).exits(0);
    test
}

#[test]
fn every_command_takes_the_same_selectors() {
    let test = prices();
    let indices = |words: &[&str]| -> Vec<u64> {
        let rows = test.run(&[&["status"], words, &["--json"]].concat()).exits(0).json();
        rows.iter().map(|row| row["index"].as_u64().unwrap()).collect()
    };
    assert_eq!(indices(&["last", "price[strike=90]"]), [2, 3]);
    assert_eq!(indices(&["price[strike>100,solver=cg]"]), [6, 8]);
    assert_eq!(indices(&["1", "price[state=failed]"]), [3]);
    assert_eq!(indices(&["price[strike~93]", "--failed"]), [3]);
    assert_eq!(indices(&["price[7..]"]), [7, 8, 9]);
    assert_eq!(indices(&["each[item.id=7]"]), [1]);
    assert_eq!(indices(&["price[strike>120]"]), [0; 0]);
    assert_eq!(indices(&["price", "--failed"]), [3]);

    test.run(&["output", "price[strike=100,solver=lu]"]).exits(0).out("100.0 lu\n");
    test.run(&["output", "last", "price[3]"])
        .exits(1)
        .err_has("price[3] has no value: it is failed");
    test.run(&["logs", "price[solver=lu,strike<95]"])
        .exits(0)
        .out_has("price[1]: 80.0 lu\n")
        .out_has("price[3]: 90.0 lu\n");
    test.run(&["logs", "price[state=failed]"]).exits(0).out("price[3]: 90.0 lu\n");
    test.run(&["logs", "price[strike=80,solver=cg]"]).exits(0).out("80.0 cg\n");
    test.run(&["explain", "price[strike=90]"]).exits(0).out_has("price[2] ").out_has("price[3] ");
    test.run(&["status", "last", "list"]).exits(0).out_has("list").out_has("1");
    let one = test.run(&["status", "list", "--json"]).exits(0).json();
    assert_eq!(one[0]["tasks"].as_array().unwrap().len(), 1);
    test.run(&["cancel", "price[strike=90]"]).exits(2).err_has("no run is running");
    test.run(&["cancel", "last", "price[strike=90]"]).exits(0).err_has("has ended");
}

#[test]
fn what_is_wrong_is_shown_where_it_is() {
    let test = prices();
    test.run(&["status", "price[strike=90.1]"])
        .exits(2)
        .err_has("it lies between 90.0 and 100.0\n  price[strike=90.1]\n               ^^^^\n")
        .err_has("help: `strike~90.1` takes the nearest");
    test.run(&["logs", "prise[3]"]).exits(2).err_has("did you mean `price`?");
    test.run(&["explain", "price[solvr=cg]"]).exits(2).err_has("did you mean `solver`?");
    test.run(&["status", "nosuch", "price"]).exits(2).err_has("`nosuch` is no run");
    test.run(&["output", "last"]).exits(2).err_has("which task?");
    test.run(&["output", "price"])
        .exits(2)
        .err_has("`price` has 10 instances")
        .err_has("dagrun table 1 price");
    test.run(&["output", "price[strike=90]"])
        .exits(2)
        .err_has("2 instances of `price` are selected")
        .err_has("dagrun table 1 'price[strike=90]'");
    test.run(&["output", "price[strike>120]"]).exits(2).err_has("no instance of `price`");
    test.run(&["output", "--paths", "price[0]"]).exits(2).err_has("`price` has no outputs");
}

#[test]
fn outputs_are_told_by_their_paths() {
    let test = prices();
    let path = std::fs::canonicalize(test.path("b.txt")).unwrap();
    let shown = test.run(&["output", "each[item.id=7]"]).exits(0).stdout;
    assert_eq!(std::fs::canonicalize(shown.trim_end()).unwrap(), path);
    let shown = test.run(&["output", "--paths", "each[1]"]).exits(0).stdout;
    assert_eq!(std::fs::canonicalize(shown.trim_end()).unwrap(), path);
}
