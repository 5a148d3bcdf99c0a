//! The log: one JSON object per line, as CloudWatch Logs expects.

use std::io::{self, Write};

use invalidator_core::text::escape_json;
use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What other crates log, by the beginning of its target. It repeats our own lines, as Rust debug output:
/// a single answer of 503 made three lines at level error (`aws_smithy_runtime`), and a failed event one
/// more (`lambda_runtime`).
const NOT_OURS: [&str; 6] = ["aws_", "lambda_runtime", "hyper", "rustls", "tower", "h2"];

/// Logs from now on. `RUST_LOG` selects what is logged; without it, the level of Lambda's own logging
/// controls does. What other crates log is left out, unless the filter names them.
pub fn start() {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let setting = variable("RUST_LOG").or_else(|| variable("AWS_LAMBDA_LOG_LEVEL"));
    let default = Targets::new().with_default(LevelFilter::INFO);
    let (filter, problem) = match setting.as_deref().map(str::parse::<Targets>) {
        None => (default, None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(problem)) => (default, Some(problem)),
    };
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_target(false)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(|| ShownJson(std::io::stdout()));
    tracing_subscriber::registry()
        .with(without_others(filter))
        .with(lines)
        .init();
    if let Some(problem) = problem {
        warn!(RUST_LOG = setting, %problem, "RUST_LOG is not a valid log filter; logging at level info");
    }
}

/// Shows warnings and errors on a terminal, as `invalidatorctl` does; `RUST_LOG` selects others. Each event
/// is written to `writer` at once.
pub fn start_on_terminal<W>(writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let setting = std::env::var("RUST_LOG").ok();
    let filter = setting.and_then(|setting| setting.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    tracing_subscriber::registry()
        .with(without_others(filter))
        .with(lines.with_target(false))
        .init();
}

/// Writes lines of JSON. Logs are read on terminals too (`aws logs tail`), and `serde_json` escapes only
/// some of what a terminal obeys.
struct ShownJson<W>(W);

impl<W: Write> Write for ShownJson<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
        match line.iter().all(is_plain) {
            true => self.0.write_all(line)?,
            false => {
                let escaped = escape_json(&String::from_utf8_lossy(line));
                self.0.write_all(escaped.as_bytes())?;
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The filter, without what other crates log. A filter that names one of them is obeyed.
fn without_others(filter: Targets) -> Targets {
    let is_named = |other: &str| {
        let mut targets = filter.iter();
        targets.any(|(target, _)| other.starts_with(target))
    };
    let others: Vec<_> = NOT_OURS
        .into_iter()
        .filter(|other| !is_named(other))
        .map(|other| (other, LevelFilter::OFF))
        .collect();
    filter.with_targets(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_line_holds_nothing_that_a_terminal_obeys_and_means_the_same() {
        let key = "\u{1b}[2J\u{7f}\u{9b}31m\u{202e}gpj\u{e0041}한\n";
        let mut written = Vec::new();
        let line = serde_json::json!({ "key": key }).to_string() + "\n";
        ShownJson(&mut written).write_all(line.as_bytes()).unwrap();
        let written = String::from_utf8(written).unwrap();
        assert_eq!(
            written,
            "{\"key\":\"\\u001b[2J\\u007f\\u009b31m\\u202egpj\\udb40\\udc41한\\n\"}\n"
        );
        let value: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(value["key"], key);
    }

    #[test]
    fn other_crates_are_left_out_unless_they_are_named() {
        let ours = "invalidator::submit";
        let sdk = "aws_smithy_runtime::client::http::connection_poisoning";
        for (setting, target, level, expected) in [
            ("info", ours, Level::INFO, true),
            ("info", ours, Level::DEBUG, false),
            ("info", sdk, Level::ERROR, false),
            ("debug", sdk, Level::ERROR, false),
            (
                "debug",
                "lambda_runtime::layers::panic",
                Level::ERROR,
                false,
            ),
            ("info,aws_smithy_runtime=debug", sdk, Level::DEBUG, true),
            ("info,aws=error", sdk, Level::ERROR, true),
            ("info,aws=error", sdk, Level::WARN, false),
            ("info,aws_=warn", sdk, Level::WARN, true),
            ("warn,invalidator::submit=info", ours, Level::INFO, true),
            ("warn,invalidator::submit=info", sdk, Level::ERROR, false),
        ] {
            let filter = without_others(setting.parse().unwrap());
            let is_logged = filter.would_enable(target, &level);
            assert_eq!(is_logged, expected, "{setting}: {level} of {target}");
        }
    }
}
