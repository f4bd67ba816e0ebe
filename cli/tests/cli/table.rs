//! `dagrun table`: results of a task in every form.

use crate::harness::Test;

const PRICES: &str = r#"
[task.price]
sweep = { strike = { linspace = [80.0, 100.0], n = 3 }, solver = ["cg", "lu,2"] }
run = ["sh", "-c", 'test $0$1 != 90.0lu,2 && echo "{{\"price\": $025, \"greeks\": {{\"delta\": 9007199254740993, \"path\": [1, 2]}}, \"solver\": \"x\", \"ok\": true}}"', "{strike}", "{solver}"]
capture = "json"
allow-failure = true

[task.text]
sweep = { v = [0.1, 0.10, 1e-9] }
run = ["printf", 'a "q", {v}\nsecond']
capture = "text"

[task.list]
run = ["echo", '[{{"id": 3, "xs": [1, 2]}}, {{"id": 7, "xs": []}}, {{"id": 8}}]']
capture = "json"

[task.each]
scatter = "list"
run = ["sh", "-c", 'echo "$0" | tee $1', "{item}", "{out.o}"]
out.o = "{item.id}.txt"
capture = "json"

[task.report]
gather = "price"
run = ["sh", "-c", "cp $0 copied.jsonl", "{price.manifest}"]
min-success = 1
"#;

fn prices() -> Test {
    let test = Test::new(PRICES);
    test.submit(&["-j", "2", "--quiet"]).exits(0);
    test
}

#[test]
fn columns_are_the_union_in_the_order_of_the_author() {
    let test = prices();
    test.run(&["table", "last", "price"]).exits(0).silent().out(
        "index,strike,solver,state,price,greeks.delta,greeks.path,value.solver,ok\n\
         0,80.0,cg,succeeded,80.025,9007199254740993,\"[1,2]\",x,true\n\
         1,80.0,\"lu,2\",succeeded,80.025,9007199254740993,\"[1,2]\",x,true\n\
         2,90.0,cg,succeeded,90.025,9007199254740993,\"[1,2]\",x,true\n\
         3,90.0,\"lu,2\",failed,,,,,\n\
         4,100.0,cg,succeeded,100.025,9007199254740993,\"[1,2]\",x,true\n\
         5,100.0,\"lu,2\",succeeded,100.025,9007199254740993,\"[1,2]\",x,true\n",
    );
    test.run(&["table", "price[strike=90]", "--columns", "price,index,value.solver"])
        .exits(0)
        .out("price,index,value.solver\n90.025,2,x\n,3,\n");
    test.run(&["table", "price[state=failed]", "--tsv", "--columns", "index,solver"])
        .exits(0)
        .out("index\tsolver\n3\tlu,2\n");
    test.run(&["table", "text", "--columns", "v,value"]).exits(0).out(
        "v,value\n0.1,\"a \"\"q\"\", 0.1\nsecond\"\n0.10,\"a \"\"q\"\", 0.10\nsecond\"\n\
         1e-9,\"a \"\"q\"\", 1e-9\nsecond\"\n",
    );
    test.run(&["table", "price", "--columns", "prise"]).exits(2).err_has("did you mean `price`?");
    test.run(&["table"]).exits(2).err_has("which task?");
}

#[test]
fn json_is_one_array_and_json_lines_are_lines() {
    let test = prices();
    let array = test.run(&["table", "price", "--json"]).exits(0).stdout;
    let array: serde_json::Value = serde_json::from_str(&array).unwrap();
    assert_eq!(array.as_array().unwrap().len(), 6);
    assert_eq!(array[0]["greeks.delta"], 9_007_199_254_740_993_u64);
    assert_eq!(array[0]["greeks.path"], serde_json::json!([1, 2]));
    assert_eq!(array[3]["price"], serde_json::Value::Null);
    assert_eq!((&array[0]["ok"], &array[0]["strike"]), (&true.into(), &80.0.into()));
    let rows = test.run(&["table", "price", "--jsonl", "--limit", "2"]).exits(0).json();
    assert_eq!((rows.len(), &rows[1]["solver"]), (2, &"lu,2".into()));
    test.run(&["table", "price[strike>500]", "--json"]).exits(0).out("[]\n");
    test.run(&["table", "price[strike>500]"]).exits(0).out("index,strike,solver,state\n");
}

