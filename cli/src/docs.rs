//! `dagrun completions` and `dagrun man`.

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::{Exit, Failure};
use crate::terminal::Output;

/// Prints the completion script of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dagrun", &mut script);
    Output::lock().bytes(&script);
    Exit::Success
}

/// Prints the manual page: the command and all its subcommands.
pub(crate) fn man() -> Result<Exit, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    render(command, &mut page)
        .map_err(|error| Failure::new(Exit::Failed, format!("the manual page: {error}")))?;
    Output::lock().bytes(&page);
    Ok(Exit::Success)
}

fn render(command: clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let subcommands: Vec<clap::Command> =
        command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    clap_mangen::Man::new(command).render(page)?;
    for command in subcommands {
        // Each subcommand is a section of the one page, with its full name in the synopsis.
        let name = command.get_display_name().unwrap_or(command.get_name()).replace('-', " ");
        page.extend_from_slice(format!(".SH \"{}\"\n", name.to_uppercase()).as_bytes());
        let man = clap_mangen::Man::new(command);
        man.render_synopsis_section(page)?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
    }
    Ok(())
}
