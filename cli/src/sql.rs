//! `dagrun sql`: questions about the results of runs, in SQL.
//!
//! The tables that a question mentions, and of them the columns that it mentions, are put into a
//! database of its own, which is gone with the process: neither the history nor anything else can be
//! changed through it.

mod math;

use std::collections::HashSet;
use std::io::IsTerminal as _;

use clap::Args;
use dagrun::table::Form;
use dagrun_core::ids::RunId;
use dagrun_core::parse::did_you_mean;
use dagrun_core::select::Selector;
use dagrun_core::table::{Kind, Row, Sheet};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

use crate::args::Place;
use crate::chosen::is_run;
use crate::exit::{Exit, Failure};
use crate::source::{RunSource, Source};
use crate::table::format::Sink;
use crate::table::rows::Rows;
use crate::table::sqlite::{failed, fill, quoted};
use crate::table::{FormArgs, text};
use crate::target::RunName;
use crate::terminal::Output;

/// Rows that are shown at a terminal at most.
const SHOWN: usize = 1000;

/// `dagrun sql`.
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The run [default: the last], and the question, as in 'SELECT avg(price) FROM price'
    #[arg(value_name = "[RUN] QUERY", num_args = 0..=2)]
    words: Vec<String>,
    /// List the tables and their columns instead
    #[arg(long)]
    schema: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    form: FormArgs,
}

/// A piece of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A name or keyword, without its quotes.
    Word(String),
    /// A number.
    Number(String),
    /// A character of its own.
    Sign(char),
    /// Text, white space, a comment.
    Other,
}

/// Answers a question.
pub(crate) async fn sql(args: &SqlArgs) -> Result<Exit, Failure> {
    let (run, query) = match args.words.as_slice() {
        [] if args.schema => (None, None),
        [run] if args.schema && is_run(run) => (Some(run), None),
        [query] if !is_run(query) => (None, Some(query)),
        [run, query] if is_run(run) => (Some(run), Some(query)),
        _ => {
            return Err(Failure::usage("expected a question, and before it at most a run")
                .help("as in: dagrun sql last 'SELECT * FROM price'"));
        }
    };
    let name = run.map(|run| run.parse::<RunName>().map_err(Failure::usage)).transpose()?;
    let source = Source::open(&args.place).await?;
    let run = source.run(name.unwrap_or(RunName::Last)).await?;
    match query {
        Some(query) if !args.schema => answer(args, &source, &run, query).await,
        _ => schema(args, &run).await,
    }
}

/// Splits SQL; what is in strings and comments is nobody's name.
fn tokens(sql: &str) -> Vec<(std::ops::Range<usize>, Token)> {
    let mut tokens = Vec::new();
    let mut chars = sql.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let mut end = start + c.len_utf8();
        let mut text = String::from(c);
        let token = match c {
            '\'' | '"' | '`' | '[' => {
                let close = if c == '[' { ']' } else { c };
                text.clear();
                while let Some((at, next)) = chars.next() {
                    end = at + next.len_utf8();
                    if next != close {
                        text.push(next);
                    } else if close != ']' && chars.next_if(|(_, c)| *c == close).is_some() {
                        text.push(close);
                    } else {
                        break;
                    }
                }
                if c == '\'' { Token::Other } else { Token::Word(text) }
            }
            '-' if sql.get(start..).is_some_and(|rest| rest.starts_with("--")) => {
                while let Some((at, next)) = chars.next_if(|(_, c)| *c != '\n') {
                    end = at + next.len_utf8();
                }
                Token::Other
            }
            '/' if sql.get(start..).is_some_and(|rest| rest.starts_with("/*")) => {
                end = sql
                    .get(start..)
                    .and_then(|rest| rest.find("*/"))
                    .map_or(sql.len(), |at| start + at + 2);
                while chars.next_if(|(at, _)| *at < end).is_some() {}
                Token::Other
            }
            c if word(c) => {
                while let Some((at, next)) = chars.next_if(|(_, c)| word(*c)) {
                    end = at + next.len_utf8();
                    text.push(next);
                }
                if c.is_ascii_digit() { Token::Number(text) } else { Token::Word(text) }
            }
            c if c.is_whitespace() => continue,
            c => Token::Sign(c),
        };
        tokens.push((start..end, token));
    }
    tokens
}