#[test]
fn rows_are_chosen_sorted_and_cut() {
    let test = prices();
    let index = |words: &[&str]| {
        let all = test.run(&[&["table", "price", "--columns", "index"], words].concat());
        all.exits(0).stdout.lines().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(index(&["--where", "price > 85 and state = succeeded"]), "2 4 5");
    assert_eq!(index(&["--where", "not (strike = 80 or strike = 1e2)"]), "2 3");
    assert_eq!(index(&["--where", "value.solver = x and solver = 'lu,2'"]), "1 5");
    assert_eq!(index(&["--where", "price = null"]), "3");
    assert_eq!(index(&["--where", "price < strike"]), "");
    assert_eq!(index(&["--where", "price > strike", "--sort", "-price,index"]), "4 5 2 0 1");
    assert_eq!(index(&["--sort", "-strike,solver", "--limit", "2"]), "4 5");
    assert_eq!(index(&["--sort", "price"]), "0 1 2 4 5 3");
    assert_eq!(index(&["--limit", "0"]), "");
    test.run(&["table", "price", "--where", "prise > 3"])
        .exits(2)
        .err_has("there is no column `prise`\n  prise > 3\n  ^")
        .err_has("did you mean `price`?");
    test.run(&["table", "price", "--where", "price >"]).exits(2).err_has("expected a value");
    test.run(&["table", "price", "--sort", "nosuch"]).exits(2).err_has("no column `nosuch`");
}

#[test]
fn items_outputs_and_arrays() {
    let test = prices();
    let rows = test.run(&["table", "each", "--jsonl", "--wide"]).exits(0).json();
    assert_eq!(rows[1]["item"], serde_json::json!({"id": 7, "xs": []}));
    assert!(rows[1]["out.o"].as_str().unwrap().ends_with("/7.txt"));
    assert_eq!((&rows[1]["id"], &rows[1]["attempts"]), (&7.into(), &1.into()));
    assert_eq!((&rows[0]["exit-code"], &rows[0]["taken-over"]), (&0.into(), &false.into()));
    assert!(rows[0]["seconds"].as_f64().unwrap() > 0.0 && rows[0]["worker"].is_string());
    test.run(&["table", "each", "--explode", "xs", "--columns", "index,xs"])
        .exits(0)
        .out("index,xs\n0,1\n0,2\n1,\n2,\n");
    test.run(&["table", "list", "--explode", "value", "--columns", "id,xs"])
        .exits(0)
        .out("id,xs\n3,\"[1,2]\"\n7,[]\n8,\n");
    let failed = test.run(&["table", "price[3]", "--wide", "--jsonl"]).exits(0).json();
    assert_eq!((&failed[0]["exit-code"], &failed[0]["reason"]), (&1.into(), &"exit code 1".into()));
}

#[test]
fn a_manifest_is_a_table_like_its_run() {
    let test = prices();
    let of_run = test.run(&["table", "price"]).exits(0).stdout;
    let of_file = test.run(&["table", "--manifest", "copied.jsonl"]).exits(0).stdout;
    assert_eq!(of_file, of_run);
    test.run(&["table", "last", "price", "--manifest", "copied.jsonl"]).exits(2);
    test.write("bad.jsonl", "{\"index\": 1}\n{nonsense\n");
    test.run(&["table", "--manifest", "bad.jsonl"]).exits(2).err_has("bad.jsonl: line 2");
}

#[test]
fn files_appear_as_a_whole_and_replace_files_only() {
    let test = prices();
    test.run(&["table", "price", "-o", "p.csv"]).exits(0).silent().out("");
    assert!(test.read("p.csv").starts_with("index,strike"));
    test.run(&["table", "price", "-o", "p.parquet"]).exits(0);
    let bytes = std::fs::read(test.path("p.parquet")).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    test.run(&["table", "price", "-o", "p.xyz"]).exits(2).err_has("names no form");
    std::fs::create_dir(test.path("d.csv")).unwrap();
    test.run(&["table", "price", "-o", "d.csv"]).exits(2).err_has("is no regular file");
    let left = std::fs::read_dir(test.path(".")).unwrap();
    let left = left
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".1"));
    assert_eq!(left.count(), 0);
}

