//! The arguments of a program that is a worker: written where it is started, read where it begins.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use dagrun_core::offer::Offer;
use dagrun_core::parse::parse_bytes;

/// The first argument of a program that is to be a worker.
pub(crate) const WORKER: &str = "worker";

/// What `worker --help` prints.
pub(crate) const HELP: &str = "\
Joins a cluster as a worker with the functions of this program

Usage: worker [OPTIONS]

Options:
      --cluster <NAME>          The cluster [env: DAGRUN_CLUSTER] [default: default]
  -j, --jobs <SLOTS>            How many attempts may run at once [default: all cores]
      --name <N>                Its name, unique within the cluster [default: the scheduler picks one]
      --memory <BYTES>          Memory for its tasks, as in 8GiB [default: that of the machine]
      --resource <NAME=AMOUNT>  A custom resource that `resources` of tasks may ask for, as in gpu=2
                                (repeatable)
      --label <L>               A label that `targets` of tasks may name (repeatable)
      --enforce-memory[=BOOL]   End commands that use more than their `memory` [default: below a batch
                                system]
  -h, --help                    Print this
";

/// The options with a value.
const OPTIONS: [&str; 8] =
    ["--cluster", "--connect", "--name", "-j", "--jobs", "--memory", "--resource", "--label"];

/// The option whose value can be left out.
const ENFORCE: &str = "--enforce-memory";

fn enforced(value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(value) => Err(format!("`{ENFORCE}={value}`: expected true or false")),
    }
}

/// How a worker of this program is set up.
pub(crate) fn worker_config(
    name: String,
    offer: Offer,
    token: &dagrun_scheduler::connection::Token,
    log_limit: usize,
) -> dagrun_worker::Config {
    dagrun_worker::Config {
        name,
        offer,
        token: token.bytes().to_vec(),
        reaper: dagrun_worker::ReaperConfig::this_program(),
        log_limit,
        values: dagrun_worker::ValuesConfig::default(),
        rejoin: None,
        drain: Duration::ZERO,
        enforce_memory: dagrun_worker::is_below_a_batch_system(),
    }
}

/// How a worker is to begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WorkerArgs {
    /// The cluster that it joins, by name.
    pub(crate) cluster: String,
    /// A scheduler in place of that, whose token comes on standard input.
    pub(crate) connect: Option<SocketAddr>,
    /// Its name; empty: the scheduler picks one.
    pub(crate) name: String,
    /// What it offers.
    pub(crate) offer: Offer,
    /// Whether it ends commands that use more memory than they asked for, if that was said.
    pub(crate) enforce_memory: Option<bool>,
}

/// Why it does not begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Help was asked for.
    Help,
    /// The arguments are wrong.
    Usage(String),
}

impl WorkerArgs {
    /// Reads what follows the word `worker`.
    pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<WorkerArgs, Wrong> {
        let cluster = std::env::var("DAGRUN_CLUSTER").ok().filter(|name| !name.is_empty());
        let mut args = WorkerArgs {
            cluster: cluster.unwrap_or_else(|| "default".to_owned()),
            connect: None,
            name: String::new(),
            offer: dagrun_worker::whole_machine(),
            enforce_memory: None,
        };
        let mut words = words.map(|word| {
            let no_text = |word: OsString| format!("`{}` is not UTF-8", word.display());
            word.into_string().map_err(|word| Wrong::Usage(no_text(word)))
        });
        while let Some(word) = words.next() {
            let word = word?;
            if word == "-h" || word == "--help" {
                return Err(Wrong::Help);
            }
            let (option, value) = parted(&word);
            if option == ENFORCE {
                args.enforce_memory = Some(enforced(value).map_err(Wrong::Usage)?);
                continue;
            }
            if !OPTIONS.contains(&option) {
                return Err(Wrong::Usage(format!("there is no option `{option}`")));
            }
            let value = match value {
                Some(value) => value.to_owned(),
                None => words
                    .next()
                    .unwrap_or_else(|| Err(Wrong::Usage(format!("`{option}` needs a value"))))?,
            };
            args.set(option, &value).map_err(Wrong::Usage)?;
        }
        Ok(args)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let wrong = |why: String| format!("`{option} {value}`: {why}");
        match option {
            "--cluster" => value.clone_into(&mut self.cluster),
            "--connect" => {
                let address = value.parse().map_err(|_| wrong("expected ADDRESS:PORT".to_owned()));
                self.connect = Some(address?);
            }
            "--name" => value.clone_into(&mut self.name),
            "-j" | "--jobs" => match value.parse() {
                Ok(slots @ 1..) => self.offer.slots = slots,
                _ => return Err(wrong("expected a number from 1".to_owned())),
            },
            "--memory" => self.offer.memory = memory(value).map_err(wrong)?,
            "--resource" => {
                let (name, amount) = resource(value).map_err(wrong)?;
                self.offer.set_resource(name, amount);
            }
            _ if value.is_empty() => return Err(wrong("a label is not empty".to_owned())),
            _ => self.offer.labels.push(value.to_owned()),
        }
        Ok(())
    }

