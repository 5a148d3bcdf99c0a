//! What waits for a person: dead letters, failed events, files of rejected paths.

use crate::check::facts::Facts;
use crate::check::finding::{Finding, Findings, Subject, count};
use crate::quote::command;

/// Each queue, what it holds, and the option of `invalidatorctl replay` that puts it back.
const QUEUES: [(&str, &str, &str); 3] = [
    (
        "BufferDeadLetterQueueUrl",
        "changes on which flushes kept dying",
        "--dead-letters",
    ),
    (
        "SubmitDeadLetterQueueUrl",
        "sets of paths on which submits kept dying",
        "--dead-letters",
    ),
    (
        "FailedEventsQueueUrl",
        "events that could not be read or buffered",
        "--events",
    ),
];

pub fn find(facts: &Facts, found: &mut Findings) {
    let mut are_empty = true;
    for (output, what, option) in QUEUES {
        let mut queues = facts.queues.iter();
        let Some(queue) = queues.find(|it| it.output == output) else {
            are_empty = false;
            continue;
        };
        let visible = queue.number("ApproximateNumberOfMessages").unwrap_or(0);
        let hidden = queue
            .number("ApproximateNumberOfMessagesNotVisible")
            .unwrap_or(0);
        let number = visible + hidden;
        if number == 0 {
            continue;
        }
        are_empty = false;
        let name = queue.name();
        found.add(
            Finding::warning(
                "dead-letters",
                &Subject::Queues,
                format!("{name} holds {}: {what}", count(number, "message")),
                "these changes have not reached CloudFront; SQS drops them after 14 days",
            )
            .fix(command(["invalidatorctl", "replay", option])),
        );
    }
    if are_empty {
        found.well(&Subject::Queues, "no dead letters, no failed events");
    }
    match facts.error_bucket.as_ref().and_then(|it| it.files) {
        Some(0) => found.well(&Subject::Stack, "no files of rejected paths wait"),
        Some(files) => found.add(
            Finding::warning(
                "rejected-paths",
                &Subject::Stack,
                format!(
                    "the error bucket holds {} of paths that CloudFront rejected",
                    match i32::try_from(files) {
                        Ok(few @ ..1_000) => count(few, "file"),
                        _ => "1,000 files or more".to_owned(),
                    }
                ),
                "unless they were replayed, visitors see old pages there",
            )
            .fix(command(["invalidatorctl", "replay", "--all"])),
        ),
        None => {}
    }
    if facts.error_bucket.as_ref().and_then(|it| it.is_versioned) == Some(false) {
        found.add(
            Finding::warning(
                "error-bucket-unversioned",
                &Subject::Stack,
                "the error bucket keeps no versions",
                "a mode that somebody deletes would go unnoticed, and cannot be brought back",
            )
            .fix(command([
                "aws",
                "s3api",
                "put-bucket-versioning",
                "--bucket",
                facts.stack.output("ErrorBucketName"),
                "--versioning-configuration",
                "Status=Enabled",
            ])),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::find::testing::{facts, rules};

    #[test]
    fn what_waits_for_a_person_is_found() {
        for (queue, attribute, value, expected) in [
            (
                "FailedEventsQueueUrl",
                "ApproximateNumberOfMessages",
                "2",
                &["dead-letters"][..],
            ),
            (
                "BufferDeadLetterQueueUrl",
                "ApproximateNumberOfMessagesNotVisible",
                "1",
                &["dead-letters"],
            ),
            ("BufferQueueUrl", "ApproximateNumberOfMessages", "7", &[]),
        ] {
            let mut facts = facts();
            let mut queues = facts.queues.iter_mut();
            let it = queues.find(|it| it.output == queue).unwrap();
            it.attributes.insert(attribute.to_owned(), value.to_owned());
            assert_eq!(rules(&facts, find), expected, "{queue}");
        }
        let mut facts = facts();
        let bucket = facts.error_bucket.as_mut().unwrap();
        (bucket.files, bucket.is_versioned) = (Some(3), Some(false));
        assert_eq!(
            rules(&facts, find),
            ["rejected-paths", "error-bucket-unversioned"]
        );
    }
}