/// What a question asks for.
struct Question {
    /// With the tables of other runs by names of their own.
    sql: String,
    /// The tables: the name in the question, the task, the run if it is named.
    tables: Vec<(String, String, Option<RunId>)>,
    /// The names that it mentions, in lower case; `None` when it may mean all columns.
    names: Option<HashSet<String>>,
}

impl Question {
    fn read(sql: &str, tasks: &[String]) -> Result<Question, Failure> {
        let tokens = tokens(sql);
        let known: Vec<&(std::ops::Range<usize>, Token)> =
            tokens.iter().filter(|(_, token)| *token != Token::Other).collect();
        let sign =
            |at: usize, c: char| matches!(known.get(at), Some((_, Token::Sign(s))) if *s == c);
        let first = match known.first() {
            Some((_, Token::Word(word))) => word.to_ascii_uppercase(),
            _ => String::new(),
        };
        if !matches!(first.as_str(), "SELECT" | "WITH" | "VALUES" | "EXPLAIN") {
            return Err(Failure::usage(
                "only questions are answered: SQL that begins with SELECT or WITH",
            ));
        }
        let end = known.iter().position(|(_, token)| *token == Token::Sign(';'));
        if end.is_some_and(|end| end + 1 < known.len()) {
            return Err(Failure::usage("one question at a time: there is more after the `;`"));
        }
        let mut question =
            Question { sql: String::new(), tables: Vec::new(), names: Some(HashSet::new()) };
        let mut copied = 0;
        for (at, (range, token)) in known.iter().enumerate() {
            match token {
                Token::Word(word) => {
                    if let Some(names) = &mut question.names {
                        names.insert(word.to_lowercase());
                    }
                    if word.eq_ignore_ascii_case("natural") {
                        question.names = None;
                    }
                    let task = tasks.iter().find(|task| task.eq_ignore_ascii_case(word));
                    let run = match known.get(at + 2) {
                        Some((_, Token::Number(number)))
                            if sign(at + 1, '(') && sign(at + 3, ')') =>
                        {
                            number.parse().ok().map(RunId)
                        }
                        _ => None,
                    };
                    // The tasks of another run may have other names than those of this one.
                    let is_from = at.checked_sub(1).and_then(|at| known.get(at)).is_some_and(|(_, before)| {
                        matches!(before, Token::Sign(',')) || matches!(before, Token::Word(word)
                            if word.eq_ignore_ascii_case("from") || word.eq_ignore_ascii_case("join"))
                    });
                    match (task, run) {
                        (task, Some(run)) if task.is_some() || is_from => {
                            let task = task.cloned().unwrap_or_else(|| word.clone());
                            let name = format!("{task}({run})");
                            let end = known[at + 3].0.end;
                            question.sql.push_str(sql.get(copied..range.start).unwrap_or(""));
                            question.sql.push_str(&quoted(&name));
                            copied = end;
                            question.add(name, task, Some(run));
                        }
                        (Some(task), None) => question.add(task.clone(), task.clone(), None),
                        _ => {}
                    }
                }
                Token::Sign('*') => {
                    let before =
                        at.checked_sub(1).and_then(|at| known.get(at)).map(|(_, token)| token);
                    let all = match before {
                        Some(Token::Sign(sign)) => matches!(sign, ',' | '.'),
                        Some(Token::Word(word)) => {
                            ["select", "distinct", "all"].contains(&word.to_lowercase().as_str())
                        }
                        _ => false,
                    };
                    if all {
                        question.names = None;
                    }
                }
                _ => {}
            }
        }
        question.sql.push_str(sql.get(copied..).unwrap_or(""));
        Ok(question)
    }

    fn add(&mut self, name: String, task: String, run: Option<RunId>) {
        if self.tables.iter().all(|(known, _, _)| *known != name) {
            self.tables.push((name, task, run));
        }
    }
}