#[test]
fn a_summary_says_what_is_in_the_columns_of_numbers() {
    let test = prices();
    let rows = test.run(&["table", "price", "--summary", "--jsonl"]).exits(0).json();
    let names: Vec<&str> = rows.iter().map(|row| row["column"].as_str().unwrap()).collect();
    assert_eq!(names, ["strike", "price", "greeks.delta"]);
    let price = &rows[1];
    assert_eq!((&price["n"], &price["missing"]), (&5.into(), &1.into()));
    assert_eq!((&price["min"], &price["max"]), (&80.025.into(), &100.025.into()));
    assert_eq!((&price["median"], &price["mean"]), (&90.025.into(), &90.025.into()));
    assert_eq!(price["sd"], 10.0);
    let by = test.run(&["table", "price", "--by", "solver", "--columns", "price", "--csv"]);
    by.exits(0)
        .out_has("solver,column,n,missing,mean,sd,min,q1,median,q3,max,histogram\n")
        .out_has("cg,price,3,0,90.025,10,80.025,85.025,90.025,95.025,100.025,")
        .out_has("\"lu,2\",price,2,1,90.025,");
}

#[test]
fn a_summary_is_the_same_at_one_reading_and_at_two() {
    // Fields that come late, that are missing, and that are numbers in some rows only.
    let test = Test::new(
        r#"
        [task.a]
        sweep = { x = { range = "0..40" }, s = ["u", "v"] }
        shell = '''
        if [ $x = 7 ]; then exit 1; fi
        if [ $x -lt 9 ]; then echo '{"early": '$x', "t": "'$x'"}'; exit; fi
        echo '{"early": '$x', "late": '$x'.5, "t": "word", "deep": {"n": [1, '$x'], "m": -1}}'
        '''
        capture = "json"
        allow-failure = true
        "#,
    );
    test.submit(&["-q", "-j", "2"]).exits(0);
    for words in [&[][..], &["--by", "s"], &["--by", "x"], &["--by", "late"], &["--wide"]] {
        let summary = |more: &[&str]| {
            let words = [&["table", "a", "--summary", "--csv"], words, more].concat();
            test.run(&words).exits(0).stdout
        };
        // A condition is about columns that must be known before.
        let once = summary(&[]);
        assert_eq!(once, summary(&["--where", "index >= 0"]), "{words:?}");
        assert!(once.lines().count() > 4, "{once}");
    }
    test.run(&["table", "a", "--summary", "--by", "lat"]).exits(2).err_has("did you mean `late`?");
}

#[test]
fn a_cluster_gives_the_same_table() {
    let test = crate::harness::Cluster::start(Test::new(PRICES), "1");
    test.submit(&["--quiet"]).exits(0);
    let rows = test.run(&["table", "price[solver=cg]", "--columns", "index,strike,state,ok"]);
    rows.exits(0).out(
        "index,strike,state,ok\n0,80.0,succeeded,true\n2,90.0,succeeded,true\n\
         4,100.0,succeeded,true\n",
    );
}

