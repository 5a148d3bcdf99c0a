//! Reads the command line, and tells what is wrong with it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use invalidator_core::text::Shown;

use crate::output;

/// The exit status of a command line that cannot be used.
pub const USAGE: u8 = 2;

/// What has to be changed on the command line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Reads the command line of this process.
///
/// # Errors
/// The exit status, if help was asked for, or if the command line cannot be used. What there is to say was
/// said.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let error = match T::try_parse_from(&arguments) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    if !error.use_stderr() {
        // Help is this program's own text; it is colored on a terminal.
        let _ = error.print();
        return Err(ExitCode::SUCCESS);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return Err(ExitCode::from(USAGE));
    }
    // The error quotes arguments, which may be pasted from a mail. So it is made again, from arguments
    // without a character that a terminal would obey.
    let escaped = arguments
        .iter()
        .map(|it| Shown(it.to_string_lossy()).to_string());
    let error = T::try_parse_from(escaped).err().unwrap_or(error);
    for line in error.to_string().lines() {
        output::tell(line);
    }
    Err(ExitCode::from(USAGE))
}
