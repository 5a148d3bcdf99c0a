//! What a shell needs to know: `invalidatorctl completions` and `invalidatorctl man`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use clap_complete::Shell;

use crate::output;
use crate::usage::Usage;

/// Print a script that completes this command line in a shell.
#[derive(Args, Debug)]
#[command(after_help = "Example, for bash:
  invalidatorctl completions bash > ~/.local/share/bash-completion/completions/invalidatorctl")]
pub struct Completions {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub fn show(self, command: &mut clap::Command) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "invalidatorctl", &mut script);
        output::show_own(&script);
        ExitCode::SUCCESS
    }
}

/// Print the manual page, or that of one command.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  invalidatorctl man replay | man -l -")]
pub struct Man {
    /// One of the commands.
    command: Option<String>,
}

impl Man {
    /// # Errors
    /// If there is no such command.
    pub fn show(self, mut whole: clap::Command) -> Result<ExitCode> {
        whole.build();
        let command = match &self.command {
            None => whole,
            Some(name) => match whole.find_subcommand(name) {
                Some(command) => command.clone(),
                None => return Err(Usage(format!("there is no command `{name}`")).into()),
            },
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        output::show_own(&page);
        Ok(ExitCode::SUCCESS)
    }
}
