//! Asks before something is changed.

use std::io::{BufRead, IsTerminal};

use anyhow::Result;

use crate::output;
use crate::usage::Usage;

/// Asks a question on the terminal. Returns whether the answer is yes.
///
/// # Errors
/// If there is no terminal to ask on.
pub fn confirm(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Usage("there is no terminal to ask on: say --yes".to_owned()).into());
    }
    output::ask(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
