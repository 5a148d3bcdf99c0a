//! Writes to standard output.

use std::io::{ErrorKind, Write, stdout};

use anyhow::{Context, Result};

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
