//! Whether the queues are as the template makes them, and as the function's settings want them.

use crate::check::facts::{Facts, Queue};
use crate::check::finding::{Finding, Findings, Severity, Subject, count};
use crate::quote::command;

/// 14 days, the longest there is.
const RETENTION: i64 = 1_209_600;

/// A message of the function is as long as SQS takes it.
const MESSAGE: i64 = 1_048_576;

/// So often a message may be received before it becomes a dead letter: busy times use up no message.
const RECEIVES: i64 = 1_000;

/// The same of IntakeQueue: nothing waits behind an event, and what failed is to be known soon.
const RECEIVES_OF_INTAKE: i64 = 10;

/// The function's timeout and ten seconds.
const VISIBILITY: i64 = 160;

pub fn find(facts: &Facts, found: &mut Findings) {
    let before = found.all.len();
    for queue in &facts.queues {
        match queue.output {
            "BufferQueueUrl" | "TickQueueUrl" | "SubmitQueueUrl" => work(facts, queue, found),
            "IntakeQueueUrl" => intake(facts, queue, found),
            _ => {}
        }
        if queue.output != "TickQueueUrl" {
            retention(queue, found);
        }
        if queue.attributes.contains_key("KmsMasterKeyId") {
            found.add(
                Finding::warning(
                    "queue-key",
                    &Subject::Queues,
                    format!("{} is encrypted with a key of KMS", queue.name()),
                    "the function's role has no permission for it, unless somebody added it",
                )
                .fix(set(queue, "SqsManagedSseEnabled", "true")),
            );
        }
    }
    if found.all.len() == before && !facts.queues.is_empty() {
        found.well(
            &Subject::Queues,
            "timeouts, delays, retention and redrives are as the function needs them",
        );
    }
}

fn intake(facts: &Facts, queue: &Queue, found: &mut Findings) {
    visibility(facts, queue, found);
    redrive(facts, queue, found);
    let number = |name| queue.number(name).unwrap_or(0);
    let waiting = number("ApproximateNumberOfMessages");
    if !facts.stack.uses_sqs() && waiting > 0 {
        found.add(
            Finding::problem(
                "intake-left",
                &Subject::Queues,
                format!("IntakeQueue holds {}, and nothing takes them out", count(waiting, "event")),
                "EventSource is not SQS: these changes have not reached CloudFront, and SQS drops them after 14 days",
            )
            .fix(command([
                "invalidatorctl",
                "replay",
                "--stack",
                &facts.stack.name,
                "--events",
            ])),
        );
    }
}

fn work(facts: &Facts, queue: &Queue, found: &mut Findings) {
    visibility(facts, queue, found);
    match queue.output {
        "TickQueueUrl" => delay(facts, queue, found),
        _ => {
            message_size(queue, found);
            redrive(facts, queue, found);
        }
    }
    let is_fifo = queue.is("FifoQueue");
    if queue.output != "BufferQueueUrl" && !is_fifo {
        found.add(
            Finding::problem(
                "queue-not-fifo",
                &Subject::Queues,
                format!("{} is no FIFO queue", queue.name()),
                "nothing keeps two flushes, or two calls for one distribution, apart",
            )
            .fix("sam deploy"),
        );
    }
    let per_group = |name: &str, value: &str| {
        let actual = queue.attributes.get(name);
        actual.is_some_and(|it| it.eq_ignore_ascii_case(value))
    };
    if queue.output == "SubmitQueueUrl"
        && is_fifo
        && !(per_group("DeduplicationScope", "messageGroup")
            && per_group("FifoThroughputLimit", "perMessageGroupId"))
    {
        found.add(
            Finding::warning(
                "queue-throughput",
                &Subject::Queues,
                "SubmitQueue lacks high throughput (a limit for each message group)",
                "it takes 300 calls a second in all",
            )
            .fix(command([
                "aws",
                "sqs",
                "set-queue-attributes",
                "--queue-url",
                &queue.url,
                "--attributes",
                "DeduplicationScope=messageGroup,FifoThroughputLimit=perMessageGroupId",
            ])),
        );
    }
}

