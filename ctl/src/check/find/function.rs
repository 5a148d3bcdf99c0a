//! Whether the function runs as the template says, and gets what it is to process.

use crate::check::facts::{Facts, FailedEvents, Function, Mapping, Sweep};
use crate::check::finding::{Finding, Findings, Subject};
use crate::quote::command;

/// The function's timeout in the template, in seconds. The timing of retries goes by it.
const TIMEOUT: i64 = 150;

/// The function's memory in the template, in MB.
const MEMORY: i64 = 256;

/// A full flush, eight submits and one event may run side by side.
const CONCURRENCY: i64 = 10;

pub fn find(facts: &Facts, found: &mut Findings) {
    if let Some(function) = &facts.function {
        let before = found.all.len();
        state(function, found);
        size(function, found);
        logging(function, found);
        if found.all.len() == before {
            let what = format!("{} is active, and has the settings it needs", function.name);
            found.well(&Subject::Function, what);
        }
    }
    if let (Some(function), Some(failed)) = (&facts.function, &facts.failed_events) {
        failed_events(facts, function, failed, found);
    }
    if let Some(mappings) = &facts.mappings {
        own_mappings(facts, mappings, found);
    }
    if let Some(it) = &facts.sweep {
        sweep(it, found);
    }
}

fn state(function: &Function, found: &mut Findings) {
    let subject = Subject::Function;
    // While it is updated, it is pending for some seconds.
    if !["", "Active", "Pending"].contains(&function.state.as_str()) {
        found.add(
            Finding::problem(
                "function-not-active",
                &subject,
                format!("its state is {}", function.state),
                "it processes nothing",
            )
            .fix(command([
                "aws",
                "lambda",
                "get-function",
                "--function-name",
                &function.name,
            ])),
        );
    }
    if function.last_update == "Failed" {
        found.add(
            Finding::problem(
                "function-update-failed",
                &subject,
                "its last update failed",
                "it still runs as before the update",
            )
            .fix("sam deploy"),
        );
    }
    if let Err(why) = &function.config {
        found.add(
            Finding::problem(
                "settings-invalid",
                &subject,
                format!("it cannot start: {why}"),
                "it processes nothing",
            )
            .fix("sam deploy"),
        );
    }
    match function.concurrency {
        Some(0) => found.add(
            Finding::problem(
                "no-concurrency",
                &subject,
                "its reserved concurrency is 0",
                "it never runs; events are dropped after six hours",
            )
            .fix(command([
                "aws",
                "lambda",
                "delete-function-concurrency",
                "--function-name",
                &function.name,
            ])),
        ),
        Some(few) if few < CONCURRENCY => found.add(
            Finding::warning(
                "little-concurrency",
                &subject,
                format!("its reserved concurrency is {few}"),
                format!(
                    "a flush, eight submits and events need {CONCURRENCY}; events are throttled"
                ),
            )
            .fix(command([
                "aws",
                "lambda",
                "put-function-concurrency",
                "--function-name",
                &function.name,
                "--reserved-concurrent-executions",
                &CONCURRENCY.to_string(),
            ])),
        ),
        _ => {}
    }
}

fn size(function: &Function, found: &mut Findings) {
    let configure = |option: &str, value: i64| {
        command([
            "aws",
            "lambda",
            "update-function-configuration",
            "--function-name",
            &function.name,
            option,
            &value.to_string(),
        ])
    };
    if function.timeout != TIMEOUT {
        found.add(
            Finding::warning(
                "function-timeout",
                &Subject::Function,
                format!("its timeout is {} s", function.timeout),
                format!("retries are timed for {TIMEOUT} s"),
            )
            .fix(configure("--timeout", TIMEOUT)),
        );
    }
    if function.memory < MEMORY {
        found.add(
            Finding::warning(
                "function-memory",
                &Subject::Function,
                format!("it has {} MB", function.memory),
                format!("a full flush needs {MEMORY} MB, and dies with less"),
            )
            .fix(configure("--memory-size", MEMORY)),
        );
    }
}

