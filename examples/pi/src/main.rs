//! The program behind `pipeline.toml`: computes the decimals of π, cuts them into files, counts
//! pairs of digits, adds the counts up and draws them. Each is a subcommand, and one task.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use dagrun_example_pi::count::Counts;
use dagrun_example_pi::error::Error;
use dagrun_example_pi::table::{self, Table};
use dagrun_example_pi::{decimals, plot, slice};

const USAGE: &str = "\
usage: dagrun-example-pi digits N OUT          write the first N decimals of pi
       dagrun-example-pi slice I PARTS IN OUT  write part I of PARTS of a file of digits
       dagrun-example-pi count IN              print the counts of a file of digits as JSON
       dagrun-example-pi table MANIFEST PAIRS.CSV SINGLE.CSV
       dagrun-example-pi plot N PAIRS.CSV OUT.SVG OUT.PNG";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads it when standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[OsString]) -> Result<(), Error> {
    let Some((command, rest)) = arguments.split_first() else { return Err(Error::Usage(USAGE)) };
    match (command.to_str(), rest) {
        (Some("digits"), [n, out]) => {
            let mut text = decimals::of_pi(number(n)?);
            text.push('\n');
            write(out.as_ref(), text.as_bytes())
        }
        (Some("slice"), [part, parts, from, out]) => {
            let bytes = slice::read(from.as_ref(), number(part)?, number(parts)?)?;
            write(out.as_ref(), &bytes)
        }
        (Some("count"), [from]) => {
            let counts = Counts::of(&read(from.as_ref())?)?;
            let json = serde_json::to_string(&counts).map_err(Error::Json)?;
            writeln!(std::io::stdout(), "{json}").map_err(|source| Error::write("stdout", source))
        }
        (Some("table"), [manifest, pairs, single]) => {
            let total = Table::from_manifest(&read(manifest.as_ref())?)?;
            write(pairs.as_ref(), total.pairs_csv().as_bytes())?;
            write(single.as_ref(), total.single_csv().as_bytes())
        }
        (Some("plot"), [n, pairs, svg, png]) => {
            let pairs = table::parse_pairs(&read(pairs.as_ref())?)?;
            table::check_sum(&pairs, number(n)?)?;
            write(svg.as_ref(), plot::svg(&pairs)?.as_bytes())?;
            write(png.as_ref(), &plot::png(&pairs)?)
        }
        _ => Err(Error::Usage(USAGE)),
    }
}

fn number(text: &OsString) -> Result<usize, Error> {
    text.to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::NotANumber(text.to_string_lossy().into_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::read(path, source))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|source| Error::write(path, source))
}