fn visibility(facts: &Facts, queue: &Queue, found: &mut Findings) {
    let timeout = facts.function.as_ref().map_or(150, |it| it.timeout);
    let Some(visibility) = queue.number("VisibilityTimeout") else {
        return;
    };
    let (severity, why) = match () {
        () if visibility < timeout => (
            Severity::Problem,
            format!(
                "it is less than the function's {timeout} s: a message comes back while it is worked on"
            ),
        ),
        () if visibility > 300 => (
            Severity::Warning,
            "after an invocation that died, changes wait for that long, and SQS may take the repetition for a new \
             message after five minutes"
                .to_owned(),
        ),
        () => return,
    };
    let what = format!("{}'s visibility timeout is {visibility} s", queue.name());
    let mut finding = Finding::problem("visibility-timeout", &Subject::Queues, what, why).fix(set(
        queue,
        "VisibilityTimeout",
        &VISIBILITY.to_string(),
    ));
    finding.severity = severity;
    found.add(finding);
}

fn delay(facts: &Facts, queue: &Queue, found: &mut Findings) {
    let (Some(config), Some(delay)) = (facts.config(), queue.number("DelaySeconds")) else {
        return;
    };
    let debounce = config.debounce.as_secs();
    if i64::try_from(debounce).is_ok_and(|it| it != delay) {
        found.add(
            Finding::problem(
                "tick-delay",
                &Subject::Queues,
                format!("TickQueue delays by {delay} s, and DEBOUNCE_SECONDS is {debounce}"),
                "ticks that come too early leave changes for the next one; late ones delay all changes",
            )
            .fix(set(queue, "DelaySeconds", &debounce.to_string())),
        );
    }
    if !queue.is("ContentBasedDeduplication") {
        found.add(
            Finding::problem(
                "sweep-refused",
                &Subject::Queues,
                "TickQueue lacks content-based deduplication",
                "EventBridge Scheduler's sweep is refused without it",
            )
            .fix(set(queue, "ContentBasedDeduplication", "true")),
        );
    }
}

fn message_size(queue: &Queue, found: &mut Findings) {
    if let Some(size) = queue.number("MaximumMessageSize")
        && size < MESSAGE
    {
        found.add(
            Finding::problem(
                "message-size",
                &Subject::Queues,
                format!("{} takes messages of {size} bytes", queue.name()),
                format!("the function sends up to {MESSAGE}: longer ones are refused"),
            )
            .fix(set(queue, "MaximumMessageSize", &MESSAGE.to_string())),
        );
    }
}

fn retention(queue: &Queue, found: &mut Findings) {
    if let Some(retention) = queue.number("MessageRetentionPeriod")
        && retention < RETENTION
    {
        let days = retention / 86_400;
        found.add(
            Finding::warning(
                "retention",
                &Subject::Queues,
                format!("{} keeps messages for {}", queue.name(), count(days, "day")),
                "what waits longer is lost; 14 days are the most",
            )
            .fix(set(queue, "MessageRetentionPeriod", &RETENTION.to_string())),
        );
    }
}

fn redrive(facts: &Facts, queue: &Queue, found: &mut Findings) {
    let is_intake = queue.output == "IntakeQueueUrl";
    let (dead_letters, least) = match is_intake {
        true => ("FailedEventsQueueUrl".to_owned(), RECEIVES_OF_INTAKE),
        false => (
            queue.output.replace("QueueUrl", "DeadLetterQueueUrl"),
            RECEIVES,
        ),
    };
    let url = facts.stack.output(&dead_letters);
    let name = url.rsplit('/').next().unwrap_or_default();
    let policy = queue.attributes.get("RedrivePolicy").map(String::as_str);
    let policy: Option<serde_json::Value> =
        policy.and_then(|policy| serde_json::from_str(policy).ok());
    let target = policy
        .as_ref()
        .and_then(|it| it["deadLetterTargetArn"].as_str());
    let receives = policy.as_ref().map(|it| &it["maxReceiveCount"]);
    // A number, or one as text: SQS takes both.
    let receives = receives
        .and_then(|it| it.as_i64().or_else(|| it.as_str()?.parse().ok()))
        .unwrap_or(0);
    let is_ours = target.is_some_and(|arn| !name.is_empty() && arn.ends_with(&format!(":{name}")));
    let what = match (target, is_ours) {
        (None, _) => format!("{} has no queue for dead letters", queue.name()),
        (Some(other), false) => format!("dead letters of {} go to {other}", queue.name()),
        (Some(_), true) if receives < least => format!(
            "messages of {} become dead letters after {receives} receives",
            queue.name()
        ),
        (Some(_), true) => return,
    };
    let finding = match is_ours {
        true => Finding::warning(
            "few-receives",
            &Subject::Queues,
            what,
            format!("busy times give messages back often; the template allows {least} receives"),
        ),
        false => Finding::problem(
            "redrive",
            &Subject::Queues,
            what,
            "a message on which the function dies holds up others until it expires, and no alarm tells",
        ),
    };
    let of_tick = facts.queues.iter().find(|it| it.output == dead_letters);
    let arn = of_tick.and_then(|it| it.attributes.get("QueueArn"));
    found.add(finding.fix(match arn {
        Some(arn) => {
            let policy =
                format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"{least}"}}"#);
            let attributes = serde_json::json!({ "RedrivePolicy": policy }).to_string();
            command([
                "aws",
                "sqs",
                "set-queue-attributes",
                "--queue-url",
                &queue.url,
                "--attributes",
                &attributes,
            ])
        }
        None => "sam deploy".to_owned(),
    }));
}

