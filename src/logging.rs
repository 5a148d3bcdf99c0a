//! The log: one JSON object per line, as CloudWatch Logs expects.

use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::filter::Targets;
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
        .with_span_list(false);
    tracing_subscriber::registry()
        .with(without_others(filter))
        .with(lines)
        .init();
    if let Some(problem) = problem {
        warn!(RUST_LOG = setting, %problem, "RUST_LOG is not a valid log filter; logging at level info");
    }
}

/// Shows warnings and errors on a terminal, as `invalidatorctl` does; `RUST_LOG` selects others.
pub fn start_on_terminal() {
    let setting = std::env::var("RUST_LOG").ok();
    let filter = setting.and_then(|setting| setting.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(without_others(filter))
        .with(lines.with_target(false))
        .init();
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
