//! Measures the function and its peers: `make bench`, and `make budget`. With `update` as an argument,
//! what is measured is written down.
//!
//! * [`programs`]: what is measured, started against the tests' own account ([`support::aws`]): Runtime
//!   API, queues and CloudFront are the same for all programs
//! * [`events`]: the first event of a process, and warm ones
//! * [`planning`]: from changes to paths, on a generated [`case`]
//! * [`flushes`]: from a full buffer to CloudFront
//! * [`over_tls`]: events and flushes with and without TLS
//! * [`instructions`], [`budget`]: what does not depend on how busy the machine is
//! * [`table`]: how a figure and a comparison are shown
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod budget;
mod case;
mod events;
mod flushes;
mod instructions;
mod over_tls;
mod planning;
mod programs;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;

use std::fs;

use programs::Programs;

/// The parts of the bench. With the names of some as arguments, only those are run.
const PARTS: [&str; 4] = ["events", "planning", "flushes", "tls"];

const BEGIN: &str = "<!-- written by make bench UPDATE=1 -->\n";
const END: &str = "<!-- end -->\n";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let is_asked = |word: &str| std::env::args().any(|argument| argument == word);
    if is_asked("budget") {
        return budget::run(is_asked("update")).await;
    }
    let programs = Programs::built();
    let is_wanted = |part| is_asked(part) || !PARTS.iter().any(|part| is_asked(part));
    let mut rows = Vec::new();
    for part in PARTS.into_iter().filter(|part| is_wanted(part)) {
        eprintln!("bench: {part}");
        rows.extend(match part {
            "events" => events::measure(&programs).await,
            "planning" => planning::measure(&programs),
            "flushes" => flushes::measure(&programs).await,
            _ => over_tls::measure(&programs).await,
        });
    }
    let text = format!(
        "\n{}\n{}\n",
        programs::machine(&programs),
        table::markdown(&rows)
    );
    println!("{text}");
    if is_asked("update") {
        let page = programs::root().join("docs/performance.md");
        let before = fs::read_to_string(&page).unwrap();
        let (head, rest) = before.split_once(BEGIN).unwrap();
        let (_, tail) = rest.split_once(END).unwrap();
        fs::write(page, format!("{head}{BEGIN}{text}{END}{tail}")).unwrap();
    }
}