fn set(queue: &Queue, name: &str, value: &str) -> String {
    command([
        "aws",
        "sqs",
        "set-queue-attributes",
        "--queue-url",
        &queue.url,
        "--attributes",
        &format!("{name}={value}"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::find::testing::{facts, rules};

    #[test]
    fn what_a_queue_needs_is_compared_with_what_it_has() {
        for (queue, attribute, value, expected) in [
            ("BufferQueueUrl", "VisibilityTimeout", "160", &[][..]),
            (
                "BufferQueueUrl",
                "VisibilityTimeout",
                "149",
                &["visibility-timeout"],
            ),
            (
                "SubmitQueueUrl",
                "VisibilityTimeout",
                "900",
                &["visibility-timeout"],
            ),
            ("TickQueueUrl", "DelaySeconds", "0", &["tick-delay"]),
            ("TickQueueUrl", "DelaySeconds", "30", &["tick-delay"]),
            (
                "TickQueueUrl",
                "ContentBasedDeduplication",
                "false",
                &["sweep-refused"],
            ),
            ("TickQueueUrl", "FifoQueue", "false", &["queue-not-fifo"]),
            ("TickQueueUrl", "MessageRetentionPeriod", "3600", &[]),
            (
                "SubmitQueueUrl",
                "MaximumMessageSize",
                "262144",
                &["message-size"],
            ),
            (
                "SubmitQueueUrl",
                "FifoThroughputLimit",
                "perQueue",
                &["queue-throughput"],
            ),
            (
                "FailedEventsQueueUrl",
                "MessageRetentionPeriod",
                "345600",
                &["retention"],
            ),
            ("BufferQueueUrl", "RedrivePolicy", "", &["redrive"]),
            ("IntakeQueueUrl", "RedrivePolicy", "", &["redrive"]),
            (
                "IntakeQueueUrl",
                "RedrivePolicy",
                r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:FailedEventsQueue","maxReceiveCount":3}"#,
                &["few-receives"],
            ),
            (
                "IntakeQueueUrl",
                "RedrivePolicy",
                r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:Other","maxReceiveCount":10}"#,
                &["redrive"],
            ),
            (
                "IntakeQueueUrl",
                "VisibilityTimeout",
                "30",
                &["visibility-timeout"],
            ),
            (
                "IntakeQueueUrl",
                "ApproximateNumberOfMessages",
                "2",
                &["intake-left"],
            ),
            (
                "BufferQueueUrl",
                "RedrivePolicy",
                r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:1:other","maxReceiveCount":1000}"#,
                &["redrive"],
            ),
            (
                "SubmitQueueUrl",
                "RedrivePolicy",
                r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:SubmitDeadLetterQueue","maxReceiveCount":"3"}"#,
                &["few-receives"],
            ),
            (
                "BufferQueueUrl",
                "KmsMasterKeyId",
                "alias/own",
                &["queue-key"],
            ),
        ] {
            let mut facts = facts();
            let mut queues = facts.queues.iter_mut();
            let it = queues.find(|it| it.output == queue).unwrap();
            it.attributes.insert(attribute.to_owned(), value.to_owned());
            assert_eq!(rules(&facts, find), expected, "{queue} {attribute} {value}");
        }
    }
}