async fn answer(
    args: &SqlArgs,
    source: &Source,
    run: &RunSource,
    query: &str,
) -> Result<Exit, Failure> {
    let status = run.status().await?;
    let tasks: Vec<String> = status.tasks.iter().map(|task| task.name.clone()).collect();
    let question = Question::read(query, &tasks)?;
    // Without a name it is a file that is removed at once, and of which little is in memory.
    let mut database = Connection::open("").map_err(|error| failed(&error))?;
    let settings = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192;
        PRAGMA temp_store = FILE;";
    database.execute_batch(settings).map_err(|error| failed(&error))?;
    math::add(&database).map_err(|error| failed(&error))?;
    let mut columns = Vec::new();
    for (name, task, id) in &question.tables {
        let run = match id {
            Some(id) => source.run(RunName::Id(*id)).await?,
            None => run.clone(),
        };
        let selector: Selector = task.parse()?;
        let wide = question
            .names
            .as_ref()
            .is_none_or(|names| dagrun_core::table::WIDE.iter().any(|name| names.contains(*name)));
        let status = run.status().await?;
        let mut rows = Rows::of_run(run, &status, &selector, None, wide).await?;
        let wanted = |name: &str| {
            let names = question.names.as_ref();
            names.is_none_or(|names| names.contains(&name.to_lowercase()))
        };
        fill(&database, name, &mut rows, |_| "", wanted).await?;
        columns.extend(rows.sheet().names().map(str::to_owned));
    }
    database.authorizer(Some(only_reading)).map_err(|error| failed(&error))?;
    let wrong = |error: &rusqlite::Error| misunderstood(error, &tasks, &columns);
    let mut statement = database.prepare(&question.sql).map_err(|error| wrong(&error))?;
    if !statement.readonly() {
        return Err(Failure::usage("only questions are answered: nothing can be changed"));
    }
    write(&args.form, &mut statement)
}

