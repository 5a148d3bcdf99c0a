//! Writes to standard output.

use std::io::{ErrorKind, Write, stdout};

use anyhow::{Context, Result};
use invalidator_core::text::escape_json;
use serde::Serialize;

/// Prints a text. A reader that has gone away, such as `head`, has seen enough: that is no error.
///
/// # Errors
/// If the text cannot be written for another reason.
pub fn print(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to write to standard output"),
    }
}

/// Prints a value as JSON, without a character that a terminal would obey.
///
/// # Errors
/// If it cannot be written.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    print(&(escape_json(&json) + "\n"))
}