    /// The words that start a worker which dials the scheduler at `address`.
    pub(crate) fn of_child(
        address: SocketAddr,
        name: &str,
        offer: &Offer,
        enforce_memory: Option<bool>,
    ) -> Vec<String> {
        let mut words = vec![WORKER.to_owned(), format!("--connect={address}")];
        words.push(format!("--name={name}"));
        let memory = (offer.memory > 0).then_some(offer.memory);
        words.extend(offer_words(Some(offer.slots), memory, &offer.resources, &offer.labels));
        words.extend(enforce_memory.map(|enforce| format!("{ENFORCE}={enforce}")));
        words
    }
}

/// An option and its value, as far as they are one word: `--name=w1`, `-j4`.
fn parted(word: &str) -> (&str, Option<&str>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (word, None),
        };
    }
    match word.strip_prefix("-j") {
        None | Some("") => (word, None),
        Some(value) => ("-j", Some(value.strip_prefix('=').unwrap_or(value))),
    }
}

/// An offer as words of a command line, those of `dagrun worker` and of a program that is a worker.
#[must_use]
pub fn offer_words(
    slots: Option<u32>,
    memory: Option<u64>,
    resources: &[(String, u64)],
    labels: &[String],
) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(slots) = slots {
        words.extend(["-j".to_owned(), slots.to_string()]);
    }
    if let Some(memory) = memory {
        words.extend(["--memory".to_owned(), memory.to_string()]);
    }
    for (name, amount) in resources {
        words.extend(["--resource".to_owned(), format!("{name}={amount}")]);
    }
    for label in labels {
        // As one word: a label may begin with a hyphen.
        words.push(format!("--label={label}"));
    }
    words
}

/// Reads an amount of memory: `512MB`, `8GiB` or a number of bytes.
///
/// # Errors
/// What was expected, in words.
pub fn memory(text: &str) -> Result<u64, String> {
    let plain = text.parse::<u64>().ok();
    let bytes = plain.or_else(|| parse_bytes(text));
    bytes.ok_or_else(|| "expected an amount such as 512MB or 8GiB, or a number of bytes".to_owned())
}

/// Reads an amount of a custom resource: `gpu=2`.
///
/// # Errors
/// What was expected, in words.
pub fn resource(text: &str) -> Result<(String, u64), String> {
    let (name, amount) = text.split_once('=').ok_or("expected NAME=AMOUNT, as in gpu=2")?;
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    match (name, amount.parse::<u32>()) {
        ("cpus", _) => Err("`cpus` are the slots of the worker: -j".to_owned()),
        ("memory", _) => Err("`memory` has an option of its own: --memory".to_owned()),
        (name, _) if !is_name(name) => {
            Err(format!("`{name}` is no name: letters, digits, `_` and `-`, not a digit first"))
        }
        (name, Ok(amount)) => Ok((name.to_owned(), amount.into())),
        (_, Err(_)) => Err(format!("`{amount}` is not a whole number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<WorkerArgs, Wrong> {
        WorkerArgs::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn what_is_written_is_read() {
        let mut offer = Offer { slots: 3, memory: 1 << 30, ..Offer::default() };
        offer.labels = vec!["-x".to_owned(), "a=b".to_owned()];
        offer.set_resource("gpu", 2);
        let address: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        let words = WorkerArgs::of_child(address, "p1", &offer, Some(false));
        let read = WorkerArgs::parse(words[1..].iter().map(OsString::from)).unwrap();
        assert_eq!((read.connect, read.name, read.offer), (Some(address), "p1".into(), offer));
        assert_eq!(read.enforce_memory, Some(false));
        assert_eq!(parse(&["--enforce-memory", "-j1"]).unwrap().enforce_memory, Some(true));
    }

    #[test]
    fn options_come_in_any_form_and_the_last_counts() {
        for words in [["-j4"].as_slice(), &["-j", "4"], &["-j=4"], &["--jobs=4"], &["-j1", "-j4"]] {
            assert_eq!(parse(words).unwrap().offer.slots, 4, "{words:?}");
        }
        let args = parse(&["--cluster", "c", "--resource", "gpu=2", "--resource=gpu=3"]).unwrap();
        assert_eq!((args.cluster.as_str(), args.offer.amount("gpu")), ("c", 3));
        assert_eq!(parse(&[]).unwrap().offer, dagrun_worker::whole_machine());
    }

    #[test]
    fn wrong_arguments_are_named() {
        let cases: [(&[&str], &str); 8] = [
            (&["--enforce-memory=much"], "expected true or false"),
            (&["-j0"], "`-j 0`: expected a number from 1"),
            (&["--jobs"], "`--jobs` needs a value"),
            (&["--label="], "a label is not empty"),
            (&["--memory", "much"], "expected an amount"),
            (&["--resource", "cpus=2"], "-j"),
            (&["--connect", "x"], "expected ADDRESS:PORT"),
            (&["now"], "there is no option `now`"),
        ];
        for (words, part) in cases {
            match parse(words) {
                Err(Wrong::Usage(why)) => assert!(why.contains(part), "{why}"),
                other => panic!("{words:?}: {other:?}"),
            }
        }
        assert_eq!(parse(&["-j4", "--help"]), Err(Wrong::Help));
    }
}