#[test]
fn questions_in_sql() {
    let test = prices();
    test.submit(&["--quiet", "--only", "price"]).exits(0);
    let ask = |words: &[&str]| test.run(&[&["sql"], words].concat());
    ask(&["SELECT solver, count(*) AS n, round(avg(price), 6) AS mean FROM price GROUP BY solver ORDER BY 1"])
        .exits(0)
        .silent()
        .out("solver,n,mean\ncg,3,90.025\n\"lu,2\",3,90.025\n");
    ask(&[
        "1",
        "SELECT \"greeks.delta\" d FROM price WHERE strike > 90 AND state = 'succeeded' LIMIT 1",
    ])
    .exits(0)
    .out("d\n9007199254740993\n");
    ask(&["SELECT count(*) n FROM price(1) a JOIN price(2) b USING (strike, solver) WHERE a.price = b.price"])
        .exits(0)
        .out("n\n5\n");
    ask(&["1", "SELECT sqrt(avg(strike * strike) - pow(avg(strike), 2)) > 0 AS sd FROM price"])
        .exits(0)
        .out("sd\n1\n");
    ask(&["1", "SELECT * FROM text LIMIT 1"]).exits(0).out_has("index,v,state,value,attempts");
    let row = &ask(&["SELECT strike, ok FROM price LIMIT 1", "--jsonl"]).exits(0).json()[0];
    assert_eq!(row, &serde_json::json!({"strike": 80.0, "ok": 1}));
    ask(&["--schema"]).exits(0).out_has("price,strike,float\n").out_has("price,greeks.path,json\n");
    for refused in [
        "INSERT INTO price VALUES (1)",
        "ATTACH 'x.db' AS x",
        "WITH a AS (SELECT 1) DELETE FROM price",
        "SELECT 1; SELECT 2",
        "SELECT load_extension('x')",
        "PRAGMA query_only = OFF",
    ] {
        ask(&[refused]).exits(2);
    }
    assert!(!test.path("x.db").exists());
    ask(&["SELECT strik FROM price"]).exits(2).err_has("did you mean `strike`?");
    ask(&["SELECT * FROM prise"]).exits(2).err_has("did you mean `price`?");
    ask(&[]).exits(2).err_has("expected a question");
}

#[test]
fn a_run_is_exported_as_plain_files() {
    let test = prices();
    test.run(&["export", "-o", "all.sqlite"]).exits(0).silent();
    let database = rusqlite::Connection::open(test.path("all.sqlite")).unwrap();
    let one = |sql: &str| database.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(one("SELECT cast(count(*) AS TEXT) FROM price WHERE price > 85"), "3");
    assert_eq!(one("SELECT type FROM pragma_table_info('price') WHERE name = 'price'"), "REAL");
    assert_eq!(one("SELECT typeof(strike) FROM price"), "real");
    test.run(&["export", "last", "-o", "dir.csv/"]).exits(0);
    assert!(test.read("dir.csv/text.csv").starts_with("index,v,state,value\n"));
    test.run(&["export", "price[strike=90]", "-o", "one.csv"]).exits(0);
    assert_eq!(test.read("one.csv").lines().count(), 3);
    test.run(&["export", "last", "each", "price", "--format", "parquet", "-o", "out"]).exits(0);
    assert!(test.path("out/each.parquet").exists() && test.path("out/price.parquet").exists());
    test.run(&["export", "last", "text", "--format", "jsonl", "-o", "-"])
        .exits(0)
        .out_has("\"v\":0.10");
    test.run(&["export", "-o", "x.junk"]).exits(2).err_has("`junk` is no form");
    test.run(&["export", "price", "price", "-o", "x.csv"]).exits(2).err_has("named twice");
}

#[test]
fn results_are_drawn_in_the_terminal_and_as_pictures() {
    let test = prices();
    test.run(&["table", "price[solver=cg]", "--plot", "price:strike"])
        .exits(0)
        .silent()
        .out_has("price\n")
        .out_has("┤")
        .out_has("strike\n");
    test.run(&["table", "last", "price", "--plot", "price:strike,solver", "two.svg"]).exits(0);
    let svg = test.read("two.svg");
    assert!(svg.starts_with("<svg") && svg.contains(">solver=cg<") && svg.contains("<polyline"));
    test.run(&["table", "price", "--plot", "price:strike", "-o", "one.png"]).exits(0).out("");
    assert!(std::fs::read(test.path("one.png")).unwrap().starts_with(b"\x89PNG"));
    test.run(&["table", "price", "--plot", "price"]).exits(2).err_has("over what it is drawn");
    test.run(&["table", "price", "--plot", "prise:strike"]).exits(2).err_has("`price`?");
    test.run(&["table", "price", "--plot", "greeks.path:strike"]).exits(2).err_has("no row has");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let test = prices();
    let mut command = test.command(&["table", "price"]);
    let piped = std::process::Stdio::piped;
    let mut child = command.stdout(piped()).stderr(piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}