/// Metrics are lines of the log without a level, and Lambda drops those above INFO.
fn logging(function: &Function, found: &mut Findings) {
    let drops = !["", "TRACE", "DEBUG", "INFO"].contains(&function.log_level.as_str());
    if function.log_format == "JSON" && drops {
        found.add(
            Finding::problem(
                "metrics-dropped",
                &Subject::Function,
                format!("Lambda drops its log below {}", function.log_level),
                "metrics are lines of the log: without them no alarm is raised",
            )
            .fix(command([
                "aws",
                "lambda",
                "update-function-configuration",
                "--function-name",
                &function.name,
                "--logging-config",
                "ApplicationLogLevel=TRACE",
            ])),
        );
    }
}

fn failed_events(facts: &Facts, function: &Function, failed: &FailedEvents, found: &mut Findings) {
    let queue = facts.stack.output("FailedEventsQueueUrl");
    let name = queue.rsplit('/').next().unwrap_or_default();
    let is_there = |arn: &String| !name.is_empty() && arn.ends_with(&format!(":{name}"));
    if failed.destination.as_ref().is_some_and(is_there) {
        found.well(
            &Subject::Function,
            "events that fail are kept in FailedEventsQueue",
        );
        return;
    }
    let region = &facts.region;
    let partition = function.arn.split(':').nth(1).unwrap_or("aws");
    let destination = format!("arn:{partition}:sqs:{region}:{}:{name}", facts.account);
    let destination = format!(r#"{{"OnFailure":{{"Destination":"{destination}"}}}}"#);
    found.add(
        Finding::problem(
            "failed-events-lost",
            &Subject::Function,
            match &failed.destination {
                None => "it has no destination for events that fail".to_owned(),
                Some(other) => format!("events that fail go to {other}"),
            },
            "an event that fails three times is lost, or where no alarm looks",
        )
        .fix(command([
            "aws",
            "lambda",
            "put-function-event-invoke-config",
            "--function-name",
            &function.name,
            "--maximum-retry-attempts",
            "2",
            "--maximum-event-age-in-seconds",
            "21600",
            "--destination-config",
            &destination,
        ])),
    );
}

/// The mappings of TickQueue and SubmitQueue, and with EventSource SQS that of IntakeQueue.
fn own_mappings(facts: &Facts, mappings: &[Mapping], found: &mut Findings) {
    let mut is_well = true;
    let intake = facts
        .stack
        .uses_sqs()
        .then_some(("IntakeQueueUrl", "changes"));
    let always = [
        ("TickQueueUrl", "flushes"),
        ("SubmitQueueUrl", "invalidations"),
    ];
    for (output, what) in intake.into_iter().chain(always) {
        let name = facts
            .stack
            .output(output)
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let queue = output.trim_end_matches("Url");
        let is_it = |it: &&Mapping| !name.is_empty() && it.source.ends_with(&format!(":{name}"));
        let Some(mapping) = mappings.iter().find(is_it) else {
            is_well = false;
            found.add(
                Finding::problem(
                    "mapping-missing",
                    &Subject::Function,
                    format!("nothing gives it the messages of {queue}"),
                    format!("there are no {what}"),
                )
                .fix("sam deploy"),
            );
            continue;
        };
        if !["Enabled", "Enabling", "Creating", "Updating"].contains(&mapping.state.as_str()) {
            is_well = false;
            found.add(
                Finding::problem(
                    "mapping-disabled",
                    &Subject::Function,
                    format!("its event source {queue} is {}", mapping.state),
                    format!("there are no {what}, whatever the mode is"),
                )
                .fix(update(mapping, &["--enabled"])),
            );
        }
        if !mapping.reports_items {
            is_well = false;
            found.add(
                Finding::problem(
                    "mapping-loses-messages",
                    &Subject::Function,
                    format!("its event source {queue} lacks ReportBatchItemFailures"),
                    "Lambda deletes messages that the function gives back: changes are lost",
                )
                .fix(update(
                    mapping,
                    &["--function-response-types", "ReportBatchItemFailures"],
                )),
            );
        }
        if mapping.has_filter {
            is_well = false;
            found.add(
                Finding::problem(
                    "mapping-filters",
                    &Subject::Function,
                    format!("its event source {queue} has a filter"),
                    "Lambda deletes messages that do not match: changes are lost",
                )
                .fix(update(mapping, &["--filter-criteria", r#"{"Filters":[]}"#])),
            );
        }
    }
    if is_well {
        let what = match facts.stack.uses_sqs() {
            true => "it gets events, ticks and sets",
            false => "it gets ticks and sets",
        };
        found.well(&Subject::Function, what);
    }
}

fn update(mapping: &Mapping, options: &[&str]) -> String {
    let fixed = [
        "aws",
        "lambda",
        "update-event-source-mapping",
        "--uuid",
        &mapping.id,
    ];
    command(fixed.iter().chain(options))
}

fn sweep(sweep: &Sweep, found: &mut Findings) {
    if sweep.is_enabled {
        found.well(&Subject::Function, "the sweep is on");
        return;
    }
    found.add(
        Finding::warning(
            "sweep-off",
            &Subject::Function,
            format!("the schedule {} is disabled", sweep.name),
            "a change whose tick is lost waits for the next upload, and the alarm NoFlushFinished is raised",
        )
        .fix("sam deploy")
        .fix("# if it says that nothing changed: enable the schedule in the console of EventBridge Scheduler"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::find::testing::{facts, rules};

    #[test]
    fn what_stops_or_starves_the_function_is_found() {
        type Plant = fn(&mut Facts);
        fn function(facts: &mut Facts) -> &mut Function {
            facts.function.as_mut().unwrap()
        }
        fn mapping(facts: &mut Facts) -> &mut Mapping {
            &mut facts.mappings.as_mut().unwrap()[1]
        }
        let rows: &[(Plant, &[&str])] = &[
            (|_| {}, &[]),
            (
                |it| function(it).state = "Inactive".to_owned(),
                &["function-not-active"],
            ),
            (
                |it| function(it).last_update = "Failed".to_owned(),
                &["function-update-failed"],
            ),
            (
                |it| function(it).config = Err("bad".to_owned()),
                &["settings-invalid"],
            ),
            (|it| function(it).concurrency = Some(0), &["no-concurrency"]),
            (
                |it| function(it).concurrency = Some(5),
                &["little-concurrency"],
            ),
            (|it| function(it).concurrency = Some(10), &[]),
            (|it| function(it).timeout = 30, &["function-timeout"]),
            (|it| function(it).memory = 128, &["function-memory"]),
            (
                |it| function(it).log_level = "WARN".to_owned(),
                &["metrics-dropped"],
            ),
            (
                |it| it.failed_events = Some(FailedEvents::default()),
                &["failed-events-lost"],
            ),
            (
                |it| it.failed_events.as_mut().unwrap().destination = Some("arn:other".to_owned()),
                &["failed-events-lost"],
            ),
            (
                |it| mapping(it).state = "Disabled".to_owned(),
                &["mapping-disabled"],
            ),
            (
                |it| mapping(it).reports_items = false,
                &["mapping-loses-messages"],
            ),
            (|it| mapping(it).has_filter = true, &["mapping-filters"]),
            (
                |it| drop(it.mappings.as_mut().unwrap().pop()),
                &["mapping-missing"],
            ),
            (
                |it| {
                    let parameters = &mut it.stack.parameters;
                    parameters.insert("EventSource".to_owned(), "SQS".to_owned());
                },
                &["mapping-missing"],
            ),
            (
                |it| it.sweep.as_mut().unwrap().is_enabled = false,
                &["sweep-off"],
            ),
        ];
        for (row, (plant, expected)) in rows.iter().enumerate() {
            let mut facts = facts();
            plant(&mut facts);
            assert_eq!(rules(&facts, find), *expected, "row {row}");
        }
    }
}
