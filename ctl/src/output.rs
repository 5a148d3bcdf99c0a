//! All that this program shows. Nothing else writes to standard output and standard error (a lint sees to
//! that), and here every line goes through [`Lines`]: whatever a key, an id, a file or an answer contains,
//! it can neither command the terminal nor invent a line.
//!
//! What was asked for goes to standard output. All else goes to standard error: the account, questions,
//! warnings and errors. So the output of a command can be read by another program.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use invalidator_core::text::{Lines, one_line};
use serde::Serialize;
use tokio::time::timeout;

/// Whom the output of a command is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// A person.
    Text,
    /// A machine.
    Json,
}

/// The first error of writing to standard output.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// After so long without an answer, it is told what is waited for.
const SOON: Duration = Duration::from_millis(700);

/// A longer error is cut after so many characters.
const MAX_ERROR: usize = 6_000;

/// Shows what was asked for.
pub fn show(lines: &Lines) {
    write_out(lines.as_str().as_bytes());
}

/// Shows one line of what was asked for.
pub fn show_line(line: impl fmt::Display) {
    show(&lines_of(line));
}

/// Shows a value as JSON.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn show_json(value: &impl Serialize) -> Result<()> {
    show(&Lines::of_json(value)?);
    Ok(())
}

/// Shows a text of this program itself as it is, such as a script for a shell. Nothing in it comes from
/// outside.
pub fn show_own(text: &[u8]) {
    write_out(text);
}

/// Clears the terminal, so that what is shown next takes the place of what was shown. Where standard output is no
/// terminal, an empty line separates them.
#[allow(clippy::disallowed_methods)]
pub fn clear() {
    match io::stdout().is_terminal() {
        true => write_out(b"\x1b[H\x1b[2J"),
        false => write_out(b"\n"),
    }
}

/// Tells the person at the terminal something beside what was asked for.
pub fn tell(line: impl fmt::Display) {
    write_err(lines_of(line).as_str());
}

/// Waits for an answer, and tells what it waits for if it does not come soon: whoever sees nothing for a second
/// does not know whether the command works.
pub async fn saying_if_slow<F: IntoFuture>(what: impl fmt::Display, answer: F) -> F::Output {
    let mut answer = pin!(answer.into_future());
    if let Ok(answer) = timeout(SOON, &mut answer).await {
        return answer;
    }
    tell(what);
    answer.await
}

/// Tells what did not work, though the command goes on.
pub fn warn(line: impl fmt::Display) {
    tell_labeled("warning", "\u{1b}[1;33m", line);
}

/// Tells what did not work.
pub fn error(line: impl fmt::Display) {
    tell_labeled("error", "\u{1b}[1;31m", line);
}

/// Asks for an answer on the same line.
pub fn ask(question: impl fmt::Display) {
    let question = lines_of(question);
    write_err(&format!("{} ", question.as_str().trim_end_matches('\n')));
}

/// # Errors
/// If something could not be written to standard output. A reader that went away, such as `head`, has
/// seen enough: that is no error.
pub fn finish() -> Result<()> {
    match FAILURE.get() {
        Some(error) => {
            Err(io::Error::from(error.kind())).context("failed to write to standard output")
        }
        None => Ok(()),
    }
}

/// Where the log goes: each event is one line on standard error.
pub struct LogLine;

impl Write for LogLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        tell(text.trim_end_matches('\n'));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines_of(line: impl fmt::Display) -> Lines {
    let mut lines = Lines::new();
    lines.line(line);
    lines
}

fn tell_labeled(label: &str, color: &str, line: impl fmt::Display) {
    let lines = lines_of(one_line(&line.to_string(), MAX_ERROR));
    match has_color() {
        true => write_err(&format!("{color}{label}:\u{1b}[0m {}", lines.as_str())),
        false => write_err(&format!("{label}: {}", lines.as_str())),
    }
}

/// Whether standard error is a terminal, so that bars can be drawn.
#[allow(clippy::disallowed_methods)]
pub fn is_on_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard error is a terminal that may be colored (<https://no-color.org>).
fn has_color() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    is_on_terminal() && !is_set("NO_COLOR") && !is_dumb
}

#[allow(clippy::disallowed_methods)]
fn write_out(text: &[u8]) {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            // Only the first one is told.
            let _ = FAILURE.set(error);
        }
        _ => {}
    }
}

#[allow(clippy::disallowed_methods)]
fn write_err(text: &str) {
    // There is nowhere to tell that standard error is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
