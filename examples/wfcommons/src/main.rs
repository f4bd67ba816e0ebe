//! `dagrun-example-wfcommons`: a recorded workflow becomes `pipeline.toml` and `durations.json`.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dagrun_example_wfcommons::{Workflow, durations_json, pipeline_toml};

/// Turns a recorded workflow (WfCommons WfFormat) into a pipeline whose tasks sleep as long
#[derive(Debug, Parser)]
#[command(name = "dagrun-example-wfcommons")]
struct Arguments {
    /// The recording
    #[arg(value_name = "RECORDING.json")]
    recording: PathBuf,
    /// Where `pipeline.toml` and `durations.json` go
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Seconds to sleep for each second recorded
    #[arg(long, value_name = "FACTOR", default_value = "0.01", value_parser = factor)]
    scale: f64,
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if factor > 0.0 && f64::is_finite(factor) => Ok(factor),
        _ => Err("expected a number greater than 0".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match convert(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("error: {}: {error}", arguments.recording.display());
            let mut source = error.source();
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            // Nobody reads it when standard error is closed.
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn convert(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let workflow = Workflow::read(&fs::read(&arguments.recording)?)?;
    fs::create_dir_all(&arguments.dir)?;
    let write = |name: &str, text: String| fs::write(arguments.dir.join(name), text);
    write("pipeline.toml", pipeline_toml(&workflow, arguments.scale))?;
    write("durations.json", durations_json(&workflow, arguments.scale))?;
    let summary = format!(
        "{}: {} tasks; critical path {:.3} s, work {:.3} s",
        workflow.name,
        workflow.tasks.len(),
        workflow.critical_path() * arguments.scale,
        workflow.work() * arguments.scale
    );
    writeln!(std::io::stdout(), "{summary}")?;
    Ok(())
}