/// Lets a statement read and compute, and nothing else: what it may do does not depend on its words.
fn only_reading(asked: AuthContext<'_>) -> Authorization {
    match asked.action {
        AuthAction::Function { function_name }
            if function_name.eq_ignore_ascii_case("load_extension") =>
        {
            Authorization::Deny
        }
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Function { .. }
        | AuthAction::Recursive => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

/// What SQLite says of a question, with what was perhaps meant.
fn misunderstood(error: &rusqlite::Error, tasks: &[String], columns: &[String]) -> Failure {
    let message = match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    };
    let failure = Failure::usage(message.clone());
    let near = message.strip_prefix("near \"").and_then(|rest| rest.split('"').next());
    if let Some(word) = near.filter(|word| columns.iter().any(|name| name == word)) {
        return failure
            .help(format!("SQL has a word like this column: in quotes it is {}", quoted(word)));
    }
    if message.contains("not authorized") || message.contains("prohibited") {
        return failure.help("only questions are answered: nothing can be changed");
    }
    let (what, names) = match message.rsplit_once(": ") {
        Some((text, name)) if text.ends_with("no such table") => (name, tasks),
        Some((text, name)) if text.ends_with("no such column") => (name, columns),
        _ => return failure,
    };
    if names.iter().any(|name| name == what) {
        return failure.help(format!("a name like this one stands in quotes: {}", quoted(what)));
    }
    let last = what.rsplit('.').next().unwrap_or(what);
    match did_you_mean(last, names.iter().map(String::as_str)) {
        Some(help) => failure.help(help),
        None => failure.help("`dagrun sql --schema` lists tables and columns"),
    }
}

/// Takes over a row of an answer.
fn read(found: &rusqlite::Row<'_>, columns: usize, row: &mut Row) -> rusqlite::Result<()> {
    row.clear();
    for at in 0..columns {
        let number = |row: &mut Row, kind: Kind, text: String| {
            row.put(at, kind, |out| out.extend_from_slice(text.as_bytes()));
        };
        match found.get_ref(at)? {
            ValueRef::Null => {}
            ValueRef::Integer(value) => number(row, Kind::Integer, value.to_string()),
            ValueRef::Real(value) => number(row, Kind::Float, format!("{value:?}")),
            ValueRef::Text(text) | ValueRef::Blob(text) => {
                row.put(at, Kind::Text, |out| out.extend_from_slice(text));
            }
        }
    }
    Ok(())
}

fn write(form: &FormArgs, statement: &mut Statement<'_>) -> Result<Exit, Failure> {
    let names: Vec<String> = statement.column_names().map(|name| (*name).to_owned()).collect();
    let order: Vec<usize> = (0..names.len()).collect();
    let mut sheet = Sheet::of_names(&names);
    let format = form.form()?;
    let wrong = |error: rusqlite::Error| misunderstood(&error, &[], &[]);
    let mut row = Row::default();
    if format.is_none() && std::io::stdout().is_terminal() {
        let (mut kept, mut more) = (Vec::new(), 0);
        let mut found = statement.query([]).map_err(wrong)?;
        while let Some(next) = found.next().map_err(wrong)? {
            if kept.len() == SHOWN {
                more += 1;
                continue;
            }
            read(next, names.len(), &mut row).map_err(wrong)?;
            kept.push(row.clone());
        }
        let mut output = Output::lock();
        text::aligned(&sheet, &order, &kept).into_iter().for_each(|line| output.line(line));
        if more > 0 {
            output.line(format_args!("… {} more", text::grouped(more)));
        }
        return Ok(Exit::Success);
    }
    let format = format.unwrap_or(Form::Csv);
    if format.needs_kinds() {
        // The types of columns come first in the file.
        let mut found = statement.query([]).map_err(wrong)?;
        while let Some(next) = found.next().map_err(wrong)? {
            read(next, names.len(), &mut row).map_err(wrong)?;
            sheet.see(&row);
        }
    }
    let mut sink = Sink::open(format, form.output.as_deref(), &sheet, order)?;
    let mut found = statement.query([]).map_err(wrong)?;
    while let Some(next) = found.next().map_err(wrong)? {
        read(next, names.len(), &mut row).map_err(wrong)?;
        sink.row(&row)?;
    }
    sink.finish()?;
    Ok(Exit::Success)
}

/// Lists the tables and their columns.
async fn schema(args: &SqlArgs, run: &RunSource) -> Result<Exit, Failure> {
    let status = run.status().await?;
    let names = ["table", "column", "type"].map(str::to_owned);
    let sheet = Sheet::of_names(&names);
    let mut lines = Vec::new();
    for task in status.tasks.iter().filter(|task| task.width_known) {
        let selector: Selector = task.name.parse()?;
        let mut rows = Rows::of_run(run.clone(), &status, &selector, None, true).await?;
        rows.see(u64::MAX).await?;
        for at in rows.sheet().order(true) {
            let column = &rows.sheet().columns()[at];
            let mut row = Row::default();
            for (at, text) in [&task.name, &column.name, column.kind().word()].iter().enumerate() {
                row.put(at, Kind::Text, |out| out.extend_from_slice(text.as_bytes()));
            }
            lines.push(row);
        }
    }
    let format = args.form.form()?;
    if format.is_none() && std::io::stdout().is_terminal() {
        let mut output = Output::lock();
        text::aligned(&sheet, &[0, 1, 2], &lines).into_iter().for_each(|line| output.line(line));
        return Ok(Exit::Success);
    }
    let format = format.unwrap_or(Form::Csv);
    let mut sink = Sink::open(format, args.form.output.as_deref(), &sheet, vec![0, 1, 2])?;
    for row in &lines {
        sink.row(row)?;
    }
    sink.finish()?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Question {
        let tasks = ["price", "mesh-2"].map(str::to_owned);
        Question::read(sql, &tasks).unwrap_or_else(|failure| panic!("{failure}"))
    }

    #[test]
    fn tables_and_columns_are_those_that_are_mentioned() {
        let question =
            read("SELECT sigma, avg(price) FROM price -- FROM \"mesh-2\"\nGROUP BY sigma;");
        assert_eq!(question.tables, [("price".into(), "price".into(), None)]);
        assert!(question.names.unwrap().contains("sigma"));
        let all = read("select a.*, count(*) from price(11) a join \"mesh-2\" using (strike)");
        assert_eq!(
            all.sql,
            "select a.*, count(*) from \"price(11)\" a join \"mesh-2\" using (strike)"
        );
        assert_eq!(all.tables[0], ("price(11)".into(), "price".into(), Some(RunId(11))));
        assert!(all.names.is_none());
        assert!(read("select count(*), 2*strike from price").names.is_some());
        assert!(read("select 'from price(3)' from price").tables.len() == 1);
        assert_eq!(read("select * from other(3)").tables[0].1, "other");
    }

    #[test]
    fn only_questions_are_read() {
        for sql in
            ["", "insert into price values (1)", "ATTACH 'x' AS y", "select 1; drop table price"]
        {
            assert!(Question::read(sql, &[]).is_err(), "{sql}");
        }
    }
}
