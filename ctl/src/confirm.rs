//! Asks before something is changed.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Result, bail};

/// Asks a question on the terminal. Returns whether the answer is yes.
///
/// # Errors
/// If there is no terminal to ask on.
pub fn confirm(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("there is no terminal to ask on: say --yes");
    }
    print!("{question} [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
