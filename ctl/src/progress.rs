//! How far a long work is, on standard error: a bar on a terminal, else a line now and then.

use std::cell::Cell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{is_on_terminal, tell};

/// How often a line is written where there is no terminal, and when the first one is: a short work has none.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
const BEFORE_FIRST_LINE: Duration = Duration::from_secs(5);

/// How a work is shown of which it is not known how many steps it has.
const SPINNER: &str = "{spinner} {prefix}: {pos}  {msg}";

/// A work of several steps.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    /// From when on the next line is due.
    next_line: Cell<Instant>,
}

impl Progress {
    /// Begins with a work of which it is not known yet how many steps it has.
    pub fn new(what: &'static str) -> Self {
        let is_terminal = is_on_terminal();
        let bar = match is_terminal {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_prefix(what);
        set_style(&bar, SPINNER);
        let progress = Self {
            bar,
            is_terminal,
            next_line: Cell::new(Instant::now() + BEFORE_FIRST_LINE),
        };
        progress.show();
        progress
    }

    /// Goes on with another work, of so many steps.
    pub fn begin(&self, what: &'static str, steps: u64) {
        self.bar.set_prefix(what);
        self.bar.set_length(steps);
        self.bar.set_position(0);
        self.bar.reset_eta();
        set_style(
            &self.bar,
            "{prefix} {wide_bar} {pos}/{len}, {eta} left  {msg}",
        );
        self.next_line.set(Instant::now() + BEFORE_FIRST_LINE);
        self.show();
    }

    /// Goes on with another work, of which it is not known yet how many steps it has.
    pub fn begin_unknown(&self, what: &'static str) {
        self.bar.set_prefix(what);
        self.bar.unset_length();
        self.bar.set_position(0);
        set_style(&self.bar, SPINNER);
        self.next_line.set(Instant::now() + BEFORE_FIRST_LINE);
        self.show();
    }

    /// A step is done.
    pub fn step(&self) {
        self.steps(1);
    }

    /// So many steps are done.
    pub fn steps(&self, number: u64) {
        self.bar.inc(number);
        self.show();
    }

    /// Says something about the work, such as why it is slow.
    pub fn say(&self, text: String) {
        self.bar.set_message(text);
        self.show();
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self) {
        let now = Instant::now();
        if self.is_terminal || now < self.next_line.get() {
            return;
        }
        self.next_line.set(now + BETWEEN_LINES);
        let done = self.bar.position();
        let of = self
            .bar
            .length()
            .map_or_else(String::new, |all| format!(" of {all}"));
        tell(format_args!(
            "{}: {done}{of} {}",
            self.bar.prefix(),
            self.bar.message()
        ));
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    // The templates are ours, and right.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}
