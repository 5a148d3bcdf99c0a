//! What SQS and SNS refuse though emulators take it, whatever is in the queue.

use percent_encoding::{CONTROLS, utf8_percent_encode};
use serde_json::Value;

/// The most bytes of a message, and of all messages of a batch (SQS Developer Guide, "Quotas").
const MAX_BYTES: usize = 1024 * 1024;
const MAX_ENTRIES: usize = 10;
const MAX_DELAY: u64 = 900;
const MAX_VISIBILITY: u64 = 12 * 3_600;
/// The most bytes of a message of SNS (SNS Developer Guide, "Quotas").
const MAX_MAIL_BYTES: usize = 256 * 1024;

/// The code of the error with which SQS refuses a call, if it does.
pub fn of_sqs(operation: &str, is_fifo: bool, body: &Value) -> Option<&'static str> {
    match operation {
        "ReceiveMessage" => refusal_of_receive(body),
        _ if operation.ends_with("Batch") => refusal_of_batch(body),
        _ => of_sqs_entry(operation, is_fifo, body),
    }
}

fn refusal_of_receive(body: &Value) -> Option<&'static str> {
    let within = |field: &str, least: u64, most: u64| {
        let value = body[field].as_u64();
        value.is_none_or(|value| (least..=most).contains(&value))
    };
    if !within("MaxNumberOfMessages", 1, 10) {
        return Some("ReadCountOutOfRange");
    }
    (!within("WaitTimeSeconds", 0, 20)).then_some("InvalidParameterValue")
}

fn refusal_of_batch(body: &Value) -> Option<&'static str> {
    let entries = body["Entries"].as_array().map_or(&[][..], Vec::as_slice);
    let mut ids: Vec<_> = entries.iter().map(|entry| entry["Id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let bodies = entries.iter().filter_map(|it| it["MessageBody"].as_str());
    match entries.len() {
        0 => Some("EmptyBatchRequest"),
        count if count > MAX_ENTRIES => Some("TooManyEntriesInBatchRequest"),
        count if count > ids.len() => Some("BatchEntryIdsNotDistinct"),
        _ if bodies.map(str::len).sum::<usize>() > MAX_BYTES => Some("BatchRequestTooLong"),
        _ => None,
    }
}

/// The code that an entry of a batch fails with, though the call itself answers 200.
pub fn of_sqs_entry(operation: &str, is_fifo: bool, entry: &Value) -> Option<&'static str> {
    if operation.starts_with("ChangeMessageVisibility") {
        let is_short = entry["VisibilityTimeout"]
            .as_u64()
            .is_some_and(|seconds| seconds <= MAX_VISIBILITY);
        return (!is_short).then_some("InvalidParameterValue");
    }
    if !operation.starts_with("SendMessage") {
        return None;
    }
    let text = entry["MessageBody"].as_str().unwrap_or_default();
    let has = |field: &str| entry[field].as_str().is_some_and(|text| !text.is_empty());
    let delay = entry["DelaySeconds"].as_u64();
    if text.is_empty() || (is_fifo && !(has("MessageGroupId") && has("MessageDeduplicationId"))) {
        return Some("MissingParameter");
    }
    // A FIFO queue has one delay for all its messages.
    if text.len() > MAX_BYTES || delay.is_some_and(|delay| is_fifo || delay > MAX_DELAY) {
        return Some("InvalidParameterValue");
    }
    (!is_xml(text)).then_some("InvalidMessageContents")
}

/// Whether XML 1.0 can hold this text, and so SQS (API reference, SendMessage).
fn is_xml(text: &str) -> bool {
    // Most messages are plain ASCII of up to a megabyte, and this crate is optimized: test code is not.
    let is_plain = utf8_percent_encode(text, CONTROLS).next() == Some(text);
    is_plain || text.chars().all(is_of_xml)
}

fn is_of_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// The code of the error with which SNS refuses a message, if it does: a subject is "less than 100
/// characters" of ASCII without line breaks (API reference, Publish).
pub fn of_sns(subject: &str, message: &str) -> Option<&'static str> {
    let is_printable = |character: char| matches!(character, ' '..='~');
    let is_subject = subject.len() < 100 && subject.chars().all(is_printable);
    let is_message = (1..=MAX_MAIL_BYTES).contains(&message.len());
    (!is_subject || !is_message).then_some("InvalidParameter")
}
