//! `dagrun help` and `dagrun man`.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;

use crate::args::{Cli, ManArgs};
use crate::exit::{Exit, Failure};
use crate::pages::{self, ENVIRONMENT, FILES};
use crate::terminal::Output;

/// All that is known of a command, by its words.
pub(crate) fn help(words: &[String]) -> Result<Exit, Failure> {
    let mut command = find(words)?;
    let names = names(&command);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut text = command.render_long_help().to_string();
    text.push('\n');
    text.push_str(&pages::section("Exit codes", &pages::exit_codes(&names)));
    if words.is_empty() {
        text.push_str(&format!("\n{}", pages::section("Environment", &ENVIRONMENT)));
        text.push_str(&format!("\n{}", pages::section("Files", &FILES)));
    }
    Output::paged().bytes(text.as_bytes());
    Ok(Exit::Success)
}

/// A command by its words or their aliases; all of it without words.
fn find(words: &[String]) -> Result<clap::Command, Failure> {
    let mut command = Cli::command();
    command.build();
    for word in words {
        let Some(found) = command.find_subcommand(word) else {
            let known = command.get_subcommands().filter(|command| !command.is_hide_set());
            let names: Vec<&str> = known.map(clap::Command::get_name).collect();
            let failure = Failure::usage(format!("there is no command `{}`", words.join(" ")));
            return Err(match dagrun_core::parse::did_you_mean(word, names.iter().copied()) {
                Some(help) => failure.help(help),
                None => failure.help(format!("there are {}", names.join(", "))),
            });
        };
        command = found.clone();
    }
    Ok(command)
}

/// The words of a command, without `dagrun`.
fn names(command: &clap::Command) -> Vec<String> {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    name.split(' ').skip(1).map(str::to_owned).collect()
}

/// Prints a manual page, or writes all of them.
pub(crate) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("the manual pages cannot be written: {error}"))
    };
    if let Some(dir) = &args.dir {
        write_all(dir).map_err(failed)?;
        return Ok(Exit::Success);
    }
    let mut page = Vec::new();
    match args.command.as_slice() {
        [] => render_all(&mut page).map_err(failed)?,
        words => render(find(words)?, &mut page).map_err(failed)?,
    }
    Output::lock().bytes(&page);
    Ok(Exit::Success)
}

/// A page for the command and one for each of its commands.
fn write_all(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut command = Cli::command();
    command.build();
    let mut left = vec![command];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|it| !it.is_hide_set()).cloned());
        let name = [vec!["dagrun".to_owned()], names(&command)].concat().join("-");
        let mut page = Vec::new();
        render(command, &mut page)?;
        std::fs::write(dir.join(format!("{name}.1")), page)?;
    }
    Ok(())
}

/// A page about one command.
fn render(command: clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let names = names(&command);
    let name = [vec!["dagrun".to_owned()], names.clone()].concat().join("-");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    clap_mangen::Man::new(command).title(name.to_uppercase()).render(page)?;
    sections(&names, page)
}

/// One page: the command and all its commands, each a section with its full name in the synopsis.
fn render_all(page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let commands: Vec<clap::Command> =
        command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    clap_mangen::Man::new(command).render(page)?;
    for command in commands {
        let name = command.get_display_name().unwrap_or(command.get_name()).replace('-', " ");
        page.extend_from_slice(format!(".SH \"{}\"\n", name.to_uppercase()).as_bytes());
        let man = clap_mangen::Man::new(command);
        man.render_synopsis_section(page)?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
    }
    sections(&[], page)
}

fn sections(command: &[&str], page: &mut Vec<u8>) -> std::io::Result<()> {
    page.write_all(pages::roff("EXIT STATUS", &pages::exit_codes(command)).as_bytes())?;
    page.write_all(pages::roff("ENVIRONMENT", &ENVIRONMENT).as_bytes())?;
    page.write_all(pages::roff("FILES", &FILES).as_bytes())
}
